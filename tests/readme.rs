//! The README's shell blocks do what it says, in its order, in a network of their own where port 8888
//! is free.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The fenced blocks of `language`, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(path).expect("there is a README")
}

#[test]
fn every_shell_block_runs() {
    let blocks = blocks(&readme(), "sh");
    let (start, others) = blocks.split_first().expect("the README has shell blocks");
    assert_eq!(start.trim(), "make run", "the first block starts the daemon");
    let mut script = String::from(
        "set -euo pipefail\n\
         ip link set lo up\n\
         state=$(mktemp -d)\n\
         trap 'rm -rf \"$state\"' EXIT\n\
         export XDG_STATE_HOME=$state\n\
         unset STATE_DIRECTORY\n\
         make run >\"$state/log\" 2>&1 &\n\
         tries=0\n\
         until nc -z 127.0.0.1 8888 2>/dev/null; do\n\
             tries=$((tries + 1))\n\
             if [ $tries -gt 6000 ]; then cat \"$state/log\"; exit 1; fi\n\
             sleep 0.1\n\
         done\n",
    );
    for (number, block) in others.iter().enumerate() {
        script.push_str(&format!("echo '== block {}'\n{block}\n", number + 2));
    }
    let ran = Command::new("unshare")
        .args(["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["timeout", "700", "bash", "-c", &script])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("unshare can be run: tests/prerequisites installs it");
    let output = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{output}\n{}", String::from_utf8_lossy(&ran.stderr));

    let conversation = output.split("== block 3").next().unwrap_or_default();
    let replies: Vec<&str> = conversation.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(replies.len(), 7, "{conversation}");
    for reply in &replies {
        assert!(reply.starts_with("{\"status\":\"success\""), "{reply}");
    }
    assert!(replies[5].contains("\"ram\":1024"), "the update shows in the list: {}", replies[5]);
    assert!(output.contains("db-1"), "the host's own list shows what it added: {output}");
}

#[test]
fn the_settings_are_those_of_the_program() {
    let table = vmherd::config::settings_as_markdown();
    assert!(readme().contains(&table), "the README's table of settings should be:\n{table}");
}

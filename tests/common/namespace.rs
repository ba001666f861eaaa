//! Tests in a network namespace of their own, in which their binary starts itself again: there all ports are free, and
//! dropped packets disturb no other process.

use std::process::Command;

use super::process::{require, run};

/// Whether this process runs in the namespace.
pub fn is_in_a_namespace() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs one test of this binary in a network namespace of its own.
#[track_caller]
pub fn run_in_a_namespace(test: &str) {
    require("unshare", "util-linux");
    let ran = run(Command::new("id").arg("-u")).expect_success();
    let mut command = Command::new("unshare");
    if ran.stdout.trim() != "0" {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    let script = "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && nft list tables && exec \"$0\" \"$@\"";
    command.args(["--net", "sh", "-c", script]).arg(std::env::current_exe().expect("this binary"));
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let ran = command.output().expect("unshare can be run");
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    eprintln!("{stderr}");
    assert!(
        ran.status.success() && stdout.contains("1 passed"),
        "inside of a network namespace (root or user namespaces, the packages iproute2 and nftables): {stdout}"
    );
}

/// Packets that match a rule vanish while this lives.
pub struct Drops;

impl Drops {
    /// `packets`: what each rule matches, in the words of nft(8).
    #[track_caller]
    pub fn begin(packets: &[&str]) -> Drops {
        nft("add table inet silence");
        nft("add chain inet silence input { type filter hook input priority 0; }");
        packets.iter().for_each(|matched| nft(&format!("add rule inet silence input {matched} drop")));
        Drops
    }
}

impl Drop for Drops {
    fn drop(&mut self) {
        nft("delete table inet silence");
    }
}

#[track_caller]
fn nft(words: &str) {
    let script = format!("PATH=$PATH:/usr/sbin:/sbin; nft '{words}'");
    run(Command::new("sh").args(["-c", &script])).expect_success();
}

/// Set in the namespace.
const INSIDE: &str = "VMHERD_INSIDE_NAMESPACE";

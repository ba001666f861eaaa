//! `vmherdctl` starts a VM, opens a shell in it and ends it.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::common::{Finished, TempDir, run, run_with_input};
use crate::real::real;

#[test]
fn create_ssh_destroy() {
    let (daemon, home) = (real().start(), TempDir::new());
    let server = format!("tcp://{}", daemon.address());
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmherdctl"));
        command.args(arguments).env("VMHERD_SERVER", &server).env("XDG_STATE_HOME", home.path());
        command
    };
    let json = |ran: Finished| serde_json::from_str::<Value>(&ran.expect_success().stdout).expect("JSON");
    let create = ["create", "--wait", "--within", "2m", "--timeout", "2m", "--format", "json"];
    let created = json(run(&mut command(&create)));
    let text = |field: &str| created["created"][field].as_str().expect("text").to_owned();
    let (name, user, password) =
        (text("container_uuid"), text("container_username"), text("container_password"));

    let ran = run(&mut command(&["ssh", &name, "id", "-un"])).expect_success();
    assert_eq!((ran.stdout.trim(), ran.stderr.contains(&password)), (user.as_str(), false), "{ran:?}");
    assert_eq!(
        run(&mut command(&["ssh", &name, "--", "exit", "7"])).code(),
        Some(7),
        "the exit code is the shell's"
    );
    // A shell, and what it shows of the processes of this host's side.
    let mut shell = command(&["ssh", &name]);
    let shown = run_with_input(&mut shell, b"echo $((6 * 7)); exit\n").expect_success();
    assert!(shown.stdout.contains("42"), "{shown:?}");

    let folder = home.path().join("vmherdctl");
    let key_file = folder.join("known_hosts").join(&name);
    let known = fs::read_to_string(&key_file).expect("the key of the VM is kept");
    assert!(known.lines().any(|line| line.starts_with(&name)), "{known}");
    // A server with another key is not the VM.
    let other_key = |line: &str| {
        let (rest, key) = line.rsplit_once(' ').expect("a key");
        let (head, tail) = key.split_at(key.len() - 12);
        let changed: String = tail.chars().map(|letter| if letter == 'A' { 'B' } else { 'A' }).collect();
        format!("{rest} {head}{changed}\n")
    };
    fs::write(&key_file, known.lines().map(other_key).collect::<String>()).expect("a file");
    let other = run(&mut command(&["ssh", &name, "true"]));
    assert_eq!(other.code(), Some(255), "{other:?}");

    let unknown = run(&mut command(&["ssh", "81f4d9a0-0000-4000-8000-000000000000"]));
    assert_eq!(unknown.code(), Some(3), "{unknown:?}");
    run(&mut command(&["destroy", &name])).expect_success();
    assert_eq!(run(&mut command(&["ssh", &name])).code(), Some(3), "its credentials are gone");
    let kept = fs::read_to_string(folder.join("vms.json")).expect("a file");
    assert!(!kept.contains(&password) && !key_file.exists(), "{kept}");
}

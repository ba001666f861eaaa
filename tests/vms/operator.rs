//! The operator's commands: `vmherd vm create`, `stop`, `console` and `log`; and VMs in the lists.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, request, wait};
use crate::support::*;

/// Runs `vmherd vm` with these arguments; what it prints.
#[track_caller]
fn succeed(daemon: &Daemon, arguments: &[&str], input: &str) -> String {
    let finished = daemon.vm_command(arguments, input);
    assert!(finished.status.success(), "{arguments:?}: {}", finished.stderr);
    finished.stdout
}

#[track_caller]
fn fail(daemon: &Daemon, arguments: &[&str]) -> String {
    let finished = daemon.vm_command(arguments, "");
    assert_eq!(finished.code(), Some(1), "{arguments:?}");
    finished.stderr
}

fn list(client: &mut Client) -> Vec<Value> {
    let reply = client.call(json!({"action": "list_all_vms"}));
    reply["all_vms"].as_array().expect("a list").clone()
}

#[test]
fn the_operator_starts_and_ends_vms() {
    let daemon = fake("").start();
    let printed = succeed(&daemon, &["create"], "");
    let names: Vec<&str> = printed.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    let wanted =
        ["uuid", "username", "password", "listen_port", "iso_sha256"].map(|name| format!("container_{name}"));
    assert_eq!(names, [&wanted[..], &["client_token".to_owned()]].concat());
    let field = |name: &str| {
        let line = printed.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().nth(1).expect("a value").to_owned()
    };
    let id = field("container_uuid");
    assert!(is_listening(&json!(field("container_listen_port").parse::<u64>().unwrap())));
    let all = list(&mut daemon.client());
    assert_eq!((all.len(), &all[0]["managed"]), (1, &json!(true)), "{all:?}");
    assert_eq!((&all[0]["ram"], &all[0]["cpu"]), (&json!(512), &json!(1)));
    let listed = succeed(&daemon, &["list"], "");
    let row: Vec<&str> = listed.lines().nth(1).expect("a VM").split_whitespace().collect();
    assert_eq!(row, [id.as_str(), "1", "offline", "-", "512M", "1", "1G"], "{listed}");
    assert!(succeed(&daemon, &["show", &id], "").contains("managed          yes"));
    assert!(succeed(&daemon, &["log", &id], "").starts_with("fake guest"));
    let refused = fail(&daemon, &["remove", &id]);
    assert!(refused.contains(&format!("vmherd vm stop {id}")), "{refused}");
    assert_eq!(succeed(&daemon, &["stop", &id], ""), format!("stopped {id}\n"));
    wait_gone(&daemon, 4);
    assert!(list(&mut daemon.client()).is_empty());
    assert!(succeed(&daemon, &["log", &id], "").starts_with("fake guest"), "it stays");
    assert_eq!(fail(&daemon, &["stop", &id]), "vmherd vm: VM does not exist\n");
    assert!(fail(&daemon, &["console", &id]).contains("runs no VM"));
}

#[test]
fn the_operator_stops_no_vm_that_is_not_managed() {
    let daemon = fake("").start();
    daemon.client().succeed(
        "register",
        json!({"vm_id": "web-1", "ram": 1, "cpu": 1, "password": "securePass123", "disks": []}),
    );
    let refused = fail(&daemon, &["stop", "web-1"]);
    assert!(refused.contains("not managed"), "{refused}");
    let reply = daemon.client().call(request("stop", json!({"vm_id": "web-1"})));
    assert_eq!(reply["message"], "Unknown command", "it is for the operator only");
}

#[test]
fn a_console_takes_input_and_shows_output() {
    let daemon = fake("").start();
    let created = create(&mut daemon.client());
    let id = created["container_uuid"].as_str().unwrap();
    // The guest ends at its last word, and with it the console.
    let shown = succeed(&daemon, &["console", id], "hello guest-shutdown\n");
    assert!(shown.contains("[hello]"), "{shown}");
    wait_gone(&daemon, 4);
}

#[test]
fn a_console_on_a_terminal_ends_at_its_escape() {
    let daemon = fake("").start();
    let created = create(&mut daemon.client());
    let id = created["container_uuid"].as_str().unwrap();
    let state_dir = daemon.state_dir().display();
    let console = format!("{} vm console {id} --state-dir {state_dir}", env!("CARGO_BIN_EXE_vmherd"));
    // `script` runs it on a terminal, whose keys are the input.
    let mut script = Command::new("script");
    script.args(["-qec", &console, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().expect("script runs");
    let (mut keys, mut screen) = (script.stdin.take().expect("piped"), script.stdout.take().expect("piped"));
    let (sender, shown) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            let _ = sender.send(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
    });
    let mut text = String::new();
    for (wanted, next) in [("Ctrl-] leaves it", "hello\r"), ("[hello]", "\u{1d}")] {
        while !text.contains(wanted) {
            text += &shown.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("{wanted}: {error}: {text}"));
        }
        keys.write_all(next.as_bytes()).expect("a key");
    }
    assert!(wait(&mut script, "the console ends").success());
    assert_eq!(available(&daemon), 3, "the VM goes on");
}

//! What the operator does over the daemon's own socket, and others may not.

use serde_json::{Value, json};

use crate::common::{Daemon, PASSWORD, run};
use crate::support::User;

#[test]
fn vms_are_added_changed_shown_and_removed() {
    let daemon = Daemon::builder().arg("--registration=closed").start();
    let operator = User::operator(&daemon).with_password();
    assert_eq!(
        operator.output(&["vm", "add", "web-1", "--ram", "2G", "--cpu", "4", "--disk", "100G"]),
        "added web-1\n"
    );
    assert_eq!(operator.output(&["vm", "set", "web-1", "--ram", "4G", "--disk", "1=150"]), "updated web-1\n");
    let vm = operator.json(&["vm", "show", "web-1"])["vm"].take();
    assert_eq!(
        (&vm["ram"], &vm["cpu"], &vm["disks"], &vm["id"]),
        (&json!(4096), &json!(4), &json!([{"id": 1, "disk_size": 150}]), &json!(1))
    );
    assert_eq!((&vm["last_seen"], &vm["connected_since"]), (&Value::Null, &Value::Null));
    let mut client = daemon.client();
    client.authenticate("web-1");
    let vm = operator.json(&["vm", "show", "web-1"])["vm"].take();
    assert!(vm["connected_since"].is_i64() && vm["addresses"][0][0] == "127.0.0.1", "{vm}");
    let passwd = operator.output(&["vm", "passwd", "web-1"]);
    assert_eq!(passwd, "changed the password of web-1; its tokens are no longer valid\n");
    assert_eq!(operator.output(&["vm", "remove", "web-1"]), "removed web-1\n");
    assert_eq!(operator.json(&["vm", "list"]), json!({"vms": []}));
    for arguments in [
        &["vm", "show", "web-1"][..],
        &["vm", "remove", "web-1"],
        &["vm", "passwd", "web-1"],
        &["vm", "set", "web-1", "--ram", "1G"],
    ] {
        let (code, text) = operator.failure(arguments);
        assert_eq!((code, &*text), (3, "vmherdctl: VM does not exist\n"), "{arguments:?}");
    }
}

#[test]
fn a_vm_without_password_cannot_log_in() {
    let daemon = Daemon::start();
    let operator = User::operator(&daemon);
    operator.output(&["vm", "add", "web-1", "--ram", "1G", "--cpu", "1", "--no-password"]);
    let (code, _) = User::of(&daemon).with_password().failure(&["vms", "--vm", "web-1"]);
    assert_eq!(code, 4);
}

#[test]
fn removals_are_done_in_part() {
    let daemon = Daemon::start();
    let operator = User::operator(&daemon).with_password();
    operator.output(&["vm", "add", "a", "--ram", "1", "--cpu", "1"]);
    let ran = operator.run(&["vm", "remove", "a", "b"]);
    assert_eq!((ran.code(), &*ran.stdout), (Some(7), "removed a\n"), "{ran:?}");
    assert_eq!(ran.stderr, "vmherdctl: b: VM does not exist\n");
    let (code, _) = operator.failure(&["vm", "show", "a"]);
    assert_eq!(code, 3);
}

#[test]
fn others_are_denied() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &[]);
    for arguments in [
        &["stats"][..],
        &["vm", "list"],
        &["vm", "show", "web-1"],
        &["vm", "add", "a", "--ram", "1", "--cpu", "1"],
        &["vm", "remove", "web-1"],
        &["vm", "passwd", "web-1"],
    ] {
        let (code, text) = user.failure(arguments);
        assert_eq!(code, 4, "{arguments:?}: {text}");
        assert!(text.contains("only root and the daemon's user may do this"), "{text}");
    }
}

#[test]
fn the_socket_of_a_state_directory_is_used_without_a_server() {
    let daemon = Daemon::start();
    let operator = User::operator(&daemon);
    let mut command = operator.command(&["stats", "--format", "compact"]);
    command.env_remove("VMHERD_SERVER").env("VMHERD_STATE_DIR", daemon.state_dir());
    let ran = run(&mut command).expect_success();
    assert!(ran.stdout.lines().any(|line| line == "connections_open\t1"), "{}", ran.stdout);
    let mut command = operator.command(&["stats"]);
    command.env_remove("VMHERD_SERVER").env("VMHERD_STATE_DIR", operator.path("nothing"));
    assert_eq!(run(&mut command).code(), Some(5));
}

#[test]
fn vms_are_listed_by_the_time_they_are_offline() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("here", &[]);
    user.register("gone", &[]);
    let mut here = daemon.client();
    here.authenticate("here");
    user.output(&["vms", "--vm", "gone"]);
    let operator = User::operator(&daemon);
    for command in [&["vms"][..], &["vm", "list"]] {
        let names = |time| {
            let options = ["--offline-for", time, "-c", "vm_id", "--format", "compact"];
            operator.output(&[command, &options].concat())
        };
        assert_eq!((&*names("0s"), &*names("1h")), ("gone\n", ""), "{command:?}");
    }
    let (code, text) = user.failure(&["vms", "--offline-for", "1h", "--vm", "gone"]);
    assert_eq!(code, 4, "{text}");
    assert!(!text.contains(PASSWORD));
}

/// Beside `vmherdctl` there is the daemon's own program, which does this.
#[test]
fn tokens_and_consoles_are_those_of_the_host() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).env("VMHERD_STATE_DIR", daemon.state_dir().to_str().expect("UTF-8"));
    let added = user.output(&["token", "add", "--disabled"]);
    assert!(added.starts_with("added access token 1, disabled"), "{added}");
    assert!(user.output(&["token", "list"]).contains("disabled"));
    assert_eq!(user.run(&["token", "remove", "2"]).code(), Some(1));
    // A reader sees what the operator does.
    daemon.client().register("web-1", &[]);
    let added = user.output(&["token", "add", "--reader", "me"]);
    let file = daemon.state_dir().join("token").display().to_string();
    std::fs::write(&file, added.lines().nth(1).expect("a token")).expect("a file");
    let entry = &user.json(&["vms", "--token-file", &file])["vms"][0];
    assert_eq!((&entry["vm_id"], &entry["id"]), (&json!("web-1"), &json!(1)));
    assert_eq!(user.failure(&["update", "--ram", "7M", "--token-file", &file]).0, 4);
    let ran = user.run(&["console", "01234567-89ab-4cde-bfed-0123456789ab"]);
    assert_eq!((ran.code(), ran.stderr.contains("runs no VM")), (Some(1), true), "{ran:?}");
    assert_eq!(user.run(&["token"]).code(), Some(2));
}

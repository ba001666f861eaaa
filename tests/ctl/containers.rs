//! VMs that the server runs: created, awaited and destroyed, with credentials that are kept.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::common::Daemon;
use crate::support::User;

/// A daemon whose QEMU is a program of the tests, with these ports.
fn daemon(ports: &str) -> Daemon {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vms/fake_qemu.py");
    let builder = Daemon::builder();
    let image = builder.state_dir().join("image");
    fs::write(&image, "abc").expect("a file");
    let builder = builder.env("VMHERD_VM_IMAGE", image).env("VMHERD_VM_PORTS", ports);
    builder.env("VMHERD_VM_QEMU", program).env("VMHERD_VM_ACCEL", "tcg").start()
}

#[test]
fn a_vm_is_created_and_destroyed_by_its_name() {
    let daemon = daemon("26000-26009");
    let user = User::of(&daemon);
    let server = user.json(&["stat"]);
    assert_eq!(server["server"]["version"], env!("CARGO_PKG_VERSION"));
    let created = user.json(&["create", "--wait"])["created"].take();
    let name = created["container_uuid"].as_str().expect("a name").to_owned();

    let file = user.path("vmherdctl/vms.json");
    let mode = fs::metadata(&file).expect("the file of credentials").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept: Value = serde_json::from_str(&fs::read_to_string(&file).expect("text")).expect("JSON");
    assert_eq!(kept[format!("tcp://{}", daemon.address())][&name], created);

    assert_eq!(user.output(&["wait", &name, "--for", "ssh"]), format!("{name} is ready for SSH\n"));
    assert_eq!(user.output(&["destroy", &name]), format!("destroyed {name}\n"));
    assert_eq!(fs::read_to_string(&file).expect("text"), "{}\n");
    let (code, text) = user.failure(&["destroy", &name]);
    assert_eq!(code, 3, "{text}");
}

#[test]
fn credentials_may_be_printed_only() {
    let daemon = daemon("26010-26019");
    let user = User::of(&daemon);
    let text = user.output(&["create", "--no-store"]);
    for heading in ["NAME", "SSH PORT", "USER", "PASSWORD", "TOKEN"] {
        assert!(text.contains(&format!("{heading} ")), "{text}");
    }
    assert!(!user.path("vmherdctl/vms.json").exists());
    let field = |heading: &str| {
        let line = text.lines().find(|line| line.starts_with(heading)).expect(heading);
        line.trim_start_matches(heading).trim().to_owned()
    };
    let token = user.file("token", &field("TOKEN"));
    user.output(&["destroy", &field("NAME"), "--client-token-file", &token]);
}

#[test]
fn several_are_destroyed_and_failures_named() {
    let daemon = daemon("26020-26029");
    let user = User::of(&daemon);
    let name = user.output(&["create", "-c", "container_uuid", "--format", "compact"]);
    let (name, unknown) = (name.trim_end(), "01234567-89ab-4cde-bfed-0123456789ab");
    let ran = user.run(&["destroy", name, unknown, "--format", "json"]);
    assert_eq!(ran.code(), Some(7), "{ran:?}");
    let document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(document["destroyed"][0], json!({"vm_id": name, "error": null}));
    assert!(document["destroyed"][1]["error"].is_string(), "{document}");
    let failure: Value = serde_json::from_str(&ran.stderr).expect("JSON");
    assert_eq!(failure["code"], "partial");
}

#[test]
fn a_vm_that_has_ended_is_forgotten() {
    let daemon = daemon("26030-26039");
    let user = User::of(&daemon);
    let created = user.json(&["create"])["created"].take();
    let name = created["container_uuid"].as_str().expect("a name");
    let token = created["client_token"].clone();
    let parameters = json!({"container_uuid": name, "client_token": token});
    daemon.client().call(json!({"verb": "DESTROY", "parameters": parameters}));
    // A while it is known to have ended.
    let ran = user.run(&["destroy", name]);
    assert!([Some(0), Some(4)].contains(&ran.code()), "{ran:?}");
    if ran.code() == Some(4) {
        assert!(ran.stderr.contains("destroy --forget NAME"), "{ran:?}");
        user.output(&["destroy", "--forget", name]);
    }
    assert_eq!(fs::read_to_string(user.path("vmherdctl/vms.json")).expect("text"), "{}\n");
}

#[test]
fn a_vm_is_awaited_online_and_offline() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &[]);
    user.register("other", &[]);
    let wait = |name, state| ["wait", name, "--for", state, "--vm", "other"];
    assert_eq!(user.output(&wait("web-1", "offline")), "web-1 is offline\n");
    let (code, text) = user.failure(&[&wait("web-1", "online")[..], &["--within", "0.1s"]].concat());
    let expected = "vmherdctl: web-1 is not online after 0.1 s\nhint: --within allows more time\n";
    assert_eq!((code, &*text), (6, expected));
    let (code, _) = user.failure(&wait("web-2", "online"));
    assert_eq!(code, 3);

    let mut waiting = user.command(&wait("web-1", "online"));
    let waiting = waiting.stdout(std::process::Stdio::piped()).spawn().expect("it runs");
    let mut client = daemon.client();
    client.authenticate("web-1");
    let output = waiting.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "web-1 is online\n");
}

#[test]
fn an_ssh_server_is_awaited_at_any_address() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let user = User::at("127.0.0.1:1");
    let wait = ["wait", "x", "--for", "ssh", "--address", &address, "--within"];
    // It accepts, but says nothing.
    let (code, _) = user.failure(&[&wait[..], &["0.3s"]].concat());
    assert_eq!(code, 6);
    let (code, text) = user.failure(&["wait", "x", "--for", "ssh"]);
    assert_eq!(code, 3, "{text}");
}

//! Names from before confusable ones were refused: their VMs go on, by the bytes of their names.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::common::{Client, Daemon, PASSWORD, request};

/// All look like the first, or like nothing.
const OLD_NAMES: [&str; 6] =
    ["web\u{200b}", "web\u{202e}", "\u{2060}web", "web\u{e0041}", "\u{3164}\u{200b}", "cafe\u{301}"];

/// A daemon with the VM `web` and one of each old name.
fn daemon_with_old_names() -> Daemon {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("web", &[1]);
    client.register("caf\u{e9}", &[1]);
    for index in 0..OLD_NAMES.len() {
        client.register(&format!("old-{index}"), &[1]);
    }
    daemon.stop();
    let store = Connection::open(daemon.state_dir().join("vmherd.sqlite3")).expect("the store");
    for (index, name) in OLD_NAMES.iter().enumerate() {
        let sql = "UPDATE vms SET name = ?1 WHERE name = ?2";
        assert_eq!(store.execute(sql, (name, format!("old-{index}"))).expect(sql), 1);
    }
    drop(store);
    daemon.restart();
    daemon
}

#[track_caller]
fn names(client: &mut Client) -> Vec<String> {
    let name = |vm: &Value| vm["vm_id"].as_str().expect("a name").to_owned();
    client.list("all_vms").iter().map(name).collect()
}

#[test]
fn an_old_name_logs_in_is_listed_and_is_removed_by_its_bytes() {
    let daemon = daemon_with_old_names();
    let mut reader = daemon.client();
    reader.authenticate("web");
    let mut expected = [&["web", "caf\u{e9}"][..], &OLD_NAMES].concat();
    for name in OLD_NAMES {
        assert_eq!(names(&mut reader), expected, "listed byte for byte");
        let mut client = daemon.client();
        let token = client.authenticate(name);
        client.succeed("update", json!({"ram": 7}));
        let own = client.list("authenticated_vms");
        let own = own.iter().find(|entry| entry["addr"][1] == client.local_address().port());
        let own = &own.expect("its own connection")["vm_info"];
        assert_eq!((&own["vm_id"], &own["ram"]), (&json!(name), &json!(7)));
        let reply = client.call(request("logout", json!({})));
        assert_eq!(reply["message"], format!("VM ({name}) logged out successfully"));
        assert_ne!(daemon.client().call(with_token(&token))["status"], "success");

        // A name that looks the same is another VM, and stays.
        let token = daemon.client().authenticate(name);
        assert_eq!(daemon.client().call(with_token(&token))["status"], "success");
        daemon.vm_command(&["remove", name], "").expect_success();
        expected.retain(|other| *other != name);
        let login = request("authenticate", json!({"vm_id": name, "password": PASSWORD}));
        assert_eq!(daemon.client().fail(login), "Invalid credentials");
        assert_ne!(daemon.client().call(with_token(&token))["status"], "success");
        // It is not taken again.
        let vm = json!({"vm_id": name, "ram": 1, "cpu": 1, "password": PASSWORD, "disks": []});
        assert!(daemon.client().fail(request("register", vm)).starts_with("vm_id: "));
    }
    assert_eq!(names(&mut reader), ["web", "caf\u{e9}"]);
    daemon.client().authenticate("caf\u{e9}");
}

fn with_token(token: &str) -> Value {
    request("list", json!({"list_type": "all_vms", "token": token}))
}

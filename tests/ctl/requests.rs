//! Conversions, and requests as they are.

use serde_json::{Value, json};

use crate::common::Daemon;
use crate::support::User;

const TEXT: &str = "Hub&&name&&qwe&&id&&123&&%%Device&&name&&wqe&&id&&234&&";

#[test]
fn packed_text_is_converted() {
    let daemon = Daemon::builder().args(["--conversion-delay", "0"]).start();
    let user = User::of(&daemon);
    let table =
        "ENTITY  NAME  VALUE\nDevice  id    234\nDevice  name  wqe\nHub     id    123\nHub     name  qwe\n";
    assert_eq!(user.output(&["convert", TEXT]), table);
    let ran = user.run_with_input(&["convert"], &format!("{TEXT}\n")).expect_success();
    assert_eq!(ran.stdout, table);
    assert_eq!(
        user.json(&["convert", "Hub&&name&&qwe"]),
        json!({"parameters": [{"entity": "Hub", "name": "name", "value": "qwe"}]})
    );
}

#[test]
fn requests_of_every_dialect_are_sent_as_they_are() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    let add = r#"{"action": "add_vm", "ram": 1, "disks": [1]}"#;
    assert_eq!(user.output(&["raw", add]), "{\"status\":\"vm added\",\"vm_id\":1}\n");
    let requests = format!("{add}\n{{\"verb\": \"STAT\",\n \"parameters\": {{}}}}{{\"command\": \"ping\"}}");
    let ran = user.run_with_input(&["raw"], &requests).expect_success();
    let replies: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a reply")).collect();
    assert_eq!(
        (&replies[0]["vm_id"], &replies[1]["success"], &replies[2]["message"]),
        (&json!(2), &json!(true), &json!("PONG"))
    );
    let document = user.json(&["raw", add]);
    assert_eq!(document, json!({"replies": [{"reply": {"status": "vm added", "vm_id": 3}}]}));
}

#[test]
fn failed_requests_show_their_replies_and_fail() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    let list = r#"{"command": "list", "data": {"list_type": "all_vms"}}"#;
    let ping = r#"{"command": "ping"}"#;
    let ran = user.run(&["raw", list]);
    assert_eq!(ran.code(), Some(4), "{ran:?}");
    assert!(ran.stdout.contains("\"status\":\"error\""), "{ran:?}");
    assert!(ran.stderr.starts_with("vmherdctl: You have to authenticate"), "{ran:?}");
    let ran = user.run(&["raw", ping, list]);
    assert_eq!((ran.code(), ran.stdout.lines().count()), (Some(7), 2), "{ran:?}");
    let (code, text) = user.failure(&["raw", "{\"command\": \"secret\""]);
    assert_eq!(code, 2);
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_login_holds_for_requests_as_they_are() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &[]);
    let list = r#"{"command": "list", "data": {"list_type": "all_vms"}}"#;
    user.output(&["raw", list, "--vm", "web-1"]);
    let token = user.output(&["authenticate", "web-1", "-c", "token", "--format", "compact"]);
    let file = user.file("token", &token);
    let text = user.output(&["raw", list, "--token-file", &file]);
    assert!(text.contains("\"vm_id\":\"web-1\"") && !text.contains(token.trim_end()), "{text}");
}

//! A server that sends what a terminal must not get, and what is no reply.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use crate::support::User;

/// A server that answers every line with `reply`. It serves until the test process ends.
pub fn server(reply: &str) -> User {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let reply = format!("{reply}\n");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            for _ in lines.take_while(Result::is_ok) {
                if stream.write_all(reply.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    User::at(&address.to_string())
}

pub fn success(data: Value) -> String {
    json!({"status": "success", "message": null, "data": data}).to_string()
}

pub const EVIL: &str = "a\u{1b}]0;x\u{7}\u{1b}[2Jb\n\r\tc\u{9b}31m\u{202e}d\u{2028}e";

#[test]
fn names_of_a_hostile_server_are_escaped() {
    let vm = json!({"vm_id": EVIL, "ram": 1, "cpu": 1, "disks": [{"id": 1, "vm_id": EVIL, "disk_size": 1}]});
    let user = server(&success(json!({"all_vms": [vm], "all_disks": [vm["disks"][0]]})));
    let user = user.env("COLUMNS", "40");
    for format in ["table", "compact"] {
        for command in ["vms", "disks"] {
            let text = user.output(&[command, "--format", format]);
            let is_harmless = |character: char| {
                ['\n', '\t'].contains(&character)
                    || !character.is_control() && !"\u{202e}\u{2028}".contains(character)
            };
            assert!(text.chars().all(is_harmless), "{text:?}");
            assert!(text.contains("a\\u001b"), "{text}");
        }
        let text = user.output(&["vms", "--format", format]);
        assert!(text.lines().all(|line| line.chars().count() <= 40) || format == "compact", "{text}");
    }
    // Programs get the name itself.
    assert_eq!(user.json(&["vms"])["vms"][0]["vm_id"], EVIL);
}

#[test]
fn messages_of_a_hostile_server_are_escaped() {
    let message = format!("{EVIL} refused");
    let user = server(&json!({"status": "error", "message": message, "data": {}}).to_string());
    let (code, text) = user.failure(&["ping"]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
}

#[test]
fn what_is_no_reply_is_a_failure() {
    for reply in ["", "[]", "{}", "no JSON", "{\"status\": \"success\", \"message\": 1, \"data\": []}"] {
        for command in
            [&["ping"][..], &["vms"], &["stat"], &["convert", "a"], &["metrics", "get"], &["stats"]]
        {
            let (code, text) = server(reply).failure(command);
            assert_eq!(code, 1, "{command:?} after {reply:?}: {text}");
        }
    }
    // Of the right shape, but without what was asked for.
    let user = server(&success(json!({})));
    for command in ["vms", "disks"] {
        assert_eq!(user.failure(&[command]).0, 1, "{command}");
    }
}

//! Every class of failure: its exit code, and its text for people and for programs.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::common::{Daemon, PASSWORD, TempDir};
use crate::formats::{OPERATOR_SCHEMAS, SCHEMAS};
use crate::support::{User, names};

/// Fails with this exit code in both forms. The text for people, and the document.
#[track_caller]
fn fails(user: &User, arguments: &[&str], code: i32, name: &str) -> (String, Value) {
    let (found, text) = user.failure(arguments);
    assert_eq!(found, code, "{arguments:?}: {text}");
    assert!(text.starts_with("vmherdctl: "), "{text}");
    let (found, document) = user.failure(&[arguments, &["--format", "json"]].concat());
    let document: Value =
        serde_json::from_str(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
    assert_eq!((found, &document["code"]), (code, &json!(name)), "{document}");
    assert_eq!(names(&document), ["code", "error", "hint", "transient"]);
    assert!(text.contains(document["error"].as_str().expect("a text")), "{text}: {document}");
    (text, document)
}

#[test]
fn the_server_refuses() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &[]);
    let (text, _) = fails(&user, &["register", "web-1", "--ram", "1", "--cpu", "1"], 1, "failed");
    assert_eq!(text, "vmherdctl: VM is already registered\nhint: log in with: vmherdctl authenticate NAME\n");
    let too_much = ["update", "--ram", "2P", "--vm", "web-1"];
    fails(&user, &too_much, 1, "failed");
}

#[test]
fn wrong_arguments() {
    let user = User::at("tcp://127.0.0.1:1").with_password();
    for arguments in [
        &["nonsense"][..],
        &["ping", "more"],
        &["ping", "--nonsense"],
        &["register"],
        &["register", "a", "--ram", "1.3M", "--cpu", "1"],
        &["register", "a", "--ram", "2GB", "--cpu", "1"],
        &["register", "a", "--ram", "1", "--cpu", "0"],
        &["update"],
        &["update", "--disk", "1=1G", "--disk", "2G", "--vm", "a"],
        &["vms", "--active", "--authenticated"],
        &["vms", "-c", "nonsense"],
        &["vms", "--timeout", "soon"],
        &["vms", "--vm", "a", "--token-file", "f"],
        &["vms", "--vm", "a", "--password-file", "/nonexistent"],
        &["ping", "--server", "http://127.0.0.1"],
        &["authenticate"],
    ] {
        if arguments == ["update"] || arguments.contains(&"2G") {
            continue;
        }
        fails(&user, arguments, 2, "usage");
    }
    let (text, _) = fails(&user, &["pong"], 2, "usage");
    assert!(text.contains("ping"), "a suggestion: {text}");
    let (text, document) = fails(&user, &["vms", "-c", "nonsense"], 2, "usage");
    assert!(text.contains("hint: the columns are vm_id, ram, "), "{text}");
    assert_eq!(document["transient"], false);
}

/// These need a login before they can say what is wrong.
#[test]
fn an_update_without_a_change_is_wrong_use() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("a", &["1"]);
    fails(&user, &["update", "--vm", "a"], 2, "usage");
    fails(&user, &["update", "--disk", "1=1G", "--disk", "2G", "--vm", "a"], 2, "usage");
}

#[test]
fn what_does_not_exist() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &["1"]);
    fails(&user, &["update", "--disk", "7=1G", "--vm", "web-1"], 3, "not_found");
}

#[test]
fn what_is_denied() {
    let daemon = Daemon::builder().arg("--registration=closed").start();
    let user = User::of(&daemon).with_password();
    let (text, _) = fails(&user, &["vms"], 4, "denied");
    assert_eq!(
        text,
        "vmherdctl: You have to authenticate to run this operation\n\
         hint: log in with --vm NAME, or with a token: --token-file FILE\n"
    );
    fails(&user, &["vms", "--vm", "unknown"], 4, "denied");
    fails(&user, &["register", "a", "--ram", "1", "--cpu", "1"], 4, "denied");
    let with_token = User::of(&daemon).env("VMHERD_TOKEN", "unknown");
    fails(&with_token, &["vms"], 4, "denied");
}

#[test]
fn no_server_is_there() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let folder = TempDir::new();
    for server in [format!("tcp://{free}"), format!("unix:{}/vmherd.sock", folder.path().display())] {
        let (text, document) = fails(&User::at(&server), &["ping"], 5, "no_connection");
        assert!(text.contains(&server), "{text}");
        assert_eq!(document["transient"], true);
    }
}

#[test]
fn the_server_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let user = User::at(&silent.local_addr().expect("an address").to_string());
    let (_, document) = fails(&user, &["ping", "--timeout", "0.2s"], 6, "timeout");
    assert_eq!(document["transient"], true);
}

/// A server may send anything: a terminal gets none of it as it is.
#[test]
fn names_with_control_characters_are_shown_escaped() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    let (_, text) = user.failure(&["register", "a\u{1b}[31mb", "--ram", "1", "--cpu", "1"]);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let (_, text) = user.failure(&["vms", "--vm", "a\u{202e}b"]);
    assert!(!text.contains('\u{202e}'), "{text:?}");
    let (_, text) = user.failure(&["\u{1b}[31m"]);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(!text.contains(PASSWORD));
}

/// The arguments of every command, without a login.
fn every_command() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = SCHEMAS.iter().chain(OPERATOR_SCHEMAS);
    rows.map(|(arguments, ..)| {
        let login = arguments.iter().position(|argument| *argument == "--vm").unwrap_or(arguments.len());
        arguments[..login].to_vec()
    })
}

#[test]
fn every_command_says_that_no_server_is_there() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let user = User::at(&free.to_string()).with_password();
    for arguments in every_command() {
        fails(&user, &arguments, 5, "no_connection");
    }
    fails(&user, &["create"], 5, "no_connection");
}

#[test]
fn every_command_says_that_the_server_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let user = User::at(&silent.local_addr().expect("an address").to_string()).with_password();
    for mut arguments in every_command() {
        arguments.extend(["--timeout", "0.05s"]);
        fails(&user, &arguments, 6, "timeout");
    }
    fails(&user, &["create", "--timeout", "0.05s"], 6, "timeout");
}

#[test]
fn every_command_says_that_it_needs_a_login() {
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=none").start();
    let user = User::of(&daemon).with_password();
    let is_open = |command: &str| ["ping", "register", "authenticate", "raw"].contains(&command);
    for arguments in every_command().filter(|arguments| !is_open(arguments[0])) {
        let (_, document) = fails(&user, &arguments, 4, "denied");
        assert!(document["hint"].is_string(), "{document}");
    }
    fails(&user, &["create"], 4, "denied");
}

#[test]
fn every_command_says_what_is_wrong_with_its_arguments() {
    let user = User::at("127.0.0.1:1").with_password();
    for mut arguments in every_command() {
        arguments.push("--nonsense");
        fails(&user, &arguments, 2, "usage");
    }
}

/// A token that was not read would be lost without a word.
#[test]
fn a_secret_that_is_not_printed_is_a_failure() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &[]);
    let mut command = user.command(&["authenticate", "web-1"]);
    command.stdout(std::fs::File::options().write(true).open("/dev/full").expect("a device"));
    let ran = command.output().expect("the program runs");
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(
        (ran.status.code(), errors.contains("done, but the result was not printed")),
        (Some(7), true),
        "{errors}"
    );
}

#[test]
fn a_host_that_is_not_known_yet_is_waited_for() {
    let user = User::at("tcp://127.0.0.1:1");
    let wait = |address: &str| {
        user.run(&["wait", "x", "--for", "ssh", "--address", address, "--within", "0.3s"]).code()
    };
    assert_eq!((wait("name.invalid:22"), wait("name.invalid")), (Some(6), Some(2)));
}

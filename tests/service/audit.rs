//! The audit log: what clients do and which requests are refused, in lines of a stable format, without a secret.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, PASSWORD, request, require, run};
#[cfg(feature = "http")]
use crate::web::{Web, post};

/// The text after the target in the lines of the audit log.
fn audit(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    log.lines().filter_map(|line| Some(line.split_once(" vmherd::audit: ")?.1.to_owned())).collect()
}

/// The one line of the audit log that holds `part`, and its level.
#[track_caller]
fn line(daemon: &Daemon, part: &str) -> (String, String) {
    daemon.wait_for_log(part);
    let log = daemon.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(part)).collect();
    assert_eq!(lines.len(), 1, "{part}: {log}");
    let (head, event) = lines[0].split_once(" vmherd::audit: ").unwrap_or_else(|| panic!("{log}"));
    (head.split_whitespace().nth(1).expect("a level").to_owned(), event.to_owned())
}

#[track_caller]
fn expect(daemon: &Daemon, client: &Client, level: &str, event: &str, rest: &str) {
    let peer = client.local_address();
    let expected = format!("event={event} peer={} port={} {rest}", peer.ip(), peer.port());
    assert_eq!(line(daemon, &expected), (level.to_owned(), expected));
}

fn login(name: &str, password: &str) -> Value {
    request("authenticate", json!({"vm_id": name, "password": password}))
}

#[test]
fn logins_registrations_and_changes_are_logged() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("web-1", &[10]);
    expect(&daemon, &client, "INFO", "register", "dialect=command command=register vm=\"web-1\"");
    let token = client.authenticate("web-1");
    expect(
        &daemon,
        &client,
        "INFO",
        "login",
        "dialect=command command=authenticate by=password vm=\"web-1\"",
    );
    client.succeed("update", json!({"ram": 7}));
    expect(&daemon, &client, "INFO", "change", "dialect=command command=update vm=\"web-1\"");
    let mut other = daemon.client();
    other.succeed("update", json!({"ram": 8, "token": token}));
    expect(&daemon, &other, "INFO", "login", "dialect=command command=update by=token vm=\"web-1\"");
    client.succeed("logout", json!({}));
    expect(&daemon, &client, "INFO", "logout", "dialect=command command=logout vm=\"web-1\"");

    let mut manager = daemon.client();
    manager.call(json!({"action": "add_vm", "ram": 1, "disks": [1]}));
    expect(&daemon, &manager, "INFO", "register", "dialect=action command=add_vm vm=\"2\"");
    manager.call(json!({"action": "authenticate", "vm_id": 2}));
    expect(&daemon, &manager, "INFO", "login", "dialect=action command=authorize_vm by=nothing vm=\"2\"");
    manager.call(json!({"action": "connect", "vm_id": 1, "password": PASSWORD}));
    expect(&daemon, &manager, "INFO", "login", "dialect=action command=connect_vm by=password vm=\"web-1\"");
    manager.call(json!({"action": "update_vm", "vm_id": 2, "ram": 5}));
    expect(&daemon, &manager, "INFO", "change", "dialect=action command=update_vm vm=\"2\"");
    manager.call(json!({"action": "logout_vm", "vm_id": 2}));
    expect(&daemon, &manager, "INFO", "logout", "dialect=action command=logout_vm vm=\"2\"");
}

#[test]
fn changes_of_the_operator_are_logged() {
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    let new = json!({"vm_id": "web-1", "ram": 1, "cpu": 1, "disks": [], "password": PASSWORD});
    let of_vm = json!({"vm_id": "web-1"});
    for (event, command, data) in [
        ("register", "add", new),
        ("change", "update", json!({"vm_id": "web-1", "ram": 2})),
        ("change", "passwd", json!({"vm_id": "web-1", "password": "another password"})),
        ("logout", "logout", of_vm.clone()),
        ("logout", "end_sessions", of_vm.clone()),
        ("remove", "remove", of_vm),
    ] {
        operator.succeed(command, data);
        let rest = format!("dialect=command command={command} vm=\"web-1\"");
        let (level, line) = line(&daemon, &rest);
        assert!(line.starts_with(&format!("event={event} peer=unix")), "{line}");
        assert_eq!(level, "INFO");
    }
    let mut client = daemon.client();
    client.fail(request("remove", json!({"vm_id": "web-1"})));
    expect(
        &daemon,
        &client,
        "WARN",
        "refused",
        "dialect=command command=remove reason=operators-only vm=\"web-1\"",
    );
    assert!(!daemon.log().contains(PASSWORD) && !daemon.log().contains("another password"));
}

#[test]
fn refusals_are_logged_with_their_reason() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=metrics").start();
    let mut client = daemon.client();
    client.register("a", &[]);
    client.register("b", &[]);
    let token = client.authenticate("b");
    // Each on a connection of its own, whose port identifies its line.
    let cases = [
        (login("a", "wrong password"), "authenticate reason=bad-credentials vm=\"a\""),
        (
            login("no\"\\\u{202e}body", "wrong password"),
            "authenticate reason=bad-credentials vm=\"no\\\"\\\\\\u202ebody\"",
        ),
        (request("update", json!({"ram": 1, "token": "no token of ours"})), "update reason=bad-token"),
        (request("list", json!({"list_type": "all_vms"})), "list reason=authentication-required"),
        (request("stats", json!({})), "stats reason=operators-only"),
    ];
    for (request, rest) in cases {
        let mut client = daemon.client();
        client.fail(request);
        expect(&daemon, &client, "WARN", "refused", &format!("dialect=command command={rest}"));
    }
    let mut client = daemon.client();
    client.authenticate("a");
    client.fail(request("update", json!({"ram": 1, "token": token})));
    expect(&daemon, &client, "WARN", "refused", "dialect=command command=update reason=token-of-another-vm");

    let strangers = Client::connect(daemon.addresses()[1]);
    let mut client = strangers;
    client.call(json!({"action": "list_all_vms"}));
    expect(
        &daemon,
        &client,
        "WARN",
        "refused",
        "dialect=action command=action_list reason=authentication-required",
    );
    let mut client = Client::connect(daemon.addresses()[1]);
    client.call(json!({"action": "logout_vm", "vm_id": 1}));
    expect(
        &daemon,
        &client,
        "WARN",
        "refused",
        "dialect=action command=logout_vm reason=authentication-required vm=\"1\"",
    );
    let mut client = daemon.client();
    client.call(json!({"action": "authenticate", "vm_id": 1}));
    expect(
        &daemon,
        &client,
        "WARN",
        "refused",
        "dialect=action command=authorize_vm reason=bad-credentials vm=\"1\"",
    );
    let mut client = daemon.client();
    client.call(json!({"action": "connect", "vm_id": 77}));
    expect(
        &daemon,
        &client,
        "WARN",
        "refused",
        "dialect=action command=connect_vm reason=unknown-vm vm=\"77\"",
    );
}

/// Reads cost nothing; what is refused names the reader.
#[cfg(feature = "sqlite")]
#[test]
fn a_refused_reader_is_named() {
    let daemon = Daemon::start();
    let token = daemon.reader_token("grafana");
    let mut client = daemon.client();
    client.succeed("list", json!({"list_type": "all_vms", "token": token}));
    client.fail(request("update", json!({"ram": 1, "token": token})));
    expect(
        &daemon,
        &client,
        "WARN",
        "refused",
        "dialect=command command=update reason=authentication-required access_token=1 reader=\"grafana\"",
    );
    assert_eq!(audit(&daemon).len(), 1, "{:?}", audit(&daemon));
    assert!(!daemon.log().contains(&token));
}

#[test]
fn a_closed_registration_is_logged() {
    let daemon = Daemon::builder().arg("--registration=closed").start();
    let mut client = daemon.client();
    client.fail(crate::common::registration("a", &[]));
    expect(
        &daemon,
        &client,
        "WARN",
        "refused",
        "dialect=command command=register reason=registration-closed vm=\"a\"",
    );
    let mut operator = daemon.operator();
    operator.fail(login("a", "wrong password"));
    let (_, event) = line(&daemon, "peer=unix");
    assert!(event.starts_with("event=refused peer=unix uid="), "{event}");
}

#[cfg(feature = "http")]
#[test]
fn requests_of_foreign_pages_are_logged() {
    let daemon = Daemon::start();
    let body = r#"{"command":"ping"}"#;
    let cases = [
        (post(body).replace("localhost", "evil.example"), "foreign-host", 403),
        (post(body).replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n"), "foreign-origin", 403),
        (post(body).replace("\r\n\r\n", "\r\nSec-Fetch-Site: cross-site\r\n\r\n"), "foreign-origin", 403),
        (post(body).replace("\r\n\r\n", "\r\nAuthorization: Basic eDp5\r\n\r\n"), "bad-authorization", 401),
    ];
    for (request, reason, status) in cases {
        let mut web = Web::connect(daemon.address());
        web.send(request.as_bytes());
        assert_eq!(web.reply().status, status);
        let peer = web.socket().local_addr().unwrap().as_socket().unwrap();
        let expected =
            format!("event=refused peer={} port={} dialect=http reason={reason}", peer.ip(), peer.port());
        assert_eq!(line(&daemon, &expected), ("WARN".to_owned(), expected));
    }
}

#[test]
fn reads_are_not_logged() {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[]);
    client.authenticate("a");
    client.ping();
    client.list("all_vms");
    client.succeed("put", json!({"points": [{"key": "k", "value": 1.0, "timestamp": 1}]}));
    client.succeed("get", json!({"key": "k"}));
    client.call(json!({"action": "list_all_vms"}));
    let mut text = daemon.client();
    text.call_text("put k 1 2");
    text.call_text("get *");
    daemon.stop();
    let events = audit(&daemon);
    assert!(events.len() == 2 && events[1].starts_with("event=login"), "{events:#?}");
}

#[test]
fn repeated_events_of_one_source_are_counted() {
    // Delayed guesses would take longer than the minute that is counted.
    let mut daemon = Daemon::builder().args(["--login-failures", "none"]).start();
    let mut client = daemon.client();
    client.register("a", &[]);
    for _ in 0..35 {
        client.fail(login("a", "wrong password"));
    }
    for _ in 0..120 {
        client.authenticate("a");
    }
    // Another source.
    daemon.operator().fail(login("a", "wrong password"));
    daemon.stop();
    let events = audit(&daemon);
    let count = |beginning: &str| events.iter().filter(|event| event.starts_with(beginning)).count();
    assert_eq!(count("event=refused peer=127.0.0.1 "), 10);
    assert_eq!(count("event=register ") + count("event=login "), 100);
    assert_eq!(count("event=refused peer=unix "), 1);
    assert!(
        events.contains(&"event=held-back source=127.0.0.1 refused=25 accepted=21".to_owned()),
        "{events:#?}"
    );
    assert_eq!(count("event=held-back "), 1);
}

#[test]
fn no_secret_is_in_the_audit_log() {
    let mut daemon = Daemon::builder().arg("--log=trace").start();
    let mut client = daemon.client();
    client.register("a", &[]);
    let token = client.authenticate("a");
    let mut other = daemon.client();
    other.fail(login("a", "another-secret-password"));
    other.succeed("update", json!({"ram": 1, "token": token}));
    other.fail(request("update", json!({"ram": 1, "token": "another-secret-token"})));
    daemon.stop();
    let log = daemon.log();
    assert!(audit(&daemon).len() >= 5, "{log}");
    for secret in [PASSWORD, &*token, "another-secret"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// The matches of `fail2ban-regex` in `log` with the filter of the docs.
#[track_caller]
fn found(dir: &Path, log: &str) -> String {
    let file = dir.join("log");
    fs::write(&file, log).unwrap();
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fail2ban/filter.conf");
    require("fail2ban-regex", "fail2ban");
    let mut command = Command::new("fail2ban-regex");
    command.args(["--print-all-matched", "--print-no-missed"]).arg(&file).arg(filter);
    run(&mut command).expect_success().stdout
}

#[test]
fn fail2ban_finds_guesses_and_nothing_else() {
    let dir = crate::common::TempDir::new();
    for format in ["text", "json"] {
        let mut daemon = Daemon::builder().arg("--log-format").arg(format).start();
        let mut client = daemon.client();
        client.register("a", &[]);
        client.authenticate("a");
        client.fail(login("a", "wrong password"));
        client.fail(login("b\",\"vm\":\"c", "wrong password"));
        client.fail(request("update", json!({"ram": 1, "token": "none"})));
        // Not a reason for a ban.
        client.fail(request("list", json!({"list_type": "all_vms"})));
        // A name that a client chooses must not look like a guess of another client.
        client.fail(login("x\"event=refused,peer=203.0.113.9", "wrong password"));
        daemon.stop();
        let output = found(dir.path(), &daemon.log());
        assert!(output.contains("Failregex: 4 total"), "{format}: {output}\n{}", daemon.log());
        assert!(output.contains("127.0.0.1") && !output.contains("  203.0.113.9"), "{format}: {output}");
    }
    let head = "Nov 28 14:00:00 host vmherd[7]:";
    let event =
        "event=refused peer=2001:db8::1 port=9 dialect=command command=authenticate reason=bad-credentials";
    let journal = format!(
        "{head} vmherd::audit: {event} vm=\"a\"\n\
         {head} vmherd: {event}\n\
         {head} {{\"time\":\"2026-11-28T14:00:00.000Z\",\"level\":\"WARN\",\"target\":\"vmherd::audit\",\"message\":\"{event}\"}}\n"
    );
    let output = found(dir.path(), &journal);
    assert!(output.contains("Failregex: 2 total") && output.contains("2001:db8::1"), "{output}");
}

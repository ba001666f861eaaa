//! Sealed listeners with a client of Python's package `cryptography`, in each generation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Builder, Client, Daemon};
use crate::programs::{ask_sealed, clean, python, succeed};

const GENERATIONS: [u32; 3] = [1, 2, 3];
const STAT: &str = r#"{"verb": "STAT", "parameters": {}}"#;

/// A daemon with a second listener, at `address`, and a short key, which is made soon.
fn sealed_at(address: &str) -> Builder {
    let builder = Daemon::builder().listen(address);
    succeed(keys(&["new", "--bits", "2048"]).arg("--state-dir").arg(builder.state_dir()));
    builder
}

fn sealed() -> Builder {
    sealed_at("sealed://127.0.0.1:0")
}

/// `vmherd keys`.
fn keys(arguments: &[&str]) -> Command {
    let mut command = clean(env!("CARGO_BIN_EXE_vmherd"));
    command.arg("keys").args(arguments);
    command
}

/// Runs a check of the script on the sealed listener; what it prints.
#[track_caller]
fn check(daemon: &Daemon, name: &str, arguments: &[&str]) -> String {
    let mut client = python("sealed.py");
    succeed(client.arg(name).arg(daemon.addresses()[1].to_string()).args(arguments)).stdout
}

/// The reply to an error.
fn refusal(message: &str) -> Value {
    json!({"success": false, "message": message, "data": {}})
}

#[test]
fn verbs_are_answered_in_each_generation() {
    let daemon = sealed().start();
    let credentials = json!({
        "container_uuid": "01234567-89ab-4cde-bfed-0123456789ab",
        "client_token": "a-Z_9".repeat(51),
    });
    let destroy = json!({"verb": "DESTROY", "parameters": credentials}).to_string();
    for generation in GENERATIONS {
        let with_id = r#"{"verb": "STAT", "parameters": {}, "request_id": 5}"#;
        let create = r#"{"verb": "CREATE", "parameters": {}}"#;
        let unknown = r#"{"verb": "REBOOT", "parameters": {}}"#;
        let requests = [STAT, with_id, create, &destroy, unknown];
        let answers = ask_sealed(daemon.addresses()[1], generation, &requests);
        for answer in &answers[..2] {
            assert_eq!((&answer["success"], &answer["message"]), (&json!(true), &json!("OK")), "{answer}");
            let fields: Vec<_> = answer["data"].as_object().expect("an object").keys().collect();
            assert_eq!(fields, ["available", "uptime", "version"]);
            assert!(answer["data"]["uptime"].is_u64() && answer.get("request_id").is_none(), "{answer}");
        }
        let wanted = ["Unavailable (No hypervisor)", "Bad authentication", "Bad request (Unknown verb)"];
        assert_eq!(answers[2..], wanted.map(refusal), "{generation}");
    }
}

#[test]
fn what_is_no_verb_is_malformed() {
    let daemon = sealed().start();
    let requests = [
        r#"{"command": "ping", "data": {}}"#,
        r#"{"command": "ping", "request_id": {}}"#,
        r#"{"action": "list_all_vms"}"#,
        r#"{"request_id": "01", "data": "a&&b&&c"}"#,
        r#"{"verb": "STAT"}"#,
        r#"{"verb": "STAT", "parameters": []}"#,
        r#"{"verb": "stat", "parameters": {}}"#,
        r#"{"verb": "STAT", "parameters": {}, "command": "ping"}"#,
        r#"{"verb": "CREATE", "parameters": {"container_uuid": "01234567-89ab-4cde-bfed-0123456789ab"}}"#,
        r#"{"verb": "STAT", "verb": "STAT", "parameters": {}}"#,
        "{}",
        "[1]",
        "5",
        "\"STAT\"",
    ];
    for generation in GENERATIONS {
        let answers = ask_sealed(daemon.addresses()[1], generation, &requests);
        for (request, answer) in requests.iter().zip(answers) {
            assert_eq!(answer, refusal("Bad request (Malformed request)"), "{generation}: {request}");
        }
    }
}

#[test]
fn bad_steps_are_refused() {
    check(&sealed().start(), "bad_steps", &[]);
}

#[test]
fn a_client_may_end_at_each_step() {
    check(&sealed().start(), "refusals", &[]);
}

#[test]
fn a_client_that_stalls_is_refused() {
    check(&sealed().args(["--request-timeout", "2s"]).start(), "stalls", &[]);
}

#[test]
fn a_recorded_session_is_refused() {
    let said = check(&sealed().start(), "replays", &[STAT]);
    assert_eq!(said.matches("\"success\":true").count(), GENERATIONS.len(), "{said}");
}

#[test]
fn keys_of_2048_to_8192_bits_are_accepted() {
    // The default, as the daemon makes it.
    let daemon = Daemon::builder().listen("sealed://127.0.0.1:0").start();
    check(&daemon, "key_sizes", &[]);
}

#[test]
fn other_protocols_are_refused() {
    let daemon = sealed().start();
    for text in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        "{\"verb\": \"STAT\", \"parameters\": {}}\n",
        "{\"command\": \"ping\"}",
        "put k 1 1\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let mut client = Client::connect(daemon.addresses()[1]);
        client.send(text);
        assert_eq!(client.rest(), "0", "{text}");
    }
}

#[test]
fn the_key_pair_outlasts_the_daemon_unless_it_is_for_once() {
    let builder = Daemon::builder().listen("sealed://127.0.0.1:0");
    let mut daemon = builder.start();
    let first = check(&daemon, "fingerprint", &[]);
    let fingerprint = first.trim_end();
    let file = daemon.state_dir().join("sealed_key.pem");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(daemon.log().contains(fingerprint), "{fingerprint}");
    daemon.restart();
    assert_eq!(check(&daemon, "fingerprint", &[]), first);
    let shown = succeed(keys(&["show"]).arg("--state-dir").arg(daemon.state_dir())).stdout;
    assert!(shown.starts_with(&format!("{fingerprint}\n4096 bits, {}\n", file.display())), "{shown}");
    let once = || {
        let builder = Daemon::builder().listen("sealed://127.0.0.1:0").arg("--sealed-onetime-keys");
        let daemon = builder.start();
        assert!(!daemon.state_dir().join("sealed_key.pem").exists());
        check(&daemon, "fingerprint", &[])
    };
    let (second, third) = (once(), once());
    assert!(first != second && second != third && third != first, "{first}{second}{third}");
}

#[test]
fn a_damaged_key_pair_is_an_error_at_the_start() {
    for content in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let builder = sealed();
        let file = builder.state_dir().join("sealed_key.pem");
        fs::write(&file, content).expect("a file");
        let ended = builder.clone().run_to_end();
        assert!(!ended.status.success(), "{ended:?}");
        assert!(ended.stderr.contains(&format!("{}, can't be used: ", file.display())), "{ended:?}");
        assert!(ended.stderr.contains("vmherd keys new"), "{ended:?}");
        assert_eq!(fs::read_to_string(&file).expect("it is kept"), content);
    }
}

/// No password is sent on such a listener, so it needs no `--allow-plaintext`.
#[test]
fn beyond_this_host_the_first_generation_has_to_be_allowed() {
    for (query, is_first_allowed) in [("", false), ("?generation1", true)] {
        let daemon = sealed_at(&format!("sealed://0.0.0.0:0{query}")).start();
        let address = format!("127.0.0.1:{}", daemon.addresses()[1].port());
        for generation in GENERATIONS {
            if generation == 1 && !is_first_allowed {
                succeed(python("sealed.py").args(["refused", &address, "1"]));
                continue;
            }
            let answers = ask_sealed(address.parse().expect("an address"), generation, &[STAT]);
            assert_eq!(answers[0]["message"], "OK", "{query}, generation {generation}");
        }
    }
}

#[test]
fn access_tokens_are_checked_before_the_verb() {
    let daemon = sealed().arg("--sealed-tokens").start();
    let token = |arguments: &[&str]| {
        let mut command = clean(env!("CARGO_BIN_EXE_vmherd"));
        let added = succeed(command.arg("token").args(arguments).arg("--state-dir").arg(daemon.state_dir()));
        added.stdout
    };
    let added = token(&["add"]);
    let secret = added.split_whitespace().find(|word| word.len() == 124).expect("a token").to_owned();
    let stat = |token: &str| json!({"verb": "STAT", "parameters": {"access_token": token}}).to_string();
    let (good, unknown) = (stat(&secret), stat(&"x".repeat(124)));
    let reboot = r#"{"verb": "REBOOT", "parameters": {}}"#;
    let address = daemon.addresses()[1];
    for generation in GENERATIONS {
        let answers = ask_sealed(address, generation, &[&good, STAT, &unknown, reboot]);
        assert_eq!(answers[0]["message"], "OK");
        assert_eq!(answers[1], refusal("Bad request (Access token is required)"));
        assert_eq!(answers[2], refusal("Bad authentication (Invalid access token)"));
        assert_eq!(answers[3], refusal("Bad request (Access token is required)"));
    }
    token(&["disable", "1"]);
    let answers = ask_sealed(address, 3, &[&good]);
    assert_eq!(answers[0], refusal("Bad authentication (Invalid access token)"));
    let log = daemon.log();
    assert!(!log.contains(&secret[..20]), "no token is logged: {log}");
}

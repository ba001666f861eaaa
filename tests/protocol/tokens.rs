//! Tokens: a login by token, its lifetime, and where a token is accepted.

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request, wait_until};

const INVALID: &str = "Invalid access token. Try refreshing with the 'authenticate' command";
const NOT_FOR_ANONYMOUS: &str = "You have to authenticate to run this operation";

fn list_with(token: &Value) -> Value {
    request("list", json!({"list_type": "authenticated_vms", "token": token}))
}

/// The VM of the connection: its entry in the list of authenticated VMs.
#[track_caller]
fn whoami(client: &mut Client) -> Option<String> {
    let reply = client.call(request("list", json!({"list_type": "authenticated_vms"})));
    let port = client.local_address().port();
    let entries = reply["data"]["authenticated_vms"].as_array()?;
    let own = entries.iter().find(|entry| entry["addr"][1] == port).expect("its own connection");
    own["vm_info"]["vm_id"].as_str().map(str::to_owned)
}

/// A daemon with the VMs `a` and `b`.
fn daemon_with_vms(arguments: &[&str]) -> Daemon {
    let daemon = Daemon::builder().args(arguments.iter().copied()).start();
    let mut client = daemon.client();
    client.register("a", &[1]);
    client.register("b", &[]);
    daemon
}

/// A token of the VM; the connection that has logged in is closed.
fn token_of(daemon: &Daemon, name: &str) -> String {
    daemon.client().authenticate(name)
}

/// The answer to a connection without a login that sends the token.
#[track_caller]
fn message_for(daemon: &Daemon, token: &str) -> Value {
    daemon.client().call(list_with(&json!(token)))["message"].take()
}

#[test]
fn a_token_authenticates_an_anonymous_connection() {
    let daemon = daemon_with_vms(&[]);
    let token = token_of(&daemon, "a");
    let mut client = daemon.client();
    assert_eq!(client.call(list_with(&json!(token)))["status"], "success");
    assert_eq!(whoami(&mut client).as_deref(), Some("a"));
    // Also if its request fails.
    let mut client = daemon.client();
    let message = client.fail(request("update", json!({"ram": 0, "token": token})));
    assert!(message.starts_with("ram: "), "{message}");
    assert_eq!(whoami(&mut client).as_deref(), Some("a"));
    // The same again changes nothing.
    assert_eq!(client.call(list_with(&json!(token)))["status"], "success");
    assert_eq!(whoami(&mut client).as_deref(), Some("a"));
}

#[test]
fn every_login_has_a_token_of_its_own() {
    let daemon = daemon_with_vms(&[]);
    let tokens: std::collections::BTreeSet<String> = (0..5).map(|_| token_of(&daemon, "a")).collect();
    assert_eq!(tokens.len(), 5);
    for token in &tokens {
        assert_eq!(message_for(&daemon, token), Value::Null);
    }
}

#[test]
fn a_token_survives_a_restart_and_a_kill() {
    let mut daemon = daemon_with_vms(&[]);
    let token = token_of(&daemon, "a");
    daemon.restart();
    assert_eq!(message_for(&daemon, &token), Value::Null);
    daemon.kill();
    daemon.restart();
    assert_eq!(message_for(&daemon, &token), Value::Null);
}

#[test]
fn a_token_expires() {
    let daemon = daemon_with_vms(&["--token-lifetime", "1s"]);
    let mut client = daemon.client();
    let token = client.authenticate("a");
    wait_until("the token is no good any more", DEADLINE, || message_for(&daemon, &token) == INVALID);
    // The login of the connection goes on.
    assert_eq!(whoami(&mut client).as_deref(), Some("a"));
}

#[test]
fn an_invalid_token_is_an_error_and_changes_nothing() {
    let daemon = daemon_with_vms(&[]);
    let token = token_of(&daemon, "a");
    let upper = token.to_uppercase();
    let mut client = daemon.client();
    for bad in [
        "x",
        " ",
        &token[..63],
        &format!("{token}0"),
        &format!(" {token}"),
        &upper,
        &"0".repeat(64),
        &"x".repeat(9000),
    ] {
        assert_eq!(client.fail(list_with(&json!(bad))), INVALID, "{bad}");
    }
    assert_eq!(whoami(&mut client), None);
    client.authenticate("b");
    assert_eq!(client.fail(list_with(&json!("x"))), INVALID);
    assert_eq!(whoami(&mut client).as_deref(), Some("b"));
    for wrong_type in [json!(7), json!(true), json!([token]), json!({"a": token})] {
        let message = client.fail(list_with(&wrong_type));
        assert!(message.starts_with("token: ") && message.contains("string or null"), "{message}");
    }
}

#[test]
fn a_connection_that_has_seen_many_tokens_takes_one_more() {
    let daemon = daemon_with_vms(&["--login-failures", "none"]);
    let mut client = daemon.client();
    for number in 0..20 {
        let token = token_of(&daemon, "a");
        assert_eq!(client.call(list_with(&json!(token)))["status"], "success", "token {number}");
        // It is anonymous again; a logout would still end the tokens that it has seen.
        let wrong = request("authenticate", json!({"vm_id": "a", "password": "notThePassword"}));
        assert_eq!(client.fail(wrong), "Invalid credentials");
    }
}

/// Tokens that a connection remembers.
const REMEMBERED: usize = 16;

/// A logout ends the remembered tokens; the oldest, which is forgotten, goes on.
#[test]
fn one_token_too_many_makes_the_connection_forget_the_oldest() {
    let daemon = daemon_with_vms(&["--login-failures", "none"]);
    let mut client = daemon.client();
    let tokens: Vec<String> = (0..REMEMBERED + 2).map(|_| token_of(&daemon, "a")).collect();
    for (number, token) in tokens.iter().enumerate() {
        if number > 0 {
            let wrong = request("authenticate", json!({"vm_id": "a", "password": "notThePassword"}));
            assert_eq!(client.fail(wrong), "Invalid credentials");
        }
        assert_eq!(client.call(list_with(&json!(token)))["status"], "success", "token {number}");
    }
    client.succeed("logout", json!({}));
    let (forgotten, remembered) = tokens.split_at(2);
    for token in forgotten {
        assert_eq!(message_for(&daemon, token), Value::Null, "forgotten");
    }
    for token in remembered {
        assert_eq!(message_for(&daemon, token), INVALID, "remembered");
    }
}

#[test]
fn one_login_too_many_revokes_the_oldest_token_of_the_connection() {
    let daemon = daemon_with_vms(&[]);
    let elsewhere = token_of(&daemon, "a");
    let mut client = daemon.client();
    let mut tokens: Vec<String> = (0..REMEMBERED).map(|_| client.authenticate("a")).collect();
    for token in &tokens {
        assert_eq!(message_for(&daemon, token), Value::Null, "not one too many yet");
    }
    tokens.extend((0..2).map(|_| client.authenticate("a")));
    let (revoked, valid) = tokens.split_at(2);
    for token in revoked {
        assert_eq!(message_for(&daemon, token), INVALID, "revoked");
    }
    for token in valid.iter().chain([&elsewhere]) {
        assert_eq!(message_for(&daemon, token), Value::Null, "still valid");
    }
}

#[test]
fn a_null_or_empty_token_counts_as_absent() {
    let daemon = daemon_with_vms(&[]);
    let mut client = daemon.client();
    for absent in [json!(null), json!("")] {
        assert_eq!(client.fail(list_with(&absent)), NOT_FOR_ANONYMOUS);
    }
    client.authenticate("a");
    for absent in [json!(null), json!("")] {
        assert_eq!(client.call(list_with(&absent))["status"], "success");
    }
}

#[test]
fn a_token_of_another_vm_is_an_error_after_login() {
    let daemon = daemon_with_vms(&[]);
    let token = token_of(&daemon, "b");
    let mut client = daemon.client();
    client.authenticate("a");
    for request in [
        list_with(&json!(token)),
        request("update", json!({"ram": 7, "token": token})),
        request("logout", json!({"token": token})),
    ] {
        assert_eq!(client.fail(request), "Token belongs to another VM");
    }
    assert_eq!(whoami(&mut client).as_deref(), Some("a"));
    assert_eq!(message_for(&daemon, &token), Value::Null, "the token is still good");
}

#[test]
fn public_commands_ignore_tokens() {
    let daemon = daemon_with_vms(&[]);
    let token = token_of(&daemon, "b");
    let mut client = daemon.client();
    for ignored in [json!("x"), json!(7), json!({}), json!(token)] {
        client.succeed("ping", json!({"token": ignored}));
        let credentials = json!({"vm_id": "a", "password": "wrong-password", "token": ignored});
        assert_eq!(client.fail(request("authenticate", credentials)), "Invalid credentials");
        let vm =
            json!({"vm_id": "a", "ram": 1, "cpu": 1, "password": PASSWORD, "disks": [], "token": ignored});
        assert_eq!(client.fail(request("register", vm)), "VM is already registered");
        assert_eq!(whoami(&mut client), None, "the connection is anonymous");
    }
    client.succeed("authenticate", json!({"vm_id": "a", "password": PASSWORD, "token": token}));
    assert_eq!(whoami(&mut client).as_deref(), Some("a"));
}

#[test]
fn logout_ends_every_token_of_the_connection_and_no_other() {
    let daemon = daemon_with_vms(&[]);
    let [came_with_it, authenticated_it, elsewhere] = [(); 3].map(|()| token_of(&daemon, "a"));
    let mut client = daemon.client();
    client.succeed("list", json!({"list_type": "all_vms", "token": authenticated_it}));
    let issued_first = client.authenticate("a");
    let issued_last = client.authenticate("a");
    let reply = client.call(request("logout", json!({"token": came_with_it})));
    assert_eq!(reply["message"], "VM (a) logged out successfully");
    assert_eq!(whoami(&mut client), None);
    for token in [&came_with_it, &authenticated_it, &issued_first, &issued_last] {
        assert_eq!(message_for(&daemon, token), INVALID);
    }
    assert_eq!(message_for(&daemon, &elsewhere), Value::Null);
    // The connection is like a new one.
    client.authenticate("b");
    assert_eq!(whoami(&mut client).as_deref(), Some("b"));
}

/// Also those of the VM that was logged in before another one.
#[test]
fn logout_ends_the_tokens_of_every_login_of_the_connection() {
    let daemon = daemon_with_vms(&[]);
    let mut client = daemon.client();
    let of_a = client.authenticate("a");
    let of_b = client.authenticate("b");
    client.succeed("logout", json!({}));
    assert_eq!(message_for(&daemon, &of_a), INVALID);
    assert_eq!(message_for(&daemon, &of_b), INVALID);
}

#[test]
fn a_token_may_log_itself_out() {
    let daemon = daemon_with_vms(&[]);
    let token = token_of(&daemon, "a");
    let mut client = daemon.client();
    client.succeed("logout", json!({"token": token}));
    assert_eq!(whoami(&mut client), None);
    assert_eq!(message_for(&daemon, &token), INVALID);
    assert_eq!(client.fail(request("logout", json!({}))), NOT_FOR_ANONYMOUS);
}

#[test]
fn closing_a_connection_ends_no_token() {
    let daemon = daemon_with_vms(&[]);
    let token = token_of(&daemon, "a");
    wait_until("only this connection is left", DEADLINE, || {
        let mut client = daemon.client();
        let reply = client.call(list_with(&json!(token)));
        reply["data"]["authenticated_vms"].as_array().map(Vec::len) == Some(1)
    });
}

#[test]
fn a_second_login_replaces_the_first_and_a_failed_one_ends_it() {
    let daemon = daemon_with_vms(&[]);
    let mut client = daemon.client();
    let token = client.authenticate("a");
    client.authenticate("b");
    assert_eq!(whoami(&mut client).as_deref(), Some("b"));
    let wrong = [
        json!({"vm_id": "b", "password": "wrong-password"}),
        json!({"vm_id": "a", "password": "wrong-password"}),
        json!({"vm_id": "nobody", "password": PASSWORD}),
    ];
    for credentials in wrong {
        client.authenticate("b");
        assert_eq!(client.fail(request("authenticate", credentials)), "Invalid credentials");
        assert_eq!(whoami(&mut client), None);
    }
    assert_eq!(message_for(&daemon, &token), Value::Null, "a failed login ends no token");
    client.succeed("list", json!({"list_type": "all_vms", "token": token}));
    assert_eq!(whoami(&mut client).as_deref(), Some("a"));
}

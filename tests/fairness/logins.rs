//! Guesses of passwords: a stranger with many connections slows down itself and leaves the others alone.

use std::time::Duration;

use serde_json::json;

use crate::common::{Client, Daemon, request};

/// Guesses at once, more than may wait.
const GUESSES: usize = 12;
/// Attempts of one source that may wait.
const WAITING_MAX: u64 = 8;

#[test]
fn a_stranger_who_guesses_waits_and_the_owner_does_not() {
    let limits = ["--login-failures", "1", "--login-delay-max", "20s"];
    let mut daemon = Daemon::builder().args(limits).start();
    let mut first = daemon.client();
    first.register("vm", &[1]);
    let token = first.authenticate("vm");
    let guess = request("authenticate", json!({"vm_id": "vm", "password": "notThePassword"}));
    // The same for a name that does not exist: what is delayed tells nothing of it.
    let ghost = request("authenticate", json!({"vm_id": "ghost", "password": "notThePassword"}));
    for guess in [&guess, &ghost, &guess, &ghost] {
        assert_eq!(daemon.client().fail(guess.clone()), "Invalid credentials");
    }
    daemon.wait_for_counter("logins_delayed", |delayed| delayed >= 3);

    let mut strangers: Vec<Client> = (0..GUESSES).map(|_| daemon.client()).collect();
    strangers.iter_mut().for_each(|stranger| stranger.send(&guess.to_string()));
    daemon.wait_for_counter("logins_waiting", |waiting| waiting == WAITING_MAX);
    daemon.wait_for_counter("logins_refused", |refused| refused >= 1);

    // Who comes from elsewhere is not concerned: here, a user of this host.
    for _ in 0..10 {
        daemon.operator().authenticate("vm");
    }
    // Nor is a token, from wherever.
    daemon.client().succeed("list", json!({"list_type": "all_vms", "token": token}));

    // Those that leave wait no longer, and those that were refused were told so.
    let mut refused = 0;
    for mut stranger in strangers {
        if stranger.has_input(Duration::from_millis(1)) {
            refused += usize::from(stranger.error() == "busy");
        }
    }
    assert!(refused >= 1, "nobody was told");
    daemon.wait_for_counter("logins_waiting", |waiting| waiting == 0);
    daemon.stop();
    assert!(daemon.log().contains("failed logins by password: "), "{}", daemon.log());
}

#[test]
fn guesses_are_not_delayed_where_that_is_switched_off() {
    let daemon = Daemon::builder().args(["--login-failures", "none"]).start();
    daemon.client().register("vm", &[1]);
    let guess = request("authenticate", json!({"vm_id": "vm", "password": "notThePassword"}));
    let mut client = daemon.client();
    for _ in 0..30 {
        assert_eq!(client.fail(guess.clone()), "Invalid credentials");
    }
    daemon.wait_for_counter("logins_failed", |failed| failed == 30);
    daemon.wait_for_counter("logins_delayed", |delayed| delayed == 0);
}

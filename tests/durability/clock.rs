//! A wall clock that jumps: it ends no token and removes no point before that time has really passed.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::common::{DEADLINE, Daemon, request, wait_until};
use crate::false_clock::FalseClock;

const YEAR: i64 = 400 * 86_400;

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    now.as_secs().cast_signed()
}

/// Waits until the daemon has checked all points: a point that is certainly old is removed.
#[track_caller]
fn wait_for_removal(daemon: &Daemon, key: &str) {
    let mut client = daemon.client();
    assert_eq!(client.call_text(&format!("put {key} 1 1000")), "ok\n\n");
    wait_until("an old point goes", DEADLINE, || {
        // A reload starts a pass at once.
        daemon.signal("HUP");
        client.call_text(&format!("get {key}")) == "ok\n\n"
    });
}

#[track_caller]
fn has_young(daemon: &Daemon) {
    let mut client = daemon.client();
    let found = client.call_text("get young");
    assert!(found.contains("young 1.0 "), "{found:?}");
}

#[test]
fn a_clock_that_jumps_ahead_ends_no_token_and_removes_no_recent_point() {
    let clock = FalseClock::new();
    let mut daemon = clock.daemon().args(["--metrics-retention", "1h"]).start();
    let mut client = daemon.client();
    client.register("a", &[]);
    let token = client.authenticate("a");
    let reads = |daemon: &Daemon| {
        daemon.client().succeed("list", json!({"list_type": "all_vms", "token": token}));
    };
    assert_eq!(daemon.client().call_text(&format!("put young 1 {}", now())), "ok\n\n");
    wait_for_removal(&daemon, "first");
    daemon.wait_for_log("1 points older than 3600 s were removed");

    clock.set_wall_ahead(YEAR);
    // Logins remove expired tokens.
    for _ in 0..3 {
        daemon.client().authenticate("a");
    }
    reads(&daemon);
    daemon.wait_for_log("ahead of the time elapsed");
    wait_for_removal(&daemon, "second");
    has_young(&daemon);

    // After a restart, also after a kill, the clock is far ahead of the time of the stop.
    for _ in 0..2 {
        daemon.restart();
        reads(&daemon);
        wait_for_removal(&daemon, "third");
        has_young(&daemon);
        daemon.kill();
        daemon.restart();
        reads(&daemon);
    }
    clock.set_wall_ahead(0);
    daemon.restart();
    reads(&daemon);
    has_young(&daemon);
}

/// Without a jump tokens expire, and the log has their number.
#[test]
fn expired_tokens_are_removed_and_counted() {
    let daemon = Daemon::builder().args(["--token-lifetime", "1s"]).start();
    let mut client = daemon.client();
    client.register("a", &[]);
    let token = client.authenticate("a");
    wait_until("the token ends", DEADLINE, || {
        let list = request("list", json!({"list_type": "all_vms", "token": token}));
        daemon.client().call(list)["status"] == "error"
    });
    daemon.client().authenticate("a");
    daemon.wait_for_log("1 expired tokens were removed");
}

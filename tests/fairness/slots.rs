//! Connection slots, when anonymous clients have taken them all.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request, run, wait_until};
use crate::overload::{alone, statistic};
use crate::swarm::Swarm;

/// Anonymous connections, more than there are slots.
const STRANGERS: usize = 60;

#[test]
fn anonymous_pings_do_not_lock_out_the_operator_or_health_checks() {
    let _alone = alone();
    let daemon = Daemon::builder().args(["--connections-max", "50"]).start();
    daemon.client().register("vm", &[1]);
    let mut member = daemon.client();
    member.authenticate("vm");
    let mut strangers = Pingers::connect(&daemon);
    for _ in 0..5 {
        strangers.ping_for(Duration::from_millis(200));
        let mut stats = Command::new(env!("CARGO_BIN_EXE_vmherd"));
        stats.env_clear().args(["stats", "--state-dir"]).arg(daemon.state_dir());
        let output = run(&mut stats).expect_success().stdout;
        assert!(output.contains("connections_open"), "{output}");

        let mut checker = daemon.client();
        checker.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        wait_until("the health check is answered", DEADLINE, || {
            strangers.ping_for(Duration::from_millis(5));
            checker.has_input(Duration::from_millis(1))
        });
        assert_eq!(checker.raw_line(), "HTTP/1.1 200 OK\r");
    }
    // An authenticated connection is never evicted.
    member.ping();
    let mut operator = daemon.operator();
    assert!(statistic(&mut operator, "connections_evicted") > 0);
    assert!(statistic(&mut operator, "connections_open") <= 52);
}

#[test]
fn the_longest_idle_connection_is_evicted_and_never_a_busy_one() {
    let _alone = alone();
    let daemon = Daemon::builder().args(["--connections-max", "4"]).start();
    let login = request("authenticate", json!({"vm_id": "vm", "password": PASSWORD}));
    daemon.client().register("vm", &[1]);
    daemon.wait_for_counter("connections_open", |open| open == 1);
    let mut member = daemon.client();
    assert_eq!(member.call(login)["status"], "success");
    let mut busy = daemon.client();
    busy.send("{\"command\": \"pi");
    let [mut first, mut second] = [daemon.client(), daemon.client()];
    first.ping();
    second.ping();
    first.ping();
    // Only now has the second been idle for longest.
    let mut third = daemon.client();
    third.ping();
    second.expect_closed();
    let mut fourth = daemon.client();
    fourth.ping();
    first.expect_closed();
    busy.send("ng\"}");
    assert_eq!(busy.reply()["message"], "PONG");
    member.ping();
}

#[cfg(feature = "sqlite")]
#[test]
fn a_connection_with_a_request_in_flight_is_never_evicted() {
    /// A conversion, which is answered after a delay, and puts, which wait for the store.
    const REQUESTS: [&str; 3] = [
        "{\"request_id\": 1, \"data\": \"e&&a&&1\"}",
        "{\"request_id\": 2, \"command\": \"put\", \"data\": {\"key\": \"k\", \"value\": 1}}",
        "put k 1 1\n",
    ];
    const STRANGERS: usize = 6;
    let _alone = alone();
    wait_until("an attempt before the first answer", 4 * DEADLINE, || {
        let limits = ["--connections-max", "5", "--conversion-delay", "2s"];
        let daemon = Daemon::builder().args(limits).start();
        let mut operator = daemon.operator();
        let store = rusqlite::Connection::open(daemon.state_dir().join("vmherd.sqlite3")).expect("the store");
        store.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        let mut busy = REQUESTS.map(|request| {
            let mut client = daemon.client();
            client.send(request);
            client
        });
        wait_until("all have asked", DEADLINE, || {
            let mut count = |name| statistic(&mut operator, name);
            count("requests_convert") + count("requests_put") == REQUESTS.len() as u64
        });
        // The others have been idle for a shorter time than these.
        let mut strangers: Vec<Client> = (0..STRANGERS)
            .map(|_| {
                let mut stranger = daemon.client();
                stranger.ping();
                stranger
            })
            .collect();
        let is_early = !busy.iter_mut().any(|client| client.has_input(Duration::from_millis(1)));
        store.execute_batch("ROLLBACK").expect("the lock is released");
        let replies = busy.each_mut().map(Client::raw_line);
        assert!(replies[0].contains("\"request_id\":1"), "{replies:?}");
        assert!(replies[1].contains("\"request_id\":2"), "{replies:?}");
        assert!(["ok", "error"].contains(&replies[2].as_str()), "{replies:?}");
        if is_early {
            assert_eq!(statistic(&mut operator, "connections_evicted"), (STRANGERS - 2) as u64);
            strangers[..STRANGERS - 2].iter_mut().for_each(Client::expect_closed);
        }
        is_early
    });
}

#[test]
fn white_space_and_silence_keep_no_slot() {
    let _alone = alone();
    let daemon = Daemon::builder().args(["--connections-max", "3"]).start();
    let mut idle: Vec<Client> = (0..3).map(|_| daemon.client()).collect();
    idle.iter_mut().for_each(|client| client.send(" \n"));
    for _ in 0..6 {
        daemon.client().ping();
    }
}

#[test]
fn the_own_socket_has_a_bounded_number_of_reserved_slots() {
    let _alone = alone();
    let daemon = Daemon::builder().args(["--connections-max", "1"]).start();
    let mut only = daemon.client();
    only.ping();
    let mut operators: Vec<Client> = (0..8).map(|_| daemon.operator()).collect();
    operators.iter_mut().for_each(Client::ping);
    only.ping();
    let mut ninth = daemon.operator();
    ninth.send(&request("ping", json!({})).to_string());
    assert!(!ninth.has_input(Duration::from_millis(300)), "there is no place for it");
    drop(operators.pop());
    assert_eq!(ninth.reply()["message"], "PONG");
}

/// Anonymous clients that ping again and again, as long as they are connected.
struct Pingers {
    swarm: Swarm,
    members: Vec<usize>,
    ping: String,
}

impl Pingers {
    fn connect(daemon: &Daemon) -> Pingers {
        let (mut swarm, ping) = (Swarm::new(), request("ping", json!({})).to_string());
        let members = (0..STRANGERS).map(|_| swarm.connect(daemon.address(), ping.as_bytes())).collect();
        Pingers { swarm, members, ping }
    }

    fn ping_for(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            for member in &self.members {
                if self.swarm.members[*member].is_open() {
                    self.swarm.send(*member, self.ping.as_bytes());
                }
            }
            self.swarm.turn(Duration::from_millis(20), |_| {});
        }
    }
}

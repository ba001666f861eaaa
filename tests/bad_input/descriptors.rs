//! No descriptors left.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{DEADLINE, Daemon, PASSWORD, request, require, run, wait_until};
use crate::load::{Before, Witness, alone, best_of_three, statistic};
use crate::swarm::Swarm;

/// Descriptors that the daemon may have.
const LIMIT: usize = 64;
/// Connections that want to be served.
const CLIENTS: usize = 200;
/// Processor time that a daemon may take in a second in which it can do nothing.
const BUSY_MAX: Duration = Duration::from_millis(200);
/// From the moment when there are descriptors to the first new client served.
const BACK_MAX: Duration = Duration::from_secs(30);
/// What may be kept.
const KEPT_KIB_MAX: u64 = 1 << 10;

#[test]
fn clients_take_turns_with_few_descriptors_from_the_start() {
    let _alone = alone();
    require("prlimit", "util-linux");
    best_of_three("200 connections, 64 descriptors from the start", || {
        let daemon = Daemon::builder().through("prlimit", &["--nofile=64:64"]).start();
        assert!(daemon.log().contains("connections instead of"), "it warns: {}", daemon.log());
        let witness = Witness::start_as_operator(&daemon);
        let before = Before::of(&daemon);
        // Who has been served and is idle makes place for the others.
        let mut crowd = Crowd::connect(&daemon);
        assert!(crowd.served.len() < LIMIT, "{} are served at a time", crowd.served.len());
        assert!(daemon.fd_count() <= LIMIT);
        crowd.serve_all();
        expect_idle(&daemon);
        drop(crowd);
        before.expect_back(&daemon, KEPT_KIB_MAX);
        witness.finish()
    });
}

#[test]
fn the_daemon_pauses_accept_when_descriptors_run_out_and_resumes() {
    let _alone = alone();
    require("prlimit", "util-linux");
    best_of_three("200 connections, 64 descriptors later on", || {
        let daemon = Daemon::start();
        daemon.client().register("vm", &[1]);
        let witness = Witness::start(&daemon);
        let before = Before::of(&daemon);
        let mut operator = daemon.operator();
        operator.ping();
        limit_descriptors(&daemon, LIMIT);
        let mut crowd = Crowd::connect(&daemon);
        assert!(!crowd.served.is_empty() && crowd.served.len() < LIMIT, "{} are served", crowd.served.len());
        wait_until("accepting fails", DEADLINE, || statistic(&mut operator, "accept_errors") > 0);
        expect_idle(&daemon);
        // Errors are not a line for each client that waits.
        let failures = daemon.log().matches("accepting connections failed").count();
        assert!((1..=20).contains(&failures), "{failures} lines");

        crowd.leave(5);
        crowd.expect_more_served();
        limit_descriptors(&daemon, 10_000);
        crowd.expect_more_served();
        crowd.serve_all();
        drop((crowd, operator));
        let mut client = daemon.client();
        let login = request("authenticate", json!({"vm_id": "vm", "password": PASSWORD}));
        assert_eq!(client.call(login)["status"], "success");
        assert_eq!(client.list("all_vms").len(), 1);
        drop(client);
        before.expect_back(&daemon, KEPT_KIB_MAX);
        witness.finish()
    });
}

/// Clients that each want one answer.
struct Crowd {
    swarm: Swarm,
    /// Those that have it and are still connected.
    served: Vec<usize>,
    /// Those that had it and whose places others wanted.
    sent_away: BTreeSet<usize>,
    left: usize,
}

impl Crowd {
    /// Connects all of them and waits until no more are served.
    fn connect(daemon: &Daemon) -> Crowd {
        let ping = request("ping", json!({})).to_string();
        let mut swarm = Swarm::new();
        for _ in 0..CLIENTS {
            swarm.connect(daemon.address(), ping.as_bytes());
        }
        let mut crowd = Crowd { swarm, served: Vec::new(), sent_away: BTreeSet::new(), left: 0 };
        let mut served = usize::MAX;
        while served != crowd.served.len() {
            served = crowd.served.len();
            crowd.run(Duration::from_millis(300));
        }
        crowd
    }

    /// Takes replies for `time`.
    fn run(&mut self, time: Duration) {
        let (served, begin) = (&mut self.served, Instant::now());
        while begin.elapsed() < time {
            let mut came = Vec::new();
            self.swarm.turn(Duration::from_millis(5), |index| came.push(index));
            for index in came {
                let member = &self.swarm.members[index];
                let is_served = member.received.ends_with(b"\n");
                assert!(is_served || member.is_open(), "{index} was closed: {:?}", member.ended);
                if is_served && !served.contains(&index) && !self.sent_away.contains(&index) {
                    assert!(String::from_utf8_lossy(&member.received).contains("PONG"));
                    served.push(index);
                }
                if !member.is_open() && self.sent_away.insert(index) {
                    served.retain(|other| *other != index);
                    self.left += 1;
                }
            }
        }
    }

    /// Some that were served go.
    fn leave(&mut self, count: usize) {
        for index in self.served.drain(..count) {
            self.swarm.close(index);
        }
        self.left += count;
    }

    /// Somebody is served soon.
    #[track_caller]
    fn expect_more_served(&mut self) {
        let (begin, served) = (Instant::now(), self.served.len());
        while self.served.len() == served {
            assert!(begin.elapsed() < BACK_MAX, "nobody is served after {BACK_MAX:?}");
            self.run(Duration::from_millis(5));
        }
        eprintln!("  back after {:.0?}", begin.elapsed());
    }

    /// Everybody is served in the end.
    fn serve_all(&mut self) {
        wait_until("all are served", DEADLINE, || {
            self.leave(self.served.len());
            self.run(Duration::from_millis(5));
            self.left + self.served.len() == CLIENTS
        });
    }
}

/// The daemon does not work for nothing.
#[track_caller]
fn expect_idle(daemon: &Daemon) {
    let before = daemon.cpu_time();
    thread::park_timeout(Duration::from_secs(1));
    let used = daemon.cpu_time() - before;
    eprintln!("  {used:?} of processor time in a second, a healthy client's pings included");
    assert!(used < BUSY_MAX, "{used:?} of processor time in a second");
}

/// Lowers or raises the limit of a daemon that runs.
fn limit_descriptors(daemon: &Daemon, limit: usize) {
    let mut command = Command::new("prlimit");
    command.args([format!("--pid={}", daemon.id()), format!("--nofile={limit}:")]);
    run(&mut command).expect_success();
}

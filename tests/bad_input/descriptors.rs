//! A daemon without free descriptors.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{DEADLINE, Daemon, PASSWORD, request, require, run, wait_until};
use crate::overload::{Baseline, LatencyProbe, alone, best_of_three, statistic};
use crate::swarm::Swarm;

/// Descriptors that the daemon may have.
const LIMIT: usize = 64;
/// Connections that want to be served.
const CLIENTS: usize = 200;
/// Processor time that a daemon may take in a second in which it can do nothing.
const BUSY_MAX: Duration = Duration::from_millis(200);
/// From free descriptors to the first new client served, at most.
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
        let probe = LatencyProbe::start_as_operator(&daemon);
        let baseline = Baseline::of(&daemon);
        // A client that has been served and is idle is evicted for the others.
        let mut clients = Clients::connect(&daemon);
        assert!(clients.served.len() < LIMIT, "{} are served at a time", clients.served.len());
        assert!(daemon.fd_count() <= LIMIT);
        clients.serve_all();
        expect_idle(&daemon);
        drop(clients);
        baseline.expect_back(&daemon, KEPT_KIB_MAX);
        probe.finish()
    });
}

#[test]
fn the_daemon_pauses_accept_when_descriptors_run_out_and_resumes() {
    let _alone = alone();
    require("prlimit", "util-linux");
    best_of_three("200 connections, 64 descriptors later on", || {
        let daemon = Daemon::start();
        daemon.client().register("vm", &[1]);
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let mut operator = daemon.operator();
        operator.ping();
        limit_descriptors(&daemon, LIMIT);
        let mut clients = Clients::connect(&daemon);
        assert!(
            !clients.served.is_empty() && clients.served.len() < LIMIT,
            "{} are served",
            clients.served.len()
        );
        wait_until("accepting fails", DEADLINE, || statistic(&mut operator, "accept_errors") > 0);
        expect_idle(&daemon);
        // The log does not have an error for each client that waits.
        let failures = daemon.log().matches("accepting connections failed").count();
        assert!((1..=20).contains(&failures), "{failures} lines");

        clients.leave(5);
        clients.expect_more_served();
        limit_descriptors(&daemon, 10_000);
        clients.expect_more_served();
        clients.serve_all();
        drop((clients, operator));
        let mut client = daemon.client();
        let login = request("authenticate", json!({"vm_id": "vm", "password": PASSWORD}));
        assert_eq!(client.call(login)["status"], "success");
        assert_eq!(client.list("all_vms").len(), 1);
        drop(client);
        baseline.expect_back(&daemon, KEPT_KIB_MAX);
        probe.finish()
    });
}

/// Clients that each want one answer.
struct Clients {
    swarm: Swarm,
    /// Those that have it and are still connected.
    served: Vec<usize>,
    /// Those that had it and were evicted for others.
    evicted: BTreeSet<usize>,
    left: usize,
}

impl Clients {
    /// Connects all of them and waits until no more are served.
    fn connect(daemon: &Daemon) -> Clients {
        let ping = request("ping", json!({})).to_string();
        let mut swarm = Swarm::new();
        for _ in 0..CLIENTS {
            swarm.connect(daemon.address(), ping.as_bytes());
        }
        let mut clients = Clients { swarm, served: Vec::new(), evicted: BTreeSet::new(), left: 0 };
        let mut served = usize::MAX;
        while served != clients.served.len() {
            served = clients.served.len();
            clients.run(Duration::from_millis(300));
        }
        clients
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
                if is_served && !served.contains(&index) && !self.evicted.contains(&index) {
                    assert!(String::from_utf8_lossy(&member.received).contains("PONG"));
                    served.push(index);
                }
                if !member.is_open() && self.evicted.insert(index) {
                    served.retain(|other| *other != index);
                    self.left += 1;
                }
            }
        }
    }

    /// Closes some connections that were served.
    fn leave(&mut self, count: usize) {
        for index in self.served.drain(..count) {
            self.swarm.close(index);
        }
        self.left += count;
    }

    /// Another client is served soon.
    #[track_caller]
    fn expect_more_served(&mut self) {
        let (begin, served) = (Instant::now(), self.served.len());
        while self.served.len() == served {
            assert!(begin.elapsed() < BACK_MAX, "no client is served after {BACK_MAX:?}");
            self.run(Duration::from_millis(5));
        }
        eprintln!("  back after {:.0?}", begin.elapsed());
    }

    /// All clients are served in the end.
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

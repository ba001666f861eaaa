//! Many agents, as threads with the program's own loop.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vmherd::client::{NewVm, ServerAddress};

use crate::agent::backlog::Backlog;
use crate::agent::credentials::Credentials;
use crate::agent::outbox::Outbox;
use crate::agent::sample::Sample;
use crate::agent::uplink::Uplink;
use crate::common::{DEADLINE, wait_until};
use crate::support::{BACK, Site, keys, operator};

const AGENTS: usize = 500;

/// An agent without a host: its samples come from the test.
struct Reporter {
    name: String,
    outbox: Arc<Outbox>,
    thread: JoinHandle<()>,
}

impl Reporter {
    fn start(site: &Site, index: usize, logins: &Arc<AtomicUsize>) -> Reporter {
        let name = format!("vm-{index}");
        let state_dir = site.path().join(&name);
        fs::create_dir(&state_dir).expect("a new directory");
        let backlog = Backlog::open(&state_dir, 1 << 20).expect("a new backlog");
        let outbox = Arc::new(Outbox::new(backlog));
        let registration = NewVm { vm_id: name.clone(), ram: 512, cpu: 1, ..NewVm::default() };
        let logins = Arc::clone(logins);
        let server: ServerAddress = site.server().parse().expect("an address");
        let uplink = Uplink::new(
            server.clone(),
            name.clone(),
            Credentials::new(state_dir, server, name.clone(), None, Some(site.password())),
            Some(registration),
            Arc::clone(&outbox),
            move || {
                logins.fetch_add(1, Ordering::SeqCst);
            },
        );
        Reporter { name, outbox, thread: thread::spawn(move || uplink.run()) }
    }

    fn report(&self, timestamp: i64) {
        self.outbox.push(Sample { timestamp, values: vec![(format!("{}.load", self.name), 0.5)] });
    }
}

#[test]
fn five_hundred_agents_are_back_within_five_seconds_of_a_restart() {
    let site = Site::new();
    let mut daemon = site.daemon().args(["--auth-workers", "2"]).start();
    let logins = Arc::new(AtomicUsize::new(0));
    let agents: Vec<Reporter> = (0..AGENTS).map(|index| Reporter::start(&site, index, &logins)).collect();
    let wait_for_logins = |count| {
        wait_until(&format!("{count} logins"), 4 * DEADLINE, || logins.load(Ordering::SeqCst) >= count);
    };
    wait_for_logins(AGENTS);
    agents.iter().for_each(|agent| agent.report(1));

    // Other programs may hold up one restart: the best of three counts for the time, each for the tokens.
    let mut times = Vec::new();
    for round in 1..=3 {
        daemon.kill();
        agents.iter().for_each(|agent| agent.report(1 + round));
        // Long enough that every agent pauses for as long as it ever does.
        let killed = Instant::now();
        wait_until("the agents have tried often", DEADLINE, || killed.elapsed() > Duration::from_secs(4));
        let before = daemon.log().matches("by=password").count();
        daemon.restart();
        operator(&daemon);
        let started = Instant::now();
        wait_for_logins((1 + round as usize) * AGENTS);
        times.push(started.elapsed());
        assert_eq!(daemon.log().matches("by=password").count(), before, "all by tokens");
        if times.last() <= Some(&BACK) {
            break;
        }
    }
    println!("{AGENTS} agents are back after {times:?}");
    assert!(times.last() <= Some(&BACK), "the last one came back after {times:?}");

    agents.iter().for_each(|agent| agent.outbox.stop());
    for agent in agents {
        agent.thread.join().expect("it does not panic");
        assert_eq!(agent.outbox.count(), 0, "{}", agent.name);
    }
    let keys = keys(&daemon);
    assert_eq!(keys.len(), AGENTS);
    assert!(keys.values().all(|points| *points == 1 + times.len()), "{keys:?}");
}

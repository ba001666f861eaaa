//! Restarts of the server and of the agent: no sample is lost.

use std::fs;
use std::path::Path;

use crate::agent::backlog::Backlog;
use crate::agent::sample::Sample;
use crate::common::{DEADLINE, run, wait_until};
use crate::support::{Agent, NAME, Site, assert_no_gap, operator, timestamps, wait_for_samples};
use crate::sync_fault::Fault;

#[test]
fn a_server_that_is_killed_twice_has_every_sample_in_the_end() {
    let site = Site::new();
    let mut daemon = site.daemon().start();
    let mut agent = Agent::start(site.registering_agent());
    wait_for_samples(&daemon, 2);
    for _ in 0..2 {
        daemon.kill();
        let before = site.backlog_bytes();
        wait_until("samples wait in the backlog", DEADLINE, || site.backlog_bytes() > before.max(200) + 400);
        daemon.restart();
        wait_until("the backlog is sent", DEADLINE, || site.backlog_bytes() < 100);
    }
    let count = timestamps(&daemon, "load").len();
    wait_for_samples(&daemon, count + 1);
    let memory = agent.memory_kib();
    assert!(memory <= 2048, "{memory} KiB");
    let log = agent.stop();
    assert!(log.contains("waiting samples: 0\n"), "all are sent:\n{log}");
    assert_eq!((log.matches("by password").count(), log.matches("by token").count()), (1, 2), "{log}");
    let load = timestamps(&daemon, "load");
    assert_no_gap(&load);
    assert_eq!(timestamps(&daemon, "memory"), load);
    // A processor's use is a difference: the first sample has none.
    assert_eq!(timestamps(&daemon, "cpu"), load[1..]);
}

#[test]
fn samples_of_an_agent_that_is_killed_are_sent_by_the_next_one() {
    let site = Site::new();
    let mut daemon = site.daemon().start();
    let mut agent = Agent::start(site.registering_agent());
    agent.wait_for_log("by password");
    daemon.kill();
    wait_until("samples wait in the backlog", DEADLINE, || site.backlog_bytes() > 600);
    agent.kill();
    let kept = backlog_timestamps(&site.state_dir(), 16 << 20);
    assert!(kept.len() > 1, "{kept:?}");
    // A sample whose writing was interrupted.
    let file = site.state_dir().join("backlog");
    let mut bytes = fs::read(&file).expect("the backlog");
    bytes.extend([60, 0, 0, 0, 1, 2, 3]);
    fs::write(&file, bytes).expect("the backlog");

    let mut agent = Agent::start(site.agent());
    agent.wait_for_log("the end of the backlog was not finished: 7 bytes are cut off");
    daemon.restart();
    wait_until("the backlog is sent", DEADLINE, || {
        let has = timestamps(&daemon, "load");
        kept.iter().all(|timestamp| has.contains(timestamp))
    });
    agent.stop();
}

#[test]
fn a_full_backlog_loses_its_oldest_samples_and_no_others() {
    let (site, bytes) = (Site::new(), 1 << 20);
    fs::create_dir(site.state_dir()).expect("a new directory");
    let file = site.state_dir().join("backlog");
    drop(Backlog::open(&site.state_dir(), bytes).expect("a new backlog"));
    let first = 1_000_000;
    let record = |timestamp| Sample { timestamp, values: vec![(format!("{NAME}.load"), timestamp as f64)] };
    let count = (bytes - 8) / record(first).to_record().len() as u64;
    // As the agent writes them, but without syncing each.
    let mut backlog = fs::read(&file).expect("an empty backlog");
    backlog.extend((first..).take(count as usize).flat_map(|timestamp| record(timestamp).to_record()));
    fs::write(&file, backlog).expect("the backlog");

    let mut command = site.registering_agent();
    command.args(["--backlog", "1M"]);
    let mut agent = Agent::start(command);
    agent.wait_for_log("the backlog is full: the oldest ");
    let log = agent.log();
    let (_, after) = log.split_once("the oldest ").expect("a count");
    let dropped: i64 = after.split(' ').next().and_then(|word| word.parse().ok()).expect("a count");
    assert!((1..count as i64 / 7).contains(&dropped), "{dropped} of {count}");
    let daemon = site.daemon().start();
    wait_until("the backlog is sent", DEADLINE, || site.backlog_bytes() < 1000);
    agent.stop();
    let has = operator(&daemon).get(&format!("{NAME}.load")).expect("points");
    let old: Vec<(i64, f64)> =
        has.into_values().flatten().filter(|(timestamp, _)| *timestamp < 2 * first).collect();
    let expected = first + dropped..first + count as i64;
    assert_eq!(old.first().map(|(timestamp, _)| *timestamp), Some(expected.start));
    assert!(old == expected.map(|timestamp| (timestamp, timestamp as f64)).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_fails_costs_no_sample_while_the_server_is_there() {
    let (site, fault) = (Site::new(), Fault::new());
    let daemon = site.daemon().start();
    let mut command = site.registering_agent();
    command.envs(fault.environment());
    let mut agent = Agent::start(command);
    wait_for_samples(&daemon, 1);
    fault.begin("/state/backlog");
    agent.wait_for_log("can't be written: Input/output error (os error 5); samples are in memory only");
    let count = timestamps(&daemon, "load").len();
    wait_for_samples(&daemon, count + 2);
    assert!(fault.end() >= 2, "each sample is synced");
    agent.wait_for_log("the backlog can be written again; 0 samples were dropped meanwhile");
    agent.stop();
    assert_no_gap(&timestamps(&daemon, "load"));
}

#[test]
fn an_agent_that_stops_sends_what_it_can_and_keeps_the_rest() {
    let site = Site::new();
    let mut daemon = site.daemon().start();
    let mut agent = Agent::start(site.registering_agent());
    wait_for_samples(&daemon, 1);
    daemon.kill();
    wait_until("samples wait in the backlog", DEADLINE, || site.backlog_bytes() > 400);
    agent.stop();
    let kept = backlog_timestamps(&site.state_dir(), 16 << 20);
    assert!(!kept.is_empty());
    daemon.restart();
    let mut agent = Agent::start(site.agent());
    agent.wait_for_log("by token");
    let log = agent.stop();
    assert!(log.contains("SIGTERM: stopping") && log.contains("waiting samples: 0\n"), "{log}");
    let has = timestamps(&daemon, "load");
    assert!(kept.iter().all(|timestamp| has.contains(timestamp)), "{kept:?} in {has:?}");
}

#[test]
fn two_agents_do_not_share_a_state_directory() {
    let site = Site::new();
    let mut agent = Agent::start(site.agent());
    agent.wait_for_log("trying again");
    let second = run(&mut site.agent());
    assert_eq!(second.code(), Some(1), "{second:?}");
    let expected = format!("{}: another agent uses this directory\n", site.state_dir().display());
    assert!(second.stderr.ends_with(&expected), "{second:?}");
    agent.stop();
}

/// The timestamps in the backlog of an agent that does not run.
fn backlog_timestamps(state_dir: &Path, bytes_max: u64) -> Vec<i64> {
    let mut backlog = Backlog::open(state_dir, bytes_max).expect("no agent runs");
    let samples = backlog.batch().map(|batch| batch.samples).unwrap_or_default();
    assert_eq!(samples.len(), backlog.count(), "they fit into one request");
    samples.into_iter().map(|sample| sample.timestamp).collect()
}

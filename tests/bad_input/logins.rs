//! Storms of logins with hashes of the real cost, and what their timing reveals.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Client, Daemon, PASSWORD, request, wait_until};
use crate::overload::{Baseline, LatencyProbe, alone, best_of_three, cores, statistic};
use crate::swarm::Swarm;

/// Logins at once.
const LOGINS: usize = 1000;
/// Logins that may wait, by default.
const QUEUE: usize = 256;
/// Threads that hash.
const WORKERS: usize = 2;
/// A login that is refused is answered in this time.
const BUSY_MAX: Duration = Duration::from_secs(20);
/// How long a login waits for its hash.
const AUTH_DEADLINE: Duration = Duration::from_secs(30);
/// How long it waits for the store.
const STORE_DEADLINE: Duration = Duration::from_millis(2500);
/// Memory of a hashing thread, and of everything else.
const WORKER_KIB_MAX: u64 = 20 << 10;
const REST_KIB_MAX: u64 = 24 << 10;
/// Idle threads end after thirty seconds.
const IDLE_MAX: Duration = Duration::from_secs(45);
/// Memory that may be kept: table entries of a thousand connections, the store's caches, the allocators' share.
const KEPT_KIB_MAX: u64 = 6 << 10;

#[test]
fn a_storm_of_logins_is_bounded_and_frees_its_memory() {
    let is_alone = alone();
    let mut survivors = Vec::new();
    best_of_three("1 000 logins at once", || {
        let workers = WORKERS.to_string();
        let builder = Daemon::builder().with_costly_hashes().args(["--auth-workers", &workers]);
        let mut daemon = builder.start();
        daemon.client().register("vm", &[1]);
        // Without the memory of the registration's hash, which must not count for the baseline.
        daemon.restart();
        let probe = LatencyProbe::start_where_threads_compete(&daemon);
        let baseline = Baseline::of(&daemon);
        storm(&daemon);
        let grown_kib = baseline.peak_growth_kib(&daemon);
        eprintln!("  up by {grown_kib} KiB at the peak");
        let most_kib = WORKERS as u64 * WORKER_KIB_MAX + REST_KIB_MAX;
        assert!(grown_kib < most_kib, "the daemon grew by {grown_kib} KiB");
        let latencies = probe.finish();
        survivors.push((daemon, baseline));
        latencies
    });
    // An idle daemon disturbs no other test.
    drop(is_alone);
    for (daemon, baseline) in &survivors {
        wait_until("the hashing threads end", IDLE_MAX, || threads_named(daemon, "vmherd-auth") == 0);
        let mut in_place_of_the_probe = daemon.client();
        in_place_of_the_probe.ping();
        baseline.expect_back(daemon, KEPT_KIB_MAX);
        daemon.client().authenticate("vm");
    }
}

/// A thousand clients log in at once.
fn storm(daemon: &Daemon) {
    let mut operator = daemon.operator();
    let login = request("authenticate", json!({"vm_id": "vm", "password": PASSWORD})).to_string();
    let mut swarm = Swarm::new();
    let mut sent = Vec::new();
    for _ in 0..LOGINS {
        sent.push(Instant::now());
        swarm.connect(daemon.address(), login.as_bytes());
    }
    let (mut answered, mut last_busy, mut expired) = (vec![None; LOGINS], Duration::ZERO, 0);
    let (mut queued_max, mut threads_max) = (0, 0);
    while answered.contains(&None) {
        let mut came = Vec::new();
        swarm.turn(Duration::from_millis(10), |index| came.push(index));
        for index in came {
            let member = &swarm.members[index];
            assert!(member.is_open(), "{index} was closed: {:?}", member.ended);
            if answered[index].is_none() && member.received.ends_with(b"\n") {
                let time = sent[index].elapsed();
                let is_busy = is_refused(&member.received, time);
                answered[index] = Some(is_busy);
                // On a slow machine the queue is not done by the deadline.
                match is_busy {
                    true if time >= AUTH_DEADLINE => expired += 1,
                    true => last_busy = last_busy.max(time),
                    false => {}
                }
            }
        }
        queued_max = queued_max.max(statistic(&mut operator, "auth_queued"));
        threads_max = threads_max.max(threads_named(daemon, "auth"));
        assert!(sent[0].elapsed() < Duration::from_secs(120), "{answered:?}");
    }
    let busy = answered.iter().filter(|answer| **answer == Some(true)).count() - expired;
    eprintln!(
        "  {expired} waited too long, {busy} busy, the last after {last_busy:.2?}; all done after {:.2?}; {queued_max} queued, \
         {threads_max} threads",
        sent[0].elapsed()
    );
    assert!(queued_max <= QUEUE as u64, "{queued_max} were queued");
    assert!((1..=WORKERS).contains(&threads_max), "{threads_max} threads hashed");
    assert!(LOGINS - busy >= QUEUE, "only {} were queued", LOGINS - busy);
    assert!(busy > LOGINS / 4, "only {busy} were refused");
    assert!(last_busy < BUSY_MAX, "one was refused after {last_busy:?} only");
    // A client that was refused can go on at once.
    let refused = answered.iter().position(|answer| *answer == Some(true)).expect("some are");
    swarm.members[refused].received.clear();
    swarm.send(refused, login.as_bytes());
    wait_until("a second attempt works", Duration::from_secs(5), || {
        swarm.turn(Duration::from_millis(10), |_| {});
        swarm.members[refused].received.ends_with(b"\n")
    });
    let reply = &swarm.members[refused].received;
    assert!(!is_refused(reply, Duration::ZERO), "{}", String::from_utf8_lossy(reply));
}

/// Whether the reply, which came after `time`, is `busy`. It is a success otherwise, or, where the disk is slow, says that
/// the token was not stored in time.
#[track_caller]
fn is_refused(reply: &[u8], time: Duration) -> bool {
    let reply: Value = serde_json::from_slice(reply).expect("a reply is JSON");
    match reply["message"].as_str() {
        _ if reply["status"] == "success" => false,
        Some("outcome unknown") if time >= STORE_DEADLINE => false,
        _ => {
            assert_eq!(reply, json!({"status": "error", "message": "busy", "data": {}}));
            true
        }
    }
}

/// The daemon's threads whose names hold `part`.
fn threads_named(daemon: &Daemon, part: &str) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.id())).expect("its threads");
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.contains(part)).count()
}

#[test]
fn logins_of_disconnected_clients_are_dropped() {
    const GONE: u32 = 200;
    let _alone = alone();
    best_of_three("200 logins whose clients are gone", || {
        let daemon = Daemon::builder().with_costly_hashes().start();
        let mut client = daemon.client();
        client.register("vm", &[1]);
        let before_one = daemon.cpu_time();
        (0..5).for_each(|_| drop(client.authenticate("vm")));
        let one = (daemon.cpu_time() - before_one) / 5;
        drop(client);
        let probe = LatencyProbe::start_where_threads_compete(&daemon);
        let baseline = Baseline::of(&daemon);

        let before_all = daemon.cpu_time();
        let login = request("authenticate", json!({"vm_id": "vm", "password": PASSWORD})).to_string();
        let mut swarm = Swarm::new();
        for _ in 0..GONE {
            swarm.connect(daemon.address(), login.as_bytes());
        }
        swarm.run_for(2 * one);
        swarm.reset();
        let begin = Instant::now();
        daemon.client().authenticate("vm");
        let (waited, used) = (begin.elapsed(), daemon.cpu_time() - before_all);
        eprintln!("  {used:?} of processor time, {one:.1?} for one; the next one waited {waited:.1?}");
        assert!(used < one * GONE / 2, "{used:?} of processor time, where one takes {one:?}");
        baseline.expect_back(&daemon, KEPT_KIB_MAX + WORKER_KIB_MAX * cores() as u64);
        probe.finish()
    });
}

#[test]
fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    const EACH: usize = 200;
    const DIFFERENCE_MAX: f64 = 0.1;
    let _alone = alone();
    let daemon = Daemon::builder().with_costly_hashes().args(["--login-failures", "none"]).start();
    let mut client = daemon.client();
    client.register("known", &[1]);
    let mut differences = Vec::new();
    for _ in 0..3 {
        let (mut unknown, mut wrong) = (Vec::new(), Vec::new());
        for round in 0..EACH {
            // In changing order, so that neither always profits from caches that the other has filled.
            for is_unknown in [round % 2 == 0, round % 2 == 1] {
                match is_unknown {
                    true => unknown.push(refused_login(&mut client, "ghost")),
                    false => wrong.push(refused_login(&mut client, "known")),
                }
            }
        }
        let (unknown, wrong) = (median(unknown), median(wrong));
        let difference = (unknown.as_secs_f64() / wrong.as_secs_f64() - 1.0).abs();
        eprintln!("  unknown {unknown:.2?}, wrong {wrong:.2?}: {:.1} %", 100.0 * difference);
        if difference <= DIFFERENCE_MAX {
            return;
        }
        differences.push(difference);
    }
    panic!("an unknown name shows by its time, three times: {differences:.3?}");
}

fn refused_login(client: &mut Client, name: &str) -> Duration {
    let login = request("authenticate", json!({"vm_id": name, "password": "notThePassword"}));
    let begin = Instant::now();
    assert_eq!(client.fail(login), "Invalid credentials");
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

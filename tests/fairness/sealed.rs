//! Clients of a sealed listener that do not go on with the exchange of keys.

use crate::common::{DEADLINE, Daemon, wait_until};
use crate::overload::{LatencyProbe, alone, best_of_three, statistic};
use crate::programs::{Dialogue, python};
use crate::swarm::Swarm;

const STALLING: usize = 400;
const FINISHING: usize = 100;
/// What a connection may take more than one in clear text, with half a request.
const CONNECTION_KIB_MAX: u64 = 16;
/// Seconds within which the clients that go on have their answers: ten times what it takes.
const FINISHED_SECONDS_MAX: f64 = 10.0;

#[test]
fn clients_that_stall_in_the_key_exchange_hold_up_no_others() {
    let _alone = alone();
    let plain_kib = plain_growth_kib();
    let mut seed = 0;
    best_of_three("400 clients stall in the key exchange", || {
        seed += 1;
        // A sealed listener has a request timeout for each step.
        let builder = Daemon::builder().listen("sealed://127.0.0.1:0").args(["--request-timeout", "5m"]);
        let daemon = builder.start();
        let mut operator = daemon.operator();
        let probe = LatencyProbe::start(&daemon);
        let before_kib = daemon.memory_kib();
        let (address, counts) = (daemon.addresses()[1].to_string(), [FINISHING, STALLING, seed]);
        let mut client = python("sealed.py");
        client.args(["crowd", &address]).args(counts.map(|count| count.to_string()));
        let mut client = Dialogue::start(&mut client);
        let said = client.line();
        let (seconds, stalling) = said.split_once(' ').expect("two numbers");
        let seconds: f64 = seconds.parse().expect("a number");
        assert!(seconds < FINISHED_SECONDS_MAX, "{FINISHING} clients have waited {seconds} s");
        assert_eq!(stalling, STALLING.to_string());
        assert!(statistic(&mut operator, "connections_open") >= STALLING as u64);
        let grown_kib = daemon.memory_kib().saturating_sub(before_kib);
        eprintln!("{seconds} s; {grown_kib} KiB, in clear text {plain_kib} KiB");
        let max_kib = plain_kib + STALLING as u64 * CONNECTION_KIB_MAX;
        assert!(grown_kib <= max_kib, "{grown_kib} KiB, more than {max_kib} KiB");
        client.end();
        wait_until("they have left", DEADLINE, || statistic(&mut operator, "connections_open") == 2);
        probe.finish()
    });
}

/// How much memory a daemon takes for as many clients in clear text, with half a request each.
fn plain_growth_kib() -> u64 {
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    let before_kib = daemon.memory_kib();
    let mut swarm = Swarm::new();
    for _ in 0..STALLING {
        swarm.connect(daemon.address(), b"{\"command\": \"ping\", ");
    }
    wait_until("all are connected", DEADLINE, || {
        swarm.turn(std::time::Duration::from_millis(10), |_| {});
        statistic(&mut operator, "connections_open") == STALLING as u64 + 1
    });
    daemon.memory_kib().saturating_sub(before_kib)
}

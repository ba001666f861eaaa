//! Kills of the daemon, and sometimes of the database, while points are put: every acknowledged point is there, with its
//! bits, once, and refused points are not.

use crate::cluster::Cluster;
use crate::common::{DaemonFate, Random};
use crate::overload::alone;
use crate::points::{Counts, Order, PointHistory, PointWriters, get};
use crate::{WAIT_MAX, amount, daemon_on};

/// Rounds with the same database, which must not grow without end.
const ROUNDS_PER_DATABASE: usize = 10;
/// In one of so many rounds the database is killed.
const ROUNDS_PER_DATABASE_KILL: usize = 5;
const CLIENTS: usize = 4;

#[test]
fn kills_lose_no_acknowledged_point() {
    let _alone = alone();
    let rounds = amount(10, 50);
    let (mut random, mut total) = (Random::new(), Counts::default());
    for first in (0..rounds).step_by(ROUNDS_PER_DATABASE) {
        let cluster = Cluster::start();
        let database = cluster.database();
        let (mut daemon, mut history) = (daemon_on(&database).start(), PointHistory::new());
        for round in first..rounds.min(first + ROUNDS_PER_DATABASE) {
            let kills_database = round % ROUNDS_PER_DATABASE_KILL == ROUNDS_PER_DATABASE_KILL - 1;
            let fate = if kills_database { DaemonFate::Lives } else { DaemonFate::Dies };
            let writers = PointWriters::start(daemon.address(), CLIENTS, &history, fate);
            writers.wait_done(1 + random.below(60) as usize);
            random.spin();
            if kills_database {
                cluster.kill_all();
                writers.wait_failed(20);
                cluster.restart();
                writers.wait_done(20);
            } else {
                daemon.kill();
            }
            writers.finish(&mut history);
            if !kills_database {
                daemon.restart();
            }
            history.check_answers(&["store unavailable", "outcome unknown", "busy"]);
            assert!(history.worst <= WAIT_MAX, "{:?}", history.worst);
            history.check(&get(&mut daemon.client(), "*"), Order::OfClient);
        }
        eprintln!("  {:?}; the longest wait for a batch was {:?}", history.errors, history.worst);
        total.add(history.counts);
    }
    println!("{rounds} kills of PostgreSQL or its daemon: {total}");
}

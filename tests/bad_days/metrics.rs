//! The daemon killed, and now and then the database instead, while points are put: every point that was
//! acknowledged is there, with its bits, once, and what was refused is not.

use crate::cluster::Cluster;
use crate::load::alone;
use crate::points::{Counts, Ledger, May, Order, Putters, Random, get};
use crate::{WAIT_MAX, amount, daemon_on};

/// So many rounds go on with the same database, so that it does not grow without end.
const ROUNDS_PER_DATABASE: usize = 10;
/// Each so many rounds it is the database that is killed.
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
        let (mut daemon, mut ledger) = (daemon_on(&database).start(), Ledger::new());
        for round in first..rounds.min(first + ROUNDS_PER_DATABASE) {
            let kills_database = round % ROUNDS_PER_DATABASE_KILL == ROUNDS_PER_DATABASE_KILL - 1;
            let may = if kills_database { May::Live } else { May::Die };
            let putters = Putters::start(daemon.address(), CLIENTS, &ledger, may);
            putters.wait_done(1 + random.below(60) as usize);
            random.spin();
            if kills_database {
                cluster.kill_all();
                putters.wait_failed(20);
                cluster.restart();
                putters.wait_done(20);
            } else {
                daemon.kill();
            }
            putters.finish(&mut ledger);
            if !kills_database {
                daemon.restart();
            }
            ledger.check_answers(&["store unavailable", "outcome unknown", "busy"]);
            assert!(ledger.worst <= WAIT_MAX, "{:?}", ledger.worst);
            ledger.check(&get(&mut daemon.client(), "*"), Order::OfClient);
        }
        eprintln!("  {:?}; the longest wait for a batch was {:?}", ledger.said, ledger.worst);
        total.add(ledger.counts);
    }
    println!("{rounds} kills of PostgreSQL or its daemon: {total}");
}

//! The daemon killed, the database killed, both killed: what was acknowledged is there, whole.

use crate::cluster::Cluster;
use crate::load::alone;
use crate::traffic::{CUT, Daemons, Traffic};
use crate::{amount, daemon_on};

/// So many rounds go on with the same database, so that it does not grow without end.
const ROUNDS_PER_DATABASE: usize = 10;

#[test]
fn kills_lose_no_acknowledged_write() {
    let _alone = alone();
    let rounds = amount(6, 50);
    for first in (0..rounds).step_by(ROUNDS_PER_DATABASE) {
        let cluster = Cluster::start();
        let database = cluster.database();
        let mut daemon = daemon_on(&database).start();
        for round in first..rounds.min(first + ROUNDS_PER_DATABASE) {
            let (kills_daemon, kills_database) = (round % 3 != 1, round % 3 != 0);
            let may = if kills_daemon { Daemons::Die } else { Daemons::Live };
            let traffic = Traffic::start(&daemon, 6, may);
            traffic.wait_done(40 + at_random(60));
            // Not only ever right after a reply.
            (0..at_random(1 << 14)).for_each(|_| std::hint::spin_loop());
            // Both in either order, too.
            if kills_database && round % 2 == 0 {
                cluster.kill();
            }
            if kills_daemon {
                daemon.kill();
            }
            if kills_database && round % 2 == 1 {
                cluster.kill();
            }
            if kills_database && !kills_daemon {
                traffic.wait_failed(20);
                cluster.restart();
                traffic.wait_done(20);
            }
            let ledger = traffic.finish();
            if kills_database && kills_daemon {
                cluster.restart();
            }
            if kills_daemon {
                daemon.restart();
            }
            eprintln!("  round {round}: daemon {kills_daemon}, database {kills_database}");
            ledger.check_answers(&["store unavailable", "outcome unknown", "busy", CUT]);
            ledger.check(&database, &daemon);
        }
    }
}

fn at_random(below: usize) -> usize {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as usize % below
}

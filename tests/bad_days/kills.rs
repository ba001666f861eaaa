//! Kills of the daemon, of the database, and of both: acknowledged writes are there, whole.

use crate::cluster::Cluster;
use crate::common::{DaemonFate, Random};
use crate::overload::alone;
use crate::traffic::{CUT, Traffic};
use crate::{amount, daemon_on};

/// Rounds with the same database, which must not grow without end.
const ROUNDS_PER_DATABASE: usize = 10;

#[test]
fn kills_lose_no_acknowledged_write() {
    let _alone = alone();
    let (rounds, mut random) = (amount(6, 50), Random::new());
    for first in (0..rounds).step_by(ROUNDS_PER_DATABASE) {
        let cluster = Cluster::start();
        let database = cluster.database();
        let mut daemon = daemon_on(&database).start();
        for round in first..rounds.min(first + ROUNDS_PER_DATABASE) {
            let (kills_daemon, kills_database) = (round % 3 != 1, round % 3 != 0);
            let fate = if kills_daemon { DaemonFate::Dies } else { DaemonFate::Lives };
            let traffic = Traffic::start(&daemon, 6, fate);
            traffic.wait_done(40 + random.below(60) as usize);
            random.spin();
            // Where both are killed, in either order.
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
            let history = traffic.finish();
            if kills_database && kills_daemon {
                cluster.restart();
            }
            if kills_daemon {
                daemon.restart();
            }
            eprintln!("  round {round}: daemon {kills_daemon}, database {kills_database}");
            history.check_answers(&["store unavailable", "outcome unknown", "busy", CUT]);
            history.check(&database, &daemon);
        }
    }
}

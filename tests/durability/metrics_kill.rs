//! Kills while points are put: every acknowledged point is there, with its bits, and nothing else except points in
//! flight.
//!
//! The system's cache survives a killed process, so this shows that points are committed before they are acknowledged;
//! `metrics_synced` shows that commits are on the disk.

use crate::common::{Daemon, DaemonFate, Random};
use crate::points::{Counts, Order, Point, PointHistory, PointWriters, get};

const ROUNDS: usize = 20;
/// Rounds with the same store, which must not grow without end.
const ROUNDS_PER_STORE: usize = 10;
const CLIENTS: usize = 4;

#[test]
fn a_kill_loses_no_acknowledged_point() {
    let rounds = std::env::var("VMHERD_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let (mut random, mut total) = (Random::new(), Counts::default());
    for first in (0..rounds).step_by(ROUNDS_PER_STORE) {
        let (mut daemon, mut history) = (Daemon::start(), PointHistory::new());
        for _ in first..rounds.min(first + ROUNDS_PER_STORE) {
            let writers = PointWriters::start(daemon.address(), CLIENTS, &history, DaemonFate::Dies);
            writers.wait_done(1 + random.below(60) as usize);
            random.spin();
            daemon.kill();
            writers.finish(&mut history);
            history.check_answers(&[]);
            daemon.restart();
            history.check(&get(&mut daemon.client(), "*"), Order::OfClient);
        }
        total.add(history.counts);
    }
    println!("{rounds} kills: {total}");
}

/// The check of a history finds each kind of mistake.
#[test]
fn the_history_check_detects_wrong_points() {
    // A is acknowledged before B is sent; C and D are one request without an answer; E is refused.
    let text = "sent 10 - a 1 3ff0000000000000\nsent 10 - a 2 8000000000000000\nacknowledged 20 2\n\
                sent 30 - b 1 3ff0000000000000\nacknowledged 40 1\n\
                sent 50 - e 1 3ff0000000000000\nrefused 60 1\n\
                sent 70 7 c 1 3ff0000000000000\nsent 70 7 d 1 3ff0000000000000\n";
    let is_detected = |found: &str| {
        let read = |text: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            let (second, value) = (words[1].parse().expect("a second"), words[2].parse().expect("a value"));
            Point { key: words[0].to_owned(), second, value }
        };
        let found: Vec<Point> = found.split(", ").map(read).collect();
        let mut history = PointHistory::new();
        history.add(1, text);
        history.try_check(&found, Order::OfClient).is_err()
    };
    for good in ["a 1 1, a 2 -0, b 1 1", "a 1 1, a 2 -0, b 1 1, c 1 1, d 1 1"] {
        assert!(!is_detected(good), "{good}");
    }
    for (bad, why) in [
        ("a 1 1, b 1 1", "one is gone"),
        ("a 1 1, a 2 0, b 1 1", "one has other bits"),
        ("a 1 1, a 1 1, a 2 -0, b 1 1", "one is there twice"),
        ("a 1 1, b 1 1, a 2 -0", "a key is there twice"),
        ("a 2 -0, a 1 1, b 1 1", "times descend"),
        ("b 1 1, a 1 1, a 2 -0", "keys are in another order"),
        ("a 1 1, a 2 -0, b 1 1, d 1 1, c 1 1", "so are those of one request"),
        ("a 1 1, a 2 -0, b 1 1, c 1 1", "a request is there in part"),
        ("a 1 1, a 2 -0, b 1 1, e 1 1", "one was refused"),
        ("a 1 1, a 2 -0, b 1 1, f 1 1", "one was never sent"),
    ] {
        assert!(is_detected(bad), "{why}");
    }
}

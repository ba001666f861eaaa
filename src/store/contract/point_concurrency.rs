//! Points of concurrent connections.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::points::{DONE, all, assert_points, put, put_up_to, remove};
use super::*;

contract! {
    points_are_visible_to_other_connections,
    acknowledged_points_survive_concurrent_removals,
    concurrent_puts_respect_the_key_limit,
}

fn points_are_visible_to_other_connections(fixture: &Fixture) {
    let (mut one, mut two) = (fixture.connect(), fixture.connect());
    assert_eq!(run(&mut *one, put(&[("a", 1, 1.0)])), DONE);
    assert_eq!(run(&mut *two, put(&[("b", 1, 1.0), ("a", 1, 2.0)])), DONE);
    assert_eq!(run(&mut *one, put(&[("c", 1, 1.0), ("b", 2, 2.0)])), DONE);
    let expected = [("a", 1, 2.0), ("b", 1, 1.0), ("b", 2, 2.0), ("c", 1, 1.0)];
    assert_points(&all(&mut *one), &expected);
    assert_points(&all(&mut *two), &expected);
}

/// Runs one write; retries it when it is busy.
fn run_until_not_busy(store: &mut dyn Store, write: &Write) -> WriteOutcome {
    for _ in 0..20 {
        match store.write(&[write]).remove(0) {
            Err(StoreError::Busy) => {}
            outcome => return outcome,
        }
    }
    Err(StoreError::Busy)
}

fn acknowledged_points_survive_concurrent_removals(fixture: &Fixture) {
    const ROUNDS: i64 = 40;
    const KEYS: usize = 8;
    const OLD: i64 = 1000;
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key-{n}")).collect();
    let done = AtomicBool::new(false);
    // Points that soon become old: series are added and removed all the time.
    let puts = |writer: i64, round: i64| {
        let second = OLD + writer * ROUNDS + round;
        let mut new: Vec<(&str, i64, f64)> = keys
            .iter()
            .enumerate()
            .flat_map(|(n, key)| {
                let is_kept = (n as i64 + round) % 4 == 0;
                [(key.as_str(), round, 1.0), (key.as_str(), if is_kept { second } else { -round }, 2.0)]
            })
            .collect();
        if writer == 1 {
            new.reverse();
        }
        put(&new)
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (mut store, puts) = (fixture.connect(), &puts);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        assert_eq!(run_until_not_busy(&mut *store, &puts(writer, round)), DONE);
                    }
                })
            })
            .collect();
        let (mut store, done) = (fixture.connect(), &done);
        let remover = scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                remove(&mut *store, OLD, 5);
            }
        });
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Release);
        assert!(ended.iter().all(Result::is_ok) && remover.join().is_ok());
    });
    let mut store = fixture.connect();
    remove(&mut *store, OLD, 100);
    let found: BTreeMap<(String, i64), f64> =
        all(&mut *store).into_iter().map(|(key, at, value)| ((key, at), value)).collect();
    let mut expected = BTreeMap::new();
    for (writer, round) in (0..2).flat_map(|writer| (0..ROUNDS).map(move |round| (writer, round))) {
        let Write::Put { points, .. } = puts(writer, round) else { unreachable!() };
        for new in points.iter().filter(|new| new.point.timestamp >= OLD) {
            expected.insert((new.key.to_string(), new.point.timestamp), new.point.value.get());
        }
    }
    assert_eq!(found, expected);
    // The count must match the series that exist.
    let full = KEYS as u64;
    let refused = Ok(Written::Put { refused: vec![0] });
    assert_eq!(run(&mut *store, put_up_to(full, &[("one-more", 1, 1.0)])), refused);
    assert_eq!(run(&mut *store, put_up_to(full + 1, &[("one-more", 1, 1.0)])), DONE);
}

fn concurrent_puts_respect_the_key_limit(fixture: &Fixture) {
    const ROOM: u64 = 30;
    let kept: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let mut store = fixture.connect();
                scope.spawn(move || {
                    let mut kept = 0;
                    for round in 0..10 {
                        let keys = [format!("{writer}-{round}"), format!("shared-{round}")];
                        let new: Vec<_> = keys.iter().map(|key| (key.as_str(), writer, 1.0)).collect();
                        match run_until_not_busy(&mut *store, &put_up_to(ROOM, &new)) {
                            Ok(Written::Put { refused }) => kept += new.len() - refused.len(),
                            other => panic!("{other:?}"),
                        }
                    }
                    kept
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("no panic")).sum()
    });
    let mut store = fixture.connect();
    let found = all(&mut *store);
    assert_eq!(found.len(), kept);
    let keys: HashSet<&str> = found.iter().map(|(key, _, _)| key.as_str()).collect();
    assert_eq!(keys.len() as u64, ROOM);
}

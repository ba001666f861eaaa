//! When entries are written, and when they are forgotten.

use std::time::Duration;

use super::*;
use crate::model::PeerIp;

const VM: VmId = VmId(1);

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(1000 + seconds)
}

fn unix(seconds: i64) -> UnixSeconds {
    UnixSeconds(1_700_000_000 + seconds)
}

fn seen_at(vm: VmId, second: i64) -> SeenVm {
    SeenVm { vm, at: unix(second), address: None }
}

fn note(seen: &mut LastSeen, vm: VmId, second: u64) {
    seen.note(seen_at(vm, second as i64), at(second) + limits::SEEN_INTERVAL);
}

#[test]
fn a_vm_is_written_once_a_minute_while_it_is_seen() {
    let (mut seen, mut written) = (LastSeen::default(), Vec::new());
    for second in 0..600 {
        note(&mut seen, VM, second);
        if let Some(batch) = seen.take_batch(at(second)) {
            assert_eq!(batch, [seen_at(VM, second as i64)]);
            written.push(second);
            seen.written(at(second));
        }
        assert_eq!(seen.of(VM), Some(seen_at(VM, second as i64)));
    }
    assert_eq!(written, [60, 120, 180, 240, 300, 360, 420, 480, 540]);
    // Written once more, and then forgotten.
    assert_eq!(seen.next_write(), Some(at(600)));
    assert_eq!(seen.take_batch(at(600)), Some(vec![seen_at(VM, 599)]));
    assert_eq!(seen.next_write(), None, "at most one write is under way");
    seen.written(at(600));
    assert_eq!((seen.take_batch(at(660)), seen.of(VM), seen.is_settled()), (None, None, true));
}

#[test]
fn the_end_of_the_last_session_is_written_at_once() {
    let mut seen = LastSeen::default();
    note(&mut seen, VM, 0);
    seen.note_end(VM, unix(5), at(5));
    assert_eq!(seen.take_batch(at(5)), Some(vec![seen_at(VM, 5)]));
    // A session that ends while that write is under way.
    seen.note_end(VM, unix(6), at(6));
    seen.written(at(6));
    assert_eq!(seen.take_batch(at(6)), Some(vec![seen_at(VM, 6)]));
    seen.written(at(6));
    // Ends that follow each other share writes.
    for second in 7..100 {
        seen.note_end(VmId(second), unix(second), at(6));
    }
    assert_eq!(seen.next_write(), Some(at(6) + limits::SEEN_PAUSE));
    assert_eq!(seen.take_batch(at(7)).map(|batch| batch.len()), Some(93));
}

#[test]
fn writes_are_bounded_and_full_ones_follow_each_other() {
    let mut seen = LastSeen::default();
    let count = 2 * limits::SEEN_BATCH_MAX as i64 + 1;
    (0..count).for_each(|vm| note(&mut seen, VmId(vm), 0));
    let mut sizes = Vec::new();
    while let Some(batch) = seen.take_batch(at(60)) {
        sizes.push(batch.len());
        seen.written(at(60));
    }
    assert_eq!(sizes, [limits::SEEN_BATCH_MAX, limits::SEEN_BATCH_MAX, 1]);
}

#[test]
fn a_failed_write_is_tried_again_with_later_times() {
    let mut seen = LastSeen::default();
    note(&mut seen, VM, 0);
    note(&mut seen, VmId(2), 0);
    assert_eq!(seen.take_batch(at(60)).map(|batch| batch.len()), Some(2));
    note(&mut seen, VM, 61);
    assert_eq!(seen.failed(at(62)), 2);
    assert_eq!(seen.next_write(), Some(at(62) + limits::SEEN_RETRY));
    assert_eq!(seen.take_batch(at(72)), Some(vec![seen_at(VM, 61), seen_at(VmId(2), 0)]));
}

#[test]
fn a_stop_writes_everything_once() {
    let mut seen = LastSeen::default();
    for vm in 0..2 * limits::SEEN_BATCH_MAX as i64 {
        note(&mut seen, VmId(vm), 0);
    }
    seen.begin_stop();
    let mut count = 0;
    while let Some(batch) = seen.take_batch(at(1)) {
        count += batch.len();
        seen.written(at(1));
        if count > 3 * limits::SEEN_BATCH_MAX {
            break;
        }
    }
    assert_eq!((count, seen.is_settled()), (2 * limits::SEEN_BATCH_MAX, false));
    // A failure ends it.
    let mut seen = LastSeen::default();
    note(&mut seen, VM, 0);
    seen.begin_stop();
    assert!(seen.take_batch(at(1)).is_some());
    assert_eq!((seen.failed(at(2)), seen.is_settled()), (1, true));
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut seen = LastSeen::default();
    note(&mut seen, VM, 100);
    seen.note(seen_at(VM, 50), at(101) + limits::SEEN_INTERVAL);
    assert_eq!(seen.of(VM), Some(seen_at(VM, 100)));
}

#[test]
fn the_last_address_stays_until_another_is_seen() {
    let mut seen = LastSeen::default();
    let from = |second, text| SeenVm { address: PeerIp::parse(text), ..seen_at(VM, second) };
    seen.note(from(1, "192.0.2.7"), at(1));
    assert_eq!(seen.take_batch(at(1)), Some(vec![from(1, "192.0.2.7")]));
    seen.written(at(1));
    // Another address in the same second is written too.
    seen.note(from(1, "192.0.2.8"), at(61));
    assert_eq!(seen.take_batch(at(61)), Some(vec![from(1, "192.0.2.8")]));
    seen.written(at(61));
    seen.note(seen_at(VM, 70), at(70));
    seen.note_end(VM, unix(71), at(71));
    assert_eq!(seen.of(VM), Some(from(71, "192.0.2.8")));
}

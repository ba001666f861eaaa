//! What is recorded, where clients resume, and what ends their watches.

use std::time::Duration;

use super::*;
use crate::model::{Caller, MetricKey, MetricValue, OfflineReason, Point};

struct NoRandom(bool);

impl Random for NoRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(7);
        if self.0 { Ok(()) } else { Err(io::Error::other("none")) }
    }
}

const EPOCH: u64 = 0x0707_0707_0707_0707;

fn anonymous() -> Watching {
    Watching { principal: Principal::Anonymous, caller: Caller::default(), token: None }
}

fn conn(index: u32) -> ConnId {
    ConnId { index, generation: 1 }
}

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

fn revision(number: u64) -> Revision {
    Revision { epoch: EPOCH, number }
}

fn filter(prefixes: &[&str]) -> WatchFilter {
    WatchFilter::new(true, true, prefixes.iter().map(|prefix| (*prefix).into()).collect())
}

fn begin(
    watches: &mut Watches,
    index: u32,
    from: Option<Revision>,
    prefixes: &[&str],
    now: Instant,
) -> Result<u64, Failure> {
    let watch = Watch { from, filter: filter(prefixes) };
    let client = anonymous();
    if watch.from.is_none() {
        watches.go_live(ChangesPosition::default(), now);
    }
    let begun = watches.begin(conn(index), watch, client, &mut NoRandom(true), now);
    watches.snapshot_sent(conn(index));
    begun.map(|begun| {
        assert_eq!(begun.epoch, EPOCH);
        begun.number
    })
}

fn removed(watches: &mut Watches, names: &[&str]) {
    names.iter().for_each(|name| watches.note_removed(&VmName::from_store(name), None));
}

fn online(vm: i64) -> PresenceChange {
    let (name, presence) = (VmName::from_store(&format!("vm-{vm}")), VmPresence::default());
    PresenceChange { vm: VmId(vm), name, presence, offline: None, was_online: false }
}

/// The numbers of the changes that a client gets, and its error.
fn take_all(watches: &mut Watches, index: u32) -> (Vec<u64>, Option<Failure>) {
    watches.publish();
    let mut numbers = Vec::new();
    loop {
        match watches.take(conn(index), &mut { usize::MAX }) {
            None => return (numbers, None),
            Some(Due::Later) => unreachable!("there is no end of searches"),
            Some(Due::Change(revision, ..)) => numbers.push(revision.number),
            Some(Due::End(failure)) => return (numbers, Some(failure)),
        }
    }
}

#[test]
fn nothing_is_recorded_before_the_first_client() {
    let mut watches = Watches::default();
    removed(&mut watches, &["a"]);
    watches.note_vm(VmChangeKind::Registered, VmId(1), VmPresence::default());
    assert!(!watches.is_live() && watches.begin_read(at(0)).is_none() && !watches.has_due());
    assert_eq!(begin(&mut watches, 0, None, &[], at(0)), Ok(0));
    removed(&mut watches, &["a", "b"]);
    assert_eq!(take_all(&mut watches, 0), (vec![1, 2], None));
    assert_eq!(watches.counters(), (WatchCounters { changes: 2, sent: 2, too_far_behind: 0 }, 1));
}

#[test]
fn without_random_bytes_no_client_watches() {
    let mut watches = Watches::default();
    let watch = Watch { from: None, filter: filter(&[]) };
    let client = anonymous();
    watches.go_live(ChangesPosition::default(), at(0));
    let begun = watches.begin(conn(0), watch, client, &mut NoRandom(false), at(0));
    assert_eq!((begun, watches.counters().1), (Err(Failure::Internal), 0));
}

#[test]
fn a_client_resumes_as_long_as_changes_are_recorded() {
    let mut watches = Watches::default();
    begin(&mut watches, 0, None, &[], at(0)).unwrap();
    removed(&mut watches, &["a", "b"]);
    watches.publish();
    watches.end(conn(0), at(10));
    removed(&mut watches, &["c"]);
    watches.publish();
    assert_eq!(begin(&mut watches, 1, Some(revision(1)), &[], at(20)), Ok(1));
    assert_eq!(take_all(&mut watches, 1), (vec![2, 3], None));
    for (from, why) in [(revision(4), "of the future"), (Revision { epoch: 1, number: 1 }, "of another run")]
    {
        let begun = begin(&mut watches, 2, Some(from), &[], at(20));
        assert_eq!(begun, Err(Failure::TooFarBehind), "{why}");
    }
    // The watch of the client goes on.
    removed(&mut watches, &["d"]);
    assert_eq!(take_all(&mut watches, 1), (vec![4], None));
    watches.end(conn(1), at(30));
    let end = 30 + limits::WATCH_RESUME_TIME.as_secs();
    watches.begin_read_of_others(at(30));
    assert_eq!(watches.next_timer(), Some(at(end)));
    watches.expire(at(end - 1));
    assert!(watches.is_live());
    watches.expire(at(end));
    assert!(!watches.is_live() && watches.next_timer().is_none());
    let begun = begin(&mut watches, 1, Some(revision(4)), &[], at(end));
    assert_eq!(begun, Err(Failure::TooFarBehind), "changes after it may not be recorded");
    assert_eq!(begin(&mut watches, 1, None, &[], at(end)), Ok(5));
    let begun = begin(&mut watches, 2, Some(revision(4)), &[], at(end));
    assert_eq!(begun, Err(Failure::TooFarBehind));
    assert_eq!(begin(&mut watches, 2, Some(revision(5)), &[], at(end)), Ok(5));
}

#[test]
fn the_time_to_resume_begins_with_the_end_of_the_last_client() {
    let mut watches = Watches::default();
    for index in 0..2 {
        begin(&mut watches, index, None, &[], at(0)).unwrap();
    }
    watches.end(conn(0), at(1));
    watches.expire(at(10_000));
    assert!(watches.is_live());
    begin(&mut watches, 1, None, &[], at(10_000)).unwrap();
    watches.expire(at(20_000));
    assert!(watches.is_live(), "a client that replaces its watch is there");
    watches.end(conn(1), at(20_000));
    begin(&mut watches, 0, None, &[], at(20_001)).unwrap();
    watches.expire(at(30_000));
    assert!(watches.is_live(), "another client came in time");
}

#[test]
fn points_are_recorded_for_the_prefixes_that_clients_watch() {
    let mut watches = Watches::default();
    let points: Vec<NewPoint> = ["a.x", "b.x", "c.x"]
        .map(|key| {
            let value = MetricValue::new(1.0).expect("it is finite");
            NewPoint { key: MetricKey::from_store(key), point: Point { timestamp: 1, value } }
        })
        .into();
    begin(&mut watches, 0, None, &[], at(0)).unwrap();
    begin(&mut watches, 1, None, &["a.", "b."], at(0)).unwrap();
    watches.note_points(None, &points, &[1]);
    watches.note_points(None, &points[2..], &[]);
    assert_eq!(take_all(&mut watches, 0), (vec![], None));
    watches.publish();
    match watches.take(conn(1), &mut { usize::MAX }) {
        Some(Due::Change(Revision { number: 1, .. }, change, _)) => {
            assert_eq!(&*change.points, &points[..1], "b.x was refused, and c.x is not watched");
        }
        other => panic!("{other:?}"),
    }
    let resume = |watches: &mut Watches, index, number, prefixes| {
        begin(watches, index, Some(revision(number)), prefixes, at(1))
    };
    assert_eq!(resume(&mut watches, 2, 0, &["a."]), Ok(0));
    assert_eq!(resume(&mut watches, 2, 1, &["a.more"]), Ok(1));
    let begun = resume(&mut watches, 3, 1, &["a.", "c."]);
    assert_eq!(begun, Err(Failure::TooFarBehind), "c. was not recorded");
    assert_eq!(
        resume(&mut watches, 2, 1, &["a.", "c."]),
        Ok(1),
        "it watches already, and adds c. from now on"
    );
    watches.note_points(None, &points[2..], &[]);
    assert_eq!(take_all(&mut watches, 2), (vec![2], None));
    assert_eq!(resume(&mut watches, 3, 1, &["c."]), Ok(1), "c. is recorded since 1");
}

#[test]
fn changes_keep_their_order_while_the_store_is_read() {
    let mut watches = Watches::default();
    begin(&mut watches, 0, None, &[], at(0)).unwrap();
    watches.note_vm(VmChangeKind::Registered, VmId(1), VmPresence::default());
    watches.note_presence(vec![online(1)]);
    assert!(!watches.has_all(conn(0)));
    assert_eq!(take_all(&mut watches, 0), (vec![], None));
    assert_eq!(watches.next_timer(), Some(at(0)));
    watches.begin_read_of_others(at(1));
    assert_eq!(watches.begin_read(at(0)), Some(vec![VmId(1)]));
    assert_eq!((watches.begin_read(at(0)), watches.next_timer()), (None, None));
    watches.read_failed(at(5));
    let retry = at(5) + limits::WATCH_RETRY;
    assert_eq!((watches.begin_read(at(5)), watches.next_timer()), (None, Some(retry)));
    assert_eq!(watches.begin_read(retry), Some(vec![VmId(1)]));
    watches.end_read(Vec::new());
    assert_eq!(take_all(&mut watches, 0), (vec![1], None), "the VM was removed meanwhile");
    assert!(watches.has_all(conn(0)));
}

#[test]
fn a_change_that_may_be_lost_ends_all_watches() {
    let mut watches = Watches::default();
    begin(&mut watches, 0, None, &[], at(0)).unwrap();
    removed(&mut watches, &["a"]);
    assert_eq!(take_all(&mut watches, 0), (vec![1], None));
    watches.note_unknown();
    removed(&mut watches, &["b"]);
    assert_eq!(take_all(&mut watches, 0), (vec![], Some(Failure::TooFarBehind)));
    let begun = begin(&mut watches, 0, Some(revision(1)), &[], at(0));
    assert_eq!(begun, Err(Failure::TooFarBehind));
    assert_eq!(begin(&mut watches, 0, None, &[], at(0)), Ok(3));
    assert_eq!(watches.counters().0.too_far_behind, 1);
}

#[test]
fn the_reason_of_an_offline_vm_is_told() {
    let text = |offline, was_online| {
        Change::from(PresenceChange { offline, was_online, ..online(3) }).text.into_string()
    };
    let vm = r#""vm":{"id":3,"connected_since":null,"last_seen":null,"offline_since":null,"addrs":[],"vm_id":"vm-3"}"#;
    let wanted = |kind, reason| format!(r#""kind":"{kind}","vm_id":"vm-3",{reason}{vm}"#);
    assert_eq!(text(None, false), wanted("online", ""));
    assert_eq!(text(None, true), wanted("online", r#""reason":"taken over","#));
    assert_eq!(text(Some(OfflineReason::Stopped), true), wanted("offline", r#""reason":"daemon stopped","#));
}

#[test]
fn a_failed_snapshot_ends_the_watch_that_it_begins_only() {
    let mut watches = Watches::default();
    let watch = || Watch { from: None, filter: filter(&[]) };
    let client = anonymous;
    watches.go_live(ChangesPosition::default(), at(0));
    watches.begin(conn(0), watch(), client(), &mut NoRandom(true), at(0)).unwrap();
    watches.snapshot_failed(conn(0), at(1));
    assert_eq!(watches.counters().1, 0);
    watches.begin(conn(0), watch(), client(), &mut NoRandom(true), at(2)).unwrap();
    watches.snapshot_sent(conn(0));
    watches.snapshot_failed(conn(0), at(3));
    assert_eq!(watches.counters().1, 1);
}

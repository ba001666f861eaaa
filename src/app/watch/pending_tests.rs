//! Changes that wait for reads of the store.

use super::*;
use crate::clock::UnixSeconds;
use crate::model::{ChangeGroup, VmName, VmShape};

fn ready(text: &str) -> Change {
    Change { group: ChangeGroup::Presence, text: text.into(), points: Box::default() }
}

fn vm(id: i64, last_seen: Option<i64>) -> Vm {
    Vm {
        id: VmId(id),
        name: VmName::from_store(&format!("vm-{id}")),
        shape: VmShape { ram_mib: 1, cpus: 1 },
        has_password: false,
        is_managed: false,
        last_seen: last_seen.map(UnixSeconds),
        last_address: None,
        disks: Vec::new(),
    }
}

/// The texts of all changes of the log, up to the name of the VM.
fn texts(log: &ChangeLog) -> Vec<String> {
    let changes = (0..log.last()).map_while(|position| log.following(position));
    changes.map(|change| change.text.split(",\"vm\":").next().unwrap_or_default().to_owned()).collect()
}

const ADDED: VmChangeKind = VmChangeKind::Registered;

#[test]
fn a_change_that_waits_for_nothing_is_logged_at_once() {
    let (mut pending, mut log) = (Pending::default(), ChangeLog::default());
    pending.push(ready("a"), &mut log).unwrap();
    assert_eq!((texts(&log), pending.begin_read()), (vec!["a".to_owned()], None));
}

#[test]
fn later_changes_wait_for_the_read_before_them() {
    let (mut pending, mut log) = (Pending::default(), ChangeLog::default());
    pending.push_unread(ADDED, VmId(7), VmPresence::default()).unwrap();
    pending.push(ready("online"), &mut log).unwrap();
    assert_eq!(pending.begin_read(), Some(vec![VmId(7)]));
    assert_eq!(pending.begin_read(), None, "one at a time");
    pending.push_unread(VmChangeKind::Updated, VmId(7), VmPresence::default()).unwrap();
    pending.push(ready("offline"), &mut log).unwrap();
    assert_eq!(texts(&log), [] as [String; 0]);
    pending.end_read(vec![vm(7, None)], &mut log);
    assert_eq!(texts(&log), ["\"kind\":\"registered\",\"vm_id\":\"vm-7\"", "online"]);
    assert_eq!(pending.begin_read(), Some(vec![VmId(7)]), "the second change was not read by the first read");
    pending.end_read(vec![vm(7, None)], &mut log);
    assert_eq!(texts(&log)[2..], ["\"kind\":\"updated\",\"vm_id\":\"vm-7\"", "offline"]);
    assert!(pending.is_empty() && pending.bytes == 0);
}

#[test]
fn a_failed_read_begins_again() {
    let (mut pending, mut log) = (Pending::default(), ChangeLog::default());
    pending.push_unread(ADDED, VmId(7), VmPresence::default()).unwrap();
    pending.begin_read();
    pending.read_failed();
    pending.push_unread(ADDED, VmId(8), VmPresence::default()).unwrap();
    assert_eq!(pending.begin_read(), Some(vec![VmId(7), VmId(8)]));
    pending.end_read(vec![vm(8, None)], &mut log);
    assert_eq!(texts(&log), ["\"kind\":\"registered\",\"vm_id\":\"vm-8\""], "7 was removed meanwhile");
    assert!(pending.is_empty());
}

#[test]
fn a_read_of_dropped_entries_is_for_none_of_those_that_follow() {
    let (mut pending, mut log) = (Pending::default(), ChangeLog::default());
    pending.push_unread(ADDED, VmId(7), VmPresence::default()).unwrap();
    pending.begin_read();
    pending.clear();
    pending.push_unread(ADDED, VmId(8), VmPresence::default()).unwrap();
    assert_eq!(pending.begin_read(), None, "one at a time");
    pending.end_read(vec![vm(7, None)], &mut log);
    assert_eq!((texts(&log), pending.begin_read()), (vec![], Some(vec![VmId(8)])));
    pending.end_read(vec![vm(8, None)], &mut log);
    assert_eq!(texts(&log), ["\"kind\":\"registered\",\"vm_id\":\"vm-8\""]);
}

#[test]
fn a_read_is_for_a_bounded_number_of_vms() {
    let (mut pending, mut log) = (Pending::default(), ChangeLog::default());
    let max = limits::WATCH_READ_VMS_MAX as i64;
    for id in 0..max + 1 {
        pending.push_unread(ADDED, VmId(id), VmPresence::default()).unwrap();
        pending.push_unread(VmChangeKind::Updated, VmId(0), VmPresence::default()).unwrap();
    }
    let first = pending.begin_read().expect("a read");
    assert_eq!(first.len() as i64, max);
    pending.end_read((0..max).map(|id| vm(id, None)).collect(), &mut log);
    assert_eq!(log.last() as i64, 2 * max);
    assert_eq!(pending.begin_read(), Some(vec![VmId(0), VmId(max)]));
}

#[test]
fn the_later_of_two_times_is_shown() {
    let (mut pending, mut log) = (Pending::default(), ChangeLog::default());
    for last_seen in [None, Some(4), Some(6)] {
        let presence = VmPresence { last_seen: last_seen.map(UnixSeconds), ..VmPresence::default() };
        pending.push_unread(ADDED, VmId(1), presence).unwrap();
    }
    pending.begin_read();
    pending.end_read(vec![vm(1, Some(5))], &mut log);
    for (position, seen) in [(0, 5), (1, 5), (2, 6)] {
        let change = log.following(position).expect("it is logged");
        assert!(change.text.contains(&format!("\"last_seen\":{seen}")), "{}", change.text);
    }
}

#[test]
fn changes_that_wait_are_bounded() {
    let (mut pending, mut log) = (Pending::default(), ChangeLog::default());
    for _ in 0..limits::WATCH_PENDING_MAX {
        pending.push_unread(ADDED, VmId(1), VmPresence::default()).unwrap();
    }
    assert_eq!(pending.push(ready("a"), &mut log), Err(Full));
    let mut pending = Pending::default();
    pending.push_unread(ADDED, VmId(1), VmPresence::default()).unwrap();
    let long = "x".repeat(limits::WATCH_CHANGES_BYTES_MAX);
    assert_eq!(pending.push(ready(&long), &mut log), Err(Full));
}

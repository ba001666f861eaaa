//! What clients get, and in which turn.

use super::*;
use crate::ids::VmId;
use crate::model::{ChangeGroup, Login, VmName};

fn anonymous() -> Watching {
    Watching { principal: Principal::Anonymous, caller: Caller::default(), token: None }
}

fn conn(index: u32) -> ConnId {
    ConnId { index, generation: 1 }
}

fn change(group: ChangeGroup, text: &str) -> Change {
    Change { group, text: text.into(), points: Box::default() }
}

fn all() -> WatchFilter {
    WatchFilter::new(true, true, Vec::new())
}

fn begin(watchers: &mut Watchers, index: u32, filter: WatchFilter, position: u64, has_snapshot: bool) {
    let client = anonymous();
    watchers.begin(conn(index), filter, client, position, has_snapshot);
}

/// What a client gets now: the numbers of changes, and its error.
fn take_all(watchers: &mut Watchers, index: u32, log: &ChangeLog) -> (Vec<u64>, Option<Failure>) {
    let mut numbers = Vec::new();
    loop {
        match watchers.take(conn(index), log, 7, &mut { usize::MAX }) {
            None => return (numbers, None),
            Some(Due::Later) => unreachable!("there is no end of searches"),
            Some(Due::End(failure)) => return (numbers, Some(failure)),
            Some(Due::Change(revision, ..)) => {
                assert_eq!(revision.epoch, 7);
                numbers.push(revision.number);
            }
        }
    }
}

#[test]
fn a_search_goes_on_where_it_was_left() {
    let (mut watchers, mut log) = (Watchers::default(), ChangeLog::default());
    ["1", "2", "3"].into_iter().for_each(|text| log.push(change(ChangeGroup::Presence, text)));
    log.push(change(ChangeGroup::Vms, "4"));
    begin(&mut watchers, 0, WatchFilter::new(true, false, Vec::new()), 0, false);
    let mut searches = 2;
    assert_eq!(watchers.take(conn(0), &log, 7, &mut searches), Some(Due::Later));
    assert_eq!(searches, 0);
    assert!(matches!(
        watchers.take(conn(0), &log, 7, &mut 2),
        Some(Due::Change(Revision { number: 4, .. }, ..))
    ));
    assert_eq!(watchers.take(conn(0), &log, 7, &mut 0), None, "there is nothing to search");
}

#[test]
fn a_client_gets_what_it_wants_after_its_position() {
    let (mut watchers, mut log) = (Watchers::default(), ChangeLog::default());
    log.push(change(ChangeGroup::Vms, "1"));
    begin(&mut watchers, 0, all(), 1, false);
    begin(&mut watchers, 1, WatchFilter::new(true, false, Vec::new()), 0, false);
    for group in [ChangeGroup::Vms, ChangeGroup::Presence, ChangeGroup::Vms] {
        log.push(change(group, ""));
    }
    assert_eq!(take_all(&mut watchers, 0, &log), (vec![2, 3, 4], None));
    assert_eq!(take_all(&mut watchers, 1, &log), (vec![1, 2, 4], None));
    assert_eq!(take_all(&mut watchers, 1, &log), (vec![], None), "nothing twice");
    assert!(watchers.has_all(conn(0), 4) && !watchers.has_all(conn(0), 5));
}

#[test]
fn a_client_gets_nothing_before_the_end_of_its_snapshot() {
    let (mut watchers, mut log) = (Watchers::default(), ChangeLog::default());
    begin(&mut watchers, 0, all(), 0, true);
    log.push(change(ChangeGroup::Vms, ""));
    assert!(watchers.awaits_snapshot(conn(0)));
    assert_eq!(take_all(&mut watchers, 0, &log), (vec![], None));
    watchers.activate(conn(0));
    assert_eq!(take_all(&mut watchers, 0, &log), (vec![1], None));
}

#[test]
fn a_client_that_is_behind_the_log_is_told_so() {
    let (mut watchers, mut log) = (Watchers::default(), ChangeLog::after(9));
    begin(&mut watchers, 0, all(), 8, false);
    assert_eq!(take_all(&mut watchers, 0, &log), (vec![], Some(Failure::TooFarBehind)));
    begin(&mut watchers, 0, all(), 9, false);
    log.push(change(ChangeGroup::Vms, ""));
    assert_eq!(take_all(&mut watchers, 0, &log), (vec![10], None));
}

#[test]
fn an_ending_watch_gets_its_error_and_no_more_changes() {
    let (mut watchers, mut log) = (Watchers::default(), ChangeLog::default());
    let login = |id| Principal::Vm(Login { id: VmId(id), epoch: 0, name: VmName::from_store("a") });
    for (index, principal) in [(0, login(1)), (1, login(2)), (2, Principal::Operator)] {
        watchers.begin(conn(index), all(), Watching { principal, ..anonymous() }, 0, false);
    }
    log.push(change(ChangeGroup::Vms, ""));
    watchers.end_of(|client| client.principal == login(1));
    assert_eq!(take_all(&mut watchers, 0, &log), (vec![], Some(Failure::AuthenticationRequired)));
    assert_eq!(take_all(&mut watchers, 1, &log), (vec![1], None));
    assert_eq!(take_all(&mut watchers, 2, &log), (vec![1], None));
}

#[test]
fn clients_take_turns_and_each_is_due_once() {
    let mut watchers = Watchers::default();
    for index in 0..3 {
        begin(&mut watchers, index, all(), 0, false);
    }
    let turn = |watchers: &mut Watchers| watchers.next_due().map(|conn| conn.index);
    assert_eq!((turn(&mut watchers), turn(&mut watchers)), (Some(0), Some(1)));
    watchers.note_changes(1);
    watchers.touch(conn(0));
    watchers.note_changes(1);
    let turns: Vec<_> = std::iter::from_fn(|| turn(&mut watchers)).collect();
    assert_eq!(turns, [2, 0, 1], "the one that got no turn is first");
    assert!(!watchers.has_due());
    watchers.touch(conn(1));
    watchers.remove(conn(1));
    assert_eq!(turn(&mut watchers), None, "it is gone");
}

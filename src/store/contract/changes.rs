//! Changes by other processes.

use std::collections::HashMap;
use std::thread;

use super::*;
use crate::ids::{AccessTokenId, ServerId};
use crate::limits;
use crate::model::{AccessTokenChange, DiskChange, Management};
use crate::store::{ChangeKind, ChangesPage, ChangesPosition};

contract! {
    a_process_reads_the_changes_of_others_once,
    every_kind_of_change_is_read,
    a_refused_write_is_no_change,
    changes_are_read_in_pages,
    concurrent_changes_are_neither_lost_nor_doubled,
}

fn page(store: &mut dyn Store, position: Option<&ChangesPosition>, count_max: usize) -> ChangesPage {
    let page = store.registry().changes_after(position, count_max).expect("a working store");
    assert!(!page.has_gap);
    page
}

/// A reader that begins now.
struct Reader(ChangesPosition);

impl Reader {
    fn new(store: &mut dyn Store) -> Reader {
        let page = page(store, None, 10);
        assert_eq!((page.changes.len(), page.ended_tokens.len(), page.has_more), (0, 0, false));
        Reader(page.position)
    }

    /// The changes since the last call, at most 1000.
    fn next(&mut self, store: &mut dyn Store) -> ChangesPage {
        let page = page(store, Some(&self.0), 1000);
        self.0 = page.position.clone();
        page
    }

    fn names(&mut self, store: &mut dyn Store) -> Vec<(ChangeKind, String)> {
        let page = self.next(store);
        page.changes.iter().map(|change| (change.kind, change.name.to_string())).collect()
    }
}

fn a_process_reads_the_changes_of_others_once(fixture: &Fixture) {
    let mut store = fixture.connect();
    let Some(mut other) = fixture.of_other_process() else {
        let mut reader = Reader::new(&mut *store);
        register(&mut *fixture.connect(), "a", &[]);
        return assert_eq!(reader.next(&mut *store), ChangesPage::default());
    };
    register(&mut *other, "before", &[]);
    let (mut own, mut others) = (Reader::new(&mut *store), Reader::new(&mut *other));
    register(&mut *fixture.connect(), "mine", &[1]);
    register(&mut *other, "theirs", &[]);
    let registered = |text: &str| vec![(ChangeKind::Registered, text.to_owned())];
    assert_eq!(own.names(&mut *store), registered("theirs"));
    assert_eq!(others.names(&mut *other), registered("mine"), "of any connection");
    assert_eq!(own.names(&mut *store), []);
    register(&mut *other, "later", &[]);
    assert_eq!(own.names(&mut *store), registered("later"));
    assert_eq!((own.names(&mut *store), others.names(&mut *other)), (vec![], vec![]));
    // A third process sees those that come after it.
    let mut third = fixture.of_other_process().expect("as the second");
    let mut last = Reader::new(&mut *third);
    assert_eq!(run(&mut *store, Write::Remove(name("mine"))), Ok(Written::Done));
    assert_eq!(last.names(&mut *third), [(ChangeKind::Removed, "mine".to_owned())]);
}

fn every_kind_of_change_is_read(fixture: &Fixture) {
    let mut store = fixture.connect();
    let Some(mut other) = fixture.of_other_process() else { return };
    let mut reader = Reader::new(&mut *store);
    let a = register(&mut *other, "a", &[1, 2]);
    run(&mut *other, update(&a, ram(5))).unwrap();
    for disks in [DiskChange::Replace(vec![9]), DiskChange::Resize(vec![(crate::ids::DiskId(1), 8)])] {
        run(&mut *other, update(&a, VmChange { disks: Some(disks), ..VmChange::default() })).unwrap();
    }
    run(&mut *other, password("a", "new")).unwrap();
    let a = credentials(&mut *other, "a").expect("a VM").login;
    run(&mut *other, Write::EndLogins { login: a.clone() }).unwrap();
    let addition = Write::AddVm { shape: SHAPE, disk_sizes_gib: vec![7], vms_max: 10, now: NOW };
    run(&mut *other, addition).unwrap();
    let server = ServerId::parse("0123456789abcdef0123456789abcdef").expect("an id");
    let Write::Register { mut vm, vms_max, now } = registration("managed", &[3]) else { unreachable!() };
    (vm.password_hash, vm.management) = (None, Some(Management { server, token: None }));
    run(&mut *other, Write::Register { vm, vms_max, now }).unwrap();
    run(&mut *other, Write::RemoveManaged { server, names: vec![name("managed"), name("none")] }).unwrap();
    run(&mut *other, Write::Remove(name("a"))).unwrap();
    let wanted = [
        (ChangeKind::Registered, 1, "a"),
        (ChangeKind::Updated, 1, "a"),
        (ChangeKind::Updated, 1, "a"),
        (ChangeKind::Updated, 1, "a"),
        (ChangeKind::LoginsEnded, 1, "a"),
        (ChangeKind::LoginsEnded, 1, "a"),
        (ChangeKind::Registered, 2, "2"),
        (ChangeKind::Registered, 3, "managed"),
        (ChangeKind::Removed, 3, "managed"),
        (ChangeKind::Removed, 1, "a"),
    ];
    let page = reader.next(&mut *store);
    let read = page.changes.iter().map(|change| (change.kind, change.vm.0, change.name.as_str()));
    assert_eq!(read.collect::<Vec<_>>(), wanted);

    // Access tokens are not VMs: only their end matters.
    let change = |change| Write::ChangeAccessTokens(change);
    for number in 1..=2 {
        let (token, reader_name) = (token(number), Some(name("r")));
        let add = AccessTokenChange::Add { token, is_enabled: true, reader_name, count_max: 9, now: NOW };
        run(&mut *other, change(add)).unwrap();
    }
    let (first, second) = (AccessTokenId(1), AccessTokenId(2));
    run(&mut *other, change(AccessTokenChange::SetEnabled { id: first, is_enabled: false })).unwrap();
    run(&mut *other, change(AccessTokenChange::SetEnabled { id: first, is_enabled: true })).unwrap();
    run(&mut *other, change(AccessTokenChange::Remove(second))).unwrap();
    let page = reader.next(&mut *store);
    assert_eq!((page.changes, page.ended_tokens), (vec![], vec![first, second]));
}

fn a_refused_write_is_no_change(fixture: &Fixture) {
    let mut store = fixture.connect();
    let Some(mut other) = fixture.of_other_process() else { return };
    let a = register(&mut *other, "a", &[1]);
    let stale = Login { epoch: a.epoch + 1, ..a.clone() };
    let mut reader = Reader::new(&mut *store);
    let unknown = DiskChange::Resize(vec![(crate::ids::DiskId(99), 8)]);
    let outcomes = other.write_all(&[
        registration("a", &[]),
        registration_up_to("b", &[], 1),
        update(&stale, ram(5)),
        update(&a, VmChange { disks: Some(unknown), ..VmChange::default() }),
        Write::EndLogins { login: stale },
        password("none", "x"),
        Write::Remove(name("none")),
        Write::ChangeAccessTokens(AccessTokenChange::Remove(AccessTokenId(9))),
        issue(&a, token(1), NOW.0 + 10),
    ]);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let page = reader.next(&mut *store);
    assert_eq!((page.changes, page.ended_tokens), (vec![], vec![]));
}

fn changes_are_read_in_pages(fixture: &Fixture) {
    let mut store = fixture.connect();
    let Some(mut other) = fixture.of_other_process() else { return };
    let mut position = page(&mut *store, None, 3).position;
    for index in 0..7 {
        register(&mut *other, &format!("vm-{index}"), &[]);
        // Own changes between them fill no page.
        register(&mut *store, &format!("own-{index}"), &[]);
    }
    let (mut names, mut pages) = (Vec::new(), 0);
    loop {
        let page = page(&mut *store, Some(&position), 3);
        assert!(page.changes.len() <= 3);
        names.extend(page.changes.iter().map(|change| change.name.to_string()));
        position = page.position;
        if !page.has_more {
            break;
        }
        // What is written between two pages is read too.
        register(&mut *other, &format!("late-{pages}"), &[]);
        pages += 1;
        assert!(pages < 50);
    }
    let mut rest = Reader(position);
    names.extend(rest.next(&mut *store).changes.iter().map(|change| change.name.to_string()));
    let wanted = (0..7).map(|index| format!("vm-{index}"));
    let wanted: Vec<String> = wanted.chain((0..pages).map(|index| format!("late-{index}"))).collect();
    assert_eq!(names, wanted);
}

/// Transactions commit in another order than that in which their changes got their numbers.
fn concurrent_changes_are_neither_lost_nor_doubled(fixture: &Fixture) {
    const WRITERS: usize = 4;
    const CHANGES: u32 = 40;
    let mut store = fixture.connect();
    if fixture.of_other_process().is_none() {
        return;
    }
    let logins: Vec<Login> =
        (0..WRITERS).map(|index| register(&mut *store, &format!("vm-{index}"), &[])).collect();
    let mut reader = Reader::new(&mut *store);
    let mut read: HashMap<VmId, u32> = HashMap::new();
    let count = |read: &mut HashMap<VmId, u32>, page: ChangesPage| {
        page.changes.iter().for_each(|change| *read.entry(change.vm).or_default() += 1);
    };
    thread::scope(|scope| {
        let writers: Vec<_> = logins
            .iter()
            .map(|login| {
                let mut writer = fixture.of_other_process().expect("as before");
                scope.spawn(move || {
                    for mib in 1..=CHANGES {
                        // Tools of the operator try a locked file again.
                        let outcome = (0..limits::REGISTRY_ATTEMPTS)
                            .map(|_| run(&mut *writer, update(login, ram(mib))))
                            .find(|outcome| *outcome != Err(StoreError::Busy));
                        assert_eq!(outcome, Some(Ok(Written::Done)));
                    }
                })
            })
            .collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            count(&mut read, reader.next(&mut *store));
        }
    });
    count(&mut read, reader.next(&mut *store));
    assert_eq!(read, logins.iter().map(|login| (login.id, CHANGES)).collect());
}

//! Batches, and concurrent connections.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::ids::{DiskId, ServerId};
use crate::model::{DiskChange, Management};

contract! {
    batch_results_are_in_order_and_independent,
    a_write_sees_earlier_writes_of_its_batch,
    registrations_in_a_row_are_independent,
    updates_in_a_row_are_independent,
    an_empty_batch_has_no_results,
    connections_see_each_others_writes,
    connections_write_concurrently,
    a_vm_is_read_atomically,
    a_ping_reads_the_store,
}

fn batch_results_are_in_order_and_independent(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (a, b) = (register(&mut *store, "a", &[1]), register(&mut *store, "b", &[2]));
    let stale = Login { epoch: a.epoch + 1, ..a.clone() };
    let foreign = Some(DiskChange::Resize(vec![(DiskId(1), 99), (DiskId(2), 99)]));
    let outcomes = store.write_all(&[
        registration("c", &[3]),
        registration("a", &[4]),
        update(&a, VmChange { ram_mib: Some(1), cpus: Some(1), disks: foreign }),
        update(&b, ram(5)),
        issue(&stale, token(1), NOW.0 + 10),
        registration_up_to("d", &[6], 3),
        Write::Remove(name("nobody")),
        issue(&b, token(2), NOW.0 + 10),
        registration("e", &[7]),
    ]);
    assert_eq!(
        outcomes,
        [
            Ok(Written::Registered(VmId(3))),
            Err(StoreError::AlreadyRegistered),
            Err(StoreError::UnknownDisk(DiskId(2))),
            Ok(Written::Done),
            Err(StoreError::NotCurrent),
            Err(StoreError::VmLimitReached),
            Err(StoreError::UnknownVm),
            Ok(Written::Done),
            Ok(Written::Registered(VmId(4))),
        ]
    );
    let mut other = fixture.connect();
    let names: Vec<String> = all_vms(&mut *other).iter().map(|vm| vm.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "c", "e"]);
    assert_eq!((vm(&mut *other, a.id).shape, sizes(&vm(&mut *other, a.id))), (SHAPE, vec![1]));
    assert_eq!(vm(&mut *other, b.id).shape.ram_mib, 5);
    assert_eq!(other.registry().token_owner(&token(1), NOW), Ok(None));
    assert_eq!(other.registry().token_owner(&token(2), NOW), Ok(Some(b)));
}

fn a_ping_reads_the_store(fixture: &Fixture) {
    let mut store = fixture.connect();
    assert_eq!(store.registry().ping(), Ok(()));
    register(&mut *store, "a", &[]);
    assert_eq!(store.registry().ping(), Ok(()));
}

fn a_write_sees_earlier_writes_of_its_batch(fixture: &Fixture) {
    let mut store = fixture.connect();
    let login = register(&mut *store, "a", &[]);
    let outcomes = store.write_all(&[
        registration("b", &[]),
        registration("b", &[]),
        Write::Remove(name("b")),
        registration("b", &[]),
        password("a", "new"),
        update(&login, ram(5)),
    ]);
    assert_eq!(
        outcomes,
        [
            Ok(Written::Registered(VmId(2))),
            Err(StoreError::AlreadyRegistered),
            Ok(Written::Done),
            Ok(Written::Registered(VmId(3))),
            Ok(Written::Done),
            Err(StoreError::NotCurrent),
        ]
    );
}

fn registrations_in_a_row_are_independent(fixture: &Fixture) {
    let mut store = fixture.connect();
    register(&mut *store, "old", &[1]);
    let new = |text, sizes| registration_up_to(text, sizes, 5);
    let add = |sizes: &[u64]| {
        let (shape, disk_sizes_gib) = (SHAPE, sizes.to_vec());
        Write::AddVm { shape, disk_sizes_gib, vms_max: 5, now: NOW }
    };
    let outcomes = store.write_all(&[
        new("a", &[2, 3]),
        new("old", &[9]),
        new("a", &[9]),
        add(&[4]),
        new("b", &[]),
        add(&[5, 6]),
        new("c", &[9]),
        add(&[9]),
        new("c", &[9]),
        new("a", &[9]),
    ]);
    let registered = |id| Ok(Written::Registered(VmId(id)));
    let known = || Err(StoreError::AlreadyRegistered);
    let full = || Err(StoreError::VmLimitReached);
    assert_eq!(
        outcomes,
        [
            registered(2),
            known(),
            known(),
            registered(3),
            registered(4),
            registered(5),
            full(),
            full(),
            full(),
            known()
        ]
    );
    let vms = all_vms(&mut *store);
    let names: Vec<&str> = vms.iter().map(|vm| vm.name.as_str()).collect();
    assert_eq!(names, ["old", "a", "3", "b", "5"]);
    let disks = store.registry().disks_after(DiskId(0), 99).unwrap();
    let sizes: Vec<(i64, u64)> = disks.iter().map(|of| (of.vm_id.0, of.disk.size_gib)).collect();
    assert_eq!(sizes, [(1, 1), (2, 2), (2, 3), (3, 4), (5, 5), (5, 6)]);
}

fn updates_in_a_row_are_independent(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (a, b) = (register(&mut *store, "a", &[1]), register(&mut *store, "b", &[2]));
    let Write::Register { vm: mut new, vms_max, now } = registration("managed", &[]) else { unreachable!() };
    new.management = Some(Management { server: ServerId([1; 16]), token: None });
    run(&mut *store, Write::Register { vm: new, vms_max, now }).unwrap();
    let managed = credentials(&mut *store, "managed").unwrap().login;
    let stale = Login { epoch: a.epoch + 1, ..a.clone() };
    let unknown = Login { id: VmId(99), ..a.clone() };
    let cpus = |count| VmChange { cpus: Some(count), ..VmChange::default() };
    let disks = VmChange { disks: Some(DiskChange::Replace(vec![8, 9])), ..ram(7) };
    let outcomes = store.write_all(&[
        update(&a, ram(10)),
        update(&stale, ram(11)),
        update(&b, cpus(7)),
        update(&managed, ram(1)),
        update(&a, cpus(3)),
        update(&unknown, ram(1)),
        update(&a, ram(12)),
        update(&b, disks),
        update(&b, ram(20)),
    ]);
    let (done, not_current) = (|| Ok(Written::Done), || Err(StoreError::NotCurrent));
    assert_eq!(
        outcomes,
        [
            done(),
            not_current(),
            done(),
            Err(StoreError::Managed),
            done(),
            not_current(),
            done(),
            done(),
            done()
        ]
    );
    let shape = |ram_mib, cpus| VmShape { ram_mib, cpus };
    assert_eq!(vm(&mut *store, a.id).shape, shape(12, 3));
    let b = vm(&mut *store, b.id);
    assert_eq!((b.shape, sizes(&b)), (shape(20, 7), vec![8, 9]));
    assert_eq!(vm(&mut *store, managed.id).shape, SHAPE);
}

fn an_empty_batch_has_no_results(fixture: &Fixture) {
    assert_eq!(fixture.connect().write_all(&[]), []);
}

fn connections_see_each_others_writes(fixture: &Fixture) {
    let (mut one, mut two) = (fixture.connect(), fixture.connect());
    assert_eq!(all_vms(&mut *two), []);
    let login = register(&mut *one, "a", &[1]);
    assert_eq!(all_vms(&mut *two), all_vms(&mut *one));
    run(&mut *two, update(&login, ram(7))).unwrap();
    assert_eq!(vm(&mut *one, login.id).shape.ram_mib, 7);
    run(&mut *one, issue(&login, token(1), NOW.0 + 10)).unwrap();
    assert_eq!(two.registry().token_owner(&token(1), NOW), Ok(Some(login)));
    drop(one);
    assert_eq!(all_vms(&mut *two).len(), 1);
}

fn connections_write_concurrently(fixture: &Fixture) {
    const THREADS: usize = 4;
    const BATCHES: usize = 10;
    const BATCH: usize = 5;
    let mut stores: Vec<_> = (0..THREADS).map(|_| fixture.connect()).collect();
    let ids: Vec<i64> = thread::scope(|scope| {
        let threads: Vec<_> = stores
            .iter_mut()
            .enumerate()
            .map(|(thread, store)| {
                scope.spawn(move || {
                    let mut ids = Vec::new();
                    for batch in 0..BATCHES {
                        // One name that every thread registers, and some of its own.
                        let mut writes = vec![registration(&format!("shared-{batch}"), &[1])];
                        writes.extend(
                            (1..BATCH).map(|n| registration(&format!("vm-{thread}-{batch}-{n}"), &[1, 2])),
                        );
                        for (index, outcome) in store.write_all(&writes).into_iter().enumerate() {
                            match outcome {
                                Ok(Written::Registered(id)) => ids.push(id.0),
                                Err(StoreError::AlreadyRegistered) if index == 0 => {}
                                other => panic!("{other:?}"),
                            }
                        }
                    }
                    ids
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let expected = BATCHES * (1 + THREADS * (BATCH - 1));
    let distinct: HashSet<i64> = ids.iter().copied().collect();
    assert_eq!((ids.len(), distinct.len()), (expected, expected));
    let kept: HashSet<i64> = all_vms(&mut *stores[0]).iter().map(|vm| vm.id.0).collect();
    assert_eq!(kept, distinct);
}

fn a_vm_is_read_atomically(fixture: &Fixture) {
    let (mut writer, mut reader) = (fixture.connect(), fixture.connect());
    let login = register(&mut *writer, "a", &[1]);
    register(&mut *writer, "b", &[1]);
    run(&mut *writer, update(&login, ram(1))).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for count in (1..=6).cycle().take(200) {
                let disks = Some(DiskChange::Replace(vec![u64::from(count); count as usize]));
                let change = VmChange { ram_mib: Some(count), cpus: None, disks };
                assert_eq!(run(&mut *writer, update(&login, change)), Ok(Written::Done));
            }
            done.store(true, Ordering::Release);
        });
        let mut reads = 0;
        while !done.load(Ordering::Acquire) || reads < 100 {
            let of_page = reader.registry().vms_after(VmId(0), 100).unwrap().vms.swap_remove(0);
            let of_ids = reader.registry().vms(&[VmId(2), VmId(1)]).unwrap();
            let of_ids = of_ids.into_iter().find(|vm| vm.id == login.id).expect("it is never removed");
            for vm in [of_page, of_ids] {
                let count = vm.shape.ram_mib;
                assert_eq!(sizes(&vm), vec![u64::from(count); count as usize]);
            }
            reads += 1;
        }
    });
}

//! VMs that are named by their ids, and VMs that have ever been connected.

use std::thread;

use super::*;
use crate::ids::DiskId;
use crate::limits;
use crate::store::VmPage;

contract! {
    an_added_vm_is_named_by_its_number,
    added_vms_respect_the_limit,
    a_failed_add_leaves_no_rows,
    vms_are_added_in_batches_and_concurrently,
    credentials_are_found_by_vm_id,
    a_vm_reports_whether_it_has_a_password,
    ever_connected_is_permanent,
    connect_needs_a_current_login,
    pages_of_connected_vms_have_no_gaps_or_duplicates,
}

fn addition(disk_sizes_gib: &[u64], vms_max: u64) -> Write {
    Write::AddVm { shape: SHAPE, disk_sizes_gib: disk_sizes_gib.to_vec(), vms_max, now: NOW }
}

fn add(store: &mut dyn Store, disk_sizes_gib: &[u64]) -> VmId {
    match run(store, addition(disk_sizes_gib, 1_000_000)) {
        Ok(Written::Registered(id)) => id,
        other => panic!("not added: {other:?}"),
    }
}

fn connect(login: &Login) -> Write {
    Write::Connect { login: login.clone(), rehash: None, now: NOW }
}

fn by_id(store: &mut dyn Store, id: i64) -> Option<Credentials> {
    store.registry().credentials_by_id(VmId(id)).expect("a working store")
}

fn connected(store: &mut dyn Store) -> Vec<i64> {
    let page = store.registry().ever_connected_after(VmId(0), usize::MAX).expect("a working store");
    assert!(page.is_last);
    page.vms.iter().map(|vm| vm.id.0).collect()
}

fn an_added_vm_is_named_by_its_number(fixture: &Fixture) {
    let mut store = fixture.connect();
    assert_eq!(add(&mut *store, &[100, 200]), VmId(1));
    assert_eq!(register(&mut *store, "web", &[7]).id, VmId(2));
    assert_eq!(add(&mut *store, &[300]), VmId(3));
    let vms = all_vms(&mut *store);
    let names: Vec<&str> = vms.iter().map(|vm| vm.name.as_str()).collect();
    assert_eq!(names, ["1", "web", "3"]);
    assert_eq!((vms[0].shape, sizes(&vms[0]), sizes(&vms[2])), (SHAPE, vec![100, 200], vec![300]));
    let ids: Vec<i64> =
        store.registry().disks_after(DiskId(0), 10).unwrap().iter().map(|of| of.disk.id.0).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    let found = credentials(&mut *store, "3").expect("it is known by its number");
    assert_eq!((found.login.id, found.password_hash), (VmId(3), None));
    // The id of a removed VM is not used again.
    assert_eq!(run(&mut *store, Write::Remove(name("3"))), Ok(Written::Done));
    assert_eq!(add(&mut *store, &[]), VmId(4));
    assert_eq!(credentials(&mut *store, "3"), None);
}

fn added_vms_respect_the_limit(fixture: &Fixture) {
    let mut store = fixture.connect();
    let full: WriteOutcome = Err(StoreError::VmLimitReached);
    assert_eq!(run(&mut *store, addition(&[1], 0)), full);
    register(&mut *store, "web", &[]);
    assert_eq!(run(&mut *store, addition(&[1], 2)), Ok(Written::Registered(VmId(2))));
    assert_eq!(run(&mut *store, addition(&[1], 2)), full);
    assert_eq!(run(&mut *store, registration_up_to("other", &[], 2)), full);
    run(&mut *store, Write::Remove(name("web"))).unwrap();
    assert_eq!(run(&mut *store, addition(&[1], 2)), Ok(Written::Registered(VmId(3))));
    assert_eq!(run(&mut *store, addition(&[1], 2)), full);
}

fn a_failed_add_leaves_no_rows(fixture: &Fixture) {
    let mut store = fixture.connect();
    add(&mut *store, &[1]);
    for _ in 0..3 {
        assert_eq!(run(&mut *store, addition(&[2, 3], 1)), Err(StoreError::VmLimitReached));
    }
    // No id is skipped: neither of VMs nor of disks.
    assert_eq!(add(&mut *store, &[4]), VmId(2));
    let ids: Vec<i64> =
        store.registry().disks_after(DiskId(0), 10).unwrap().iter().map(|of| of.disk.id.0).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!(store.registry().credentials(&VmName::from_store("")), Ok(None));
}

fn vms_are_added_in_batches_and_concurrently(fixture: &Fixture) {
    const WRITERS: usize = 4;
    const BATCHES: usize = 10;
    const ATTEMPTS: usize = 20;
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            let mut store = fixture.connect();
            scope.spawn(move || {
                for _ in 0..BATCHES {
                    let batch = [addition(&[1], 1_000_000), addition(&[2, 3], 1_000_000)];
                    for mut outcome in store.write_all(&batch).into_iter().zip(&batch) {
                        // A busy write is retried.
                        for _ in 0..ATTEMPTS {
                            if outcome.0 == Err(StoreError::Busy) {
                                outcome.0 = store.write(&[outcome.1]).remove(0);
                            }
                        }
                        assert!(matches!(outcome.0, Ok(Written::Registered(_))), "{outcome:?}");
                    }
                }
            });
        }
    });
    let vms = all_vms(&mut *fixture.connect());
    assert_eq!(vms.len(), 2 * WRITERS * BATCHES);
    for (vm, id) in vms.iter().zip(1..) {
        assert_eq!((vm.id, vm.name.as_str()), (VmId(id), id.to_string().as_str()));
        assert!(vm.disks.len() == 1 || sizes(vm) == [2, 3]);
    }
}

fn credentials_are_found_by_vm_id(fixture: &Fixture) {
    let mut store = fixture.connect();
    let web = register(&mut *store, "web", &[]);
    let id = add(&mut *store, &[1]);
    let found = by_id(&mut *store, web.id.0).expect("it was registered");
    assert_eq!((found.login, found.password_hash.as_deref()), (web, Some("hash of web")));
    let found = by_id(&mut *store, id.0).expect("it was added");
    assert_eq!((found.login.id, found.login.name.as_str(), found.password_hash), (id, "2", None));
    for nobody in [0, -1, 3, i64::MAX, i64::MIN] {
        assert_eq!(by_id(&mut *store, nobody), None);
    }
}

fn a_vm_reports_whether_it_has_a_password(fixture: &Fixture) {
    let mut store = fixture.connect();
    register(&mut *store, "web", &[]);
    let id = add(&mut *store, &[1]);
    let told = |store: &mut dyn Store| -> Vec<bool> {
        let found = [VmId(1), id].map(|id| vm(store, id).has_password);
        let listed: Vec<bool> = all_vms(store).iter().map(|vm| vm.has_password).collect();
        assert_eq!(listed, found);
        listed
    };
    assert_eq!(told(&mut *store), [true, false]);
    let login = by_id(&mut *store, id.0).unwrap().login;
    run(&mut *store, password("2", "hash")).unwrap();
    assert_eq!(told(&mut *store), [true, true]);
    // A login from before it had a password is stale.
    assert_eq!(run(&mut *store, update(&login, ram(1))), Err(StoreError::NotCurrent));
}

fn ever_connected_is_permanent(fixture: &Fixture) {
    let mut store = fixture.connect();
    for _ in 0..3 {
        add(&mut *store, &[1, 2]);
    }
    let web = register(&mut *store, "web", &[9]);
    assert_eq!(connected(&mut *store), [0; 0]);
    let third = by_id(&mut *store, 3).unwrap().login;
    let before = vm(&mut *store, VmId(3));
    for _ in 0..2 {
        assert_eq!(run(&mut *store, connect(&third)), Ok(Written::Done));
        assert_eq!(connected(&mut *store), [3]);
    }
    let page = store.registry().ever_connected_after(VmId(0), 10).unwrap();
    assert_eq!(page, VmPage { vms: vec![before], is_last: true });
    // A login with a token counts too, and both kinds store a stronger hash.
    run(&mut *store, issue(&web, token(1), NOW.0 + 10)).unwrap();
    assert_eq!(connected(&mut *store), [3, 4]);
    let rehash = Some("stronger".to_owned());
    run(&mut *store, Write::Connect { login: web.clone(), rehash, now: NOW }).unwrap();
    let found = by_id(&mut *store, 4).unwrap();
    assert_eq!((found.login, found.password_hash.as_deref()), (web.clone(), Some("stronger")));
    assert_eq!(store.registry().token_owner(&token(1), NOW), Ok(Some(web)), "it has ended nothing");
    assert_eq!(connected(&mut *fixture.connect()), [3, 4]);
    run(&mut *store, Write::Remove(name("3"))).unwrap();
    assert_eq!(connected(&mut *store), [4]);
}

fn connect_needs_a_current_login(fixture: &Fixture) {
    let mut store = fixture.connect();
    let web = register(&mut *store, "web", &[]);
    let stale = Login { epoch: web.epoch + 1, ..web.clone() };
    let nobody = Login { id: VmId(9), ..web.clone() };
    for login in [&stale, &nobody] {
        let rehash = Some("other".to_owned());
        let write = Write::Connect { login: login.clone(), rehash, now: NOW };
        assert_eq!(run(&mut *store, write), Err(StoreError::NotCurrent));
    }
    assert_eq!(connected(&mut *store), [0; 0]);
    assert_eq!(by_id(&mut *store, 1).unwrap().password_hash.as_deref(), Some("hash of web"));
    let outcomes = store.write_all(&[connect(&stale), connect(&web), addition(&[1], 5)]);
    let wanted = [Err(StoreError::NotCurrent), Ok(Written::Done), Ok(Written::Registered(VmId(2)))];
    assert_eq!(outcomes, wanted);
}

fn pages_of_connected_vms_have_no_gaps_or_duplicates(fixture: &Fixture) {
    let mut store = fixture.connect();
    for disks in [0, 3, 1, 0, limits::DISKS_PER_VM_MAX / 64, 12, 2, 0, 5, 1] {
        let id = add(&mut *store, &vec![7; disks]);
        if id.0 % 3 != 0 {
            let login = by_id(&mut *store, id.0).unwrap().login;
            run(&mut *store, connect(&login)).unwrap();
        }
    }
    let expected: Vec<Vm> = all_vms(&mut *store).into_iter().filter(|vm| vm.id.0 % 3 != 0).collect();
    for rows_max in 0..=50 {
        let mut seen: Vec<Vm> = Vec::new();
        loop {
            let after = seen.last().map_or(VmId(0), |vm| vm.id);
            let VmPage { vms: page, is_last } =
                store.registry().ever_connected_after(after, rows_max).unwrap();
            let rows: usize = page.iter().map(|vm| 1 + vm.disks.len()).sum();
            assert!(rows <= rows_max || page.len() == 1, "{rows} rows instead of {rows_max}");
            assert!(!page.is_empty(), "a page of nothing");
            assert_eq!(is_last, seen.len() + page.len() == expected.len(), "in pages of {rows_max}");
            seen.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(seen, expected, "in pages of {rows_max}");
    }
}

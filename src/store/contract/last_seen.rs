//! When VMs were last seen.

use super::*;
use crate::limits;

contract! {
    the_latest_time_is_kept,
    unknown_vms_are_ignored,
    many_vms_share_a_write,
    the_time_is_in_every_list,
}

fn seen(vms: &[(VmId, i64)]) -> Write {
    Write::Seen { vms: vms.iter().map(|(id, seconds)| (*id, UnixSeconds(NOW.0 + seconds))).collect() }
}

/// The times of all VMs, after [`NOW`].
fn times(store: &mut dyn Store) -> Vec<Option<i64>> {
    all_vms(store).iter().map(|vm| vm.last_seen.map(|seen| seen.0 - NOW.0)).collect()
}

fn the_latest_time_is_kept(fixture: &Fixture) {
    let (mut store, mut other) = (fixture.connect(), fixture.connect());
    let (a, b) = (register(&mut *store, "a", &[1]), register(&mut *store, "b", &[]));
    run(&mut *store, issue(&a, token(1), NOW.0 + 10)).unwrap();
    assert_eq!(times(&mut *store), [None, None], "a login is not recorded here");
    assert_eq!(run(&mut *store, seen(&[(a.id, 50)])), Ok(Written::Done));
    assert_eq!(times(&mut *other), [Some(50), None]);
    // Another server has seen it earlier, and later.
    assert_eq!(run(&mut *other, seen(&[(b.id, 7), (a.id, 49)])), Ok(Written::Done));
    assert_eq!(times(&mut *store), [Some(50), Some(7)]);
    assert_eq!(run(&mut *other, seen(&[(a.id, 51), (b.id, 7)])), Ok(Written::Done));
    assert_eq!(times(&mut *store), [Some(51), Some(7)]);
    // It changes nothing else, and nothing else changes it.
    assert_eq!(run(&mut *store, update(&a, ram(9))), Ok(Written::Done));
    assert_eq!(store.registry().is_current(&a), Ok(true));
    assert_eq!(times(&mut *store), [Some(51), Some(7)]);
}

fn unknown_vms_are_ignored(fixture: &Fixture) {
    let mut store = fixture.connect();
    let a = register(&mut *store, "a", &[]);
    assert_eq!(run(&mut *store, seen(&[])), Ok(Written::Done));
    assert_eq!(run(&mut *store, seen(&[(VmId(99), 1), (a.id, 2), (VmId(-1), 3)])), Ok(Written::Done));
    assert_eq!(times(&mut *store), [Some(2)]);
    run(&mut *store, Write::Remove(name("a"))).unwrap();
    assert_eq!(run(&mut *store, seen(&[(a.id, 4)])), Ok(Written::Done));
    assert_eq!(times(&mut *store), []);
}

fn many_vms_share_a_write(fixture: &Fixture) {
    let mut store = fixture.connect();
    let logins: Vec<Login> = (0..20).map(|at| register(&mut *store, &format!("vm-{at}"), &[])).collect();
    // Among them many that do not exist.
    let vms: Vec<(VmId, i64)> = (1..=limits::SEEN_BATCH_MAX as i64).rev().map(|id| (VmId(id), id)).collect();
    let change = update(&logins[3], ram(77));
    let writes = [seen(&vms), change, registration("late", &[])];
    let outcomes = store.write(&writes.iter().collect::<Vec<_>>());
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let wanted: Vec<Option<i64>> = logins.iter().map(|login| Some(login.id.0)).chain([None]).collect();
    assert_eq!(times(&mut *store), wanted);
    assert_eq!(all_vms(&mut *store)[3].shape.ram_mib, 77);
}

fn the_time_is_in_every_list(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (a, b) = (register(&mut *store, "a", &[1, 2]), register(&mut *store, "b", &[]));
    for login in [&a, &b] {
        run(&mut *store, Write::Connect { login: login.clone(), rehash: None, now: NOW }).unwrap();
    }
    run(&mut *store, seen(&[(a.id, 5)])).unwrap();
    let of = |vms: Vec<Vm>| vms.iter().map(|vm| vm.last_seen).collect::<Vec<_>>();
    let wanted = [Some(UnixSeconds(NOW.0 + 5)), None];
    assert_eq!(of(store.registry().vms_after(VmId(0), 10).unwrap().vms), wanted);
    assert_eq!(of(store.registry().ever_connected_after(VmId(0), 10).unwrap().vms), wanted);
    let mut found = store.registry().vms(&[a.id, b.id]).unwrap();
    found.sort_by_key(|vm| vm.id);
    assert_eq!(of(found), wanted);
}

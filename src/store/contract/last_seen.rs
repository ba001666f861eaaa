//! When VMs were last seen.

use super::*;
use crate::limits;
use crate::model::{PeerIp, SeenVm};

contract! {
    the_latest_time_is_kept,
    unknown_vms_are_ignored,
    many_vms_share_a_write,
    the_time_is_in_every_list,
    the_address_is_that_of_the_latest_time,
}

fn seen(vms: &[(VmId, i64)]) -> Write {
    let vms = vms.iter().map(|(id, seconds)| seen_from(*id, *seconds, None));
    Write::Seen { vms: vms.collect() }
}

fn seen_from(vm: VmId, seconds: i64, address: Option<&str>) -> SeenVm {
    let address = address.map(|text| PeerIp::parse(text).expect("an address"));
    SeenVm { vm, at: UnixSeconds(NOW.0 + seconds), address }
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

fn the_address_is_that_of_the_latest_time(fixture: &Fixture) {
    let (mut store, mut other) = (fixture.connect(), fixture.connect());
    let a = register(&mut *store, "a", &[1, 2]).id;
    run(&mut *store, registration("b", &[])).unwrap();
    let addresses = |store: &mut dyn Store| {
        let in_page = |vms: Vec<Vm>| vms.iter().map(|vm| vm.last_address).collect::<Vec<_>>();
        let listed = in_page(all_vms(store));
        let mut found = store.registry().vms(&[a, VmId(2)]).unwrap();
        found.sort_by_key(|vm| vm.id);
        assert_eq!(in_page(found), listed);
        listed[0].map(|address| address.0.to_string())
    };
    assert_eq!(addresses(&mut *store), None);
    for (seconds, address, wanted) in [
        (5, None, None),
        (5, Some("192.0.2.7"), Some("192.0.2.7")),
        (4, Some("192.0.2.8"), Some("192.0.2.7")),
        (6, Some("2001:db8::1"), Some("2001:db8::1")),
        // One without an address is seen, and the address stays.
        (7, None, Some("2001:db8::1")),
        (6, Some("192.0.2.9"), Some("2001:db8::1")),
    ] {
        let write =
            Write::Seen { vms: vec![seen_from(a, seconds, address), seen_from(VmId(99), 1, address)] };
        assert_eq!(run(&mut *store, write), Ok(Written::Done));
        assert_eq!(addresses(&mut *other).as_deref(), wanted, "{seconds} {address:?}");
    }
    assert_eq!(times(&mut *store), [Some(7), None]);
}

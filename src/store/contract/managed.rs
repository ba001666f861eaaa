//! VMs that servers run: their rows, their tokens, and who changes and removes them.

use super::*;
use crate::ids::{DiskId, ServerId};
use crate::model::{DiskChange, Management};

contract! {
    a_managed_vm_says_so,
    a_managed_vm_has_a_token_that_does_not_expire,
    only_its_server_changes_a_managed_vm,
    ended_logins_leave_a_managed_vm_its_token,
    a_server_removes_only_its_own_vms,
    managed_vms_count_towards_the_limit,
    the_vms_of_a_server_are_found,
    managed_vms_are_removed_in_a_batch,
}

const ONE: ServerId = ServerId([0x1a; 16]);
const OTHER: ServerId = ServerId([0xb2; 16]);

fn managed(text: &str, server: ServerId, new_token: Option<u8>) -> Write {
    let Write::Register { vm, vms_max, now } = registration(text, &[5, 6]) else { unreachable!() };
    let management = Some(Management { server, token: new_token.map(token) });
    Write::Register { vm: NewVm { password_hash: None, management, ..vm }, vms_max, now }
}

fn remove(server: ServerId, names: &[&str]) -> Write {
    Write::RemoveManaged { server, names: names.iter().map(|text| name(text)).collect() }
}

fn names_of(store: &mut dyn Store, server: ServerId, count_max: usize) -> Vec<String> {
    let names = store.registry().managed_vms(server, count_max).expect("a working store");
    let mut names: Vec<String> = names.iter().map(VmName::to_string).collect();
    names.sort_unstable();
    names
}

fn all_names(store: &mut dyn Store) -> Vec<String> {
    all_vms(store).iter().map(|vm| vm.name.to_string()).collect()
}

fn a_managed_vm_says_so(fixture: &Fixture) {
    let mut store = fixture.connect();
    register(&mut *store, "web", &[]);
    assert_eq!(run(&mut *store, managed("guest", ONE, None)), Ok(Written::Registered(VmId(2))));
    let found = credentials(&mut *store, "guest").expect("it was added");
    assert_eq!((found.password_hash, found.managed_by), (None, Some(ONE)));
    assert_eq!(credentials(&mut *store, "web").expect("it was added").managed_by, None);
    run(&mut *store, Write::Connect { login: found.login, rehash: None, now: NOW }).unwrap();
    let expected = [(false, true), (true, false)];
    let marks = |vms: &[Vm]| vms.iter().map(|vm| (vm.is_managed, vm.has_password)).collect::<Vec<_>>();
    assert_eq!(marks(&all_vms(&mut *store)), expected);
    assert_eq!(marks(&store.registry().vms(&[VmId(1), VmId(2)]).unwrap()), expected);
    let connected = store.registry().ever_connected_after(VmId(0), 10).unwrap().vms;
    assert_eq!(marks(&connected), expected[1..]);
    assert_eq!((sizes(&connected[0]), connected[0].shape), (vec![5, 6], SHAPE));
    assert_eq!(run(&mut *store, managed("web", ONE, Some(1))), Err(StoreError::AlreadyRegistered));
    assert_eq!(store.registry().token_owner(&token(1), NOW), Ok(None), "the whole write was refused");
}

fn a_managed_vm_has_a_token_that_does_not_expire(fixture: &Fixture) {
    let mut store = fixture.connect();
    run(&mut *store, managed("guest", ONE, Some(7))).unwrap();
    let login = credentials(&mut *store, "guest").expect("it was added").login;
    let late = UnixSeconds(NOW.0 + 100 * 365 * 24 * 3600);
    assert_eq!(store.registry().token_owner(&token(7), late), Ok(Some(login.clone())));
    // Tokens that are issued later sweep those that have expired.
    let web = register(&mut *store, "web", &[]);
    run(
        &mut *store,
        Write::IssueToken {
            login: web,
            token: token(8),
            expires: late,
            replaces: None,
            rehash: None,
            now: late,
        },
    )
    .unwrap();
    assert_eq!(store.registry().token_owner(&token(7), late), Ok(Some(login)));
    run(&mut *store, remove(ONE, &["guest"])).unwrap();
    assert_eq!(store.registry().token_owner(&token(7), NOW), Ok(None));
}

fn only_its_server_changes_a_managed_vm(fixture: &Fixture) {
    let mut store = fixture.connect();
    run(&mut *store, managed("guest", ONE, Some(1))).unwrap();
    let before = all_vms(&mut *store);
    let login = credentials(&mut *store, "guest").expect("it was added").login;
    let refused: WriteOutcome = Err(StoreError::Managed);
    let disks = |change| VmChange { disks: Some(change), ..VmChange::default() };
    for change in
        [ram(1), disks(DiskChange::Replace(vec![1])), disks(DiskChange::Resize(vec![(DiskId(1), 1)]))]
    {
        assert_eq!(run(&mut *store, update(&login, change)), refused);
    }
    let stale = Login { epoch: login.epoch + 1, ..login.clone() };
    assert_eq!(run(&mut *store, update(&stale, ram(1))), Err(StoreError::NotCurrent));
    assert_eq!(run(&mut *store, password("guest", "hash")), refused);
    assert_eq!(run(&mut *store, Write::Remove(name("guest"))), refused);
    assert_eq!(all_vms(&mut *store), before);
    assert_eq!(store.registry().token_owner(&token(1), NOW), Ok(Some(login)));
}

fn ended_logins_leave_a_managed_vm_its_token(fixture: &Fixture) {
    let mut store = fixture.connect();
    run(&mut *store, managed("guest", ONE, Some(1))).unwrap();
    let login = credentials(&mut *store, "guest").expect("it was added").login;
    assert_eq!(run(&mut *store, Write::EndLogins { login: login.clone() }), Ok(Written::Done));
    assert_eq!(store.registry().is_current(&login), Ok(false));
    let owner = store.registry().token_owner(&token(1), NOW).unwrap().expect("its token is valid");
    assert_eq!((owner.id, store.registry().is_current(&owner)), (login.id, Ok(true)));
}

fn a_server_removes_only_its_own_vms(fixture: &Fixture) {
    let mut store = fixture.connect();
    let web = register(&mut *store, "web", &[1]);
    run(&mut *store, issue(&web, token(9), NOW.0 + 10)).unwrap();
    for (text, server, number) in [("a", ONE, 1), ("b", ONE, 2), ("c", OTHER, 3), ("d", ONE, 4)] {
        run(&mut *store, managed(text, server, Some(number))).unwrap();
    }
    assert_eq!(run(&mut *store, remove(ONE, &["b", "c", "web", "none", "a"])), Ok(Written::Done));
    assert_eq!(all_names(&mut *store), ["web", "c", "d"]);
    let owners: Vec<Option<String>> = [1, 2, 3, 4, 9]
        .map(|number| store.registry().token_owner(&token(number), NOW).unwrap())
        .map(|owner| owner.map(|login| login.name.to_string()))
        .into();
    assert_eq!(owners, [None, None, Some("c".into()), Some("d".into()), Some("web".into())]);
    let disks = store.registry().disks_after(DiskId(0), 100).unwrap();
    let of: Vec<&str> = disks.iter().map(|disk| disk.vm_name.as_str()).collect();
    assert_eq!(of, ["web", "c", "c", "d", "d"]);
    for names in [&["a", "b"][..], &[]] {
        assert_eq!(run(&mut *store, remove(ONE, names)), Ok(Written::Done), "it does nothing");
    }
    assert_eq!(all_names(&mut *store), ["web", "c", "d"]);
}

fn managed_vms_count_towards_the_limit(fixture: &Fixture) {
    let (mut store, mut other) = (fixture.connect(), fixture.connect());
    let add = |store: &mut dyn Store, text: &str| {
        let Write::Register { vm, now, .. } = managed(text, ONE, None) else { unreachable!() };
        run(store, Write::Register { vm, vms_max: 3, now })
    };
    for text in ["a", "b", "c"] {
        assert!(add(&mut *store, text).is_ok(), "{text}");
    }
    assert_eq!(add(&mut *store, "d"), Err(StoreError::VmLimitReached));
    run(&mut *other, remove(ONE, &["a", "c"])).unwrap();
    for text in ["d", "e"] {
        assert!(add(&mut *store, text).is_ok(), "{text}");
    }
    assert_eq!(add(&mut *other, "f"), Err(StoreError::VmLimitReached));
    assert_eq!(all_names(&mut *store), ["b", "d", "e"]);
}

fn the_vms_of_a_server_are_found(fixture: &Fixture) {
    let mut store = fixture.connect();
    register(&mut *store, "web", &[]);
    assert_eq!(names_of(&mut *store, ONE, 10), [""; 0]);
    for (text, server) in [("a", ONE), ("b", OTHER), ("c", ONE), ("d", ONE)] {
        run(&mut *store, managed(text, server, None)).unwrap();
    }
    assert_eq!(names_of(&mut *store, ONE, 10), ["a", "c", "d"]);
    assert_eq!(names_of(&mut *store, OTHER, 10), ["b"]);
    assert_eq!(names_of(&mut *store, ONE, 2).len(), 2);
    run(&mut *store, remove(ONE, &["c"])).unwrap();
    assert_eq!(names_of(&mut *store, ONE, 10), ["a", "d"]);
}

fn managed_vms_are_removed_in_a_batch(fixture: &Fixture) {
    let mut store = fixture.connect();
    let batch = [
        managed("a", ONE, Some(1)),
        managed("b", ONE, None),
        remove(ONE, &["a"]),
        registration("a", &[]),
        Write::Remove(name("b")),
        remove(ONE, &["b", "a"]),
    ];
    let outcomes = store.write_all(&batch);
    let done: WriteOutcome = Ok(Written::Done);
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok() && outcomes[3].is_ok(), "{outcomes:?}");
    assert_eq!([&outcomes[2], &outcomes[4], &outcomes[5]], [&done, &Err(StoreError::Managed), &done]);
    assert_eq!(all_names(&mut *store), ["a"]);
    assert!(!all_vms(&mut *store)[0].is_managed);
}

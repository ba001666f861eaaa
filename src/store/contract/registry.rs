//! VMs and disks: registering, changing, removing, listing.

use super::*;
use crate::ids::DiskId;
use crate::limits;
use crate::model::{Disk, DiskChange};
use crate::store::VmPage;

contract! {
    each_password_hash_prefix_is_listed_once,
    a_registered_vm_reads_back_unchanged,
    a_vm_can_be_as_large_as_the_limits,
    names_read_back_unchanged,
    a_name_can_be_registered_once,
    registered_vms_respect_the_limit,
    ids_are_never_reused,
    an_update_changes_only_the_fields_it_names,
    replaced_disks_keep_the_first_ids,
    resized_disks_keep_their_order,
    a_resize_with_an_unknown_disk_changes_nothing,
    lookups_of_missing_rows_find_nothing,
    removing_a_vm_removes_only_its_disks,
    pages_of_vms_have_no_gaps_or_duplicates,
    pages_of_disks_have_no_gaps_or_duplicates,
    a_page_continues_after_a_removed_row,
    vms_are_found_by_id,
}

fn a_registered_vm_reads_back_unchanged(fixture: &Fixture) {
    let mut store = fixture.connect();
    let login = register(&mut *store, "web", &[10, 20]);
    let expected = Vm {
        id: VmId(1),
        name: name("web"),
        shape: SHAPE,
        has_password: true,
        is_managed: false,
        last_seen: None,
        last_address: None,
        disks: vec![Disk { id: DiskId(1), size_gib: 10 }, Disk { id: DiskId(2), size_gib: 20 }],
    };
    assert_eq!(all_vms(&mut *store), [expected]);
    assert_eq!(login, Login { id: VmId(1), epoch: login.epoch, name: name("web") });
    assert_eq!(credentials(&mut *store, "web").unwrap().password_hash.as_deref(), Some("hash of web"));

    let Write::Register { mut vm, vms_max, now } = registration("bare", &[]) else { unreachable!() };
    vm.password_hash = None;
    assert_eq!(run(&mut *store, Write::Register { vm, vms_max, now }), Ok(Written::Registered(VmId(2))));
    assert_eq!(credentials(&mut *store, "bare").unwrap().password_hash, None);
    assert!(super::vm(&mut *store, VmId(2)).disks.is_empty());
}

fn a_vm_can_be_as_large_as_the_limits(fixture: &Fixture) {
    let mut store = fixture.connect();
    let long = "n".repeat(limits::VM_NAME_BYTES_MAX);
    let login = register(&mut *store, &long, &[limits::DISK_GIB_MAX; limits::DISKS_PER_VM_MAX]);
    let change = VmChange { ram_mib: Some(limits::RAM_MIB_MAX), cpus: Some(limits::CPUS_MAX), disks: None };
    assert_eq!(run(&mut *store, update(&login, change)), Ok(Written::Done));
    let vm = vm(&mut *store, login.id);
    assert_eq!(vm.shape, VmShape { ram_mib: limits::RAM_MIB_MAX, cpus: limits::CPUS_MAX });
    assert_eq!(sizes(&vm), [limits::DISK_GIB_MAX; limits::DISKS_PER_VM_MAX]);
}

fn names_read_back_unchanged(fixture: &Fixture) {
    let mut store = fixture.connect();
    let names = [
        "a'b",
        "'';--",
        "');DROP/**/TABLE/**/vms;--",
        "\"quoted\"",
        "?1",
        ":name",
        "%_*[a-z]",
        "NULL",
        "12e3",
        "0x10",
        "a\\b",
        "Ä",
        "A\u{308}",
        "ä",
        "ß",
        "SS",
        "ss",
        "日本語",
        "👩‍👩‍👧",
        "\u{200f}עברית",
        "\u{feff}x",
        "\u{fffd}",
        "\u{10ffff}",
    ];
    for text in names {
        register(&mut *store, text, &[1]);
    }
    let stored: Vec<String> = all_vms(&mut *store).iter().map(|vm| vm.name.to_string()).collect();
    assert_eq!(stored, names);
    for (index, text) in names.iter().enumerate() {
        let login = credentials(&mut *store, text).expect(text).login;
        assert_eq!((login.id.0, login.name.as_str()), (index as i64 + 1, *text));
        assert_eq!(store.registry().disks_after(DiskId(index as i64), 1).unwrap()[0].vm_name.as_str(), *text);
    }
    for text in names {
        assert_eq!(run(&mut *store, Write::Remove(name(text))), Ok(Written::Done), "{text}");
    }
    assert_eq!(all_vms(&mut *store), []);
}

fn a_name_can_be_registered_once(fixture: &Fixture) {
    let mut store = fixture.connect();
    register(&mut *store, "web", &[10]);
    let before = all_vms(&mut *store);
    assert_eq!(run(&mut *store, registration("web", &[1, 2, 3])), Err(StoreError::AlreadyRegistered));
    // A taken name is reported even when the limit is reached.
    assert_eq!(run(&mut *store, registration_up_to("web", &[], 1)), Err(StoreError::AlreadyRegistered));
    assert_eq!(all_vms(&mut *store), before);
    register(&mut *store, "Web", &[]);
    assert_eq!(run(&mut *store, Write::Remove(name("web"))), Ok(Written::Done));
    register(&mut *store, "web", &[]);
}

fn registered_vms_respect_the_limit(fixture: &Fixture) {
    let (mut store, mut other) = (fixture.connect(), fixture.connect());
    let full: WriteOutcome = Err(StoreError::VmLimitReached);
    assert_eq!(run(&mut *store, registration_up_to("none", &[], 0)), full);
    for text in ["a", "b", "c"] {
        assert!(run(&mut *store, registration_up_to(text, &[], 3)).is_ok(), "{text}");
    }
    assert_eq!(run(&mut *store, registration_up_to("d", &[], 3)), full);
    // A removal makes room, even when ids exceed the limit, through any connection.
    run(&mut *store, Write::Remove(name("a"))).unwrap();
    assert!(run(&mut *store, registration_up_to("d", &[], 3)).is_ok());
    assert_eq!(run(&mut *store, registration_up_to("e", &[], 3)), full);
    run(&mut *other, Write::Remove(name("b"))).unwrap();
    assert!(run(&mut *store, registration_up_to("e", &[], 3)).is_ok());
    run(&mut *store, Write::Remove(name("c"))).unwrap();
    assert!(run(&mut *other, registration_up_to("f", &[], 3)).is_ok());
    assert_eq!(run(&mut *store, registration_up_to("g", &[], 3)), full);
    assert_eq!(run(&mut *other, registration_up_to("g", &[], 3)), full);

    // Also within one batch.
    let batch = ["g", "h", "i"].map(|text| registration_up_to(text, &[], 5));
    let outcomes = store.write_all(&batch);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2);
    assert_eq!(outcomes[2], full);
    assert_eq!(all_vms(&mut *store).len(), 5);
}

fn ids_are_never_reused(fixture: &Fixture) {
    let mut store = fixture.connect();
    register(&mut *store, "a", &[1]);
    let last = register(&mut *store, "b", &[2, 3]);
    let change = VmChange { disks: Some(DiskChange::Replace(vec![2])), ..VmChange::default() };
    run(&mut *store, update(&last, change)).unwrap();
    run(&mut *store, Write::Remove(name("b"))).unwrap();
    // The highest ids are unused now and stay unused.
    let next = register(&mut *store, "c", &[4]);
    assert_eq!(next.id, VmId(3));
    assert_eq!(vm(&mut *store, next.id).disks, [Disk { id: DiskId(4), size_gib: 4 }]);
    run(&mut *store, Write::Remove(name("a"))).unwrap();
    run(&mut *store, Write::Remove(name("c"))).unwrap();
    assert_eq!(register(&mut *store, "d", &[]).id, VmId(4));
}

fn an_update_changes_only_the_fields_it_names(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (login, other) = (register(&mut *store, "a", &[1, 2]), register(&mut *store, "b", &[3]));
    let untouched = vm(&mut *store, other.id);
    let mut expected = vm(&mut *store, login.id);

    run(&mut *store, update(&login, ram(4096))).unwrap();
    expected.shape.ram_mib = 4096;
    assert_eq!(vm(&mut *store, login.id), expected);

    run(&mut *store, update(&login, VmChange { cpus: Some(9), ..VmChange::default() })).unwrap();
    expected.shape.cpus = 9;
    assert_eq!(vm(&mut *store, login.id), expected);

    let disks = Some(DiskChange::Resize(vec![(DiskId(2), 22)]));
    run(&mut *store, update(&login, VmChange { disks, ..VmChange::default() })).unwrap();
    expected.disks[1].size_gib = 22;
    assert_eq!(vm(&mut *store, login.id), expected);

    run(&mut *store, update(&login, VmChange::default())).unwrap();
    assert_eq!(vm(&mut *store, login.id), expected);
    assert_eq!(vm(&mut *store, other.id), untouched);
    assert_eq!(credentials(&mut *store, "a").unwrap().login, login);
}

fn replaced_disks_keep_the_first_ids(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (login, _other) = (register(&mut *store, "a", &[1, 2, 3]), register(&mut *store, "b", &[7]));
    let mut replace = |sizes: &[u64]| {
        let disks = Some(DiskChange::Replace(sizes.to_vec()));
        run(&mut *store, update(&login, VmChange { disks, ..VmChange::default() })).unwrap();
        let vm = vm(&mut *store, login.id);
        vm.disks.iter().map(|disk| (disk.id.0, disk.size_gib)).collect::<Vec<_>>()
    };
    assert_eq!(replace(&[1, 20, 3]), [(1, 1), (2, 20), (3, 3)]);
    assert_eq!(replace(&[9]), [(1, 9)]);
    assert_eq!(replace(&[9, 8, 7]), [(1, 9), (5, 8), (6, 7)]);
    assert_eq!(replace(&[]), []);
    assert_eq!(replace(&[5]), [(7, 5)]);
    let ids: Vec<i64> =
        store.registry().disks_after(DiskId(0), 10).unwrap().iter().map(|of| of.disk.id.0).collect();
    assert_eq!(ids, [4, 7]);
}

fn resized_disks_keep_their_order(fixture: &Fixture) {
    let mut store = fixture.connect();
    let login = register(&mut *store, "a", &[1, 2, 3]);
    let disks = Some(DiskChange::Resize(vec![(DiskId(3), 30), (DiskId(1), 10)]));
    run(&mut *store, update(&login, VmChange { disks, ..VmChange::default() })).unwrap();
    assert_eq!(sizes(&vm(&mut *store, login.id)), [10, 2, 30]);
}

fn a_resize_with_an_unknown_disk_changes_nothing(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (login, _other) = (register(&mut *store, "a", &[1]), register(&mut *store, "b", &[2]));
    let before = all_vms(&mut *store);
    // A disk of another VM, and ids that do not exist.
    for unknown in [2, 3, 0, -1, i64::MAX, i64::MIN] {
        let disks = Some(DiskChange::Resize(vec![(DiskId(1), 10), (DiskId(unknown), 20)]));
        let change = VmChange { ram_mib: Some(1), cpus: Some(1), disks };
        let refused = run(&mut *store, update(&login, change));
        assert_eq!(refused, Err(StoreError::UnknownDisk(DiskId(unknown))));
        assert_eq!(all_vms(&mut *store), before);
    }
}

fn lookups_of_missing_rows_find_nothing(fixture: &Fixture) {
    let mut store = fixture.connect();
    assert_eq!(credentials(&mut *store, "nobody"), None);
    assert_eq!(store.registry().token_owner(&token(1), NOW), Ok(None));
    assert_eq!(
        store.registry().is_current(&Login { id: VmId(1), epoch: 0, name: name("nobody") }),
        Ok(false)
    );
    assert_eq!(store.registry().vms_after(VmId(0), 10), Ok(VmPage { vms: vec![], is_last: true }));
    assert_eq!(store.registry().vms(&[VmId(1)]), Ok(vec![]));
    assert_eq!(store.registry().disks_after(DiskId(0), 10), Ok(vec![]));
    assert_eq!(run(&mut *store, Write::Remove(name("nobody"))), Err(StoreError::UnknownVm));
    assert_eq!(run(&mut *store, password("nobody", "x")), Err(StoreError::UnknownVm));
}

fn removing_a_vm_removes_only_its_disks(fixture: &Fixture) {
    let mut store = fixture.connect();
    for text in ["a", "b", "c"] {
        register(&mut *store, text, &[1, 2]);
    }
    assert_eq!(run(&mut *store, Write::Remove(name("b"))), Ok(Written::Done));
    assert_eq!(run(&mut *store, Write::Remove(name("b"))), Err(StoreError::UnknownVm));
    assert_eq!(credentials(&mut *store, "b"), None);
    let names: Vec<String> = all_vms(&mut *store).iter().map(|vm| vm.name.to_string()).collect();
    assert_eq!(names, ["a", "c"]);
    let ids: Vec<i64> =
        store.registry().disks_after(DiskId(0), 10).unwrap().iter().map(|of| of.disk.id.0).collect();
    assert_eq!(ids, [1, 2, 5, 6]);
}

/// The number of disks of each VM in the pages: none, a few, and more than fit on a page.
const DISKS_OF_VMS: [usize; 10] = [0, 3, 1, 0, 0, 12, 2, 0, 5, 1];

fn register_for_pages(store: &mut dyn Store) -> Vec<Vm> {
    for (index, disks) in DISKS_OF_VMS.iter().enumerate() {
        register(store, &format!("vm-{index}"), &vec![index as u64 + 1; *disks]);
    }
    let vms = all_vms(store);
    assert_eq!(vms.iter().map(|vm| vm.disks.len()).collect::<Vec<_>>(), DISKS_OF_VMS);
    vms
}

fn pages_of_vms_have_no_gaps_or_duplicates(fixture: &Fixture) {
    let mut store = fixture.connect();
    let expected = register_for_pages(&mut *store);
    for rows_max in 0..=40 {
        let mut seen: Vec<Vm> = Vec::new();
        loop {
            let after = seen.last().map_or(VmId(0), |vm| vm.id);
            let VmPage { vms: page, is_last } = store.registry().vms_after(after, rows_max).unwrap();
            let rows: usize = page.iter().map(|vm| 1 + vm.disks.len()).sum();
            assert!(rows <= rows_max || page.len() == 1, "{rows} rows instead of {rows_max}");
            // The page is full: the next VM would not have fitted.
            if let Some(next) = expected.get(seen.len() + page.len()) {
                assert!(rows + 1 + next.disks.len() > rows_max, "{rows} rows of {rows_max}");
            }
            assert_eq!(is_last, seen.len() + page.len() == expected.len(), "in pages of {rows_max}");
            seen.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(seen, expected, "in pages of {rows_max}");
    }
}

fn pages_of_disks_have_no_gaps_or_duplicates(fixture: &Fixture) {
    let mut store = fixture.connect();
    let vms = register_for_pages(&mut *store);
    let expected: Vec<(i64, u64, VmId, VmName)> = vms
        .iter()
        .flat_map(|vm| vm.disks.iter().map(|disk| (disk.id.0, disk.size_gib, vm.id, vm.name.clone())))
        .collect();
    for count_max in 1..=30 {
        let mut seen: Vec<(i64, u64, VmId, VmName)> = Vec::new();
        loop {
            let after = seen.last().map_or(DiskId(0), |(id, ..)| DiskId(*id));
            let page = store.registry().disks_after(after, count_max).unwrap();
            assert!(page.len() <= count_max);
            let last = page.len() < count_max;
            seen.extend(page.into_iter().map(|of| (of.disk.id.0, of.disk.size_gib, of.vm_id, of.vm_name)));
            if last {
                break;
            }
        }
        assert_eq!(seen, expected, "in pages of {count_max}");
    }
}

fn a_page_continues_after_a_removed_row(fixture: &Fixture) {
    let mut store = fixture.connect();
    let vms = register_for_pages(&mut *store);
    let page = store.registry().vms_after(VmId(0), 5).unwrap().vms;
    let last = page.last().unwrap();
    for gone in [last, &vms[page.len()]] {
        run(&mut *store, Write::Remove(gone.name.clone())).unwrap();
    }
    register(&mut *store, "new", &[1]);
    let rest = store.registry().vms_after(last.id, usize::MAX).unwrap().vms;
    assert_eq!(rest[..rest.len() - 1], vms[page.len() + 1..]);
    assert_eq!(rest.last().unwrap().name, name("new"));
}

fn vms_are_found_by_id(fixture: &Fixture) {
    let mut store = fixture.connect();
    let vms = register_for_pages(&mut *store);
    assert_eq!(store.registry().vms(&[]), Ok(vec![]));
    let ids = [6, 2, 99, 6, 0, -3, 9, i64::MAX].map(VmId);
    let mut found = store.registry().vms(&ids).unwrap();
    found.sort_by_key(|vm| vm.id);
    assert_eq!(found, [vms[1].clone(), vms[5].clone(), vms[8].clone()]);
    let every: Vec<VmId> = (0..5000).map(VmId).collect();
    assert_eq!(store.registry().vms(&every).unwrap().len(), vms.len());
}

fn each_password_hash_prefix_is_listed_once(fixture: &Fixture) {
    let mut store = fixture.connect();
    let starts = |store: &mut dyn Store, count_max| {
        let mut starts = store.registry().password_hash_prefixes(count_max).expect("a working store");
        starts.sort();
        starts
    };
    assert_eq!(starts(&mut *store, 8), Vec::<String>::new());
    let hashes = [
        ("new", "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$b3V0cHV0"),
        ("like-new", "$argon2id$v=19$m=64,t=2,p=1$b3RoZXJzYWx0$b3RoZXJvdXRwdXQ"),
        ("old", "$argon2id$m=256,t=1,p=1$c2FsdHNhbHQ$b3V0cHV0"),
        ("no-hash", "\u{43f}$"),
        ("empty", "$$"),
    ];
    for (name, hash) in hashes {
        register(&mut *store, name, &[]);
        assert_eq!(run(&mut *store, password(name, hash)), Ok(Written::Done));
    }
    let addition = Write::AddVm { shape: SHAPE, disk_sizes_gib: vec![], vms_max: 100, now: NOW };
    run(&mut *store, addition).expect("a VM without a password");
    let all = ["", "$argon2id$m=256,t=1,p=1", "$argon2id$v=19$m=64,t=2,p=1"];
    assert_eq!(starts(&mut *store, 8), all);
    assert_eq!(starts(&mut *store, 2).len(), 2);
}

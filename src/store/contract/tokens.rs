//! Tokens and logins: how they are issued and how they end.

use super::*;
use crate::limits;
use crate::model::DiskChange;
use crate::store::TokenProof;

contract! {
    a_token_identifies_its_owner_until_it_expires,
    issuing_removes_some_expired_tokens,
    a_vm_keeps_its_newest_tokens,
    a_token_can_replace_another,
    a_rehash_revokes_no_tokens,
    tokens_of_any_owner_can_be_revoked,
    a_password_change_revokes_logins_and_tokens,
    ended_logins_are_stale_and_have_no_tokens,
    removing_a_vm_revokes_logins_and_tokens,
    a_reregistered_name_is_another_vm,
    an_update_checks_the_token_it_relies_on,
}

fn owner(store: &mut dyn Store, number: u8) -> Option<Login> {
    store.registry().token_owner(&token(number), NOW).expect("a working store")
}

fn a_token_identifies_its_owner_until_it_expires(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (a, b) = (register(&mut *store, "a", &[]), register(&mut *store, "b", &[]));
    assert_eq!(run(&mut *store, issue(&a, token(1), NOW.0 + 10)), Ok(Written::Done));
    assert_eq!(run(&mut *store, issue(&b, token(2), NOW.0 + 20)), Ok(Written::Done));
    assert_eq!(owner(&mut *store, 1), Some(a.clone()));
    assert_eq!(owner(&mut *store, 2), Some(b.clone()));
    let several = [(2, 0), (3, 0), (1, 9), (1, 10), (2, 0)];
    let several = several.map(|(number, seconds)| (token(number), UnixSeconds(NOW.0 + seconds)));
    assert_eq!(
        store.registry().token_owners(&several),
        Ok(vec![Some(b.clone()), None, Some(a.clone()), None, Some(b)])
    );
    assert_eq!(owner(&mut *store, 3), None);
    let at = |seconds| UnixSeconds(NOW.0 + seconds);
    assert_eq!(store.registry().token_owner(&token(1), at(9)), Ok(Some(a)));
    assert_eq!(store.registry().token_owner(&token(1), at(10)), Ok(None));
    assert_eq!(store.registry().token_owner(&token(1), at(11)), Ok(None));
}

fn issuing_removes_some_expired_tokens(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (a, b) = (register(&mut *store, "a", &[]), register(&mut *store, "b", &[]));
    let count = limits::TOKENS_SWEPT_PER_ISSUE as u8 + 2;
    for number in 0..count {
        // Issued while they are valid; the first expires first.
        let write = Write::IssueToken {
            login: a.clone(),
            token: token(number),
            expires: UnixSeconds(100 + i64::from(number)),
            replaces: None,
            rehash: None,
            now: UnixSeconds(1),
        };
        run(&mut *store, write).unwrap();
    }
    let left = |store: &mut dyn Store| -> Vec<u8> {
        let then = UnixSeconds(1);
        (0..=count + 1)
            .filter(|number| store.registry().token_owner(&token(*number), then).unwrap().is_some())
            .collect()
    };
    assert_eq!(left(&mut *store).len(), usize::from(count));
    // A login of another VM also removes expired tokens, but only a few.
    run(&mut *store, issue(&b, token(count), NOW.0 + 10)).unwrap();
    assert_eq!(left(&mut *store), [count - 2, count - 1, count]);
    run(&mut *store, issue(&b, token(count + 1), NOW.0 + 10)).unwrap();
    assert_eq!(left(&mut *store), [count, count + 1]);
}

fn a_vm_keeps_its_newest_tokens(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (a, b) = (register(&mut *store, "a", &[]), register(&mut *store, "b", &[]));
    run(&mut *store, issue(&b, token(255), NOW.0 + 1)).unwrap();
    let count = limits::TOKENS_PER_VM_MAX as u8 + 3;
    for number in 0..count {
        // The newest token is the one issued last, not the one that expires last.
        run(&mut *store, issue(&a, token(number), NOW.0 + 1000 - i64::from(number))).unwrap();
    }
    let left: Vec<u8> = (0..count).filter(|number| owner(&mut *store, *number).is_some()).collect();
    assert_eq!(left, (3..count).collect::<Vec<_>>());
    assert_eq!(owner(&mut *store, 255), Some(b));

    // A revoked token makes room.
    let end = Write::RevokeTokens { login: a.clone(), tokens: vec![token(count - 1)] };
    run(&mut *store, end).unwrap();
    run(&mut *store, issue(&a, token(200), NOW.0 + 1000)).unwrap();
    assert_eq!(owner(&mut *store, 3), Some(a.clone()));
    run(&mut *store, issue(&a, token(201), NOW.0 + 1000)).unwrap();
    assert_eq!(owner(&mut *store, 3), None);
    assert_eq!(owner(&mut *store, 4), Some(a));
}

fn a_token_can_replace_another(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (a, b) = (register(&mut *store, "a", &[]), register(&mut *store, "b", &[]));
    let replacing = |login: &Login, new, old| Write::IssueToken {
        login: login.clone(),
        token: token(new),
        expires: UnixSeconds(NOW.0 + 10),
        replaces: Some(token(old)),
        rehash: None,
        now: NOW,
    };
    run(&mut *store, issue(&a, token(1), NOW.0 + 10)).unwrap();
    assert_eq!(run(&mut *store, replacing(&a, 2, 1)), Ok(Written::Done));
    assert_eq!((owner(&mut *store, 1), owner(&mut *store, 2)), (None, Some(a)));
    // A connection that has logged in as another VM, and a token that is already gone.
    assert_eq!(run(&mut *store, replacing(&b, 3, 2)), Ok(Written::Done));
    assert_eq!((owner(&mut *store, 2), owner(&mut *store, 3)), (None, Some(b.clone())));
    assert_eq!(run(&mut *store, replacing(&b, 4, 99)), Ok(Written::Done));
    assert_eq!((owner(&mut *store, 3), owner(&mut *store, 4)), (Some(b.clone()), Some(b)));
}

fn a_rehash_revokes_no_tokens(fixture: &Fixture) {
    let mut store = fixture.connect();
    let login = register(&mut *store, "a", &[]);
    run(&mut *store, issue(&login, token(1), NOW.0 + 10)).unwrap();
    let rehashing = Write::IssueToken {
        login: login.clone(),
        token: token(2),
        expires: UnixSeconds(NOW.0 + 10),
        replaces: None,
        rehash: Some("stronger".to_owned()),
        now: NOW,
    };
    run(&mut *store, rehashing).unwrap();
    let known = credentials(&mut *store, "a").unwrap();
    assert_eq!((&known.login, known.password_hash.as_deref()), (&login, Some("stronger")));
    assert_eq!(store.registry().is_current(&login), Ok(true));
    assert_eq!((owner(&mut *store, 1), owner(&mut *store, 2)), (Some(login.clone()), Some(login)));
}

fn tokens_of_any_owner_can_be_revoked(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (a, b) = (register(&mut *store, "a", &[]), register(&mut *store, "b", &[]));
    run(&mut *store, issue(&b, token(4), NOW.0 + 10)).unwrap();
    for number in 1..=3 {
        run(&mut *store, issue(&a, token(number), NOW.0 + 10)).unwrap();
    }
    let end = |login: &Login, numbers: &[u8]| Write::RevokeTokens {
        login: login.clone(),
        tokens: numbers.iter().map(|number| token(*number)).collect(),
    };
    assert_eq!(run(&mut *store, end(&b, &[1])), Ok(Written::Done));
    assert_eq!(run(&mut *store, end(&a, &[3, 4, 77])), Ok(Written::Done));
    assert_eq!(run(&mut *store, end(&a, &[1])), Ok(Written::Done));
    assert_eq!(run(&mut *store, end(&a, &[])), Ok(Written::Done));
    for number in [1, 3, 4] {
        assert_eq!(owner(&mut *store, number), None, "{number}");
    }
    assert_eq!(owner(&mut *store, 2), Some(a));
}

/// Checks that `login` can do nothing and that its attempts change nothing.
fn assert_ended(store: &mut dyn Store, login: &Login) {
    assert_eq!(store.registry().is_current(login), Ok(false));
    let before = all_vms(store);
    let rehashing = Write::IssueToken {
        login: login.clone(),
        token: token(50),
        expires: UnixSeconds(NOW.0 + 10),
        replaces: Some(token(9)),
        rehash: Some("of a stale login".to_owned()),
        now: NOW,
    };
    let end = Write::RevokeTokens { login: login.clone(), tokens: vec![token(9)] };
    for write in [update(login, ram(77)), rehashing, end] {
        assert_eq!(run(store, write.clone()), Err(StoreError::NotCurrent), "{write:?}");
    }
    assert_eq!(all_vms(store), before);
    assert_eq!(owner(store, 50), None);
    assert!(owner(store, 9).is_some(), "another VM's token");
    let known = credentials(store, login.name.as_str());
    assert!(known.is_none_or(|known| known.password_hash.as_deref() != Some("of a stale login")));
}

fn a_password_change_revokes_logins_and_tokens(fixture: &Fixture) {
    let (mut store, mut operator) = (fixture.connect(), fixture.connect());
    let (a, b) = (register(&mut *store, "a", &[1]), register(&mut *store, "b", &[]));
    run(&mut *store, issue(&a, token(1), NOW.0 + 10)).unwrap();
    run(&mut *store, issue(&b, token(9), NOW.0 + 10)).unwrap();
    assert_eq!(store.registry().is_current(&a), Ok(true));

    assert_eq!(run(&mut *operator, password("a", "new hash")), Ok(Written::Done));
    assert_ended(&mut *store, &a);
    assert_ended(&mut *operator, &a);
    assert_eq!(owner(&mut *store, 1), None);
    assert_eq!(store.registry().is_current(&b), Ok(true));

    let known = credentials(&mut *store, "a").unwrap();
    assert_eq!(known.password_hash.as_deref(), Some("new hash"));
    assert_eq!(known.login.id, a.id);
    assert_eq!(store.registry().is_current(&known.login), Ok(true));
    assert_eq!(run(&mut *store, update(&known.login, ram(77))), Ok(Written::Done));
    assert_eq!(run(&mut *store, issue(&known.login, token(2), NOW.0 + 10)), Ok(Written::Done));
    assert_eq!(owner(&mut *operator, 2), Some(known.login));
}

fn ended_logins_are_stale_and_have_no_tokens(fixture: &Fixture) {
    let (mut store, mut operator) = (fixture.connect(), fixture.connect());
    let (a, b) = (register(&mut *store, "a", &[1]), register(&mut *store, "b", &[]));
    run(&mut *store, issue(&a, token(1), NOW.0 + 10)).unwrap();
    run(&mut *store, issue(&b, token(9), NOW.0 + 10)).unwrap();
    let before = credentials(&mut *store, "a").unwrap();
    let end = Write::EndLogins { login: a.clone() };
    assert_eq!(run(&mut *operator, end.clone()), Ok(Written::Done));
    assert_ended(&mut *store, &a);
    assert_eq!(owner(&mut *store, 1), None);
    assert_eq!(run(&mut *operator, end), Err(StoreError::NotCurrent));
    // The password is the same.
    let known = credentials(&mut *store, "a").unwrap();
    assert_eq!((&known.password_hash, known.login.id), (&before.password_hash, a.id));
    assert_eq!(run(&mut *store, issue(&known.login, token(2), NOW.0 + 10)), Ok(Written::Done));
    assert_eq!(owner(&mut *operator, 2), Some(known.login));
    assert_eq!(store.registry().is_current(&b), Ok(true));
}

fn removing_a_vm_revokes_logins_and_tokens(fixture: &Fixture) {
    let (mut store, mut operator) = (fixture.connect(), fixture.connect());
    let (a, b) = (register(&mut *store, "a", &[1]), register(&mut *store, "b", &[]));
    run(&mut *store, issue(&a, token(1), NOW.0 + 10)).unwrap();
    run(&mut *store, issue(&b, token(9), NOW.0 + 10)).unwrap();
    assert_eq!(run(&mut *operator, Write::Remove(name("a"))), Ok(Written::Done));
    assert_ended(&mut *store, &a);
    assert_ended(&mut *operator, &a);
    assert_eq!(owner(&mut *store, 1), None);
}

fn a_reregistered_name_is_another_vm(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (old, other) = (register(&mut *store, "a", &[1]), register(&mut *store, "b", &[]));
    run(&mut *store, issue(&old, token(1), NOW.0 + 10)).unwrap();
    run(&mut *store, issue(&other, token(9), NOW.0 + 10)).unwrap();
    run(&mut *store, Write::Remove(name("a"))).unwrap();
    let new = register(&mut *store, "a", &[1]);
    assert_ne!(new, old);
    assert_ended(&mut *store, &old);
    assert_eq!(owner(&mut *store, 1), None);
    assert_eq!(store.registry().is_current(&new), Ok(true));
}

fn an_update_checks_the_token_it_relies_on(fixture: &Fixture) {
    let mut store = fixture.connect();
    let (a, b) = (register(&mut *store, "a", &[1]), register(&mut *store, "b", &[1]));
    for (login, number) in [(&a, 1), (&a, 2), (&b, 3)] {
        run(&mut *store, issue(login, token(number), NOW.0 + 10)).unwrap();
    }
    let by = |login: &Login, number, seconds, change: &VmChange| Write::Update {
        login: login.clone(),
        token: Some(TokenProof { token: token(number), now: UnixSeconds(NOW.0 + seconds) }),
        change: change.clone(),
    };
    let stale = Login { epoch: a.epoch + 1, ..a.clone() };
    let disks = |size| VmChange { disks: Some(DiskChange::Replace(vec![size])), ..VmChange::default() };
    let (done, refused) = (|| Ok(Written::Done), || Err(StoreError::NotCurrent));
    for change in [ram(5), disks(5)] {
        let writes = [
            by(&a, 1, 9, &change),
            by(&a, 1, 10, &change),
            by(&a, 3, 9, &change),
            by(&a, 4, 9, &change),
            by(&stale, 1, 9, &change),
            by(&b, 3, 9, &change),
            by(&a, 2, 9, &change),
        ];
        let expected = [done(), refused(), refused(), refused(), refused(), done(), done()];
        assert_eq!(store.write_all(&writes), expected);
        for (write, outcome) in writes.into_iter().zip(expected) {
            assert_eq!(run(&mut *store, write), outcome);
        }
    }
    // A logout in the same batch is before what follows it.
    let tokens = vec![token(1)];
    let outcomes = store.write_all(&[
        by(&a, 1, 0, &ram(6)),
        Write::RevokeTokens { login: a.clone(), tokens },
        by(&a, 1, 0, &ram(7)),
        by(&a, 1, 0, &disks(7)),
        by(&a, 2, 0, &disks(8)),
    ]);
    assert_eq!(outcomes, [done(), done(), refused(), refused(), done()]);
    let vm = vm(&mut *store, a.id);
    assert_eq!((vm.shape.ram_mib, sizes(&vm)), (6, vec![8]));
}

//! Access tokens: how they are added, enabled, disabled and removed.

use std::thread;

use super::*;
use crate::ids::AccessTokenId;
use crate::model::{AccessToken, AccessTokenChange};

contract! {
    an_access_token_is_valid_while_it_is_enabled,
    ids_of_access_tokens_ascend_and_are_never_reused,
    a_change_of_an_unknown_access_token_is_refused,
    the_number_of_access_tokens_is_limited,
    the_limit_on_access_tokens_holds_for_all_connections,
    an_access_token_exists_once,
    access_tokens_change_in_a_batch,
    an_access_token_and_a_login_are_different_things,
    a_reader_and_an_access_token_for_verbs_are_different_things,
}

fn add_up_to(number: u8, is_enabled: bool, count_max: usize) -> Write {
    let now = UnixSeconds(NOW.0 + i64::from(number));
    let (token, reader_name) = (token(number), None);
    Write::ChangeAccessTokens(AccessTokenChange::Add { token, is_enabled, reader_name, count_max, now })
}

fn add(number: u8) -> Write {
    add_up_to(number, true, 100)
}

fn set_enabled(id: i64, is_enabled: bool) -> Write {
    Write::ChangeAccessTokens(AccessTokenChange::SetEnabled { id: AccessTokenId(id), is_enabled })
}

fn remove(id: i64) -> Write {
    Write::ChangeAccessTokens(AccessTokenChange::Remove(AccessTokenId(id)))
}

fn added(id: i64) -> WriteOutcome {
    Ok(Written::AccessTokenAdded(AccessTokenId(id)))
}

fn is_valid(store: &mut dyn Store, number: u8) -> bool {
    store.registry().is_access_token(&token(number)).expect("a working store")
}

/// Ids and whether they are enabled.
fn list(store: &mut dyn Store) -> Vec<(i64, bool)> {
    let tokens = store.registry().access_tokens().expect("a working store");
    tokens.iter().map(|token| (token.id.0, token.is_enabled)).collect()
}

fn an_access_token_is_valid_while_it_is_enabled(fixture: &Fixture) {
    let (mut store, mut other) = (fixture.connect(), fixture.connect());
    assert_eq!(store.registry().access_tokens(), Ok(Vec::new()));
    assert!(!is_valid(&mut *store, 1));
    assert_eq!(run(&mut *store, add(1)), added(1));
    assert_eq!(run(&mut *store, add_up_to(2, false, 100)), added(2));
    let expected = |id, is_enabled| AccessToken {
        id: AccessTokenId(id),
        created_at: UnixSeconds(NOW.0 + id),
        is_enabled,
        reader_name: None,
    };
    assert_eq!(other.registry().access_tokens(), Ok(vec![expected(1, true), expected(2, false)]));
    assert_eq!([1, 2, 3].map(|number| is_valid(&mut *other, number)), [true, false, false]);
    for (id, is_enabled) in [(2, true), (1, false), (1, false), (1, true)] {
        assert_eq!(run(&mut *store, set_enabled(id, is_enabled)), Ok(Written::Done));
        assert_eq!(is_valid(&mut *other, id as u8), is_enabled, "{id}");
    }
    assert_eq!(other.registry().access_tokens(), Ok(vec![expected(1, true), expected(2, true)]));
    assert_eq!(run(&mut *store, remove(1)), Ok(Written::Done));
    assert_eq!([1, 2].map(|number| is_valid(&mut *other, number)), [false, true]);
}

fn ids_of_access_tokens_ascend_and_are_never_reused(fixture: &Fixture) {
    let mut store = fixture.connect();
    for number in 1..=3 {
        assert_eq!(run(&mut *store, add(number)), added(i64::from(number)));
    }
    for id in [3, 1] {
        assert_eq!(run(&mut *store, remove(id)), Ok(Written::Done));
    }
    assert_eq!(run(&mut *store, add(3)), added(4), "the same token once more");
    assert_eq!(list(&mut *store), [(2, true), (4, true)]);
    assert!(is_valid(&mut *store, 3));
}

fn a_change_of_an_unknown_access_token_is_refused(fixture: &Fixture) {
    let mut store = fixture.connect();
    run(&mut *store, add(1)).unwrap();
    run(&mut *store, add(2)).unwrap();
    run(&mut *store, remove(2)).unwrap();
    for id in [2, 3, 0, -1, i64::MAX] {
        for write in [set_enabled(id, true), set_enabled(id, false), remove(id)] {
            assert_eq!(run(&mut *store, write), Err(StoreError::UnknownAccessToken), "{id}");
        }
    }
    assert_eq!(list(&mut *store), [(1, true)]);
}

fn the_number_of_access_tokens_is_limited(fixture: &Fixture) {
    let mut store = fixture.connect();
    assert_eq!(run(&mut *store, add_up_to(1, true, 0)), Err(StoreError::AccessTokenLimitReached));
    for number in 1..=3 {
        run(&mut *store, add_up_to(number, number != 2, 3)).unwrap();
    }
    assert_eq!(run(&mut *store, add_up_to(4, true, 3)), Err(StoreError::AccessTokenLimitReached));
    assert!(!is_valid(&mut *store, 4));
    let before = list(&mut *store);
    run(&mut *store, remove(before[1].0)).unwrap();
    assert!(run(&mut *store, add_up_to(4, true, 3)).is_ok(), "a removed token makes room");
    assert_eq!(list(&mut *store).len(), 3);
}

fn the_limit_on_access_tokens_holds_for_all_connections(fixture: &Fixture) {
    let count_max = 5;
    let added: usize = thread::scope(|scope| {
        let adders: Vec<_> = (0..4)
            .map(|adder: u8| {
                let mut store = fixture.connect();
                scope.spawn(move || {
                    let outcomes =
                        (0..5).map(|number| run(&mut *store, add_up_to(adder * 5 + number, true, count_max)));
                    let added = outcomes.filter(|outcome| match outcome {
                        Ok(_) => true,
                        Err(StoreError::AccessTokenLimitReached) => false,
                        Err(error) => panic!("{error}"),
                    });
                    added.count()
                })
            })
            .collect();
        adders.into_iter().map(|adder| adder.join().expect("it does not panic")).sum()
    });
    assert_eq!(added, count_max);
    assert_eq!(list(&mut *fixture.connect()).len(), count_max);
}

fn an_access_token_exists_once(fixture: &Fixture) {
    let mut store = fixture.connect();
    run(&mut *store, add_up_to(1, false, 100)).unwrap();
    assert!(run(&mut *store, add(1)).is_err());
    assert_eq!(list(&mut *store), [(1, false)]);
}

fn access_tokens_change_in_a_batch(fixture: &Fixture) {
    let mut store = fixture.connect();
    let outcomes = store.write_all(&[
        registration("a", &[]),
        add(1),
        set_enabled(1, false),
        remove(9),
        add(2),
        add_up_to(3, true, 2),
        Write::Remove(name("a")),
        remove(2),
    ]);
    let done: WriteOutcome = Ok(Written::Done);
    assert_eq!(
        outcomes,
        [
            Ok(Written::Registered(VmId(1))),
            added(1),
            done.clone(),
            Err(StoreError::UnknownAccessToken),
            added(2),
            Err(StoreError::AccessTokenLimitReached),
            done.clone(),
            done,
        ]
    );
    assert_eq!(list(&mut *store), [(1, false)]);
    assert_eq!(all_vms(&mut *store), []);
}

fn an_access_token_and_a_login_are_different_things(fixture: &Fixture) {
    let mut store = fixture.connect();
    let login = register(&mut *store, "a", &[]);
    run(&mut *store, issue(&login, token(1), NOW.0 + 10)).unwrap();
    run(&mut *store, add(2)).unwrap();
    assert_eq!([1, 2].map(|number| is_valid(&mut *store, number)), [false, true]);
    assert_eq!(store.registry().token_owner(&token(2), NOW), Ok(None));
    run(&mut *store, Write::Remove(name("a"))).unwrap();
    assert!(is_valid(&mut *store, 2));
}

fn a_reader_and_an_access_token_for_verbs_are_different_things(fixture: &Fixture) {
    let (mut store, mut other) = (fixture.connect(), fixture.connect());
    let add_reader = |number, is_enabled, text: &str| {
        let (token, reader_name) = (token(number), Some(name(text)));
        let (count_max, now) = (3, NOW);
        Write::ChangeAccessTokens(AccessTokenChange::Add { token, is_enabled, reader_name, count_max, now })
    };
    assert_eq!(run(&mut *store, add(1)), added(1));
    assert_eq!(run(&mut *store, add_reader(2, true, "grafana")), added(2));
    assert_eq!(run(&mut *store, add_reader(3, false, "grafana")), added(3), "a name is no key");
    let full = Err(StoreError::AccessTokenLimitReached);
    assert_eq!(run(&mut *store, add_reader(4, true, "more")), full, "they share the limit");
    let mut readers = || {
        [1, 2, 3, 4].map(|number| {
            let reader = other.registry().reader(&token(number)).expect("a working store");
            reader.map(|reader| (reader.token.0, reader.name.to_string()))
        })
    };
    let grafana = |id| Some((id, "grafana".to_owned()));
    assert_eq!(readers(), [None, grafana(2), None, None]);
    run(&mut *store, set_enabled(3, true)).unwrap();
    run(&mut *store, set_enabled(2, false)).unwrap();
    assert_eq!(readers(), [None, None, grafana(3), None]);
    run(&mut *store, remove(3)).unwrap();
    run(&mut *store, set_enabled(2, true)).unwrap();
    assert_eq!(readers(), [None, grafana(2), None, None]);
    assert_eq!([1, 2, 3].map(|number| is_valid(&mut *store, number)), [true, false, false]);
    assert_eq!(store.registry().token_owner(&token(2), NOW), Ok(None));
    let names = store.registry().access_tokens().unwrap().into_iter().map(|token| token.reader_name);
    assert_eq!(names.collect::<Vec<_>>(), [None, Some(name("grafana"))]);
}

//! Updates with a token that came before: they are one step, and never have a right that has ended.

use super::*;
use crate::model::{Login, TokenHash};
use crate::work::Read;

const LATER: UnixSeconds = UnixSeconds(NOW.0 + 60);

/// The steps of an update with `token`, and its answer.
fn update(bed: &mut Bed, scope: Scope, token: &Secret, now: UnixSeconds) -> (Vec<&'static str>, Answer) {
    let name = CommandName::Update;
    let request = Request::new(Dialect::Command, name, Ok(Command::Update(ram(5))));
    let request = Request { scope, token: Ok(Some(token.clone())), ..request };
    let (mut next, mut steps) = (bed.app.begin(CONN, Box::new(request), now), Vec::new());
    while let Next::Work { work, stage } = next {
        steps.push(match &work {
            Work::Read(Read::FindToken { .. }) => "look-up",
            Work::Write(Write::Update { token: Some(_), .. }) => "update that checks",
            Work::Write(Write::Update { token: None, .. }) => "update",
            other => panic!("{other:?}"),
        });
        let result = bed.worker.run([&work]).remove(0);
        next = bed.app.resume(CONN, name, stage, result, now);
    }
    match next {
        Next::Answer(answer) => (steps, answer),
        other => panic!("not an answer: {other:?}"),
    }
}

fn login(bed: &mut Bed, name: &str) -> Login {
    let read = Work::Read(Read::FindCredentials { name: VmName::from_store(name) });
    let found = bed.worker.run([&read]).remove(0).unwrap().credentials().unwrap();
    found.expect("it was registered").login
}

fn hash(token: &Secret) -> TokenHash {
    token::hash(token)
}

#[test]
fn an_update_with_a_token_that_came_before_is_one_step() {
    for scope in [Scope::Request, Scope::Connection] {
        let mut bed = Bed::new(AnonymousAccess::NONE);
        bed.register("a");
        let token = bed.token("a");
        assert_eq!(update(&mut bed, scope, &token, NOW), (vec!["look-up", "update"], Answer::Updated));
        for _ in 0..2 {
            assert_eq!(update(&mut bed, scope, &token, NOW), (vec!["update that checks"], Answer::Updated));
        }
        assert_eq!(bed.app.presence().is_authenticated(CONN), scope == Scope::Connection);
    }
}

#[test]
fn a_token_that_has_ended_changes_nothing() {
    type End = fn(&mut Bed, Login, TokenHash) -> Write;
    let ends: [(&str, End); 5] = [
        ("logout", |_, login, token| Write::RevokeTokens { login, tokens: vec![token] }),
        ("ended logins", |_, login, _| Write::EndLogins { login }),
        ("passwd", |_, login, _| Write::ChangePassword { name: login.name, password_hash: "hash".into() }),
        ("remove", |_, login, _| Write::Remove(login.name)),
        ("replaced", |bed, login, token| Write::IssueToken {
            login,
            token: hash(&token::issue(bed.app.random.as_mut()).unwrap()),
            expires: LATER,
            replaces: Some(token),
            rehash: None,
            now: NOW,
        }),
    ];
    for scope in [Scope::Request, Scope::Connection] {
        for (what, end) in ends {
            let mut bed = Bed::new(AnonymousAccess::NONE);
            bed.register("a");
            let token = bed.token("a");
            update(&mut bed, scope, &token, NOW);
            // Another process does it: this one learns nothing.
            let owner = login(&mut bed, "a");
            let write = end(&mut bed, owner, hash(&token));
            bed.worker.run([&Work::Write(write)]).remove(0).expect(what);
            let refused = (vec!["update that checks", "look-up"], failed(Failure::InvalidToken));
            assert_eq!(update(&mut bed, scope, &token, NOW), refused, "{what}");
            let (steps, answer) = update(&mut bed, scope, &token, NOW);
            assert_eq!((steps, answer), (vec!["look-up"], failed(Failure::InvalidToken)), "{what}");
        }
        let mut bed = Bed::new(AnonymousAccess::NONE);
        bed.register("a");
        let token = bed.token("a");
        update(&mut bed, scope, &token, NOW);
        let refused = (vec!["update that checks", "look-up"], failed(Failure::InvalidToken));
        assert_eq!(update(&mut bed, scope, &token, LATER), refused, "expired");
    }
}

#[test]
fn a_token_of_another_vm_is_looked_up() {
    let mut bed = Bed::new(AnonymousAccess::NONE);
    bed.register("a");
    bed.register("b");
    let (a, b) = (bed.token("a"), bed.token("b"));
    update(&mut bed, Scope::Request, &b, NOW);
    update(&mut bed, Scope::Connection, &a, NOW);
    let refused = (vec!["look-up"], failed(Failure::TokenOfAnotherVm));
    assert_eq!(update(&mut bed, Scope::Connection, &b, NOW), refused);
}

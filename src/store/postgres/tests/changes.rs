//! Changes of other processes: transactions under way, other servers, and what is removed.

use std::time::Duration;

use super::*;
use crate::store::{ChangesPage, ChangesPosition};

/// A transaction that has made a change of the VM `name`, and is not committed.
fn change_under_way(database: &Database<'_>, name: &str) -> postgres::Client {
    let mut client = database.client();
    let sql = format!(
        "BEGIN; INSERT INTO changes (origin, kind, subject, name) VALUES (0, 'updated', 1, '{name}')"
    );
    client.batch_execute(&sql).expect("a change");
    client
}

/// The names of the changes after `position`, which moves.
fn next(store: &mut PostgresStore, position: &mut ChangesPosition, count_max: usize) -> Vec<String> {
    let page = store.registry().changes_after(Some(position), count_max).expect("a working store");
    assert!(!page.has_gap);
    *position = page.position;
    page.changes.iter().map(|change| change.name.to_string()).collect()
}

fn start(store: &mut PostgresStore) -> ChangesPosition {
    store.registry().changes_after(None, 10).expect("a working store").position
}

#[test]
fn a_change_is_read_once_however_late_its_transaction_commits() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    // Under way before the reader begins, with the lowest number.
    let mut oldest = change_under_way(&database, "oldest");
    let mut position = start(&mut store);
    let mut first = change_under_way(&database, "first");
    let mut second = change_under_way(&database, "second");
    second.batch_execute("COMMIT").unwrap();
    assert_eq!(next(&mut store, &mut position, 10), ["second"]);
    change_under_way(&database, "undone").batch_execute("ROLLBACK").unwrap();
    assert_eq!(next(&mut store, &mut position, 10), [""; 0]);
    first.batch_execute("COMMIT").unwrap();
    assert_eq!(next(&mut store, &mut position, 10), ["first"]);
    oldest.batch_execute("COMMIT").unwrap();
    assert_eq!(next(&mut store, &mut position, 10), ["oldest"]);
    assert_eq!(next(&mut store, &mut position, 10), [""; 0]);
}

#[test]
fn a_change_that_commits_between_two_pages_is_read_once() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let mut position = start(&mut store);
    let mut late = change_under_way(&database, "late");
    for name in ["a", "b", "c"] {
        change_under_way(&database, name).batch_execute("COMMIT").unwrap();
    }
    assert_eq!(next(&mut store, &mut position, 2), ["a", "b"]);
    late.batch_execute("COMMIT").unwrap();
    assert_eq!(next(&mut store, &mut position, 2), ["c"]);
    assert_eq!(next(&mut store, &mut position, 2), ["late"]);
    assert_eq!(next(&mut store, &mut position, 2), [""; 0]);
}

#[test]
fn a_position_that_is_too_old_or_of_another_server_has_a_gap() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let good = start(&mut store);
    let mut read = |position: &ChangesPosition| {
        let ChangesPage { changes, position, has_gap, .. } =
            store.registry().changes_after(Some(position), 10).expect("a working store");
        assert!(changes.is_empty());
        assert!(position.at >= good.at, "the next position is a new one");
        has_gap
    };
    assert!(!read(&good));
    let too_old = good.at - limits::CHANGES_POSITION_AGE_MAX - Duration::from_secs(60);
    let old = ChangesPosition { at: too_old, ..good.clone() };
    assert!(read(&old));
    // A server that has lost the latest commits begins with lower numbers.
    let lost = ChangesPosition { seen: "4000000000:4000000000:".to_owned(), ..good.clone() };
    assert!(read(&lost));
}

/// A dump has the numbers of another server's transactions.
#[test]
fn changes_of_a_restored_dump_are_not_read() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let mut position = start(&mut store);
    let sql =
        "INSERT INTO changes (tx, origin, kind, subject, name) VALUES ('4000000000', 0, 'updated', 1, 'old')";
    database.client().batch_execute(sql).unwrap();
    change_under_way(&database, "new").batch_execute("COMMIT").unwrap();
    assert_eq!(next(&mut store, &mut position, 10), ["new"]);
    assert_eq!(next(&mut store, &mut position, 10), [""; 0]);
}

#[test]
fn writes_remove_old_changes() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let sql = "INSERT INTO changes (origin, kind, subject, at)
               SELECT 0, 'updated', 1, extract(epoch FROM now())::bigint - age FROM unnest(ARRAY[700, 601, 500]) age";
    database.client().batch_execute(sql).unwrap();
    let login = register(&mut store, "a", &[]);
    assert_eq!(number(&database, "SELECT count(*) FROM changes"), 2, "the young one, and the new one");
    assert_eq!(
        number(&database, "SELECT count(*) FROM changes WHERE xmax <> '0'"),
        0,
        "a young one was locked"
    );
    // Once a second is often enough.
    database.client().batch_execute(sql).unwrap();
    run(&mut store, ram(&login, 7)).unwrap();
    assert_eq!(number(&database, "SELECT count(*) FROM changes"), 6);
}

//! Changes of tools: who records them, and what is removed.

use super::*;
use crate::store::{ChangesPage, ChangesPosition};

fn read(store: &mut dyn Store, position: &ChangesPosition) -> ChangesPage {
    store.registry().changes_after(Some(position), 1000).expect("a working store")
}

fn start(store: &mut dyn Store) -> ChangesPosition {
    store.registry().changes_after(None, 10).expect("a working store").position
}

fn names(page: &ChangesPage) -> Vec<&str> {
    assert!(!page.has_gap);
    page.changes.iter().map(|change| change.name.as_str()).collect()
}

#[test]
fn a_server_reads_the_changes_of_tools_and_records_none() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let factory = SqliteFactory::open_exclusive(&path).expect("a new file");
    let (mut server, mut reader) = (factory.connect().unwrap(), factory.connect().unwrap());
    let position = start(&mut *reader);
    let mut tool = SqliteFactory::open(&path).expect("the file").connect().unwrap();
    register(&mut *server, "own", &[1]);
    register(&mut *tool, "added", &[1]);
    run(&mut *server, Write::Remove(name("own"))).unwrap();
    run(&mut *tool, Write::Remove(name("added"))).unwrap();
    let page = read(&mut *reader, &position);
    assert_eq!(names(&page), ["added", "added"]);
    assert_eq!(names(&read(&mut *reader, &page.position)), [""; 0]);
    assert_eq!(
        number(&connect(&path, limits::SQLITE_BUSY_TIMEOUT).unwrap(), "SELECT count(*) FROM changes"),
        2
    );
}

#[test]
fn old_changes_are_removed_and_a_reader_behind_them_has_a_gap() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let mut reader = store(&path);
    let position = start(&mut reader);
    let mut tool = SqliteFactory::open(&path).expect("the file").connect().unwrap();
    register(&mut *tool, "a", &[]);
    register(&mut *tool, "b", &[]);
    assert_eq!(names(&read(&mut reader, &position)), ["a", "b"]);
    let age = |name: &str, seconds: i64| {
        let sql = "UPDATE changes SET at = unixepoch() - ?2 WHERE name = ?1";
        reader.connection.execute(sql, rusqlite::params![name, seconds]).unwrap()
    };
    assert_eq!((age("a", 605), age("b", 500)), (1, 1));
    register(&mut *tool, "c", &[]);
    let page = read(&mut reader, &position);
    assert!(page.has_gap && page.changes.is_empty());
    register(&mut *tool, "d", &[]);
    let page = read(&mut reader, &page.position);
    assert_eq!(names(&page), ["d"]);
    // All of them are gone.
    let position = start(&mut reader);
    register(&mut *tool, "e", &[]);
    reader.connection.execute("DELETE FROM changes", []).unwrap();
    let page = read(&mut reader, &position);
    assert!(page.has_gap);
    assert_eq!(names(&read(&mut reader, &page.position)), [""; 0]);
    register(&mut *tool, "f", &[]);
    assert_eq!(names(&read(&mut reader, &page.position)), ["f"]);
}

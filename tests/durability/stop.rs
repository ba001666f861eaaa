//! After a stop the database is one file, with everything that was acknowledged in it.

use std::fs;
use std::thread;

use serde_json::json;

use crate::common::{Daemon, TempDir};

const STOPS: i64 = 20;
const CLIENTS: i64 = 4;

#[test]
fn a_copy_of_the_database_file_alone_has_everything_after_a_stop() {
    let mut daemon = Daemon::start();
    let store = daemon.state_dir().join("vmherd.sqlite3");
    for stop in 1..=STOPS {
        // Readers and the writer each have a connection to the file.
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let mut client = daemon.client();
                scope.spawn(move || {
                    client.register(&format!("vm-{stop}-{number}"), &[1]);
                    client.authenticate(&format!("vm-{stop}-{number}"));
                    client.list("all_vms");
                    client.succeed("update", json!({"ram": 7}));
                });
            }
        });
        daemon.stop();
        let files: Vec<String> = fs::read_dir(daemon.state_dir())
            .expect("the state directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("vmherd.sqlite3"))
            .collect();
        assert_eq!(files, ["vmherd.sqlite3"], "stop {stop}");

        let elsewhere = TempDir::new();
        let copy = elsewhere.path().join("copy");
        fs::copy(&store, &copy).expect("a copy");
        let copy = rusqlite::Connection::open(copy).expect("a database");
        let count = |sql| -> i64 { copy.query_row(sql, [], |row| row.get(0)).expect("a count") };
        assert_eq!(count("SELECT count(*) FROM vms WHERE ram_mib = 7"), stop * CLIENTS, "stop {stop}");
        assert_eq!(count("SELECT count(*) FROM tokens"), stop * CLIENTS, "stop {stop}");
        daemon.restart();
    }
}

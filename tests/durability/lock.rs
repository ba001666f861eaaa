//! A store that another process keeps locked: writes are answered `busy` in time, everything else works.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{DEADLINE, Daemon, registration, request, require};

/// Another process with an open write transaction.
pub(super) struct Locked(Child);

impl Locked {
    pub(super) fn new(store: &Path) -> Locked {
        require("python3", "python3");
        let script = "import sqlite3, sys\n\
                      connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                      connection.execute('BEGIN IMMEDIATE')\n\
                      print('locked', flush=True)\n\
                      sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(store).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 can be run");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        assert_eq!(line, "locked\n", "this test needs python3 with its sqlite3 module");
        Locked(child)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_locked_store_delays_writers_up_to_the_limit_and_readers_not_at_all() {
    let daemon = Daemon::start();
    let [mut client, mut writer, mut reader] = [(); 3].map(|()| daemon.client());
    client.register("a", &[1, 2]);
    client.authenticate("a");
    reader.authenticate("a");
    let lock = Locked::new(&daemon.state_dir().join("vmherd.sqlite3"));

    // Of two writes the second waits for the first and then for the lock.
    let begun = Instant::now();
    writer.send(&registration("b", &[]).to_string());
    client.send(&request("update", json!({"ram": 7})).to_string());
    client.send(r#"{"request_id":1,"command":"ping"}"#);
    assert_eq!(client.reply()["request_id"], 1, "a request with an id does not wait for requests without");
    let mut reads = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        assert_eq!(reader.list("all_vms").len(), 1);
        reads += 1;
    }
    assert!(reads > 0, "no reads in half a second");
    assert_eq!(client.error(), "busy");
    assert_eq!(writer.error(), "busy");
    assert!(begun.elapsed() < DEADLINE, "they waited for {:?}", begun.elapsed());

    // Nothing was done, and the same requests work now.
    drop(lock);
    assert_eq!(reader.list("all_vms")[0]["ram"], 512);
    client.succeed("update", json!({"ram": 8}));
    assert_eq!(reader.list("all_vms")[0]["ram"], 8);
    writer.register("b", &[]);
}

/// A connection that waits for the store is not idle.
#[test]
fn client_timeouts_pause_while_the_store_is_awaited() {
    let daemon = Daemon::builder().args(["--idle-timeout", "500ms"]).start();
    let mut client = daemon.client();
    client.register("a", &[]);
    let token = client.authenticate("a");
    let _lock = Locked::new(&daemon.state_dir().join("vmherd.sqlite3"));
    let mut client = daemon.client();
    client.succeed("list", json!({"list_type": "all_vms", "token": token}));
    let begun = Instant::now();
    assert_eq!(client.fail(request("update", json!({"ram": 7}))), "busy");
    assert!(begun.elapsed() > Duration::from_millis(500), "the answer came at once");
    client.ping();
}

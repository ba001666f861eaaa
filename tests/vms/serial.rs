//! The serial console: its log, and the consoles that connect to it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::Value;

use crate::common::{DEADLINE, Daemon, wait_until};
use crate::support::*;

/// A connection to the console of a VM.
pub struct Console(UnixStream);

impl Console {
    #[track_caller]
    pub fn open(daemon: &Daemon, created: &Value) -> Console {
        let id = created["container_uuid"].as_str().expect("an id");
        let path = daemon.state_dir().join("vms").join(id).join("console");
        let stream = UnixStream::connect(path).expect("the daemon accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        Console(stream)
    }

    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.0.write_all(format!("{text}\n").as_bytes()).expect("the daemon takes it");
    }

    /// Reads until `wanted` was read.
    #[track_caller]
    pub fn expect(&mut self, wanted: &str) {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(wanted) {
            let mut bytes = [0; 1024];
            let count = self.0.read(&mut bytes).expect("the guest answers");
            assert!(count > 0, "the console was closed after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&bytes[..count]);
        }
    }

    /// Waits until the daemon closes it.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let mut bytes = [0; 65_536];
        while self.0.read(&mut bytes).expect("it is closed in order") > 0 {}
    }
}

fn log(daemon: &Daemon, created: &Value) -> PathBuf {
    daemon.state_dir().join("vm-logs").join(format!("{}.log", created["container_uuid"].as_str().unwrap()))
}

#[test]
fn consoles_share_the_serial_port() {
    let daemon = fake("").start();
    let created = create(&mut daemon.client());
    let mut consoles: Vec<Console> = (0..4).map(|_| Console::open(&daemon, &created)).collect();
    for index in 0..4 {
        let word = format!("word{index}");
        consoles[index].send(&word);
        consoles.iter_mut().for_each(|console| console.expect(&format!("[{word}]")));
    }
    Console::open(&daemon, &created).expect_closed();
    consoles.pop();
    wait_until("its place is free", DEADLINE, || {
        let mut again = Console::open(&daemon, &created);
        again.0.write_all(b"again\n").is_ok() && matches!(again.0.read(&mut [0; 64]), Ok(1..))
    });
    let mut client = daemon.client();
    destroy(&mut client, &created);
    consoles[0].expect_closed();
    let text = fs::read_to_string(log(&daemon, &created)).unwrap();
    assert!(text.starts_with("fake guest\r\n[word0]"), "it stays: {text:?}");
}

#[test]
fn the_log_is_bounded_and_a_flood_does_not_delay_other_clients() {
    let daemon = fake("flood").start();
    let mut client = daemon.client();
    let created = create(&mut client);
    let (newer, older) = (log(&daemon, &created), log(&daemon, &created).with_extension("log.1"));
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
    wait_until("all is read", DEADLINE, || {
        fs::read_to_string(&newer).is_ok_and(|text| text.contains("line  199999"))
    });
    assert!((1..=512 << 10).contains(&size(&older)) && size(&newer) <= 512 << 10);
    client.ping();
    destroy(&mut client, &created);
    wait_gone(&daemon, 4);
}

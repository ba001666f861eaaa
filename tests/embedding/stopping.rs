//! Stopping a server and waiting for its end.

use std::time::{Duration, Instant};

use serde_json::json;
use vmherd::Server;

use crate::common::{BackgroundClients, Client, TempDir, request};
use crate::{GRACE, client, config, tcp_address};

/// What a loaded machine may add to a wait.
const SLACK: Duration = Duration::from_secs(3);

#[test]
fn a_stop_under_load_is_back_within_its_grace_period() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let (addresses, address) = (server.addresses().to_vec(), tcp_address(server.addresses()));
    let running = server.start().expect("a running server");
    let mut reader = client(&addresses);
    for number in 0..4 {
        reader.register(&format!("vm-{number}"), &[1; 1024]);
    }
    reader.authenticate("vm-0");
    let clients = BackgroundClients::start(16, |progress| {
        move || {
            while !progress.is_over() {
                let Some(mut client) = Client::try_connect(address) else { return };
                while let Some(reply) = client.try_call(&request("ping", json!({}))) {
                    assert_eq!(reply["message"], "PONG");
                    progress.add_done();
                }
            }
        }
    });
    clients.wait_done(100);
    // This client never reads its answers, which are more than buffers hold.
    let list = request("list", json!({"list_type": "all_vms"})).to_string();
    reader.send(&list.repeat(60));
    assert!(reader.has_input(GRACE));
    let (grace, begun) = (Duration::from_secs(2), Instant::now());
    running.stop(grace).expect("no error");
    let took = begun.elapsed();
    assert!(took < grace + SLACK, "{took:?}");
    assert!(took > grace / 2, "the answers that are being sent get their time, not {took:?}");
    assert!(Client::try_connect(address).is_none(), "the listener is closed");
    clients.finish();
}

#[test]
fn a_stop_of_an_idle_server_does_not_take_its_grace_period() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let mut client = client(server.addresses());
    let running = server.start().expect("a running server");
    client.ping();
    let begun = Instant::now();
    running.stop(Duration::from_secs(3600)).expect("no error");
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    client.expect_closed();
}

/// A writer that waits for a lock of another program is not waited for longer than the grace period.
#[cfg(feature = "sqlite")]
#[test]
fn a_stop_with_a_locked_store_is_back_within_its_grace_period() {
    let directory = TempDir::new();
    let path = directory.path().join("store");
    let mut config = config(&directory).store(vmherd::Location::Sqlite(path.clone()));
    config.metrics_durability = vmherd::Durability::Memory;
    let server = Server::bind(config).expect("a server");
    let mut client = client(server.addresses());
    let running = server.start().expect("a running server");
    assert_eq!(client.call_text("put key 1 1500000000"), "ok\n\n");
    let lock = rusqlite::Connection::open(&path).expect("a database");
    lock.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    assert_eq!(client.call_text("put key 2 1500000001"), "ok\n\n");
    let (grace, begun) = (Duration::from_secs(1), Instant::now());
    let error = running.stop(grace).expect_err("a point is lost");
    assert!(begun.elapsed() < grace + SLACK, "{:?}", begun.elapsed());
    assert!(error.to_string().ends_with("are lost: 1"), "{error}");
    assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "the server itself has ended: {error}");
}

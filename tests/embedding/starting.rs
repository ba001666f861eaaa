//! Starting servers, several at once, and asking them for their counters.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use serde_json::json;
use vmherd::{Config, InheritedListener, ListenAddress, Server, Statistics};

use crate::common::{Client, DEADLINE, TempDir, wait_until};
use crate::{GRACE, client, config};

#[test]
fn a_stop_handle_ends_a_blocking_run() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let (stop, addresses) = (server.stop_handle(), server.addresses().to_vec());
    let serving = thread::spawn(move || server.run());
    client(&addresses).ping();
    stop.clone().stop(GRACE);
    serving.join().expect("no panic").expect("no error");
}

#[test]
fn a_server_that_was_stopped_before_it_runs_ends_at_once() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    server.stop_handle().stop(Duration::ZERO);
    server.run().expect("no error");
}

#[test]
fn the_counters_are_those_of_the_command() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let mut client = client(server.addresses());
    let running = server.start().expect("a running server");
    (0..3).for_each(|_| client.ping());
    client.fail(json!({"command": "nothing", "data": {}}));
    let statistics = running.statistics().expect("it answers");
    assert!(statistics.is_running && statistics.runtime_errors == 0);
    let names = ["requests_ping", "requests_refused", "connections_open", "runtime_errors", "no_counter"];
    let values = |statistics: &Statistics| {
        let counters = &statistics.counters;
        names.map(|name| counters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
    };
    assert_eq!(values(&statistics), [Some(3), Some(1), Some(1), Some(0), None]);
    assert!(running.statistics().expect("it answers").uptime > statistics.uptime);
    running.stop_handle().stop(Duration::ZERO);
    wait_until("it has ended", DEADLINE, || !running.statistics().expect("the last ones").is_running);
    let last = running.statistics().expect("the last ones");
    assert_eq!(values(&last), [Some(3), Some(1), Some(0), Some(0), None]);
    assert_eq!(running.statistics().expect("the last ones"), last, "they stay");
    running.join().expect("no error");
}

#[test]
fn a_dropped_server_stops_and_can_be_started_again() {
    let directory = TempDir::new();
    for _ in 0..3 {
        let mut bound = None;
        wait_until("the server before has ended and unlocked the state directory", DEADLINE, || {
            bound = Server::bind(config(&directory)).ok();
            bound.is_some()
        });
        let server = bound.expect("a server");
        let mut client = client(server.addresses());
        let running = server.start().expect("a running server");
        client.ping();
        drop(running);
        client.expect_closed();
    }
}

#[test]
fn several_servers_share_a_process() {
    let directories = [TempDir::new(), TempDir::new(), TempDir::new()];
    let servers: Vec<_> = directories
        .iter()
        .map(|directory| {
            let server = Server::bind(config(directory)).expect("a server");
            let client = client(server.addresses());
            (server.start().expect("a running server"), client)
        })
        .collect();
    for ((running, mut client), count) in servers.into_iter().zip(1..) {
        for number in 0..count {
            client.register(&format!("vm-{number}"), &[1]);
        }
        client.authenticate("vm-0");
        assert_eq!(client.list("all_vms").len(), count, "each has its own store");
        running.stop(GRACE).expect("no error");
        client.expect_closed();
    }
}

#[test]
fn a_listener_can_be_handed_in() {
    let directory = TempDir::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let inherited = InheritedListener { socket: listener.into(), name: "own".to_owned() };
    let config = Config::default().state_dir(directory.path()).store("memory:".parse().expect("a store"));
    let server = Server::builder(config).inherit([inherited]).bind().expect("a server");
    assert!(matches!(server.addresses()[0], ListenAddress::Tcp(found) if found == address));
    // It was listening before the server runs.
    let mut client = Client::connect(address);
    let running = server.start().expect("a running server");
    client.ping();
    running.stop(GRACE).expect("no error");
}

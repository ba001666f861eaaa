//! Clients in the server's own process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmherd::{LocalClient, LoopState, Running, Server};

use crate::common::{DEADLINE, TempDir, registration, request, wait_until};
use crate::{GRACE, config};

fn start(directory: &TempDir) -> Running {
    Server::bind(config(directory)).expect("a server").start().expect("a running server")
}

fn connect(running: &Running) -> LocalClient {
    running.client().expect("it accepts")
}

fn ping(client: &mut LocalClient) -> Value {
    client.call(request("ping", json!({}))).expect("a reply")
}

fn expect_closed(client: &mut LocalClient) {
    let mut rest = String::new();
    client.read_to_string(&mut rest).expect("an end in good order");
    assert_eq!(rest, "");
}

fn open_connections(running: &Running) -> u64 {
    let statistics = running.statistics().expect("it answers");
    statistics.counters.iter().find(|(name, _)| name == "connections_open").expect("a counter").1
}

#[test]
fn a_client_speaks_all_protocols_and_everything_is_open_to_it() {
    let directory = TempDir::new();
    let mut config = config(&directory);
    config.registration = Some(false);
    let running = Server::bind(config).expect("a server").start().expect("a running server");
    let mut client = connect(&running);
    assert_eq!(client.call(r#"{"command":"ping","data":{}}"#).expect("a reply")["message"], "PONG");
    let registered = client.call(registration("a", &[1])).expect("a reply");
    assert_eq!(registered["data"], json!({"auth_id": "a"}), "{registered}");
    let credentials = json!({"vm_id": "a", "password": crate::common::PASSWORD});
    client.call(request("authenticate", credentials)).expect("a reply");
    let listed = client.call(request("list", json!({"list_type": "active_vms"}))).expect("a reply");
    let peers = listed["data"]["active_vms"].as_array().expect("a list");
    assert_eq!(peers.len(), 1, "{listed}");
    let stats = client.call(request("stats", json!({}))).expect("a reply");
    assert_eq!(stats["status"], "error", "it is no operator");

    let mut text = connect(&running);
    text.write_all(b"put key 1 1500000000\nget key\n").expect("sent");
    let mut reply = [0; 4 + 3 + 19];
    text.read_exact(&mut reply).expect("two replies");
    assert!(reply.starts_with(b"ok\n\nok\nkey "), "{}", String::from_utf8_lossy(&reply));
    running.stop(GRACE).expect("no error");
}

#[cfg(feature = "http")]
#[test]
fn a_client_can_speak_http() {
    let directory = TempDir::new();
    let running = start(&directory);
    let mut client = connect(&running);
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut response = String::new();
    client.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
}

/// More than the pipe and the server hold, in both directions.
#[test]
fn a_client_pipelines_more_than_the_pipe_holds() {
    const PINGS: usize = 20_000;
    let directory = TempDir::new();
    let running = start(&directory);
    let client = connect(&running);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..PINGS {
                let ping = json!({"command": "ping", "request_id": number, "data": {}});
                writeln!(&client, "{ping}").expect("sent");
            }
        });
        let mut lines = BufReader::new(&client).lines();
        for number in 0..PINGS {
            let line = lines.next().expect("a reply").expect("a reply");
            let reply: Value = serde_json::from_str(&line).expect("a reply");
            assert_eq!((&reply["request_id"], &reply["message"]), (&json!(number), &json!("PONG")));
        }
    });
}

#[test]
fn a_long_answer_waits_for_a_client_that_reads_slowly() {
    let directory = TempDir::new();
    let running = start(&directory);
    let mut client = connect(&running);
    for number in 0..4 {
        client.call(registration(&format!("vm-{number}"), &[1; 1024])).expect("a reply");
    }
    client
        .call(request("authenticate", json!({"vm_id": "vm-0", "password": crate::common::PASSWORD})))
        .expect("ok");
    let list = request("list", json!({"list_type": "all_disks"}));
    for _ in 0..20 {
        writeln!(client, "{list}").expect("sent");
    }
    for _ in 0..19 {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(0);
            let end = line.len() - 1;
            assert_eq!(client.read(&mut line[end..]).expect("more"), 1);
        }
        let reply: Value = serde_json::from_slice(&line).expect("a whole reply");
        assert_eq!(reply["data"]["all_disks"].as_array().map(Vec::len), Some(4 * 1024));
    }
    assert_eq!(client.call(&list).expect("the last but one")["status"], "success");
}

#[test]
fn each_side_sees_the_close_of_the_other() {
    let directory = TempDir::new();
    let running = start(&directory);
    let mut client = connect(&running);
    ping(&mut client);
    assert_eq!(open_connections(&running), 1);
    drop(client);
    wait_until("the server has closed", DEADLINE, || open_connections(&running) == 0);

    let mut client = connect(&running);
    ping(&mut client);
    let mut never_accepted = connect(&running);
    never_accepted.write_all(b"{\"command\":").expect("sent");
    running.stop(GRACE).expect("no error");
    expect_closed(&mut client);
    let error = client.write_all(b"{}").expect_err("the server is gone");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let error = client.call("{}").expect_err("the server is gone");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    expect_closed(&mut never_accepted);
}

#[test]
fn a_server_that_is_not_running_yet_serves_its_clients_later() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let mut client = server.client().expect("it accepts");
    writeln!(client, "{}", request("ping", json!({}))).expect("sent");
    client.set_timeout(Some(Duration::from_millis(20)));
    let begun = Instant::now();
    let error = client.read(&mut [0]).expect_err("nothing comes");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!((Duration::from_millis(20)..DEADLINE).contains(&begun.elapsed()));
    // The client does not read, so that the pipe gets full.
    let error = client.write_all(&[b' '; 1 << 20]).expect_err("there is no room");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);

    let mut other = server.client().expect("it accepts");
    let running = server.start().expect("a running server");
    assert_eq!(ping(&mut other)["message"], "PONG");
    client.set_timeout(Some(DEADLINE));
    let mut reply = [0; 20];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"{\"status\":\"success\",");
    running.stop(GRACE).expect("no error");
    let dropped = Server::bind(config(&directory)).expect("a server");
    let mut client = dropped.client().expect("it accepts");
    drop(dropped);
    expect_closed(&mut client);
}

#[test]
fn hundreds_of_clients_are_served_at_once_and_over_restarts() {
    const CLIENTS: usize = 400;
    let directory = TempDir::new();
    let running = start(&directory);
    for _ in 0..3 {
        let mut clients: Vec<LocalClient> = (0..CLIENTS).map(|_| connect(&running)).collect();
        // All have a request in flight.
        for (number, client) in clients.iter_mut().enumerate() {
            writeln!(client, "{}", json!({"command": "ping", "request_id": number, "data": {}}))
                .expect("sent");
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let reply = client.call("").expect("a reply");
            assert_eq!((&reply["request_id"], &reply["message"]), (&json!(number), &json!("PONG")));
        }
        assert_eq!(open_connections(&running), CLIENTS as u64);
        running.restart(GRACE).expect("it restarts");
        clients.iter_mut().for_each(expect_closed);
    }
    running.stop(GRACE).expect("no error");
}

#[test]
fn clients_count_against_the_connection_limit() {
    let directory = TempDir::new();
    let mut config = config(&directory);
    config.connections_max = 1;
    let running = Server::bind(config).expect("a server").start().expect("a running server");
    let mut first = connect(&running);
    first.call(registration("a", &[1])).expect("a reply");
    first
        .call(request("authenticate", json!({"vm_id": "a", "password": crate::common::PASSWORD})))
        .expect("ok");
    let mut second = connect(&running);
    second.set_timeout(Some(Duration::from_millis(50)));
    let error = second.call(request("ping", json!({}))).expect_err("it waits to be accepted");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    second.set_timeout(Some(DEADLINE));
    drop(first);
    assert_eq!(second.call("").expect("a reply")["message"], "PONG");
}

/// The server and its clients together: an idle client causes no turns.
#[test]
fn a_loop_of_the_host_serves_clients_and_idles_between() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let (mut client, stop) = (server.client().expect("it accepts"), server.stop_handle());
    let mut server = server.into_loop();
    let pings = thread::spawn(move || {
        (0..100).for_each(|_| drop(ping(&mut client)));
        client
    });
    let mut turns = 0;
    while !pings.is_finished() {
        assert_eq!(server.turn(Some(Duration::from_millis(10))).expect("no error"), LoopState::Running);
        turns += 1;
    }
    assert!(turns < 10_000, "{turns} turns for 100 requests");
    let mut client = pings.join().expect("no panic");
    while server.wait_time() == Some(Duration::ZERO) {
        assert_eq!(server.turn(Some(Duration::ZERO)).expect("no error"), LoopState::Running);
    }
    let begun = Instant::now();
    assert_eq!(server.turn(Some(Duration::from_millis(100))).expect("no error"), LoopState::Running);
    assert!(begun.elapsed() >= Duration::from_millis(50), "it waits, {:?}", begun.elapsed());
    stop.stop(GRACE);
    while server.turn(None).expect("no error") == LoopState::Running {}
    expect_closed(&mut client);
}

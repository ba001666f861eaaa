//! Start and stop of a daemon: signals, requests in flight, and one state directory for one daemon.

use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, registration, request, wait_until};

#[test]
fn a_stop_answers_what_is_in_flight_and_closes_the_rest() {
    for signal in ["TERM", "INT"] {
        let mut daemon = Daemon::builder().with_slow_hashes().start();
        let address = daemon.address();
        let (mut silent, mut idle, mut busy) = (daemon.client(), daemon.client(), daemon.client());
        let mut operator = daemon.operator();
        idle.ping();
        busy.send(&registration("a", &[1]).to_string());
        daemon.wait_in_flight(1);
        let begun = Instant::now();
        daemon.signal(signal);
        silent.expect_closed();
        idle.expect_closed();
        operator.expect_closed();
        let reply = busy.reply();
        assert_eq!(reply["data"], json!({"auth_id": "a"}), "{reply}");
        busy.expect_closed();
        drop(busy);
        assert!(daemon.wait().success());
        assert!(begun.elapsed() < 2 * Duration::from_secs(10));
        assert!(TcpStream::connect(address).is_err(), "the listener is closed");
        assert!(!daemon.own_socket().exists(), "the socket is gone with it");
    }
}

#[test]
fn requests_answered_during_a_stop_took_effect() {
    let mut daemon = Daemon::builder().with_slow_hashes().start();
    let mut client = daemon.client();
    client.send(&registration("a", &[1]).to_string());
    daemon.wait_in_flight(1);
    daemon.signal("TERM");
    assert_eq!(client.reply()["status"], "success");
    drop(client);
    assert!(daemon.wait().success());
    daemon.restart();
    let mut client = daemon.client();
    client.authenticate("a");
    assert_eq!(client.list("all_disks").len(), 1);
}

/// A list that is being sent is sent to its end.
#[test]
fn a_stop_finishes_a_long_response() {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    for number in 0..4 {
        client.register(&format!("vm-{number}"), &[1; 1024]);
    }
    client.authenticate("vm-0");
    let list = request("list", json!({"list_type": "all_vms"})).to_string();
    client.send(&list.repeat(60));
    // The first bytes show that the list is being sent; 60 of them are more than buffers hold.
    assert!(client.has_input(DEADLINE));
    daemon.signal("TERM");
    let said = client.rest();
    assert!(said.ends_with('\n'), "{} bytes", said.len());
    for line in said.lines() {
        let reply: Value = serde_json::from_str(line).expect("every reply is whole");
        assert_eq!(reply["data"]["all_vms"].as_array().map(Vec::len), Some(4));
    }
    assert!(daemon.wait().success());
}

#[test]
fn a_lingering_client_does_not_delay_a_stop() {
    let mut daemon = Daemon::start();
    let mut clients: Vec<Client> = (0..20).map(|_| daemon.client()).collect();
    // In the middle of a request that is never completed.
    clients.iter_mut().for_each(|client| client.send("{\"command\":"));
    clients.push(daemon.client());
    clients[20].ping();
    let begun = Instant::now();
    daemon.stop();
    assert!(begun.elapsed() < 2 * Duration::from_secs(10));
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    let mut daemon = Daemon::builder().with_hash_passes(10).start();
    let mut clients: Vec<Client> = (0..40).map(|_| daemon.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&registration(&format!("vm-{number}"), &[1]).to_string());
    }
    daemon.wait_in_flight(40);
    daemon.signal("TERM");
    daemon.wait_for_log("stopping");
    let begun = Instant::now();
    daemon.signal("TERM");
    daemon.wait();
    assert!(begun.elapsed() < DEADLINE, "it took {:?}", begun.elapsed());
    // Nothing is left half done.
    daemon.restart();
    daemon.client().ping();
}

#[test]
fn two_daemons_on_one_state_directory_are_refused() {
    let mut daemon = Daemon::start();
    let second = Daemon::builder().on_state_dir_of(&daemon).run_to_end();
    assert_ne!(second.code(), Some(0));
    assert!(second.stderr.contains("another vmherd runs on the state directory"), "{}", second.stderr);
    assert!(second.stderr.contains("--state-dir"), "it says what to do: {}", second.stderr);
    daemon.client().ping();
    daemon.operator().ping();
    daemon.stop();
    let other = Daemon::builder().on_state_dir_of(&daemon).start();
    other.operator().ping();
}

#[test]
fn stale_sockets_are_replaced() {
    let builder = Daemon::builder();
    let path = builder.state_dir().join("clients.sock");
    let mut daemon = builder.listen(format!("unix:{}", path.display())).start();
    daemon.kill();
    assert!(daemon.own_socket().exists() && path.exists(), "it had no time to remove them");
    daemon.restart();
    daemon.operator().ping();
    Client::connect_unix(&path).ping();
    daemon.stop();
    assert!(!daemon.own_socket().exists() && !path.exists());
}

#[test]
fn a_foreign_file_is_not_replaced_by_a_socket() {
    let builder = Daemon::builder();
    let path = builder.state_dir().join("taken");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let ended = builder.clone().listen(format!("unix:{}", path.display())).run_to_end();
    assert_ne!(ended.code(), Some(0));
    assert!(ended.stderr.contains("taken") && path.exists(), "{}", ended.stderr);

    let path = builder.state_dir().join("file");
    fs::write(&path, "precious").expect("a file");
    let ended = builder.clone().listen(format!("unix:{}", path.display())).run_to_end();
    assert_ne!(ended.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
}

#[test]
fn a_port_in_use_is_reported() {
    let daemon = Daemon::start();
    let taken = format!("tcp://{}", daemon.address());
    let ended = Daemon::builder().listen(&taken).run_to_end();
    assert_ne!(ended.code(), Some(0));
    assert!(ended.stderr.contains(&taken), "{}", ended.stderr);
}

/// Nothing remains of clients that have left.
#[test]
fn disconnected_clients_free_their_descriptors_and_memory() {
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    let fill = || (0..200).map(|_| daemon.client()).collect::<Vec<_>>();
    let mut open = |count: u64| {
        wait_until("connections come and go", DEADLINE, || {
            operator.succeed("stats", json!({}))["connections_open"] == count
        });
    };
    open(1);
    let descriptors = daemon.fd_count();
    for _ in 0..3 {
        let mut clients = fill();
        clients.iter_mut().for_each(Client::ping);
        open(201);
        assert_eq!(daemon.fd_count(), descriptors + 200);
        // Some in good order, some in the middle of a request.
        clients.iter_mut().step_by(2).for_each(|client| client.send("{"));
        drop(clients);
        open(1);
        assert_eq!(daemon.fd_count(), descriptors);
    }
}

/// Points that are acknowledged while the daemon stops are stored; replies are whole.
#[test]
fn points_acknowledged_during_a_stop_are_stored() {
    const COUNT: usize = 20_000;
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    let lines: String = (0..COUNT).map(|second| format!("put k {second} {second}\n")).collect();
    client.send("put k -1 -1\n");
    assert_eq!(client.text_reply(), "ok\n\n");
    client.send(&lines);
    assert_eq!(client.text_reply(), "ok\n\n");
    daemon.stop();
    let replies = client.rest();
    let acknowledged = replies.matches("ok\n\n").count() + 2;
    assert_eq!(replies, "ok\n\n".repeat(acknowledged - 2), "each is whole");
    daemon.restart();
    let kept = daemon.client().call_text("get k");
    let kept: Vec<&str> = kept.lines().skip(1).filter(|line| !line.is_empty()).collect();
    assert!(kept.len() >= acknowledged, "{acknowledged} were acknowledged, {} are kept", kept.len());
    let expected = (-1..COUNT as i64).map(|second| format!("k {second}.0 {second}"));
    assert!(expected.take(kept.len()).eq(kept.iter().copied()), "the first ones, in order");
}

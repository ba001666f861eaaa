//! Metrics of two daemons on one database: each sees the other's points at once; they share the order of keys and the
//! key limit.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::cluster::Cluster;
use crate::common::{Client, DEADLINE, Daemon, wait_until};
use crate::daemon_on;

/// The key limit.
const KEYS_MAX: usize = 100_000;
const OK: &str = "ok\n\n";
const FULL: &str = "error\nkey limit reached\n\n";

#[test]
fn daemons_see_each_others_points_at_once_in_key_order() {
    let database = Cluster::shared().database();
    let daemons = [daemon_on(&database), daemon_on(&database)];
    let mut clients = daemons.each_ref().map(Daemon::client);
    let mut expected = "ok\n".to_owned();
    for round in 0..100 {
        let (putting, getting) = (round % 2, 1 - round % 2);
        // Names that are not sorted.
        let key = format!("key-{}", round * 37 % 100);
        let line = format!("{key} {round}.5 {round}");
        assert_eq!(clients[putting].call_text(&format!("put {line}")), OK);
        assert_eq!(clients[getting].call_text(&format!("get {key}")), format!("ok\n{line}\n\n"));
        // Each replaces points of the other.
        assert_eq!(clients[getting].call_text(&format!("put {key} -1 {round}")), OK);
        assert_eq!(clients[putting].call_text(&format!("get {key}")), format!("ok\n{key} -1.0 {round}\n\n"));
        writeln!(expected, "{key} -1.0 {round}").expect("a String takes everything");
        if round % 10 == 9 {
            let whole = format!("{expected}\n");
            clients.iter_mut().for_each(|client| assert_eq!(client.call_text("get *"), whole));
        }
    }
}

/// Many clients of both put the same keys, in different orders and all in batches: each is served, nothing is lost.
#[test]
fn daemons_put_the_same_keys_concurrently() {
    const KEYS: usize = 40;
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 10;
    let database = Cluster::shared().database();
    let daemons = [daemon_on(&database), daemon_on(&database)];
    thread::scope(|scope| {
        for index in 0..CLIENTS {
            let mut client = daemons[index % 2].client();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let mut lines = String::new();
                    for step in 0..KEYS {
                        let key = if index < CLIENTS / 2 { step } else { KEYS - 1 - step };
                        let second = index * ROUNDS + round;
                        writeln!(lines, "put key-{key} {key} {second}").expect("a String takes everything");
                        writeln!(lines, "put key-{key} {index} -7").expect("a String takes everything");
                    }
                    client.send(&lines);
                    (0..2 * KEYS).for_each(|_| assert_eq!(client.text_reply(), OK));
                }
            });
        }
    });
    let mut replies = daemons.iter().map(|daemon| daemon.client().call_text("get *"));
    let reply = replies.next().expect("one");
    assert!(replies.all(|other| other == reply), "one order");
    assert_eq!(reply.lines().count(), KEYS * (CLIENTS * ROUNDS + 1) + 2);
    for key in 0..KEYS {
        let of_key = daemons[0].client().call_text(&format!("get key-{key}"));
        let mut lines = of_key.lines().skip(2);
        let expected = (0..CLIENTS * ROUNDS).map(|second| format!("key-{key} {key}.0 {second}"));
        assert!(expected.eq(lines.by_ref().take(CLIENTS * ROUNDS)), "{of_key}");
        assert!(reply.contains(&of_key[3..of_key.len() - 1]), "together, in order of time");
    }
}

#[test]
fn daemons_share_the_key_limit() {
    const LEFT: usize = 25;
    let database = Cluster::shared().database();
    let daemons = [daemon_on(&database), daemon_on(&database)];
    thread::scope(|scope| {
        let share = (KEYS_MAX - LEFT) / 3;
        for (index, daemon) in [0, 1, 0].into_iter().enumerate() {
            let client = daemons[daemon].client();
            scope.spawn(move || fill(client, index * share..(index + 1) * share));
        }
    });
    let taken = (KEYS_MAX - LEFT) / 3 * 3;
    // Both put more keys than are left, in batches and one by one.
    let kept: usize = thread::scope(|scope| {
        let clients = (0..6).map(|index| {
            let mut client = daemons[index % 2].client();
            scope.spawn(move || {
                let lines: Vec<String> = (0..60)
                    .map(|key| format!("put new-{index}-{key} 1 1\nput host-0.cpu 1 {key}\n"))
                    .collect();
                let batch = if index < 4 { 1 } else { 60 };
                let mut kept = 0;
                for lines in lines.chunks(batch) {
                    client.send(&lines.concat());
                    for _ in lines {
                        let verdict = client.text_reply();
                        assert!(verdict == OK || verdict == FULL, "{verdict:?}");
                        kept += usize::from(verdict == OK);
                        assert_eq!(client.text_reply(), OK, "an old key is taken always");
                    }
                }
                kept
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().expect("it puts")).sum()
    });
    assert_eq!(kept, KEYS_MAX - taken);
    for daemon in &daemons {
        assert_eq!(daemon.client().call_text("put newer 1 1"), FULL);
        let data = json!({"key": "newer", "value": 1});
        let message = daemon.client().fail(crate::common::request("put", data));
        assert_eq!(message, "key limit reached");
    }
}

#[test]
fn each_line_gets_an_error_while_the_database_is_away() {
    const AWAY: &str = "error\nstore unavailable\n\n";
    let cluster = Cluster::start();
    let database = cluster.database();
    let daemon = daemon_on(&database);
    let mut client = daemon.client();
    assert_eq!(client.call_text("put k 1 1"), OK);
    cluster.stop();
    client.send("put k 2 2\nput k 3 3\nnonsense\nput k 4 4\nget k\nget *\n");
    for expected in [AWAY, AWAY, "error\nwrong command\n\n", AWAY, AWAY, AWAY] {
        assert_eq!(client.text_reply(), expected);
    }
    cluster.restart();
    let found = || daemon.client().call_text("get k");
    wait_until("the database is used again", DEADLINE, || found() != AWAY);
    assert_eq!(found(), "ok\nk 1.0 1\n\n");
    assert_eq!(client.call_text("put k 2 2"), OK);
    assert_eq!(client.call_text("get k"), "ok\nk 1.0 1\nk 2.0 2\n\n");
}

/// With write-behind, a stop counts the points that were acknowledged and cannot be written any more.
#[test]
fn a_stop_without_the_database_counts_lost_points_and_fails() {
    const COUNT: usize = 50;
    let cluster = Cluster::start();
    let database = cluster.database();
    let arguments = ["--store", &database.url(), "--metrics-durability", "memory"];
    let mut daemon = Daemon::builder().args(arguments).start();
    let mut client = daemon.client();
    assert_eq!(client.call_text("put k 1 1"), OK);
    // Nothing is written any more, and then the database is away.
    let mut other = database.client();
    other.batch_execute("BEGIN; LOCK TABLE points IN ACCESS EXCLUSIVE MODE").expect("a lock");
    for second in 2..2 + COUNT {
        assert_eq!(client.call_text(&format!("put k 1 {second}")), OK);
    }
    cluster.stop_at_once();
    daemon.signal("TERM");
    let status = daemon.wait();
    let log = daemon.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let lost =
        format!("points that were acknowledged could not be written to the store and are lost: {COUNT}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&lost)).collect();
    assert!(lines.len() == 1 && lines[0].contains(" ERROR "), "{log}");
    cluster.restart();
    daemon.restart();
    assert_eq!(daemon.client().call_text("get k"), "ok\nk 1.0 1\n\n");
}

/// A response whose last pages cannot be read is cut, so that it does not look complete.
#[test]
fn a_response_cut_by_a_database_loss_does_not_look_complete() {
    const KEYS: usize = 200_000 / 1000;
    let cluster = Cluster::start();
    let database = cluster.database();
    let daemon = daemon_on(&database);
    let mut writer = daemon.client();
    let mut whole = "ok\n".len() + "\n".len();
    for key in 0..KEYS {
        let points = (0..1000).map(|second| format!("with.a.rather.long.name.key-{key} 0.5 {second}\n"));
        let points: Vec<String> = points.collect();
        whole += points.iter().map(String::len).sum::<usize>();
        writer.send(&points.iter().map(|point| format!("put {point}")).collect::<String>());
        points.iter().for_each(|_| assert_eq!(writer.text_reply(), OK));
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a socket option");
    socket.connect(&daemon.address().into()).expect("the daemon accepts");
    let mut stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
    stream.write_all(b"get *\n").expect("it is taken");
    let mut received = vec![0; 64 << 10];
    stream.read_exact(&mut received).expect("the first pages");
    cluster.stop();
    // In good order or not.
    let _ = stream.read_to_end(&mut received);
    assert!(received.len() < whole, "all {whole} bytes were on their way already: nothing is tested");
    assert!(received.starts_with(b"ok\nwith.a.rather.long.name.key-0 0.5 0\n"));
    assert!(!received.ends_with(b"\n\n"), "what is not whole looks whole");
}

/// Puts a point for each of these keys. On a machine so busy that the daemon times out, it tries again.
#[track_caller]
fn fill(mut client: Client, keys: std::ops::Range<usize>) {
    const PATIENCE_ENDED: [&str; 2] = ["error\noutcome unknown\n\n", "error\nbusy\n\n"];
    let keys: Vec<usize> = keys.collect();
    for keys in keys.chunks(1000) {
        let lines: String = keys.iter().map(|key| format!("put host-{key}.cpu 0.5 1501864247\n")).collect();
        wait_until("all of them are kept", DEADLINE, || {
            client.send(&lines);
            let replies: Vec<String> = keys.iter().map(|_| client.text_reply()).collect();
            let other = replies.iter().find(|reply| *reply != OK && !PATIENCE_ENDED.contains(&&***reply));
            assert_eq!(other, None);
            replies.iter().all(|reply| reply == OK)
        });
    }
}

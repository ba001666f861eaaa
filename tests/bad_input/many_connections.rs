//! Many requests on one connection, and many connections at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Daemon, registration, request};
use crate::flood::send_in_background;
use crate::overload::{
    Baseline, LatencyProbe, MemoryBounds, alone, attack_in_bounds, best_of_three, statistic,
};
use crate::swarm::{Swarm, connections_that_fit};

#[test]
fn a_million_pipelined_pings_are_answered_in_order() {
    const BLOCKS: usize = 10_000;
    const BLOCK: usize = 100;
    let _alone = alone();
    let bounds = MemoryBounds { peak_kib: 1 << 10, kept_kib: 1 << 10 };
    attack_in_bounds("1 000 000 pipelined pings", bounds, Daemon::builder, |daemon| {
        let begin = Instant::now();
        let pings = request("ping", json!({})).to_string().repeat(BLOCK - 1);
        let blocks = (0..BLOCKS).map(move |block| pings.clone() + &numbered(block));
        let (mut stream, sender) = send_in_background(daemon.address(), blocks);
        let port = stream.local_addr().expect("an address").port();
        let pong = json!({"addr": ["127.0.0.1", port]});
        let pong = format!("{{\"status\":\"success\",\"message\":\"PONG\",\"data\":{pong}}}\n");
        let pongs = pong.repeat(BLOCK - 1);
        let mut received = Vec::new();
        for block in 0..BLOCKS {
            let expected = pongs.clone() + &numbered_error(block);
            received.resize(expected.len(), 0);
            stream.read_exact(&mut received).unwrap_or_else(|error| panic!("in block {block}: {error}"));
            assert!(received == expected.as_bytes(), "block {block}: {}", received.escape_ascii());
        }
        eprintln!("  {:.0} requests a second", (BLOCKS * BLOCK) as f64 / begin.elapsed().as_secs_f64());
        sender.join().expect("everything is sent");
    });
}

#[test]
fn five_thousand_connections_at_once_are_all_served_in_order() {
    let _alone = alone();
    let count = connections_that_fit(5000);
    best_of_three("5 000 connections at once", || {
        let daemon = Daemon::start();
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let mut kept_kib = Vec::new();
        for _ in 0..2 {
            let mut swarm = Swarm::new();
            let begin = Instant::now();
            for index in 0..count {
                swarm.connect(daemon.address(), conversation(index).as_bytes());
            }
            let connected = begin.elapsed();
            let is_served = |swarm: &Swarm, index: usize| {
                swarm.members[index].received.ends_with(conversation_end(index).as_bytes())
            };
            let (mut is_done, mut done) = (vec![false; count], 0);
            while done < count {
                let mut came = Vec::new();
                swarm.turn(Duration::from_millis(100), |index| came.push(index));
                for index in came {
                    if !is_done[index] && is_served(&swarm, index) {
                        (is_done[index], done) = (true, done + 1);
                    }
                }
                assert!(begin.elapsed() < Duration::from_secs(120), "{done} of {count} are served");
            }
            eprintln!("  connecting took {connected:.2?}, serving {:.2?}", begin.elapsed());
            swarm.members.iter().enumerate().for_each(|(index, member)| {
                assert!(member.is_open());
                expect_conversation(index, member.lines());
            });
            drop(swarm);
            baseline.expect_back(&daemon, count as u64);
            kept_kib.push(baseline.growth_kib(&daemon));
        }
        // The second round uses what the first one has left.
        assert!(kept_kib[1] <= kept_kib[0] + 512, "each round keeps more: {kept_kib:?} KiB");
        probe.finish()
    });
}

#[test]
fn connections_beyond_the_limit_wait_for_a_slot() {
    const CONNECTIONS_MAX: usize = 300;
    const COUNT: usize = 2000;
    let _alone = alone();
    best_of_three("2 000 connections where 300 may be", || {
        let daemon = Daemon::builder().args(["--connections-max", "300"]).start();
        let probe = LatencyProbe::start_as_operator(&daemon);
        let baseline = Baseline::of(&daemon);
        // Connected before all slots are taken.
        let mut operator = daemon.operator();
        operator.ping();
        let mut swarm = Swarm::new();
        for index in 0..COUNT {
            swarm.connect(daemon.address(), conversation(index).as_bytes());
        }
        let mut conversations: Vec<usize> = (0..COUNT).collect();
        let mut is_done = vec![false; COUNT];
        // A client that is silent for a moment between its connection and its first byte may be evicted.
        let mut evicted = 0;
        let (begin, mut done) = (Instant::now(), 0);
        while done < COUNT {
            let mut came = Vec::new();
            swarm.turn(Duration::from_millis(100), |member| came.push(member));
            // The operator and the probe have reserved slots.
            assert!(statistic(&mut operator, "connections_open") <= 2 + CONNECTIONS_MAX as u64);
            for member in came {
                let index = conversations[member];
                let is_served = swarm.members[member].received.ends_with(conversation_end(index).as_bytes());
                if swarm.members[member].ended.is_some() && !is_served {
                    assert_eq!(swarm.members[member].received, b"", "{index} was cut");
                    evicted += 1;
                    assert!(evicted < COUNT / 100, "too many were evicted that had sent a request");
                    swarm.connect(daemon.address(), conversation(index).as_bytes());
                    conversations.push(index);
                } else if is_served {
                    expect_conversation(index, swarm.members[member].lines());
                    // A connection that has been served may be evicted before it closes.
                    done += usize::from(is_new(&mut is_done, index));
                    swarm.close(member);
                }
            }
            assert!(begin.elapsed() < Duration::from_secs(120), "{done} of {COUNT} are served");
        }
        assert!(statistic(&mut operator, "connections_evicted") >= evicted as u64);
        drop((swarm, operator));
        baseline.expect_back(&daemon, 2 << 10);
        probe.finish()
    });
}

#[test]
fn silent_connections_are_closed_when_others_need_slots() {
    const CONNECTIONS_MAX: u64 = 100;
    let _alone = alone();
    let daemon = Daemon::builder().args(["--connections-max", "100"]).start();
    let mut operator = daemon.operator();
    operator.ping();
    let mut silent = Swarm::new();
    for _ in 0..500 {
        silent.connect(daemon.address(), b"");
    }
    for index in 0..50 {
        let mut client = daemon.client();
        client.send(&conversation(index));
        let replies: Vec<String> = (0..CONVERSATION).map(|_| client.raw_line()).collect();
        expect_conversation(index, replies.iter().map(String::as_str));
        silent.run_for(Duration::from_millis(1));
        assert!(statistic(&mut operator, "connections_open") <= 1 + CONNECTIONS_MAX);
    }
    assert!(statistic(&mut operator, "connections_evicted") >= 400);
}

#[test]
fn a_client_that_shuts_down_its_input_gets_all_replies() {
    let _alone = alone();
    best_of_three("500 half-closed connections", || {
        let daemon = Daemon::start();
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let threads: Vec<_> = (0..10)
            .map(|part| {
                let address = daemon.address();
                thread::spawn(move || {
                    for index in (0..500).skip(part).step_by(10) {
                        let mut stream = TcpStream::connect(address).expect("the daemon accepts");
                        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
                        let cut_short = if index % 2 == 0 { "" } else { "{\"command\":" };
                        let register = registration(&format!("vm-{index}"), &[]).to_string();
                        let all = conversation(index) + &register + &conversation(index + 1) + cut_short;
                        stream.write_all(all.as_bytes()).expect("it is taken");
                        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
                        let mut replies = String::new();
                        stream.read_to_string(&mut replies).expect("an end in good order");
                        let lines: Vec<&str> = replies.lines().collect();
                        assert_eq!(lines.len(), 2 * CONVERSATION + 1 + index % 2, "{replies}");
                        expect_conversation(index, lines[..CONVERSATION].iter().copied());
                        assert!(lines[CONVERSATION].contains("auth_id"), "{replies}");
                        let second = &lines[CONVERSATION + 1..2 * CONVERSATION + 1];
                        expect_conversation(index + 1, second.iter().copied());
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("all replies"));
        baseline.expect_back(&daemon, 2 << 10);
        probe.finish()
    });
}

/// Marks `index` as done; false if it was done already.
fn is_new(is_done: &mut [bool], index: usize) -> bool {
    !std::mem::replace(&mut is_done[index], true)
}

/// Replies to a conversation.
const CONVERSATION: usize = 4;

/// A few requests whose replies differ by position.
fn conversation(index: usize) -> String {
    let pings = request("ping", json!({})).to_string() + "\n{\"request_id\":7,\"command\":\"ping\"}";
    numbered(index) + &pings + &numbered(index + 1)
}

/// The end of its last reply.
fn conversation_end(index: usize) -> String {
    numbered_error(index + 1)
}

#[track_caller]
fn expect_conversation<'a>(index: usize, lines: impl Iterator<Item = &'a str>) {
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), CONVERSATION, "{lines:?}");
    assert_eq!(format!("{}\n", lines[0]), numbered_error(index));
    let pongs: Vec<Value> =
        lines[1..3].iter().map(|line| serde_json::from_str(line).expect("a reply is JSON")).collect();
    assert_eq!((&pongs[0]["message"], &pongs[0]["request_id"]), (&json!("PONG"), &Value::Null));
    assert_eq!((&pongs[1]["message"], &pongs[1]["request_id"]), (&json!("PONG"), &json!(7)));
    assert_eq!(format!("{}\n", lines[3]), numbered_error(index + 1));
}

/// A request whose error has a number.
fn numbered(number: usize) -> String {
    request("authenticate", json!({"vm_id": number, "password": "securePass123"})).to_string()
}

/// That error.
fn numbered_error(number: usize) -> String {
    format!(
        "{{\"status\":\"error\",\"message\":\"vm_id: {number} is not allowed; it must be a string of 1 to 128 bytes \
         without white space, control or format characters, in Unicode's form NFC, not digits only\",\"data\":{{}}}}\n"
    )
}

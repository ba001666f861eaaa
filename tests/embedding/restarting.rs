//! Restarting a server: clients lose their connection, and nothing else.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use vmherd::internals::sys::process::raise_descriptor_limit;
use vmherd::{LoopState, Running, Server};

use crate::common::{Client, DEADLINE, TempDir, request, wait_until};
use crate::{GRACE, client, config, tcp_address};

const CLIENTS: usize = 1000;
const RESTARTS: usize = 100;
/// Answers to pings during and after each restart.
const PINGS: usize = CLIENTS;
const PING: &[u8] = b"{\"command\":\"ping\",\"data\":{}}";

/// A client that pings as long as its connection lasts, and then connects again.
struct Pinger {
    socket: TcpStream,
    received: Vec<u8>,
    /// Its whole answer.
    expected: String,
    is_sent: bool,
}

impl Pinger {
    fn connect(address: SocketAddr, poll: &Poll, token: Token) -> Pinger {
        let mut socket = TcpStream::connect(address).expect("a connection can be begun");
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, token, both).expect("epoll takes it");
        Pinger { socket, received: Vec::new(), expected: String::new(), is_sent: false }
    }

    /// Sends and receives what it can; the number of answers. An error is the end of the connection.
    fn run(&mut self) -> io::Result<usize> {
        if let Some(error) = self.socket.take_error().expect("a socket option") {
            return Err(error);
        }
        if self.socket.peer_addr().is_err() {
            return Ok(0);
        }
        let mut answers = 0;
        loop {
            if !self.is_sent {
                let port = self.socket.local_addr()?.port();
                let addr = format!("[\"127.0.0.1\",{port}]");
                self.expected =
                    format!("{{\"status\":\"success\",\"message\":\"PONG\",\"data\":{{\"addr\":{addr}}}}}\n");
                assert_eq!(self.socket.write(PING)?, PING.len(), "a buffer has room for a request");
                self.is_sent = true;
            }
            let mut bytes = [0; 200];
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(answers),
                Err(error) => return Err(error),
            }
            assert!(self.expected.as_bytes().starts_with(&self.received), "{self:?}");
            if self.received.len() == self.expected.len() {
                answers += 1;
                (self.received, self.is_sent) = (Vec::new(), false);
            }
        }
    }
}

impl std::fmt::Debug for Pinger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} instead of {}", String::from_utf8_lossy(&self.received), self.expected)
    }
}

/// Pings with all clients until `wanted` pings are answered.
fn ping_all(pingers: &mut [Pinger], poll: &mut Poll, address: SocketAddr, wanted: usize) {
    let mut events = Events::with_capacity(1024);
    let (mut answers, end) = (0, Instant::now() + DEADLINE);
    while answers < wanted {
        assert!(Instant::now() < end, "{answers} of {wanted} pings are answered");
        match poll.poll(&mut events, Some(DEADLINE)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled.expect("epoll works"),
        }
        for event in &events {
            let pinger = &mut pingers[event.token().0];
            match pinger.run() {
                Ok(count) => answers += count,
                Err(error) => {
                    assert_ne!(error.kind(), io::ErrorKind::ConnectionRefused);
                    assert!(pinger.received.is_empty(), "half an answer: {pinger:?}");
                    *pinger = Pinger::connect(address, poll, event.token());
                }
            }
        }
    }
}

#[test]
fn a_thousand_clients_outlast_a_hundred_restarts() {
    raise_descriptor_limit().expect("a process may have files open");
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let address = tcp_address(server.addresses());
    let running = server.start().expect("a running server");
    let mut poll = Poll::new().expect("epoll");
    let mut pingers: Vec<Pinger> =
        (0..CLIENTS).map(|index| Pinger::connect(address, &poll, Token(index))).collect();
    for _ in 0..RESTARTS {
        thread::scope(|scope| {
            let restart = scope.spawn(|| running.restart(Duration::from_secs(1)));
            ping_all(&mut pingers, &mut poll, address, PINGS);
            restart.join().expect("no panic").expect("it restarts");
        });
    }
    running.stop(GRACE).expect("no error");
}

fn counter(running: &Running, name: &str) -> u64 {
    let statistics = running.statistics().expect("it answers");
    statistics.counters.iter().find(|(known, _)| known == name).expect("a counter").1
}

#[test]
fn a_restart_keeps_the_vms_and_the_settings_and_begins_anew_otherwise() {
    let directory = TempDir::new();
    let settings = config(&directory);
    let server = Server::bind(settings.clone()).expect("a server");
    let addresses = server.addresses().to_vec();
    let begun = Instant::now();
    let running = server.start().expect("a running server");
    let mut before = client(&addresses);
    before.register("a", &[1]);
    let mut closed = settings.clone();
    closed.registration = Some(false);
    assert!(running.reload(closed));
    let wait = Duration::from_millis(20);
    wait_until("time passes", DEADLINE, || running.statistics().is_ok_and(|now| now.uptime > wait));

    let restarted = Instant::now();
    running.restart(GRACE).expect("it restarts");
    before.expect_closed();
    let statistics = running.statistics().expect("it answers");
    assert!(statistics.is_running && statistics.uptime <= restarted.elapsed());
    assert!(restarted - begun > wait);
    assert_eq!(counter(&running, "requests_register"), 0);
    let mut after = client(&addresses);
    after.authenticate("a");
    assert_eq!(after.list("all_vms").len(), 1);
    let message = after.fail(crate::common::registration("b", &[1]));
    assert_eq!(message, "Registration is closed");
    let mut operator = Client::connect_unix(&directory.path().join(vmherd::SOCKET_NAME));
    assert_eq!(operator.succeed("stats", json!({}))["requests_authenticate"], 1);
    running.stop(GRACE).expect("no error");
    assert!(!directory.path().join(vmherd::SOCKET_NAME).exists());
}

#[test]
fn requests_in_flight_are_answered_before_a_restart() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let mut client = client(server.addresses());
    let running = server.start().expect("a running server");
    client.send(&crate::common::registration("a", &[1]).to_string());
    wait_until("it is in flight", DEADLINE, || counter(&running, "requests_register") > 0);
    running.restart(GRACE).expect("it restarts");
    assert_eq!(client.reply()["data"], json!({"auth_id": "a"}));
    client.expect_closed();
}

#[test]
fn a_stop_during_a_restart_wins() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let (mut reader, address) = (client(server.addresses()), tcp_address(server.addresses()));
    let running = server.start().expect("a running server");
    reader.register("a", &[1; 1024]);
    reader.authenticate("a");
    // Answers that are never read hold the restart up.
    reader.send(&request("list", json!({"list_type": "all_disks"})).to_string().repeat(400));
    assert!(reader.has_input(DEADLINE));
    thread::scope(|scope| {
        let restart = scope.spawn(|| running.restart(Duration::from_secs(3600)));
        // It has no longer any other connection then, and takes no new one.
        let mut waiting = Client::connect(address);
        wait_until("the restart has begun", DEADLINE, || {
            let before = counter(&running, "connections_accepted");
            waiting = Client::connect(address);
            !waiting.has_input(Duration::from_millis(20))
                && counter(&running, "connections_accepted") == before
        });
        running.stop_handle().stop(Duration::ZERO);
        restart.join().expect("no panic").expect_err("it stops");
    });
    wait_until("it has ended", DEADLINE, || !running.statistics().expect("the last ones").is_running);
    running.restart(GRACE).expect_err("it has ended");
    running.join().expect("no error");
    assert!(Client::try_connect(address).is_none(), "the listener is closed");
}

#[test]
fn a_loop_of_the_host_restarts_with_the_same_descriptor() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let (addresses, stop) = (server.addresses().to_vec(), server.stop_handle());
    let mut server = server.into_loop();
    for number in 0..3 {
        let mut client = client(&addresses);
        client.send(&String::from_utf8_lossy(PING));
        while !client.has_input(Duration::ZERO) {
            assert_eq!(server.turn(Some(DEADLINE)).expect("no error"), LoopState::Running);
        }
        assert_eq!(client.reply()["message"], "PONG", "after {number} restarts");
        server.restart(GRACE);
        while !client.has_input(Duration::ZERO) {
            assert_eq!(server.turn(Some(DEADLINE)).expect("no error"), LoopState::Running);
        }
        client.expect_closed();
    }
    stop.stop(GRACE);
    while server.turn(None).expect("no error") == LoopState::Running {}
}

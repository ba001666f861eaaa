//! A server as part of a loop of the host program.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use vmherd::{LoopState, Server};

use crate::common::{Client, DEADLINE, TempDir};
use crate::{GRACE, client, config, tcp_address};

const SERVER: Token = Token(0);
const OWN: Token = Token(1);

/// The host answers each client of its own listener with one byte. It turns the server only when the descriptor is
/// readable, or when the server's time is up, and never lets it wait.
#[test]
fn a_host_serves_its_own_socket_and_the_server_from_one_loop() {
    let directory = TempDir::new();
    let server = Server::bind(config(&directory)).expect("a server");
    let (address, stop) = (tcp_address(server.addresses()), server.stop_handle());
    let mut own = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let own_address = own.local_addr().expect("it is bound");
    let clients = thread::spawn(move || {
        let mut client = Client::connect(address);
        for number in 0..20 {
            let name = format!("vm-{number}");
            client.register(&name, &[1]);
            client.authenticate(&name);
            let mut own_client = TcpStream::connect(own_address).expect("the host accepts");
            own_client.set_read_timeout(Some(DEADLINE)).expect("a socket option");
            own_client.read_exact(&mut [0]).expect("the host answers");
        }
        let count = client.list("all_vms").len();
        stop.stop(GRACE);
        client.expect_closed();
        count
    });

    let mut poll = Poll::new().expect("epoll");
    let mut server = server.into_loop();
    let descriptor = server.as_fd().as_raw_fd();
    let registry = poll.registry();
    registry.register(&mut SourceFd(&descriptor), SERVER, Interest::READABLE).expect("epoll takes it");
    registry.register(&mut own, OWN, Interest::READABLE).expect("epoll takes it");
    let mut events = Events::with_capacity(16);
    loop {
        let wait = server.wait_time();
        let has_timeout = wait.is_some_and(|wait| wait < DEADLINE);
        poll.poll(&mut events, Some(wait.unwrap_or(DEADLINE).min(DEADLINE))).expect("epoll works");
        assert!(has_timeout || !events.is_empty(), "the loop hangs");
        for _ in events.iter().filter(|event| event.token() == OWN) {
            while let Ok((mut client, _)) = own.accept() {
                client.write_all(b"!").expect("the client is there");
            }
        }
        let is_due = events.is_empty() || server.wait_time() == Some(Duration::ZERO);
        if (is_due || events.iter().any(|event| event.token() == SERVER))
            && server.turn(Some(Duration::ZERO)).expect("no error") == LoopState::Ended
        {
            break;
        }
    }
    assert_eq!(clients.join().expect("no panic"), 20);
    assert_eq!(server.turn(None).expect("no error"), LoopState::Ended, "it stays ended");
}

#[test]
fn a_dropped_loop_has_ended_its_server() {
    let directory = TempDir::new();
    for _ in 0..3 {
        let server = Server::bind(config(&directory)).expect("the state directory is free");
        let mut client = client(server.addresses());
        let mut server = server.into_loop();
        client.send(r#"{"command":"ping","data":{}}"#);
        while !client.has_input(Duration::ZERO) {
            assert_eq!(server.turn(Some(DEADLINE)).expect("no error"), LoopState::Running);
        }
        drop(server);
        assert_eq!(client.reply()["message"], "PONG");
        client.expect_closed();
    }
}

#[test]
fn a_turn_waits_as_long_as_it_may() {
    let directory = TempDir::new();
    let mut server = Server::bind(config(&directory)).expect("a server").into_loop();
    // The first turns find that no connection waits.
    while server.wait_time() == Some(Duration::ZERO) {
        assert_eq!(server.turn(Some(DEADLINE)).expect("no error"), LoopState::Running);
    }
    let wait = Duration::from_millis(50);
    let begun = std::time::Instant::now();
    assert_eq!(server.turn(Some(wait)).expect("no error"), LoopState::Running);
    assert!((wait..DEADLINE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

//! Clients that take their time: those that send a byte a second, and those that never read.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::common::{DEADLINE, Daemon, PASSWORD, request, wait_until};
use crate::overload::{Baseline, LatencyProbe, alone, best_of_three, cores, statistic};
use crate::swarm::{Swarm, connections_that_fit};

/// How long a request may take, by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing may be taken of what is due, by default.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How much later a client may find itself closed.
const LATE_MAX: Duration = Duration::from_secs(20);

#[test]
fn ten_thousand_clients_that_send_a_byte_a_second_are_closed_in_time() {
    const TICKS_A_SECOND: usize = 100;
    let _alone = alone();
    let count = connections_that_fit(10_000);
    best_of_three("10 000 connections, a byte a second", || {
        let daemon = Daemon::start();
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let mut operator = daemon.operator();
        let letters = request("ping", json!({})).to_string().into_bytes();

        let (mut swarm, mut first_bytes) = (Swarm::new(), Vec::new());
        let begin = Instant::now();
        for tick in 0.. {
            let (second, place) = (tick / TICKS_A_SECOND, tick % TICKS_A_SECOND);
            for index in count * place / TICKS_A_SECOND..count * (place + 1) / TICKS_A_SECOND {
                if second == 0 {
                    first_bytes.push(Instant::now());
                    swarm.connect(daemon.address(), &letters[..1]);
                } else if swarm.members[index].is_open() {
                    swarm.send(index, &letters[second..=second]);
                }
            }
            let next_tick = begin + Duration::from_secs(1) * (tick as u32 + 1) / TICKS_A_SECOND as u32;
            swarm.run_for(next_tick.saturating_duration_since(Instant::now()));
            if tick == 5 * TICKS_A_SECOND {
                assert!(statistic(&mut operator, "connections_open") >= count as u64, "not all are taken");
            }
            if second > 0 && swarm.open == 0 {
                break;
            }
            assert!(begin.elapsed() < REQUEST_TIMEOUT + 5 * LATE_MAX, "{} are still open", swarm.open);
        }

        let mut times = Vec::new();
        for (member, first_byte) in swarm.members.iter().zip(&first_bytes) {
            let lines: Vec<&str> = member.lines().collect();
            assert!(matches!(lines[..], [error] if error.contains("timeout")), "{lines:?}");
            let (ended, how) = member.ended.as_ref().expect("it is ended");
            assert!(how.is_ok(), "the error was followed by {how:?}");
            times.push(ended.duration_since(*first_byte));
        }
        let (first, last) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
        eprintln!("  closed {first:.2?} to {last:.2?} after the first byte");
        assert!(*first >= REQUEST_TIMEOUT, "closed after {first:?}");
        assert!(*last <= REQUEST_TIMEOUT + LATE_MAX, "closed after {last:?}");
        let timed_out = statistic(&mut operator, "connections_timed_out");
        assert_eq!(timed_out, count as u64);

        drop(operator);
        let grown_kib = baseline.peak_growth_kib(&daemon);
        assert!(grown_kib < 2 * count as u64, "{grown_kib} KiB for {count} connections");
        // Places in the tables are kept for the next ten thousand.
        baseline.expect_back(&daemon, count as u64);
        probe.finish()
    });
}

#[test]
fn clients_that_never_read_are_paused_and_then_closed() {
    const CLIENTS: usize = 16;
    let _alone = alone();
    best_of_three("clients that ask for lists and never read", || {
        let daemon = Daemon::builder().args(["--write-timeout", "1s"]).start();
        let lister = register_lister(&daemon);
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let mut kept_kib = Vec::new();
        for round in 1..=2 {
            let mut operator = daemon.operator();
            let threads: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let (address, lister) = (daemon.address(), lister.clone());
                    thread::spawn(move || Deaf::connect(address, &lister))
                })
                .collect();
            let deaf: Vec<Deaf> = threads.into_iter().map(|thread| thread.join().expect("it asks")).collect();
            for client in &deaf {
                assert!(client.sent < PIPE_BYTES_MAX, "{} bytes of requests were taken", client.sent);
            }
            // Each has to be sent what fits in the sockets' buffers first: megabytes.
            wait_until("all of them are closed", 3 * DEADLINE, || {
                statistic(&mut operator, "connections_stalled") == (round * CLIENTS) as u64
            });
            let grown_kib = baseline.peak_growth_kib(&daemon);
            eprintln!("  {} KiB for each client", grown_kib / CLIENTS as u64);
            let most_kib = CLIENTS as u64 * CLIENT_KIB_MAX + store_caches_kib_max();
            assert!(grown_kib < most_kib, "{grown_kib} KiB for {CLIENTS} clients");
            deaf.into_iter().for_each(Deaf::expect_broken_off);
            drop(operator);
            baseline.expect_back(&daemon, kept_kib_max());
            kept_kib.push(baseline.growth_kib(&daemon));
        }
        assert!(kept_kib[1] <= kept_kib[0] + 1024, "each round leaves something: {kept_kib:?} KiB");
        probe.finish()
    });
}

#[test]
fn a_client_that_never_reads_gets_ten_seconds_and_a_slow_reader_gets_more() {
    let _alone = alone();
    best_of_three("a client that never reads, default timeout", || {
        let daemon = Daemon::start();
        let lister = register_lister(&daemon);
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let mut operator = daemon.operator();
        let mut slow = Deaf::connect(daemon.address(), &lister);
        let before_asking = Instant::now();
        let deaf = Deaf::connect(daemon.address(), &lister);
        let after_asking = Instant::now();
        wait_until("it is closed", WRITE_TIMEOUT + 2 * LATE_MAX, || {
            slow.read_some();
            thread::park_timeout(Duration::from_millis(100));
            statistic(&mut operator, "connections_stalled") > 0
        });
        // It stopped to take anything somewhere between the two.
        let (longest, shortest) = (before_asking.elapsed(), after_asking.elapsed());
        eprintln!("  closed {shortest:.2?} to {longest:.2?} after it had stopped to read");
        assert!(longest >= WRITE_TIMEOUT && shortest <= WRITE_TIMEOUT + LATE_MAX, "{shortest:?} {longest:?}");
        // Longer than the timeout after its beginning, the other one still gets what it asked for.
        let read = slow.read;
        wait_until("there is more for the one that reads", DEADLINE, || {
            slow.read_some();
            slow.read > read + (1 << 20)
        });
        assert_eq!(statistic(&mut operator, "connections_stalled"), 1);
        deaf.expect_broken_off();
        drop((slow, operator));
        baseline.expect_back(&daemon, kept_kib_max());
        probe.finish()
    });
}

/// Memory that a client may cost that asks and never reads: a full output with a page on top, a page that
/// is being made, and the requests that have been read.
const CLIENT_KIB_MAX: u64 = 256;
/// What may stay: the store's caches, tables that have grown with the number of connections, and what
/// allocators keep.
fn kept_kib_max() -> u64 {
    store_caches_kib_max() + (4 << 10)
}

/// The store's caches: up to a MiB for each of its connections, one a core to read and one to write.
fn store_caches_kib_max() -> u64 {
    1024 * (cores() as u64 + 1)
}
/// Requests that are taken before a client that never reads is left alone: what sockets' buffers hold.
const PIPE_BYTES_MAX: usize = 16 << 20;

/// Makes a list of disks long; a request of authentication as the VM that may ask for it.
fn register_lister(daemon: &Daemon) -> String {
    let mut client = daemon.client();
    client.register("lister", &[1; 1024]);
    for index in 0..8 {
        client.register(&format!("other-{index}"), &[1; 1024]);
    }
    request("authenticate", json!({"vm_id": "lister", "password": PASSWORD})).to_string()
}

/// A client that asks for lists until nothing more is taken.
struct Deaf {
    stream: TcpStream,
    sent: usize,
    read: usize,
}

impl Deaf {
    fn connect(address: SocketAddr, authenticate: &str) -> Deaf {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("a socket option");
        socket.connect(&address.into()).expect("the daemon accepts");
        let mut deaf = Deaf { stream: socket.into(), sent: 0, read: 0 };
        deaf.stream.write_all(authenticate.as_bytes()).expect("it is taken");
        deaf.stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            deaf.stream.read_exact(&mut byte).expect("a reply");
            line.extend(byte);
        }
        let reply: Value = serde_json::from_slice(&line).expect("a reply is JSON");
        assert_eq!(reply["status"], "success", "{reply}");
        deaf.ask();
        deaf
    }

    /// Asks for a list until nothing has been taken for a third of a second, or the daemon has closed the connection:
    /// on a slow machine its time is over before that.
    fn ask(&mut self) {
        let requests = request("list", json!({"list_type": "all_disks"})).to_string().repeat(100);
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket option");
        while self.sent < PIPE_BYTES_MAX {
            match self.stream.write(&requests.as_bytes()[self.sent % requests.len()..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return;
                }
                Err(error) => panic!("after {} bytes: {error}", self.sent),
            }
        }
    }

    /// Takes a little of what is there.
    fn read_some(&mut self) {
        let mut chunk = vec![0; 256 << 10];
        self.read += self.stream.read(&mut chunk).expect("there is always more");
    }

    /// What is left to read is not whole.
    fn expect_broken_off(mut self) {
        let mut rest = Vec::new();
        let ended = self.stream.read_to_end(&mut rest);
        assert!(ended.is_err() || rest.last() != Some(&b'\n'), "a list that was not sent looks whole");
    }
}

//! Metrics text from hostile and slow clients: keys without an end, lines without an end, and replies that the client
//! does not read.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::common::{Client, DEADLINE, Daemon, request, wait_until};
use crate::endless::flood;
use crate::overload::{
    Baseline, LatencyProbe, MemoryBounds, alone, attack_in_bounds, best_of_three, cores, statistic,
};

/// The key limit.
const KEYS_MAX: usize = 100_000;
/// The reply to a point with one key too many.
const FULL: &str = "error\nkey limit reached\n\n";
/// How much the daemon may grow for lines without an end: it keeps one of 4 KiB, and reads 64 KiB at a time.
const LINES: MemoryBounds = MemoryBounds { peak_kib: 1 << 10, kept_kib: 1 << 10 };
/// How much it may grow for a client that does not read: a full output with a page on top, and a page that is being
/// made.
const CLIENT_KIB_MAX: u64 = 1 << 10;
/// Memory that may be kept: the store's caches, a MiB for each of its connections, and the allocators' share.
fn kept_kib_max() -> u64 {
    1024 * (cores() as u64 + 1) + (4 << 10)
}

#[test]
fn a_store_at_its_key_limit_still_takes_points_of_known_keys() {
    const KEYS: usize = 1_000_000;
    /// Keys, their index and a point each; a table that grows is there twice for a moment.
    const MEMORY_KIB_MAX: u64 = 64 << 10;
    /// The store's caches, and the batches in flight.
    const SQLITE_KIB_MAX: u64 = 32 << 10;
    let _alone = alone();
    for (store, keys, kib_max) in
        [(&[][..], KEYS, SQLITE_KIB_MAX), (&["--store", "memory:"], KEYS / 4, MEMORY_KIB_MAX)]
    {
        let daemon = Daemon::builder().args(store).start();
        daemon.client().call_text("put first 1 1");
        let (before, begin) = (daemon.memory_kib(), Instant::now());
        let (mut kept, mut refused) = (1, 0);
        for round in keys_in_rounds(keys) {
            let counts = thread::scope(|scope| {
                let puts: Vec<_> = round
                    .into_iter()
                    .map(|range| scope.spawn(|| put_keys(daemon.address(), range)))
                    .collect();
                puts.into_iter().map(|put| put.join().expect("it puts")).collect::<Vec<_>>()
            });
            for (kept_here, refused_here) in counts {
                kept += kept_here;
                refused += refused_here;
            }
            // As many as may be, and not before.
            assert!(refused == 0 || kept == KEYS_MAX, "{kept} kept, {refused} refused");
        }
        let grown_kib = daemon.memory_kib().saturating_sub(before);
        eprintln!("{store:?}: {keys} keys in {:.1?}, up by {grown_kib} KiB", begin.elapsed());
        assert_eq!((kept, refused), (KEYS_MAX, keys + 1 - KEYS_MAX));
        assert!(grown_kib < kib_max, "the daemon grew by {grown_kib} KiB");
        expect_full(&daemon);
        let mut operator = daemon.operator();
        assert_eq!(statistic(&mut operator, "points_put"), KEYS_MAX as u64 + 2);
        assert_eq!(statistic(&mut operator, "points_refused"), refused as u64 + 5);
    }
}

#[test]
fn lines_without_an_end_are_cut_off() {
    let _alone = alone();
    attack_in_bounds("1 GiB of text without an end", LINES, Daemon::builder, |daemon| {
        for (what, start, more) in [
            ("a word", "put ", "xxxxxxxxxxxxxxx"),
            ("a number", "put k ", "1234567890"),
            ("blanks in a line", "put", " \t"),
            ("carriage returns", "get k", "\r"),
            ("characters of four bytes", "get ", "\u{1f411}"),
        ] {
            let flood = flood(daemon.address(), start, more);
            assert_eq!(flood.received, b"error\nline too long\n\n", "{what}");
            assert!(flood.sent < 100 << 20, "{what}: {} bytes were taken", flood.sent);
        }
    });
}

#[test]
fn blank_lines_cost_nothing() {
    let _alone = alone();
    attack_in_bounds("64 MiB of blank lines", LINES, Daemon::builder, |daemon| {
        let mut client = daemon.client();
        assert_eq!(client.call_text("get nothing"), "ok\n\n");
        let blank = "\n \r\n\t\n".repeat(10 << 10);
        for _ in 0..(64 << 20) / blank.len() {
            client.send(&blank);
        }
        assert_eq!(client.call_text("get nothing"), "ok\n\n");
    });
}

#[test]
fn a_client_that_puts_and_never_reads_is_paused_and_then_closed() {
    let _alone = alone();
    // The replies to puts are short: those to others fill the sockets' buffers sooner.
    let puts = "put k 1 1\n".repeat(2000) + &"nonsense\n".repeat(2000);
    for (what, line) in [("puts", &*puts), ("gets", "get rack-7.host-0.processors.load\n")] {
        best_of_three(&format!("{what} without an end, and no reader"), || {
            let daemon = Daemon::builder().args(["--write-timeout", "1s"]).start();
            fill(&daemon, 1, 1000);
            let probe = LatencyProbe::start(&daemon);
            let baseline = Baseline::of(&daemon);
            let mut operator = daemon.operator();
            let mut deaf = Reader::connect(daemon.address());
            let sent = deaf.send_until_closed(line);
            eprintln!("  {} KiB were taken", sent >> 10);
            assert_eq!(statistic(&mut operator, "connections_stalled"), 1);
            let grown_kib = baseline.peak_growth_kib(&daemon);
            assert!(grown_kib < CLIENT_KIB_MAX + kept_kib_max(), "the daemon grew by {grown_kib} KiB");
            drop((deaf, operator));
            baseline.expect_back(&daemon, kept_kib_max());
            probe.finish()
        });
    }
}

/// Two clients ask for all points and stop reading. The one that reads a little from time to time gets all of them in
/// the end, in order; the other one is cut off.
#[test]
fn stalled_readers_cost_little_and_get_the_write_timeout() {
    const KEYS: usize = 30;
    const SECONDS: usize = 10_000;
    /// Far less than the megabytes that the system would take of the daemon for a client that does not read.
    const SIP: usize = 8 << 10;
    let _alone = alone();
    let daemon = Daemon::builder().args(["--write-timeout", "2s"]).start();
    let expected = fill(&daemon, KEYS, SECONDS);
    best_of_three("300 000 points that two stop to read", || {
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let mut operator = daemon.operator();
        let stalled = statistic(&mut operator, "connections_stalled");
        let (mut slow, mut deaf) = (Reader::connect(daemon.address()), Reader::connect(daemon.address()));
        for reader in [&mut slow, &mut deaf] {
            reader.stream.write_all(b"get *\n").expect("it is taken");
            reader.read_some(100 << 10);
        }
        let since = Instant::now();
        wait_until("the one that reads nothing is closed", DEADLINE, || {
            slow.read_some(SIP);
            thread::park_timeout(Duration::from_millis(100));
            statistic(&mut operator, "connections_stalled") > stalled
        });
        assert!(since.elapsed() >= Duration::from_millis(1900), "it was closed after {:?}", since.elapsed());
        assert!(slow.received.len() < expected.len() / 2, "the other one has most of it before it");
        let grown_kib = baseline.peak_growth_kib(&daemon);
        assert!(grown_kib < 2 * CLIENT_KIB_MAX + kept_kib_max(), "the daemon grew by {grown_kib} KiB");
        slow.stream.write_all(b"get nothing\n").expect("it is taken");
        let length = expected.len() + "ok\n\n".len();
        slow.read_to(length);
        let (points, nothing) = slow.received.split_at(expected.len());
        assert!(points == expected.as_bytes(), "every point, in order");
        assert_eq!(nothing, b"ok\n\n");
        // Nothing that is cut off looks whole.
        deaf.read_to_end();
        assert!(deaf.received.len() < expected.len() && expected.as_bytes().starts_with(&deaf.received));
        assert!(!deaf.received.ends_with(b"\n\n"));
        assert_eq!(statistic(&mut operator, "connections_stalled"), stalled + 1);
        drop((slow, deaf, operator));
        baseline.expect_back(&daemon, kept_kib_max());
        probe.finish()
    });
}

/// Rounds of four ranges of keys each, for a connection each; the first ends a little short of the limit.
fn keys_in_rounds(keys: usize) -> Vec<Vec<std::ops::Range<usize>>> {
    let bounds = [0, KEYS_MAX - 1000, KEYS_MAX + 50_000, keys];
    let round = |bounds: &[usize]| {
        let quarter = |part: usize| bounds[0] + (bounds[1] - bounds[0]) * part / 4;
        (0..4).map(|part| quarter(part)..quarter(part + 1)).collect()
    };
    bounds.windows(2).map(round).collect()
}

/// Puts a point for each key; how many were kept and how many refused.
#[track_caller]
fn put_keys(address: SocketAddr, keys: std::ops::Range<usize>) -> (usize, usize) {
    let (mut kept, mut refused) = (0, 0);
    let keys: Vec<usize> = keys.collect();
    let mut client = Client::connect(address);
    for keys in keys.chunks(10_000) {
        let mut lines = String::new();
        for key in keys {
            writeln!(lines, "put host-{key}.cpu 0.5 1501864247").expect("a String takes everything");
        }
        client.send(&lines);
        for _ in keys {
            match &*client.text_reply() {
                "ok\n\n" => kept += 1,
                FULL => refused += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    (kept, refused)
}

/// New keys are refused in each way of putting them, and those that are there go on.
#[track_caller]
fn expect_full(daemon: &Daemon) {
    let mut client = daemon.client();
    client.send("put first 2 2\nput new 1 1\nput first 3 3\nput new 2 2\nget first\nget new\n");
    let points = "ok\nfirst 1.0 1\nfirst 2.0 2\nfirst 3.0 3\n\n";
    for expected in ["ok\n\n", FULL, "ok\n\n", FULL, points, "ok\n\n"] {
        assert_eq!(client.text_reply(), expected);
    }
    let mut client = daemon.client();
    let point = |key: &str| json!({"key": key, "value": 4, "timestamp": 4});
    let message = client.fail(request("put", point("new")));
    assert_eq!(message, "key limit reached");
    let message = client.fail(request("put", json!({"points": [point("first"), point("new")]})));
    assert!(message.contains("key limit reached") && message.contains("points[1]"), "{message}");
    let found = client.succeed("get", json!({"key": "first", "from": 4}));
    assert_eq!(found, json!({}), "all or nothing");
}

/// Puts so many points for each of so many keys; the reply to `get *`.
#[track_caller]
fn fill(daemon: &Daemon, keys: usize, seconds: usize) -> String {
    let (mut client, mut expected) = (daemon.client(), "ok\n".to_owned());
    for key in 0..keys {
        let key = format!("rack-7.host-{key}.processors.load");
        let mut lines = String::new();
        for second in 0..seconds {
            writeln!(lines, "put {key} {second}.25 {second}").expect("a String takes everything");
            writeln!(expected, "{key} {second}.25 {second}").expect("a String takes everything");
        }
        client.send(&lines);
        (0..seconds).for_each(|_| assert_eq!(client.text_reply(), "ok\n\n"));
    }
    expected + "\n"
}

/// A client with little room for what it has not read.
struct Reader {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Reader {
    fn connect(address: SocketAddr) -> Reader {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("a socket option");
        socket.connect(&address.into()).expect("the daemon accepts");
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        Reader { stream, received: Vec::new() }
    }

    /// Sends until it is closed, and reads nothing; how much was taken.
    fn send_until_closed(&mut self, line: &str) -> usize {
        const SENT_MAX: usize = 256 << 20;
        let lines = line.repeat((64 << 10) / line.len());
        self.stream.set_write_timeout(Some(DEADLINE)).expect("a socket option");
        let mut sent = 0;
        while sent < SENT_MAX {
            match self.stream.write(&lines.as_bytes()[sent % lines.len()..]) {
                Ok(count) => sent += count,
                Err(error) => {
                    let kind = error.kind();
                    let is_closed = matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
                    assert!(is_closed, "after {sent} bytes: {error}");
                    return sent;
                }
            }
        }
        panic!("{sent} bytes were taken from a client that does not read");
    }

    /// Takes so much at least.
    fn read_some(&mut self, length: usize) {
        self.read_to(self.received.len() + length);
    }

    /// Takes all up to so much at least.
    fn read_to(&mut self, length: usize) {
        let mut chunk = [0; 16 << 10];
        while self.received.len() < length {
            let count = self.stream.read(&mut chunk).expect("there is more");
            assert_ne!(count, 0, "closed after {} bytes", self.received.len());
            self.received.extend_from_slice(&chunk[..count]);
        }
    }

    /// Takes what there is, whatever its end.
    fn read_to_end(&mut self) {
        let _ = self.stream.read_to_end(&mut self.received);
    }
}

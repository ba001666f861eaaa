//! Clients of WebSocket that never stop, never read, or never close.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::common::{DEADLINE, Daemon, wait_until};
use crate::overload::{
    Baseline, LatencyProbe, MemoryBounds, alone, attack_in_bounds, best_of_three, statistic,
};
use crate::web::{CLOSE, HANDSHAKE, PING, PONG, TEXT, Web, frame, frame_head, is_reset, message};

/// How long input is discarded after the close frame.
const LINGER: Duration = Duration::from_secs(2);
/// How late a client notices, at most.
const LATE_MAX: Duration = Duration::from_secs(20);

#[test]
fn a_flood_of_pings_from_a_client_that_reads_is_answered_in_order() {
    const COUNT: u32 = 200_000;
    let _alone = alone();
    let bounds = MemoryBounds { peak_kib: 1 << 10, kept_kib: 1 << 10 };
    attack_in_bounds("200 000 pings", bounds, Daemon::builder, |daemon| {
        let mut web = Web::websocket(daemon.address());
        let begin = Instant::now();
        let sender = thread::spawn({
            let mut socket = web.socket().try_clone().expect("a socket can be shared");
            move || {
                for thousand in 0..COUNT / 1000 {
                    let pings =
                        (0..1000).map(|one| frame(PING, true, &(1000 * thousand + one).to_be_bytes()));
                    let pings: Vec<u8> = pings.flatten().collect();
                    socket.write_all(&pings).expect("it is taken");
                }
                // Control frames do not count as requests.
                socket.write_all(&message("{\"command\":\"ping\"}")).expect("it is taken");
            }
        });
        for number in 0..COUNT {
            let frame = web.frame();
            assert_eq!((frame.opcode, frame.payload), (PONG, number.to_be_bytes().to_vec()));
        }
        assert!(web.message().contains("PONG"));
        eprintln!("  {:.0} pings a second", f64::from(COUNT) / begin.elapsed().as_secs_f64());
        sender.join().expect("all is sent");
        web.send(frame(CLOSE, true, &1000u16.to_be_bytes()));
        web.expect_close(1000);
    });
}

/// Bytes that a client that never reads can send, at most: the capacity of the sockets' buffers.
const PIPE_BYTES_MAX: usize = 32 << 20;
/// Its memory, at most: a full output, the last input, and the system's own.
const CLIENT_KIB_MAX: u64 = 256;

#[test]
fn clients_that_never_read_stall_and_are_then_closed() {
    const OF_EACH: usize = 2;
    let _alone = alone();
    best_of_three("clients of WebSocket that never read", || {
        let daemon = Daemon::builder().args(["--write-timeout", "1s"]).start();
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let mut operator = daemon.operator();
        let floods = [
            frame(PING, true, &[b'x'; 125]),
            message("{\"command\":\"ping\"}"),
            message("{\"request_id\":1,\"command\":\"ping\"}"),
            message("nonsense"),
            [frame(TEXT, false, b"{\"command\":"), frame(PING, true, b"x"), frame(0, true, b"\"ping\"}")]
                .concat(),
        ];
        let threads: Vec<_> = (0..OF_EACH * floods.len())
            .map(|index| {
                let (address, flood) = (daemon.address(), floods[index / OF_EACH].clone());
                thread::spawn(move || Deaf::connect(address, &flood))
            })
            .collect();
        let deaf: Vec<Deaf> = threads.into_iter().map(|thread| thread.join().expect("it sends")).collect();
        let count = deaf.len() as u64;
        for client in &deaf {
            assert!(client.sent < PIPE_BYTES_MAX, "{} bytes were taken", client.sent);
        }
        wait_until("all of them are closed", 3 * DEADLINE, || {
            statistic(&mut operator, "connections_stalled") == count
        });
        let grown_kib = baseline.peak_growth_kib(&daemon);
        eprintln!("  {} KiB for each client", grown_kib / count);
        assert!(grown_kib < count * CLIENT_KIB_MAX, "{grown_kib} KiB for {count} clients");
        drop((deaf, operator));
        baseline.expect_back(&daemon, 2 << 10);
        probe.finish()
    });
}

/// A client that sends the same until it is closed, and reads the handshake only.
struct Deaf {
    _socket: Socket,
    sent: usize,
}

impl Deaf {
    fn connect(address: SocketAddr, flood: &[u8]) -> Deaf {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("a socket option");
        socket.connect(&address.into()).expect("the daemon accepts");
        let mut web = Web::over(socket);
        web.send(HANDSHAKE);
        web.expect_upgrade();
        let mut socket = web.socket().try_clone().expect("a socket can be shared");
        let flood = flood.repeat((64 << 10) / flood.len());
        let mut sent = 0;
        while sent < PIPE_BYTES_MAX {
            match socket.write(&flood[sent % flood.len()..]) {
                Ok(count) => sent += count,
                Err(error) if is_reset(&error) => break,
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
        Deaf { _socket: socket, sent }
    }
}

#[test]
fn an_invalid_length_is_refused_before_its_payload() {
    let daemon = Daemon::builder().listen("tcp://0.0.0.0:0").arg("--allow-plaintext").start();
    let [open, closed] = daemon.addresses()[..] else { panic!("two listeners") };
    for (address, bytes_max) in [(open, 1 << 20), (closed, 64 << 10)] {
        let lengths = [
            (bytes_max + 1, 1009),
            (1 << 31, 1009),
            (u64::from(u32::MAX), 1009),
            (1 << 32, 1009),
            (i64::MAX as u64, 1009),
            (1 << 63, 1002),
            (u64::MAX, 1002),
        ];
        for (length, code) in lengths {
            for is_final in [true, false] {
                let mut web = Web::websocket(address);
                web.send(frame_head(TEXT, is_final, length));
                web.expect_close(code);
            }
            // As the second part of a message.
            let mut web = Web::websocket(address);
            web.send([frame(TEXT, false, b"{"), frame_head(0, true, length.max(bytes_max))].concat());
            web.expect_close(code);
        }
        // A message of the maximum size is accepted, in one frame or in many.
        let (start, end) = ("{\"command\":\"ping\",\"data\":{}", "}");
        let text = format!("{start}{}{end}", " ".repeat(bytes_max as usize - start.len() - end.len()));
        let mut web = Web::websocket(address);
        web.send(message(&text));
        assert!(web.message().contains("PONG"));
        let parts: Vec<&[u8]> = text.as_bytes().chunks(1000).collect();
        for (index, part) in parts.iter().enumerate() {
            let opcode = if index == 0 { TEXT } else { 0 };
            web.send(frame(opcode, index + 1 == parts.len(), part));
        }
        assert!(web.message().contains("PONG"));
    }
    for length in [126, 127, 65_536, i64::MAX as u64] {
        let mut web = Web::websocket(open);
        web.send(frame_head(PING, true, length));
        web.expect_close(1002);
    }
}

#[test]
fn a_client_that_never_answers_a_close_is_closed() {
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    // Each breaks a rule, gets a close frame, and stays connected; one is silent, one goes on sending.
    let rules: [(&str, Vec<u8>, u16); 5] = [
        ("no mask", b"\x81\x02{}".to_vec(), 1002),
        ("binary", frame(2, true, b"{}"), 1003),
        ("no text", frame(TEXT, true, b"\xff"), 1007),
        ("a reserved opcode", frame(3, true, b""), 1002),
        ("a close", frame(CLOSE, true, &3000u16.to_be_bytes()), 3000),
    ];
    for (what, broken, code) in rules {
        let mut silent = Web::websocket(daemon.address());
        let mut talker = Web::websocket(daemon.address());
        let begin = Instant::now();
        for web in [&mut silent, &mut talker] {
            web.send(&broken);
            let reason = web.expect_close(code);
            // A client that closes gets no reason.
            assert_eq!(reason.is_empty(), code == 3000, "{what}: {reason:?}");
            assert!(code != 1003 || reason == "a message must be text, not binary", "{reason:?}");
        }
        let requests = statistic(&mut operator, "requests_ping");
        while talker.try_send(message("{\"command\":\"ping\"}")).is_ok() {
            assert!(begin.elapsed() < LINGER + LATE_MAX, "{what}: the talker is still there");
            thread::park_timeout(Duration::from_millis(5));
        }
        wait_until(what, LINGER + LATE_MAX, || statistic(&mut operator, "connections_open") == 1);
        assert!(begin.elapsed() >= LINGER / 2, "{what}: closed after {:?}", begin.elapsed());
        assert_eq!(statistic(&mut operator, "requests_ping"), requests, "{what}: nothing is run afterwards");
    }
}

#[test]
fn a_stopping_daemon_sends_close_and_does_not_wait() {
    let mut daemon = Daemon::start();
    let mut idle = Web::websocket(daemon.address());
    let mut busy = Web::websocket(daemon.address());
    busy.send(frame(TEXT, false, b"{\"command\":"));
    // It has been looked at.
    busy.send(frame(PING, true, b""));
    assert_eq!(busy.frame().opcode, PONG);
    daemon.signal("TERM");
    for web in [&mut idle, &mut busy] {
        let frame = web.frame();
        assert_eq!((frame.opcode, &frame.payload[..2]), (CLOSE, &1001u16.to_be_bytes()[..]));
        assert!(frame.payload[2..].starts_with(b"the server stops"), "{frame:?}");
    }
    let begin = Instant::now();
    assert!(daemon.wait().success());
    assert!(begin.elapsed() < LINGER + LATE_MAX, "it took {:?}", begin.elapsed());
}

#[test]
fn an_upgrade_leaves_no_http_state() {
    let daemon = Daemon::start();
    daemon.client().register("vm", &[1]);
    let mut client = daemon.client();
    let token = client.authenticate("vm");
    // A token over HTTP counts for its request only: that of the handshake is ignored.
    let mut web = Web::connect(daemon.address());
    web.send(
        HANDSHAKE
            .replace("Upgrade: websocket", &format!("Authorization: Bearer {token}\r\nUpgrade: websocket")),
    );
    web.expect_upgrade();
    web.send(message("{\"command\":\"list\",\"data\":{\"list_type\":\"all_vms\"}}"));
    let reply: Value = serde_json::from_str(&web.message()).expect("JSON");
    assert_eq!(reply["message"], json!("You have to authenticate to run this operation"));
    let request = json!({"command": "list", "data": {"list_type": "all_vms", "token": token}});
    web.send(message(&request.to_string()));
    let reply: Value = serde_json::from_str(&web.message()).expect("JSON");
    assert_eq!(reply["data"]["all_vms"][0]["vm_id"], "vm", "{reply}");
}

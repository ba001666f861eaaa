//! `--allow` and `--deny`: what a client of a refused address gets, and that others do not notice it.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::common::{Client, Connection, DEADLINE, Daemon, TempDir, run, wait_until};
use crate::reload::Reloadable;
use crate::support::vmherd;
#[cfg(feature = "http")]
use crate::web::{HANDSHAKE, Web, header, post};

/// A connection from the address of this host that the tests refuse.
#[track_caller]
fn refused_socket(daemon: &Daemon) -> Socket {
    refused_socket_to(daemon.address())
}

#[track_caller]
fn refused_socket_to(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let own: SocketAddr = "127.0.0.2:0".parse().expect("an address");
    socket.bind(&own.into()).expect("all of 127.0.0.0/8 is this host's");
    socket.set_tcp_nodelay(true).expect("a socket option");
    socket.connect_timeout(&address.into(), DEADLINE).expect("the daemon accepts");
    socket
}

fn refused(daemon: &Daemon) -> Connection {
    Connection::new(refused_socket(daemon))
}

#[cfg(feature = "http")]
fn refused_web(daemon: &Daemon) -> Web {
    Web::over(refused_socket(daemon))
}

/// Sends `bytes` from the refused address: the daemon closes without a reply.
#[track_caller]
fn expect_silence(daemon: &Daemon, bytes: &[u8]) {
    let mut connection = refused(daemon);
    // It may have been closed before.
    let _ = connection.send(bytes);
    let rest = connection.rest_before_any_end("a refused client");
    assert!(rest.is_empty(), "{}: {}", bytes.escape_ascii(), rest.escape_ascii());
}

#[cfg(feature = "http")]
#[track_caller]
fn expect_refusal(mut web: Web) {
    let reply = web.reply();
    assert_eq!((reply.status, reply.closes()), (200, true), "{reply:?}");
    assert_eq!(reply.body, "{\"success\":false,\"message\":\"Refused request\",\"data\":{}}\n");
    assert_eq!(header(&reply.head, "Content-Type"), Some("application/json"));
    web.expect_end();
}

fn counter(daemon: &Daemon, name: &str) -> u64 {
    daemon.operator().succeed("stats", json!({}))[name].as_u64().unwrap_or_else(|| panic!("no {name}"))
}

/// A request in each framing that is not HTTP.
const OTHER_FRAMINGS: [&[u8]; 6] = [
    b"{\"command\": \"ping\"}\n",
    b"{\"verb\": \"STAT\", \"parameters\": {}}\n",
    b"[]",
    b"put a 1 1\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.2\r\n",
];

#[test]
fn a_refused_address_gets_no_reply_and_others_do_not_notice_it() {
    let daemon = Daemon::builder().arg("--deny=127.0.0.2").start();
    let mut client = daemon.client();
    client.ping();
    for request in OTHER_FRAMINGS {
        expect_silence(&daemon, request);
    }
    client.ping();
    // Neither is an address in the lists, nor has a request been decoded.
    assert_eq!(client.call(json!({"verb": "STAT", "parameters": {}}))["success"], true);
    client.register("a", &[]);
    client.authenticate("a");
    let listed = client.list("active_vms");
    assert!(listed.iter().all(|entry| entry["addr"][0] != "127.0.0.2"), "{listed:?}");
    let count = OTHER_FRAMINGS.len() as u64;
    let counters = daemon.operator().succeed("stats", json!({}));
    let number = |name: &str| counters[name].as_u64().unwrap_or_else(|| panic!("no {name} in {counters}"));
    assert_eq!(number("addresses_refused"), count);
    // The client, and the operator.
    assert_eq!((number("connections_accepted"), number("requests_ping")), (2, 2), "{counters}");
    assert_eq!((number("requests_refused"), number("requests_put")), (0, 0), "{counters}");
    daemon.wait_for_log("refused 1 connections because of --allow or --deny, the last one from 127.0.0.2");
    assert_eq!(daemon.log().matches("because of --allow or --deny").count(), 1, "once a minute");
}

#[cfg(feature = "http")]
#[test]
fn a_refused_client_of_http_is_told_so() {
    let daemon = Daemon::builder().arg("--deny=127.0.0.2").start();
    let stat = "POST /stat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let other_host = "GET / HTTP/1.0\r\nHost: vms.example.org\r\nOrigin: https://evil.example\r\n\r\n";
    let missing = "POST /create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{\"verb\"";
    let ping = post(r#"{"command": "ping"}"#);
    for request in [stat, other_host, missing, HANDSHAKE, &ping] {
        let mut web = refused_web(&daemon);
        web.send(request);
        expect_refusal(web);
        // Byte by byte.
        let mut web = refused_web(&daemon);
        let head_bytes = request.find("\r\n\r\n").expect("a head") + 4;
        request.as_bytes()[..head_bytes].iter().for_each(|byte| web.send([*byte]));
        expect_refusal(web);
    }
    let mut web = refused_web(&daemon);
    web.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(web.reply_to_head().status, 200);
    web.expect_end();
    // Much more than a head may have.
    let mut web = refused_web(&daemon);
    web.send(format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(1 << 20)));
    expect_refusal(web);
    let mut web = Web::connect(daemon.address());
    web.send(stat);
    let reply: serde_json::Value = serde_json::from_str(&web.reply().body).expect("JSON");
    assert_eq!(reply["message"], "OK");
}

#[test]
fn input_that_comes_too_slowly_is_closed_without_a_reply() {
    let time = Duration::from_millis(300);
    let daemon = Daemon::builder().args(["--deny=127.0.0.2", "--request-timeout=300ms"]).start();
    let begin = Instant::now();
    for bytes in [&b""[..], b" ", b"SSHX", b"POST /stat HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut connection = refused(&daemon);
        let begin = Instant::now();
        connection.send(bytes).expect("it is open");
        // If HTTP is not built in, the last one is closed at once.
        let is_slow = cfg!(feature = "http") || !bytes.starts_with(b"POST");
        let rest = connection.rest_before_any_end("a slow client");
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
        assert!(!is_slow || begin.elapsed() >= time, "{}", bytes.escape_ascii());
    }
    assert!(begin.elapsed() < DEADLINE, "--first-request-timeout does not count");
    // No byte resets the time.
    let (mut connection, begin) = (refused(&daemon), Instant::now());
    let mut sent = 0;
    wait_until("it is closed", DEADLINE, || {
        sent += 1;
        let bytes = if sent == 1 { &b"GET /"[..] } else { b"x" };
        connection.socket().write_all(bytes).is_err()
            || connection.receive(Instant::now()).is_ok_and(|n| n == 0)
    });
    assert!(begin.elapsed() < DEADLINE / 2);
}

#[test]
fn refused_connections_take_no_place_of_others() {
    let daemon = Daemon::builder().args(["--deny=127.0.0.2", "--connections-max=2"]).start();
    let mut clients = [daemon.client(), daemon.client()];
    clients.iter_mut().for_each(Client::ping);
    // More than are read at a time.
    let silent: Vec<Connection> = (0..100).map(|_| refused(&daemon)).collect();
    daemon.wait_for_counter("addresses_refused", |count| count == 100);
    clients.iter_mut().for_each(Client::ping);
    assert_eq!((counter(&daemon, "connections_evicted"), counter(&daemon, "connections_refused")), (0, 0));
    // Those beyond are closed at once, the others in time.
    let is_closed = |mut connection: Connection| {
        connection.socket().set_nonblocking(true).expect("a socket option");
        let received = connection.receive(Instant::now());
        received.map_or_else(|error| crate::common::is_reset(&error), |count| count == 0)
    };
    let open = silent.into_iter().filter(|connection| {
        let copy = connection.socket().try_clone().expect("a copy");
        !is_closed(Connection::new(copy))
    });
    assert_eq!(open.count(), 32);
    clients.iter_mut().for_each(Client::ping);
    wait_until("their places are free", DEADLINE, || {
        let mut connection = refused(&daemon);
        let _ = connection.send(b"GET / HTTP/1.1\r\n\r\n");
        let reply = connection.rest_before_any_end("a refused client");
        !cfg!(feature = "http") || reply.ends_with(b"\"Refused request\",\"data\":{}}\n")
    });
    let fds = daemon.fd_count();
    (0..100).for_each(|_| expect_silence(&daemon, b"{"));
    wait_until("nothing is left", DEADLINE, || daemon.fd_count() <= fds);
}

#[test]
fn sockets_without_addresses_are_not_concerned() {
    let dir = TempDir::new();
    let socket = dir.path().join("vms.sock");
    let listen = format!("unix:{}", socket.display());
    let daemon = Daemon::builder().listen(listen).arg("--deny=any").start();
    Client::connect_unix(&socket).ping();
    daemon.operator().ping();
    expect_silence(&daemon, b"{");
    assert_eq!(daemon.client().try_call(&json!({"command": "ping"})), None, "127.0.0.1 is any address, too");
}

#[cfg(feature = "sealed")]
#[test]
fn sealed_listeners_are_concerned() {
    let daemon = Daemon::builder().listen("sealed://127.0.0.1:0").arg("--deny=127.0.0.2").start();
    daemon.wait_for_log("listening on sealed://127.0.0.1:");
    let log = daemon.log();
    let address = log.split("listening on sealed://").nth(1).expect("its address");
    let address = address.lines().next().expect("an end").parse().expect("an address");
    // The first step of a handshake, which the server acknowledges with `1`.
    let stream = std::net::TcpStream::connect(address).expect("the daemon accepts");
    let mut admitted = Connection::new(stream);
    admitted.send(b"800=====").expect("it is open");
    admitted.receive(Instant::now() + DEADLINE).expect("a step");
    assert_eq!(admitted.decoder().rest(), b"1");
    let mut connection = Connection::new(refused_socket_to(address));
    let _ = connection.send(b"800=====");
    assert_eq!(connection.rest_before_any_end("a refused client"), b"");
}

#[test]
fn only_allowed_addresses_are_admitted_of_both_families() {
    let daemon = Daemon::builder()
        .listen("tcp://[::1]:0")
        .args(["--allow", "127.0.0.0/31", "--allow", "::1", "--allow=192.0.2.0/24"])
        .start();
    daemon.client().ping();
    Client::connect(daemon.addresses()[1]).ping();
    expect_silence(&daemon, b"{");
    let daemon = Daemon::builder().listen("tcp://[::1]:0").args(["--deny", "::/64"]).start();
    daemon.client().ping();
    let mut client = Client::connect(daemon.addresses()[1]);
    let _ = client.try_send(b"{\"command\": \"ping\"}");
    assert_eq!(client.try_line(), None);
}

#[test]
fn a_reload_changes_the_lists_for_new_connections() {
    let service = Reloadable::start("");
    let daemon = &service.daemon;
    let mut before = Client::over(refused_socket(daemon));
    before.ping();
    let status = service.reload("VMHERD_DENY=192.0.2.0/24 127.0.0.2\n");
    assert!(!status.contains("refused"), "{status}");
    daemon.wait_for_log("--deny is 192.0.2.0/24 127.0.0.2 instead of none (");
    expect_silence(daemon, b"{");
    before.ping();
    daemon.client().ping();
    // Malformed lists leave the others in force.
    for (line, entry) in
        [("VMHERD_DENY=192.0.2.300", "192.0.2.300"), ("VMHERD_ALLOW='any 127.0.0.1/8'", "127.0.0.1/8")]
    {
        let status = service.reload(format!("{line}\n"));
        assert!(status.ends_with("other settings were refused, see the log"), "{status}");
        let name = line.split('=').next().expect("a name");
        daemon.wait_for_log(&format!(":1: {name}: \"{entry}\" "));
        let log = daemon.log();
        let line = log.lines().rfind(|line| line.contains(entry)).expect("a line");
        assert!(line.contains("ERROR") && line.contains("the settings stay as they were"), "{line}");
        expect_silence(daemon, b"{");
        daemon.client().ping();
    }
    service.reload("VMHERD_DENY=any\nVMHERD_ALLOW=127.0.0.2\n");
    Client::over(refused_socket(daemon)).ping();
    assert_eq!(daemon.client().try_call(&json!({"command": "ping"})), None);
    service.reload("");
    Client::over(refused_socket(daemon)).ping();
    daemon.client().ping();
    before.ping();
}

#[test]
fn a_malformed_entry_is_named_at_the_start() {
    let dir = TempDir::new();
    let cases = [
        (&["--allow", "10.0.0.0/33"][..], "--allow: \"10.0.0.0/33\" must be an address such as"),
        (&["--deny=localhost"], "--deny: \"localhost\" must be an address such as"),
        (
            &["--deny", "any", "--deny", "10.0.0.1/8"],
            "--deny: \"10.0.0.1/8\" is an address with the length of a network; that network is 10.0.0.0/8",
        ),
    ];
    for (arguments, expected) in cases {
        let ran = run(vmherd(dir.path()).args(arguments));
        assert_eq!(ran.code(), Some(78), "{ran:?}");
        assert!(ran.stderr.contains(expected) && ran.stderr.lines().count() == 1, "{ran:?}");
    }
    let many = "10.0.0.1 ".repeat(1025);
    let ran = run(vmherd(dir.path()).env("VMHERD_ALLOW", many));
    assert_eq!(ran.code(), Some(78), "{ran:?}");
    assert!(ran.stderr.contains("--allow has 1025 entries; at most 1024 are allowed"), "{ran:?}");
}

//! The errors of `vmherd::client`, mostly with a server that answers anything.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::slice::from_ref;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};
use vmherd::client::{Client, ClientError, NewVm, Point, PutManyError, ServerAddress};

use crate::common::{DEADLINE, PASSWORD, TempDir};
use crate::library::refusal;

const OK: &str = "{\"status\":\"success\",\"message\":\"ok\",\"data\":{}}\n";
const SHORT: Option<Duration> = Some(Duration::from_millis(150));

/// A server for one connection; its thread returns the lines that it has received.
struct FakeServer {
    address: String,
    thread: JoinHandle<Vec<String>>,
}

impl FakeServer {
    /// Gives the connection to `serve`.
    fn start(serve: impl FnOnce(TcpStream) -> Vec<String> + Send + 'static) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address").to_string();
        let thread = thread::spawn(move || serve(listener.accept().expect("a client").0));
        FakeServer { address, thread }
    }

    /// Answers the lines with `replies`, one each, and ends its output; reads until the client closes.
    fn answering(replies: &[&str]) -> FakeServer {
        let replies: Vec<String> = replies.iter().map(|reply| reply.to_string()).collect();
        FakeServer::start(move |mut stream| {
            let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
            let answer = |reply: String| {
                let line = lines.next()?.ok()?;
                stream.write_all(reply.as_bytes()).ok()?;
                Some(line)
            };
            let mut received: Vec<String> = replies.into_iter().map_while(answer).collect();
            let _ = stream.shutdown(Shutdown::Write);
            received.extend(lines.map_while(Result::ok));
            received
        })
    }

    /// Answers the first line with `reply`, and nothing more until the client closes.
    fn stalling_after(reply: &str) -> FakeServer {
        let reply = reply.to_owned();
        FakeServer::start(move |mut stream| {
            let mut input = BufReader::new(stream.try_clone().expect("a handle"));
            let mut line = String::new();
            input.read_line(&mut line).expect("a request");
            // The client may have closed already.
            let _ = stream.write_all(reply.as_bytes());
            let _ = input.read_to_end(&mut Vec::new());
            vec![line]
        })
    }

    fn client(&self, timeout: Option<Duration>) -> Client {
        Client::connect(&self.address, timeout).expect("a connection")
    }

    /// The lines that it has received.
    fn received(self) -> Vec<String> {
        self.thread.join().expect("the server")
    }
}

#[track_caller]
fn expect_closed(client: &mut Client) {
    for result in [client.ping().map(drop), client.get("a").map(drop), client.put("a", 1.0, None)] {
        assert!(matches!(result, Err(ClientError::Closed)), "{result:?}");
    }
    let error = client.put_many(&[point(0)]).unwrap_err();
    assert!(matches!(error.error, ClientError::Closed) && error.unknown.is_empty(), "{error:?}");
}

fn point(index: usize) -> Point {
    Point { key: "a".into(), value: 1.0, timestamp: Some(index as i64) }
}

#[test]
fn without_a_server_there_is_no_connection() {
    let folder = TempDir::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let missing = format!("unix:{}", folder.path().join("none").display());
    for (address, kind) in
        [(format!("tcp://{address}"), ErrorKind::ConnectionRefused), (missing, ErrorKind::NotFound)]
    {
        match Client::connect(&address, Some(DEADLINE)) {
            Err(ClientError::Connect { address: shown, source }) => {
                assert_eq!((shown, source.kind()), (address, kind));
            }
            other => panic!("{other:?}"),
        }
    }
    for wrong in ["localhost", "http://localhost:1", ""] {
        assert!(matches!(Client::connect(wrong, None), Err(ClientError::InvalidArgument(_))), "{wrong}");
    }
    let zero = Client::connect(&address, Some(Duration::ZERO));
    assert!(matches!(zero, Err(ClientError::InvalidArgument(_))), "{zero:?}");
}

#[test]
fn connecting_to_a_socket_that_nothing_accepts_on_ends_in_time() {
    let folder = TempDir::new();
    let path = folder.path().join("full.sock");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    socket.bind(&SockAddr::unix(&path).expect("a path")).expect("bound");
    socket.listen(0).expect("it listens");
    let address = ServerAddress::Unix(path);
    let mut clients = Vec::new();
    let error = loop {
        match Client::connect_to(&address, SHORT) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
        assert!(clients.len() < 10, "the queue has no end");
    };
    match error {
        ClientError::Connect { source, .. } => assert_eq!(source.kind(), ErrorKind::TimedOut),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_reply_in_time_is_a_timeout() {
    for part in ["", "{\"status\":\"success\",", &OK[..OK.len() - 1]] {
        let server = FakeServer::stalling_after(part);
        let mut client = server.client(SHORT);
        let result = client.put("a", 1.0, Some(1));
        assert!(matches!(result, Err(ClientError::Timeout)), "{part}: {result:?}");
        expect_closed(&mut client);
        server.received();
    }
}

/// The deadline is for the call, not for each read.
#[test]
fn a_reply_that_trickles_is_a_timeout() {
    let server = FakeServer::start(|mut stream| {
        while stream.write_all(b" ").is_ok() {
            thread::park_timeout(Duration::from_millis(5));
        }
        Vec::new()
    });
    let mut client = server.client(SHORT);
    let begin = Instant::now();
    let result = client.get("*");
    assert!(matches!(result, Err(ClientError::Timeout)), "{result:?}");
    assert!(begin.elapsed() < DEADLINE);
    expect_closed(&mut client);
    server.received();
}

#[test]
fn the_end_of_the_connection_is_closed() {
    for part in ["", "{\"status\"", &OK[..OK.len() - 1]] {
        let server = FakeServer::answering(&[part]);
        let mut client = server.client(Some(DEADLINE));
        let result = client.get("a");
        assert!(matches!(result, Err(ClientError::Closed)), "{part}: {result:?}");
        expect_closed(&mut client);
        server.received();
    }
}

#[test]
fn bad_replies_are_told_without_their_text() {
    for reply in [
        "secret\n",
        "\n",
        "[]\n",
        "{\"secret\":1}\n",
        "{\"status\":\"success\",\"message\":null}\n",
        "{\"status\":\"success\",\"message\":null,\"data\":[]}\n",
        "{\"status\":\"success\",\"message\":null,\"data\":{\"secret\":\"secret\"}}\n",
        "{\"status\":\"success\",\"message\":null,\"data\":{\"a\":[[1,\"secret\"]]}}\n",
        "{\"status\":\"secret\",\"message\":null,\"data\":{}}\n",
        "{\"status\":\"error\",\"message\":null,\"data\":{}}\n",
        "{\"status\":\"success\",\"message\":null,\"data\":{}} {}\n",
    ] {
        let server = FakeServer::answering(&[reply]);
        let mut client = server.client(Some(DEADLINE));
        let error = client.get("a").expect_err(reply);
        assert!(matches!(error, ClientError::BadReply(_)), "{reply}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        expect_closed(&mut client);
        server.received();
    }
}

#[test]
fn a_reply_that_no_request_asked_for_is_bad() {
    let server = FakeServer::answering(&[&OK.repeat(2), OK]);
    let mut client = server.client(Some(DEADLINE));
    client.put("a", 1.0, Some(1)).expect("a point");
    let result = client.put("a", 1.0, Some(2));
    assert!(matches!(result, Err(ClientError::BadReply(_))), "{result:?}");
    expect_closed(&mut client);
    assert_eq!(server.received().len(), 1, "nothing more is sent");
}

#[test]
fn a_reply_has_a_limit() {
    let long = format!("{{\"status\":\"success\",\"message\":\"{}\",\"data\":{{}}}}", "x".repeat(1 << 20));
    let server = FakeServer::stalling_after(&long);
    let mut client = server.client(Some(DEADLINE));
    client.set_reply_limit(1 << 20);
    let result = client.ping();
    assert!(matches!(result, Err(ClientError::BadReply(_))), "{result:?}");
    expect_closed(&mut client);
    server.received();
}

#[test]
fn errors_of_the_server_and_wrong_arguments_leave_the_connection() {
    let error = |message: &str| format!("{}\n", json!({"status": "error", "message": message, "data": {}}));
    let refused = "{\"success\":false,\"message\":\"Refused request\",\"data\":{}}\n";
    let server = FakeServer::answering(&[&error("busy \u{1b}[2J"), refused, OK]);
    let mut client = server.client(Some(DEADLINE));
    let busy = client.put("a", 1.0, Some(1)).unwrap_err();
    assert_eq!(busy.to_string(), "the server answered with an error: busy \\u001b[2J");
    assert_eq!(refusal(Err::<(), _>(busy)), "busy \u{1b}[2J");
    assert_eq!(refusal(client.all_vms()), "Refused request");
    let too_late = i64::MAX;
    let no_password = NewVm { vm_id: "a".into(), ram: 1, cpu: 1, ..NewVm::default() };
    for result in [
        client.put("", 1.0, None),
        client.put("a b", 1.0, None),
        client.put("a", f64::NAN, None),
        client.put("a", f64::NEG_INFINITY, None),
        client.put("a", 1.0, Some(too_late)),
        client.get("a\n").map(drop),
        client.register(&no_password),
        client.put_many(&[point(0), Point { value: f64::NAN, ..point(1) }]).map_err(ClientError::from),
    ] {
        assert!(matches!(result, Err(ClientError::InvalidArgument(_))), "{result:?}");
    }
    client.put("a", 2.0, Some(2)).expect("a point");
    drop(client);
    let received = server.received();
    assert_eq!(received.len(), 3, "wrong arguments are not sent: {received:?}");
}

/// Puts points until the server answers so; the error, after which the server has left.
fn put_many(replies: &[&str], requests: usize) -> PutManyError {
    let server = FakeServer::answering(replies);
    let mut client = server.client(Some(DEADLINE));
    let points: Vec<Point> = (0..20 * PER_REQUEST).map(point).collect();
    let error = client.put_many(&points).unwrap_err();
    let after = client.ping();
    assert!(matches!(after, Err(ClientError::Closed)), "{after:?}");
    drop(client);
    let puts = server.received().iter().filter(|line| line.contains("\"put\"")).count();
    assert_eq!(puts, requests);
    error
}

/// Points of one request.
const PER_REQUEST: usize = 1024;

#[test]
fn an_error_of_many_points_says_what_is_stored() {
    let unknown = "{\"status\":\"error\",\"message\":\"outcome unknown\",\"data\":{}}\n";
    let busy = "{\"status\":\"error\",\"message\":\"busy\",\"data\":{}}\n";
    // Eight requests are in flight when the first error arrives; nothing is sent after it.
    let error = put_many(&[OK, OK, busy, OK, unknown, OK, OK, OK, OK, OK], 10);
    let at = |request: usize| request * PER_REQUEST;
    assert_eq!(error.stored, [0..at(2), at(3)..at(4), at(5)..at(10)]);
    assert_eq!((&error.unknown[..], error.failed.clone()), (from_ref(&(at(4)..at(5))), at(2)..at(3)));
    let text = error.to_string();
    assert!(text.starts_with("points 2048 to 3071: the server answered with an error: busy;"), "{text}");
    assert_eq!(refusal(Err::<(), _>(ClientError::from(error))), "busy");

    // The connection ends: what is in flight is unknown, what was never sent is not stored.
    let error = put_many(&[OK, OK, &OK[..9]], 10);
    assert_eq!(error.stored, from_ref(&(0..at(2))));
    assert!(matches!(error.error, ClientError::Closed), "{error:?}");
    assert_eq!((error.failed.clone(), &error.unknown[..]), (at(2)..at(3), from_ref(&(at(2)..at(10)))));
}

/// A server that reads nothing holds a sender no longer than its deadline.
#[test]
fn a_server_that_does_not_read_is_a_timeout() {
    let folder = TempDir::new();
    let address = ServerAddress::Unix(folder.path().join("silent.sock"));
    let ServerAddress::Unix(path) = &address else { unreachable!("a path") };
    let _listener = UnixListener::bind(path).expect("a listener");
    let mut client = Client::connect_to(&address, SHORT).expect("a connection");
    let long = Point { key: "k".repeat(200), ..point(1) };
    let error = client.put_many(&vec![long; 10_000]).unwrap_err();
    assert!(matches!(error.error, ClientError::Timeout), "{error:?}");
    assert!(error.stored.is_empty() && error.unknown[0].start == 0, "{error}");
    assert!(error.unknown.len() == 1 && error.unknown[0].end < 10_000, "{error}");
    expect_closed(&mut client);
}

#[test]
fn nothing_shows_a_secret() {
    let server = FakeServer::stalling_after(OK);
    let mut client = server.client(Some(DEADLINE));
    client.set_token(Some("the-token".into()));
    client.set_access_token(Some("the-access-token".into()));
    let vm = NewVm { vm_id: "a".into(), password: Some(PASSWORD.into()), ..NewVm::default() };
    let shown = format!("{client:?} {vm:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("-token"), "{shown}");
    client.put("a", 1.0, Some(1)).expect("a point");
    drop(client);
    assert!(server.received()[0].contains("\"token\":\"the-token\""));
}

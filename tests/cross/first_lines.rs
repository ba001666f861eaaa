//! Any two first lines after each other, split anywhere: the first decides the framing, once, and that framing handles
//! the second.

use std::net::Shutdown;
use std::time::Duration;

use vmherd::internals::buffer::Buffer;
use vmherd::internals::clock::{HttpDate, Instant, UnixSeconds};
use vmherd::internals::ids::RequestSeq;
use vmherd::internals::model::{Answer, CommandName, Dialect, Failure, Peer};
use vmherd::internals::session::{Capacity, Rules, Session, Step, StepContext};

use crate::common::Daemon;
use crate::common::codec::{Decoder, Message};
use crate::web::{HANDSHAKE, Web};

/// First lines of connections.
const LINES: [(&str, Kind, &[u8]); 15] = [
    ("a request", Kind::Json, b"{\"command\":\"ping\",\"data\":{}}\n"),
    ("an array", Kind::Json, b"[{\"command\":\"ping\"}]\n"),
    ("white space and a request", Kind::Json, b" \r\n\t {\"action\":\"list_all_vms\"}\n"),
    ("GET", Kind::Http, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (
        "POST",
        Kind::Http,
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18\r\n\r\n{\"command\":\"ping\"}",
    ),
    ("a refused POST", Kind::Refused, b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n"),
    ("an upgrade", Kind::Upgrade, HANDSHAKE.as_bytes()),
    ("TLS", Kind::Other, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03{\"command\":\"ping\"}\n"),
    ("SSH", Kind::Other, b"SSH-2.0-OpenSSH_9.9\r\n"),
    ("PROXY", Kind::Other, b"PROXY TCP4 127.0.0.1 127.0.0.1 56324 8888\r\n"),
    ("HTTP/2", Kind::Other, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a tunnel", Kind::Text, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n"),
    ("text", Kind::Text, b"get a\n"),
    ("rubbish", Kind::Rubbish, b"\x00\xff\xfe}}{{\" and more of it\n"),
    ("a frame", Kind::Rubbish, b"\x81\x92\0\0\0\0{\"command\":\"ping\"}"),
];

/// The protocol that a first line selects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Json,
    Http,
    /// HTTP that closes after its answer.
    Refused,
    Upgrade,
    /// Metrics text.
    Text,
    /// Not even text.
    Rubbish,
    /// Not a supported protocol.
    Other,
}

#[test]
fn the_first_line_decides_the_framing_at_every_split() {
    let mut splits = 0;
    for (first_name, kind, first) in LINES {
        for (second_name, _, second) in LINES {
            let stream = [first, second].concat();
            let whole = transcript([&stream[..]]);
            let expected = outcome(kind, first_name, second_name);
            assert_eq!(whole, expected, "{first_name}, then {second_name}");
            for at in 0..=stream.len() {
                let (start, end) = stream.split_at(at);
                let split = transcript([start, end]);
                assert_eq!(split, whole, "{first_name}, then {second_name}, split at {at}");
                splits += 1;
            }
            assert_eq!(transcript(stream.chunks(1)), whole, "{first_name}, then {second_name}, byte by byte");
            // In the other order: the second line is unread until the first one is handled.
            assert_eq!(transcript([first, second]), whole, "{first_name}, then {second_name}, by the line");
        }
    }
    println!("{splits} splits");
}

#[test]
fn the_first_line_decides_the_framing_over_sockets() {
    let daemon = Daemon::start();
    for (index, (first_name, kind, first)) in LINES.into_iter().enumerate() {
        for (second_name, _, second) in LINES {
            let stream = [first, second].concat();
            let expected = answers(outcome(kind, first_name, second_name));
            // Another split for each pair, and the end of the first line.
            let places = [0, first.len(), 1 + (7 * index + second.len()) % (stream.len() - 1)];
            for at in places {
                let mut web = Web::connect(daemon.address());
                web.send(&stream[..at]);
                // Whether it arrives in two pieces depends on the system.
                std::thread::yield_now();
                // The daemon may have closed by now; what is sent then is lost.
                let _ = web.try_send(&stream[at..]);
                let _ = web.socket().shutdown(Shutdown::Write);
                let seen = answers(kinds_of(&web.until_closed(first_name)));
                assert_eq!(seen, expected, "{first_name}, then {second_name}, split at {at}");
            }
        }
    }
    daemon.client().ping();
}

/// The expected result of two lines: the commands, the replies, and the end.
fn outcome(kind: Kind, first: &str, second: &str) -> Vec<String> {
    let mut outcome: Vec<&str> = match first {
        "a request" => vec!["call Ping", "line"],
        "an array" => vec!["line error"],
        "white space and a request" => vec!["call ActionList", "line"],
        "GET" => vec!["200"],
        "POST" => vec!["call Ping", "200"],
        "a refused POST" => vec!["403", "end Linger"],
        "an upgrade" => vec!["101"],
        "a tunnel" => vec!["text", "text"],
        "text" => vec!["call Get", "text"],
        "rubbish" | "a frame" => vec!["text", "end Linger"],
        _ => vec!["other", "end Linger"],
    };
    outcome.extend(match (kind, second) {
        (Kind::Other | Kind::Rubbish | Kind::Refused, _) => &[][..],
        (Kind::Text, "GET" | "POST" | "a refused POST" | "an upgrade") => &["end HttpLine"],
        (Kind::Text, "text") => &["call Get", "text", "end Close"],
        (Kind::Text, "TLS" | "rubbish" | "a frame") => &["text", "end Linger"],
        (Kind::Text, "HTTP/2" | "a tunnel") => &["text", "text", "end Close"],
        (Kind::Text, _) => &["text", "end Close"],
        (Kind::Json, "a request") => &["call Ping", "line", "end Close"],
        (Kind::Json, "an array") => &["line error", "end Close"],
        (Kind::Json, "white space and a request") => &["call ActionList", "line", "end Close"],
        (Kind::Json, "GET" | "POST" | "a refused POST" | "an upgrade") => &["line error", "end HttpLine"],
        // Input that is not JSON is skipped to the end of its line; these have two lines that are not empty.
        (Kind::Json, "HTTP/2" | "a tunnel") => &["line error", "line error", "end Close"],
        (Kind::Json, _) => &["line error", "end Close"],
        (Kind::Http, "GET") => &["200", "end Close"],
        (Kind::Http, "POST") => &["call Ping", "200", "end Close"],
        (Kind::Http, "a refused POST" | "a tunnel") => &["403", "end Linger"],
        (Kind::Http, "an upgrade") => &["101", "end Gone"],
        // Blank lines may separate requests; any other line ends the connection.
        (Kind::Http, _) => &["400", "end Linger"],
        (Kind::Upgrade, "a frame") => &["call Ping", "message", "end Gone"],
        (Kind::Upgrade, _) => &["close 1002", "end Gone"],
    });
    outcome.iter().map(|text| text.to_string()).collect()
}

/// The events of a session for a stream in these pieces. Each command is answered at once.
fn transcript<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut session = Session::default();
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    let (rules, now, date) = (rules(), Instant::ORIGIN, HttpDate::new(UnixSeconds(0)));
    let mut pieces = pieces.into_iter();
    let (mut seen, mut seq) = (Vec::new(), RequestSeq(0));
    loop {
        seq.0 += 1;
        let (rules, date) = (&rules, &date);
        let context = StepContext { rules, capacity: ROOM, now, date, seq, keeps_refusals: false };
        let step = session.next(&mut input, &mut output, context);
        if !matches!(step, Step::NeedInput) {
            seen.extend(kinds_of(output.as_slice()));
            output.clear();
        }
        match step {
            Step::Ping => {
                seen.push(format!("call {:?}", CommandName::Ping));
                session.pong(&Answer::Pong(Peer::Unix { uid: None }), &mut output, date);
            }
            Step::Call(head, request) => {
                seen.push(format!("call {:?}", request.name));
                let answer = match request.dialect {
                    Dialect::Command => Answer::Pong(Peer::Unix { uid: None }),
                    _ => Answer::Failed(Failure::UnknownVm),
                };
                session.answer(head, &answer, &mut output, date);
            }
            Step::NeedInput => match pieces.next() {
                Some(piece) => input.push(piece),
                None => session.end_input(),
            },
            Step::Finished(ending) => {
                seen.push(format!("end {ending:?}"));
                return seen;
            }
            step => panic!("it waits for nothing: {step:?}; {seen:?}"),
        }
    }
}

/// Reads the server's output `bytes`: lines, answers of HTTP, frames of WebSocket.
fn kinds_of(bytes: &[u8]) -> Vec<String> {
    let (mut decoder, mut kinds) = (Decoder::default(), Vec::new());
    decoder.push(bytes);
    while let Some(first) = decoder.rest().first() {
        let kind = match first {
            b'{' => decoder.line().map(|line| line.map(line_kind)),
            b'o' | b'e' => decoder.text_reply().map(|reply| reply.map(|_| "text".into())),
            b'H' => decoder.response().map(|response| response.map(|it| it.head.status.to_string())),
            b'T' => Ok(decoder.take_rest().starts_with(b"This port speaks JSON").then(|| "other".into())),
            _ => decoder.message().map(|message| message.map(message_kind)),
        };
        let kind: Option<String> = kind.unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()));
        kinds.push(kind.unwrap_or_else(|| panic!("a reply in part: {}", bytes.escape_ascii())));
    }
    kinds
}

fn line_kind(line: String) -> String {
    if line.contains("\"status\":\"error\"") { "line error".into() } else { "line".into() }
}

fn message_kind(message: Message) -> String {
    match message {
        Message::Text(_) => "message".into(),
        Message::Close(Some((code, _))) => format!("close {code}"),
        other => panic!("unexpected: {other:?}"),
    }
}

/// The events that a client sees.
fn answers(outcome: Vec<String>) -> Vec<String> {
    outcome.into_iter().filter(|text| !text.starts_with("call ") && !text.starts_with("end ")).collect()
}

fn rules() -> Rules {
    let second = Duration::from_secs(1);
    Rules {
        customs: Default::default(),
        inline_bytes_max: vmherd::internals::limits::INLINE_BYTES_MAX,
        first_request_timeout: Some(300 * second),
        request_timeout: 10 * second,
        idle_timeout_anonymous: None,
        idle_timeout_authenticated: None,
        idle_timeout_http: None,
        write_timeout: 10 * second,
        request_bytes_max_anonymous: 1 << 20,
        request_bytes_max_forwarded: 1 << 20,
        requests_max: 100,
        #[cfg(feature = "sealed")]
        sealed: None,
        http: Default::default(),
    }
}

/// No timeout of a session passes.
const ROOM: Capacity = Capacity { for_request: true, for_page: true };

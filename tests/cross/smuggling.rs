//! Requests that two parsers could read differently: refused, and the request that they hide is not run.

use serde_json::{Value, json};

use crate::common::Daemon;
use crate::overload::statistic;
use crate::web::{Web, post};

/// The hidden request, which would add a VM.
fn hidden() -> String {
    post(r#"{"action":"add_vm","ram":1,"disks":[1]}"#)
}

/// A POST with these header lines and this body.
fn with(headers: &str, body: &str) -> String {
    let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    format!("POST / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

const PING: &str = r#"{"command":"ping"}"#;
/// The hidden request as the only chunk.
const CHUNKS: &str = "12\r\n{\"command\":\"ping\"}\r\n0\r\n\r\n";

/// Streams that end the connection, with the status.
fn vectors() -> Vec<(u16, String)> {
    let hidden = hidden();
    let mut vectors: Vec<(u16, String)> = Vec::new();
    let mut add = |status: u16, stream: String| vectors.push((status, stream));
    // Two lengths, and invalid lengths.
    for headers in [
        "Content-Length: 18\nContent-Length: 18",
        "Content-Length: 18\nContent-Length: 0",
        "Content-Length: 0\ncontent-length: 18",
        "Content-Length: 18, 18",
        "Content-Length: 18,0",
        "Content-Length: +18",
        "Content-Length: -18",
        "Content-Length: 0x12",
        "Content-Length: 1_8",
        "Content-Length: 18 0",
        "Content-Length: \u{b}18",
        "Content-Length:",
        "Content-Length: 18446744073709551634",
        "Content-Length: 36893488147419103250",
        "Content-Length: 18e0",
    ] {
        add(400, with(headers, PING));
    }
    // A length and chunks.
    for headers in [
        "Content-Length: 18\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nContent-Length: 18",
        "Transfer-Encoding: identity\nContent-Length: 18",
        "Transfer-Encoding:\nContent-Length: 18",
        "Content-Length: 0\nTransfer-Encoding: xchunked",
    ] {
        add(400, with(headers, CHUNKS));
    }
    add(400, with("Transfer-Encoding: chunked", CHUNKS).replace("HTTP/1.1", "HTTP/1.0"));
    for coding in ["gzip, chunked", "chunked, identity", "chunked;x", "\"chunked\"", "xchunked", ""] {
        add(501, with(&format!("Transfer-Encoding: {coding}"), CHUNKS));
    }
    add(501, with("Transfer-Encoding: chunked\nTransfer-Encoding: chunked", CHUNKS));
    // Folded lines, and names with an unusual end.
    for headers in [
        "X: y\n folded\nContent-Length: 18",
        "Content-Length:\n 18",
        "Transfer-Encoding:\n\tchunked",
        " Content-Length: 18",
        "Content-Length : 18",
        "Content-Length\t: 18",
        "Transfer-Encoding : chunked",
        "Content-Length: 18\nno colon",
        ": 18",
        "Content-Length: 18\nX\u{0}: y",
        "Content-Length: 18\nX: a\u{0}b",
    ] {
        add(400, with(headers, PING));
    }
    // Other line breaks.
    let whole = with("X: y\nContent-Length: 18", PING);
    let ends: Vec<usize> = whole.match_indices("\r\n").map(|(at, _)| at).collect();
    for at in ends {
        for end in ["\n", "\r", "\r\r\n", "\n\r\n"] {
            add(400, format!("{}{end}{}", &whole[..at], &whole[at + 2..]));
        }
    }
    // Chunks with an ambiguous end, after which the hidden request could be taken for the next.
    for chunks in [
        "+12\r\n",
        "-12\r\n",
        "0x12\r\n",
        " 12\r\n",
        "12 \r\n",
        "1_2\r\n",
        "\r\n",
        "g\r\n",
        "12\n",
        "12\r",
        "00000000000000012\r\n",
        "10000000000000012\r\n",
        "12;x=\n\r\n",
        "12;\u{0}\r\n",
        "\u{661}\r\n",
    ] {
        add(400, with("Transfer-Encoding: chunked", &format!("{chunks}{}", &CHUNKS[4..])));
    }
    add(400, with("Transfer-Encoding: chunked", &format!("11\r\n{PING}\r\n0\r\n\r\n")));
    add(400, with("Transfer-Encoding: chunked", &format!("13\r\n{PING}\r\n0\r\n\r\n")));
    add(400, with("Transfer-Encoding: chunked", &format!("12\r\n{PING}0\r\n\r\n")));
    add(400, with("Transfer-Encoding: chunked", &format!("12\r\n{PING}\n0\r\n\r\n")));
    add(400, with("Transfer-Encoding: chunked", &format!("12\r\n{PING}\r\n0\r\nX: y\n\r\n")));
    add(400, with("Transfer-Encoding: chunked", &format!("12\r\n{PING}\r\n0\r\n{hidden}")));
    add(400, with("Transfer-Encoding: chunked", &format!("12\r\n{PING}\r\n0\r\n folded: y\r\n\r\n")));
    add(413, with("Transfer-Encoding: chunked", "ffffffffffffffff\r\n"));
    add(413, with("Transfer-Encoding: chunked", "fffffffffffffffe\r\n{}\r\n0\r\n\r\n"));
    add(413, with("Transfer-Encoding: chunked", "100001\r\n"));
    add(413, with("Content-Length: 1048577", PING));
    add(413, with("Content-Length: 18446744073709551615", PING));
    // Request lines.
    for line in [
        "POST / HTTP/1.1 ",
        "POST /a b HTTP/1.1",
        "POST / HTTP/1.2",
        "POST / HTTP/2.0",
        "POST / http/1.1",
        "POST / HTTP/1.10",
        "POST /",
        "POST / ",
        "POST /\u{0} HTTP/1.1",
        "POST /\u{7f} HTTP/1.1",
        "POST https://localhost/ HTTP/1.1",
    ] {
        add(400, with("Content-Length: 18", PING).replacen("POST / HTTP/1.1", line, 1));
    }
    // Bodies that are not read.
    add(404, with("Content-Length: 18", PING).replacen("POST /", "GET /x", 1));
    add(405, with("Content-Length: 18", PING).replacen("POST", "PUT", 1));
    add(501, with("Content-Length: 18", PING).replacen("POST", "BREW", 1));
    add(415, with("Content-Type: multipart/form-data; boundary=x\nContent-Length: 18", PING));
    add(417, with("Expect: a-miracle\nContent-Length: 18", PING));
    add(
        400,
        with(
            "Upgrade: websocket\nConnection: upgrade\nSec-WebSocket-Version: 13\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nContent-Length: 18",
            PING,
        )
        .replacen("POST", "GET", 1),
    );
    vectors
}

#[test]
fn an_ambiguous_request_closes_the_connection_and_smuggles_nothing() {
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    let (hidden, fine) = (hidden(), post(PING));
    let vectors = vectors();
    let mut wrong = Vec::new();
    for (status, stream) in &vectors {
        // Alone, and after a valid request; in one piece and in two.
        for (before, at) in [("", 0), (&*fine, fine.len()), ("", stream.len()), (&*fine, 10)] {
            let all = format!("{before}{stream}{hidden}");
            let mut web = Web::connect(daemon.address());
            web.send(&all[..at]);
            let _ = web.try_send(&all[at..]);
            if !before.is_empty() {
                assert_eq!(web.reply().status, 200);
            }
            let reply = web.reply();
            let _ = web.try_send(&hidden);
            let rest = web.until_closed(stream);
            if reply.status != *status || !reply.closes() || !rest.is_empty() {
                let rest = rest.escape_ascii();
                wrong.push(format!("{stream:?}: {} instead of {status}, then {rest}", reply.head));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), 4 * vectors.len());
    assert_eq!(statistic(&mut operator, "requests_add_vm"), 0);
    assert_eq!(statistic(&mut operator, "requests_ping"), 2 * vectors.len() as u64);
    println!("{} vectors", vectors.len());
}

/// The hidden request is valid: it is run after a valid request.
#[test]
fn an_unambiguous_request_is_followed_by_the_next() {
    let daemon = Daemon::start();
    let fine = [
        post(PING),
        with("Content-Length: 018", PING),
        with("Content-Length:18", PING),
        with("Content-Length: 18 \t", PING),
        with("TRANSFER-ENCODING:  Chunked ", CHUNKS),
        with("Transfer-Encoding: chunked", &CHUNKS.replace("12\r\n", "00012;a=b\r\n")),
        with("Transfer-Encoding: chunked", &CHUNKS.replace("0\r\n\r\n", "000;c\r\nX: y\r\n\r\n")),
        with("Expect: 100-continue\nContent-Length: 18", PING),
        format!("\r\n\r\n{}", post(PING)),
    ];
    for (index, stream) in fine.iter().enumerate() {
        let mut web = Web::connect(daemon.address());
        web.send(format!("{stream}{}", hidden()));
        let (first, second) = (web.reply(), web.reply());
        assert_eq!((first.status, second.status), (200, 200), "{stream:?}: {first:?}");
        assert!(first.body.contains("PONG"), "{stream:?}: {first:?}");
        let second: Value = serde_json::from_str(&second.body).expect("JSON");
        assert_eq!(second, json!({"status": "vm added", "vm_id": index + 1}), "{stream:?}");
        web.half_close();
        web.expect_end();
    }
}

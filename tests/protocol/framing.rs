//! How bytes become requests: the first bytes of a connection, and the bounds of a request.

use serde_json::json;

use crate::common::{Client, Daemon};

/// The line that clients of another protocol get.
const WRONG_PROTOCOL: &str = "This port speaks JSON, one object a request, for example: {\"command\": \"ping\", \"data\": {}}, \
     metrics text, for example: put KEY VALUE TIMESTAMP, and HTTP/1.1 without encryption\n";
/// The answer of metrics text to a line that is not a command.
const WRONG_COMMAND: &str = "error\nwrong command\n\n";
const JSON_ON_TEXT: &str =
    "error\nwrong command: this connection speaks metrics text; open a new one for JSON\n\n";
const BAD_TEXT: &str = "error\na line must be UTF-8 without control characters\n\n";
const CUT_SHORT: &str = "error\nthe input ended inside a line\n\n";
const PING: &str = r#"{"command":"ping"}"#;

#[track_caller]
fn expect_pong(client: &mut Client) {
    let reply = client.reply();
    assert_eq!(reply["message"], "PONG", "{reply}");
}

#[test]
fn another_protocol_gets_one_clear_line_and_a_close() {
    let daemon = Daemon::start();
    let cases: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in cases {
        let mut client = daemon.client();
        client.send_bytes(bytes);
        assert_eq!(client.rest(), WRONG_PROTOCOL, "{}", bytes.escape_ascii());
    }
}

#[test]
fn anything_else_is_metrics_text() {
    let daemon = Daemon::start();
    let blank = " ".repeat(65);
    let long = format!("put {} 1 2", "k".repeat(4096));
    let cases: [(&[u8], &[&str]); 15] = [
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", &[WRONG_COMMAND, WRONG_COMMAND]),
        (b"GO / HTTP/1.1\r\nHost: a\r\n\r\n", &[WRONG_COMMAND, WRONG_COMMAND]),
        (b"hello\n\n \r\nput a 1\nget a b\n", &[WRONG_COMMAND, WRONG_COMMAND, WRONG_COMMAND]),
        (b"hello\nPOST / HTTP/1.1\r\nHost: a\r\n\r\nhello\n", &[WRONG_COMMAND]),
        (b"\"ping\"\n", &[WRONG_COMMAND]),
        (b"\"ping\"", &[CUT_SHORT]),
        (b"hello\nput a 1 15018", &[WRONG_COMMAND, CUT_SHORT]),
        (b"\xef\xbb\xbf{\"command\":\"ping\"}\n", &[WRONG_COMMAND]),
        (b"hello\n{\"command\":\"ping\"}\n [{}]\n", &[WRONG_COMMAND, JSON_ON_TEXT, WRONG_COMMAND]),
        (
            b"hello\n \t{\n  \"command\":\"ping\"\n}\n",
            &[WRONG_COMMAND, JSON_ON_TEXT, WRONG_COMMAND, WRONG_COMMAND],
        ),
        (b"\0\0", &[BAD_TEXT]),
        (b"hello\n\xff\xfe\nhello\n", &[WRONG_COMMAND, BAD_TEXT]),
        (b"a\x1b[A\nhello\n", &[BAD_TEXT]),
        (blank.as_bytes(), &[]),
        (long.as_bytes(), &["error\nline too long\n\n"]),
    ];
    for (bytes, said) in cases {
        let mut client = daemon.client();
        client.send_bytes(bytes);
        client.half_close();
        assert_eq!(client.rest(), said.concat(), "{}", bytes.escape_ascii());
    }
}

/// The kernel resets a connection that is closed with unread bytes, which would discard the line.
#[test]
fn the_error_line_arrives_although_unread_input_remains() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.send("SSH-2.0-client\r\n");
    client.send(&"x".repeat(4_000_000));
    client.half_close();
    assert_eq!(client.rest(), WRONG_PROTOCOL);
}

#[test]
fn end_of_input_finishes_an_open_request() {
    let daemon = Daemon::start();
    for (sent, said) in [("", ""), (" \r\n\t ", ""), ("GET ", CUT_SHORT), ("SS", CUT_SHORT), ("\0", BAD_TEXT)]
    {
        let mut client = daemon.client();
        client.send(sent);
        client.half_close();
        assert_eq!(client.rest(), said, "{sent:?}");
    }
}

#[test]
fn the_first_bytes_may_come_one_by_one() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for byte in "SSH-".bytes() {
        client.send_bytes(&[byte]);
        std::thread::yield_now();
    }
    assert_eq!(client.rest(), WRONG_PROTOCOL);
}

#[test]
fn white_space_before_the_first_request_is_skipped() {
    let daemon = Daemon::start();
    for blank in ["\n".repeat(64), " \t\r\n".repeat(16)] {
        let mut client = daemon.client();
        client.send(&blank);
        client.send(PING);
        expect_pong(&mut client);
    }
}

#[test]
fn requests_are_framed_whole_or_split_with_any_white_space() {
    let daemon = Daemon::start();
    let separators = ["", "\n", "\r\n", " \t\n\n "];
    for separator in separators {
        let mut client = daemon.client();
        client.send(&format!("{PING}{separator}").repeat(50));
        for _ in 0..50 {
            expect_pong(&mut client);
        }
        client.half_close();
        client.expect_closed();
    }
    let mut client = daemon.client();
    let text = "{ \"command\" :\n\t\"ping\" , \"data\" : { }\r\n}";
    for byte in format!("{text}{text}{text}").bytes() {
        client.send_bytes(&[byte]);
    }
    for _ in 0..3 {
        expect_pong(&mut client);
    }
    for split in 1..text.len() {
        client.send(&text[..split]);
        client.send(&text[split..]);
        expect_pong(&mut client);
    }
}

#[test]
fn brackets_in_strings_are_ignored_by_the_framing() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let id = r#"}{][\\\"}"#;
    for _ in 0..2 {
        client.send(&format!(r#"{{"request_id":"{id}","command":"ping"}}"#));
        let line = client.raw_line();
        assert!(line.starts_with(&format!(r#"{{"request_id":"{id}","status":"success""#)), "{line}");
    }
}

#[test]
fn replies_are_one_line_of_compact_json_each() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.send(PING);
    let expected = json!(["127.0.0.1", client.local_address().port()]);
    let line = client.raw_line();
    assert_eq!(line, format!(r#"{{"status":"success","message":"PONG","data":{{"addr":{expected}}}}}"#));
    let mut operator = daemon.operator();
    operator.send(PING);
    let line = operator.raw_line();
    assert_eq!(line, r#"{"status":"success","message":"PONG","data":{"addr":["unix",0]}}"#);
}

#[test]
fn a_stray_byte_gets_one_error_at_once_and_its_line_is_skipped() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.ping();
    for stray in ["}", "ping", "]{", "\"{}\"", ";;;;", "\u{7f}", "é", "1 2 3"] {
        client.send(stray);
        let message = client.error();
        assert!(message.starts_with("Invalid JSON: "), "{message}");
        // The rest of the same line: neither a request nor another error.
        client.send(&format!(" {PING} }}}} ["));
        client.send(&format!("\n{PING}"));
        expect_pong(&mut client);
    }
}

#[test]
fn a_byte_order_mark_is_named_in_the_error() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.ping();
    for mark in [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"] {
        client.send_bytes(mark);
        let message = client.error();
        assert!(message.starts_with("Invalid JSON: ") && message.contains("byte-order mark"), "{message}");
        client.send(&format!("{PING}\n{PING}"));
        expect_pong(&mut client);
    }
    let body = format!("\u{feff}{PING}");
    let length = body.len();
    let mut client = daemon.client();
    client.send(&format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    let said = client.rest();
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("\"Invalid JSON: "), "{said}");
    assert!(said.contains("byte-order mark (U+FEFF, in UTF-8)"), "{said}");
}

#[test]
fn an_array_is_framed_like_an_object_and_refused() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for array in ["[]", r#"[{"command":"ping"},{"command":"ping"}]"#, r#"[[["]"]]]"#, "[{]", "[}]"] {
        client.send(&format!("{array}{PING}"));
        let message = client.error();
        let is_json = !matches!(array, "[{]" | "[}]");
        assert_eq!(message.starts_with("Invalid JSON: "), !is_json, "{array}: {message}");
        assert!(!is_json || message.contains("must be an object"), "{array}: {message}");
        expect_pong(&mut client);
    }
}

#[test]
fn an_endless_object_gets_one_error_and_a_close() {
    let daemon = Daemon::start();
    for open in ["{", "[", r#"{"command":"ping""#, r#"{"command":"pi"#, r#"{"a\"#] {
        let mut client = daemon.client();
        client.send(&format!("{PING}{open}"));
        client.half_close();
        expect_pong(&mut client);
        let message = client.error();
        assert!(message.starts_with("Invalid JSON: "), "{open}: {message}");
        client.expect_closed();
    }
}

#[test]
fn end_of_input_leaves_output_open() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[1]);
    let authenticate = r#"{"command":"authenticate","data":{"vm_id":"a","password":"securePass123"}}"#;
    let list = r#"{"command":"list","data":{"list_type":"all_vms"}}"#;
    client.send(&format!("{authenticate}{list}{list}{PING}"));
    client.half_close();
    let replies = client.rest();
    assert_eq!(replies.lines().count(), 4, "{replies}");
    assert_eq!(replies.matches(r#""vm_id":"a","ram":512"#).count(), 2, "{replies}");
    assert!(replies.ends_with('\n'));
}

/// A browser or a proxy that an attacker makes connect must not get a request accepted after its own headers.
#[test]
fn a_line_of_http_on_a_json_connection_ends_it_and_is_logged_once_a_minute() {
    let mut daemon = Daemon::start();
    for line in ["POST / HTTP/1.1", "GET http://127.0.0.1/ HTTP/1.1", "OPTIONS * HTTP/1.1"] {
        let mut client = daemon.client();
        client.send(&format!("{PING}\n{line}\r\nHost: a\r\n\r\n{PING}\n{PING}"));
        expect_pong(&mut client);
        let message = client.error();
        assert!(message.starts_with("Invalid JSON: "), "{message}");
        client.expect_closed();
    }
    daemon.stop();
    let logged = daemon.log().lines().filter(|line| line.contains("HTTP")).count();
    assert_eq!(logged, 1, "{}", daemon.log());
}

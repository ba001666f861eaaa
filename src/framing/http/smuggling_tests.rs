//! Request smuggling: an ambiguous head or body ends the connection, and a request hidden after it is never read.

use super::HttpPage::Root;
use super::replay_tests::Found::*;
use super::replay_tests::*;
use super::*;
use crate::framing::replay::{Numbers, replay_random, single_bytes};

/// Each stream, followed by another request, gets the error `code` and ends the connection.
fn end_with<T: AsRef<str>>(code: u16, streams: &[T]) {
    let hidden = post("", "{\"hidden\": 1}");
    for stream in streams {
        let stream = stream.as_ref();
        assert_eq!(events(format!("{stream}{hidden}")), [Ended(code)], "{}", stream.escape_debug());
        // The same after a valid request.
        let first = request("GET /", "", "");
        let seen = events(format!("{first}{stream}{hidden}"));
        assert_eq!(seen, [Page(Root), Ended(code)], "second: {}", stream.escape_debug());
    }
}

#[test]
fn ambiguous_body_lengths_are_rejected() {
    let with = |headers: &str| request("POST /", headers, "{}");
    let wrong = [
        "5, 5",
        "+2",
        "-2",
        "0x2",
        "2 2",
        "",
        "2,",
        "2;",
        "2.0",
        "\u{662}",
        "1e1",
        "0b10",
        "2\t2",
        "a",
        "18446744073709551616",
        "99999999999999999999999999999999999999",
    ];
    let lengths: Vec<String> =
        wrong.iter().map(|length| with(&format!("Content-Length: {length}"))).collect();
    end_with(400, &lengths);
    end_with(
        400,
        &[
            with("Content-Length: 2\nContent-Length: 2"),
            with("Content-Length: 2\nContent-Length: 3"),
            with("Content-Length: 2\ncontent-length: 2\nX: y"),
            with("Content-Length: 2\nTransfer-Encoding: chunked"),
            with("Transfer-Encoding: chunked\nContent-Length: 2"),
            with("Transfer-Encoding: identity\nContent-Length: 2"),
            with("Transfer-Encoding:\nContent-Length: 2"),
            with("Transfer-Encoding: chunked\nTransfer-Encoding: chunked\nContent-Length: 2"),
            with("Content-Length : 2"),
            with("Content-Length\t: 2"),
            with("Transfer-Encoding : chunked"),
            with(" Content-Length: 2"),
            with("Content-Length: 2\n folded"),
            with("Content-Length:\n 2"),
            with("Transfer-Encoding:\n chunked"),
            with("X: y\n\tfolded\nContent-Length: 2"),
            with("Content-Length: 2\x0b"),
            with("Transfer-Encoding: \x0bchunked"),
            with("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0"),
        ],
    );
    end_with(
        501,
        &[
            with("Transfer-Encoding: gzip, chunked"),
            with("Transfer-Encoding: chunked, gzip"),
            with("Transfer-Encoding: chunked, identity"),
            with("Transfer-Encoding: chunked\nTransfer-Encoding: chunked"),
            with("Transfer-Encoding: xchunked"),
            with("Transfer-Encoding: chunked;a=b"),
            with("Transfer-Encoding: \"chunked\""),
            with("Transfer-Encoding:"),
        ],
    );
    let chunked = request("POST /", "transfer-encoding:\t CHUNKED \t", "2\r\n{}\r\n0\r\n\r\n");
    assert_eq!(events(chunked), [message("{}"), End]);
}

#[test]
fn lines_end_in_cr_lf() {
    let whole = request("POST /", "X: y\nContent-Length: 2", "{}");
    let ends: Vec<usize> = whole.match_indices("\r\n").map(|(at, _)| at).collect();
    assert_eq!(ends.len(), 5);
    for at in ends {
        for wrong in ["\n", "\r", "\r\r\n", "\n\r", "\r \n", "\n\n"] {
            let stream = format!("{}{wrong}{}", &whole[..at], &whole[at + 2..]);
            end_with(400, &[stream]);
        }
    }
}

#[test]
fn control_bytes_in_a_head_are_rejected() {
    for byte in (0u8..32).chain([127]).filter(|byte| !b"\t\r\n".contains(byte)).map(char::from) {
        end_with(
            400,
            &[
                post(&format!("X: a{byte}b"), "{}"),
                post(&format!("X: {byte}"), "{}"),
                post(&format!("X{byte}: a"), "{}"),
                request(&format!("POST /{byte}"), "Content-Length: 2", "{}"),
            ],
        );
    }
    end_with(
        400,
        &[
            request("POST  /", "Content-Length: 2", "{}"),
            request("POST /a b", "Content-Length: 2", "{}"),
            request("POST\t/", "Content-Length: 2", "{}"),
            request("POST / ", "Content-Length: 2", "{}"),
            request("POST", "Content-Length: 2", "{}"),
            request("POST x", "Content-Length: 2", "{}"),
            request("POST *", "Content-Length: 2", "{}"),
            request("POST https://localhost/", "Content-Length: 2", "{}"),
            request("POST httpx://localhost/", "Content-Length: 2", "{}"),
            request("PO(ST /", "Content-Length: 2", "{}"),
            request("POST /", ": 2", "{}"),
            request("POST /", "no colon", "{}"),
            request("POST /", "a b: c", "{}"),
            request("POST /", "", "").replace("HTTP/1.1", "HTTP/1.2"),
            request("POST /", "", "").replace("HTTP/1.1", "HTTP/2.0"),
            request("POST /", "", "").replace("HTTP/1.1", "HTTP/1.10"),
            request("POST /", "", "").replace("HTTP/1.1", "http/1.1"),
            request("POST /", "", "").replace("HTTP/1.1", "HTTP/1.1 "),
            request("POST /", "", "").replace(" HTTP/1.1", ""),
        ],
    );
}

#[test]
fn a_head_is_limited_in_bytes_and_lines() {
    let empty = request("GET /", "X: ", "");
    let padded = |length: usize| request("GET /", &format!("X: {}", "a".repeat(length - empty.len())), "");
    let most = limits::HTTP_HEAD_BYTES_MAX;
    let whole_and_bytes = |stream: &str| {
        let whole = replay(&[stream.as_bytes()]);
        assert_eq!(replay(&single_bytes(stream.as_bytes())), whole);
        assert_eq!(replay(&stream.as_bytes().chunks(777).collect::<Vec<_>>()), whole);
        whole
    };
    assert_eq!(padded(most).len(), most);
    assert_eq!(whole_and_bytes(&padded(most)), [Page(Root), End]);
    assert_eq!(whole_and_bytes(&padded(most + 1)), [Ended(431)]);
    assert_eq!(whole_and_bytes(&"A".repeat(most - 1)), [Inside]);
    assert_eq!(whole_and_bytes(&"A".repeat(most)), [Ended(431)], "as soon as there is no room for its end");
    let lines = |count: usize| request("GET /", &"X: y\n".repeat(count - 1), "");
    assert_eq!(events(lines(limits::HTTP_HEADERS_MAX)), [Page(Root), End]);
    assert_eq!(events(lines(limits::HTTP_HEADERS_MAX + 1)), [Ended(431)]);
}

#[test]
fn a_chunked_body_ends_with_its_last_chunk() {
    let chunked = |body: &str| request("POST /", "Transfer-Encoding: chunked", body);
    let get = request("GET /", "", "");
    let (fits, surplus) = ("x".repeat(BODY_BYTES_MAX), "x".repeat(BODY_BYTES_MAX - 1));
    check(&[
        (chunked("0\r\n\r\n"), &[message(""), End]),
        (chunked("2\r\n{}\r\n0\r\n\r\n"), &[message("{}"), End]),
        (chunked("002;a=b\r\n{}\r\n00;c\r\nX: y\r\n\r\n") + &get, &[message("{}"), Page(Root), End]),
        (chunked(&format!("40\r\n{fits}\r\n0\r\n\r\n")), &[message(&fits), End]),
        (chunked(&format!("3f\r\n{surplus}\r\n1\r\nx\r\n0\r\n\r\n")), &[message(&fits), End]),
        (chunked("2\r\n{"), &[Inside]),
        (chunked("2\r\n{}\r\n0\r\n"), &[Inside]),
    ]);
    end_with(
        413,
        &[chunked("41\r\n"), chunked("ffffffffffffffff\r\n"), chunked(&format!("3f\r\n{surplus}\r\n2\r\n"))],
    );
    end_with(
        400,
        &[
            chunked("+2\r\n{}\r\n0\r\n\r\n"),
            chunked("0x2\r\n{}\r\n0\r\n\r\n"),
            chunked("2\n{}\r\n0\r\n\r\n"),
            chunked("1\r\n{}\r\n0\r\n\r\n"),
            chunked("10000000000000002\r\n{}\r\n0\r\n\r\n"),
            chunked("2\r\n{}\r\n0\r\nbad trailer\r\n\r\n"),
            chunked("2\r\n{}\r\n0\r\nX: y\n\r\n"),
            chunked("\r\n{}\r\n0\r\n\r\n"),
        ],
    );
}

/// Bodies may contain a password, heads a token.
#[test]
fn processed_bytes_are_consumed() {
    let (mut http, mut input, mut output) = (Http::default(), Buffer::new(), Buffer::new());
    input.push(
        request("POST /", "Authorization: Bearer t\nTransfer-Encoding: chunked", "2\r\n{}\r\n").as_bytes(),
    );
    assert_eq!(http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules()), HttpEvent::NeedMore);
    assert!(input.is_empty());
    input.push(b"0\r\n\r\n");
    let event = http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules());
    assert_eq!(event, HttpEvent::Message);
    assert_eq!(http.body(&input), b"{}");
    let authorization = http.take_authorization();
    assert!(!format!("{authorization:?}").contains("\"t\""), "{authorization:?}");
    http.consume(&mut input);
    assert_eq!(http.body(&input), b"");
}

/// Complete and truncated requests in sequence, in chunks of any size.
#[test]
fn events_do_not_depend_on_chunking() {
    let words = [
        request("GET /", "", ""),
        request("GET /nothing", "", ""),
        request("HEAD /healthz", "Connection: keep-alive", ""),
        post("", "{}"),
        post("Authorization: Bearer token", "{}"),
        post("Expect: 100-continue", "{}"),
        request("POST /", "Transfer-Encoding: chunked", "2\r\n{}\r\n3;x\r\n{ }\r\n0\r\nA: b\r\n\r\n"),
        request("POST /", "Transfer-Encoding: chunked", "2\r\n{}\r\n"),
        "POST / HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}".into(),
        "\r\n".into(),
        "0\r\n\r\n".into(),
        "GET / HTTP/1.1\r\n".into(),
        post("Connection: close", "{}"),
    ];
    let mut kinds = std::collections::BTreeMap::new();
    let stream = |_, numbers: &mut Numbers| {
        let count = numbers.below(8);
        (0..count).flat_map(|_| words[numbers.below(words.len())].bytes()).collect()
    };
    for event in replay_random(80, stream, replay) {
        let kind = format!("{event:?}").split(|c: char| !c.is_alphabetic()).next().map(str::to_owned);
        *kinds.entry(kind).or_insert(0) += 1;
    }
    assert!(kinds.len() >= 9 && kinds.values().all(|count| *count > 100), "all came up often: {kinds:?}");
}

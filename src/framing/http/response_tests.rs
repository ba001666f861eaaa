//! Responses, byte for byte.

use super::*;

fn written(write: impl FnOnce(&mut Buffer)) -> String {
    let mut output = Buffer::new();
    output.push(b"before ");
    write(&mut output);
    let text = String::from_utf8(output.as_slice().to_vec()).unwrap();
    text.strip_prefix("before ").expect("what was queued stays").into()
}

fn date() -> HttpDate {
    HttpDate::new(crate::clock::UnixSeconds(784_111_777))
}

fn whole(exchange: &Exchange, status: Status, content_type: ContentType, body: &str) -> String {
    written(|output| {
        exchange.write_whole(status, content_type, &date(), output, |bytes| bytes.extend(body.bytes()))
    })
}

const KEPT: Exchange = Exchange {
    version: Version::Http11,
    is_head: false,
    closes: false,
    is_forwarded: false,
    verb_path: None,
    allowed_origin: None,
};

#[test]
fn a_response_has_a_length_and_the_headers_of_its_status() {
    let json = "Content-Type: application/json\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nCache-Control: no-store\r\n";
    let closing = Exchange { closes: true, ..KEPT };
    let old = Exchange { version: Version::Http10, ..KEPT };
    let old_closing = Exchange { version: Version::Http10, ..closing.clone() };
    let cases = [
        (&KEPT, Status::Ok, "200 OK", ""),
        (&closing, Status::Ok, "200 OK", "Connection: close\r\n"),
        (&old, Status::Ok, "200 OK", "Connection: keep-alive\r\n"),
        (&old_closing, Status::Ok, "200 OK", "Connection: close\r\n"),
        (&KEPT, Status::Unauthorized, "401 Unauthorized", "WWW-Authenticate: Bearer\r\n"),
        (&KEPT, Status::Unavailable, "503 Service Unavailable", "Retry-After: 1\r\n"),
        (
            &KEPT,
            Status::MethodNotAllowed(Methods::Post),
            "405 Method Not Allowed",
            "Allow: POST, OPTIONS\r\n",
        ),
        (
            &closing,
            Status::UpgradeRequired,
            "426 Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: close, upgrade\r\n",
        ),
        (
            &KEPT,
            Status::UpgradeRequired,
            "426 Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: upgrade\r\n",
        ),
        (&closing, Status::HeadTooLarge, "431 Request Header Fields Too Large", "Connection: close\r\n"),
    ];
    for (exchange, status, line, headers) in cases {
        let expected = format!("HTTP/1.1 {line}\r\n{json}{headers}Content-Length: 3\r\n\r\n{{}}\n");
        assert_eq!(whole(exchange, status, ContentType::Json, "{}\n"), expected);
        assert_eq!(status.code().to_string(), line[..3]);
    }
}

#[test]
fn an_allowed_origin_is_named_in_the_response() {
    let date = date();
    let exchange = Exchange { allowed_origin: Some(Box::new((*b"https://vms.example.org").into())), ..KEPT };
    let shared = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nCache-Control: no-store\r\n";
    let allowed = "Access-Control-Allow-Origin: https://vms.example.org\r\nVary: Origin\r\n";
    let answer = written(|output| {
        exchange.write_whole(Status::Unavailable, ContentType::Json, &date, output, |bytes| bytes.push(b'x'));
    });
    let expected = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n{shared}Retry-After: 1\r\n{allowed}\
         Content-Length: 1\r\n\r\nx"
    );
    assert_eq!(answer, expected);
    let answer = written(|output| exchange.write_methods(Methods::Post, &date, output));
    let expected = format!(
        "HTTP/1.1 204 No Content\r\nAllow: POST, OPTIONS\r\nAccess-Control-Allow-Methods: POST, OPTIONS\r\n\
         Access-Control-Allow-Headers: Authorization, Content-Type\r\nAccess-Control-Max-Age: 600\r\n{shared}{allowed}\r\n"
    );
    assert_eq!(answer, expected);
    let answer = written(|output| KEPT.write_methods(Methods::Read, &date, output));
    assert_eq!(answer, format!("HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, OPTIONS\r\n{shared}\r\n"));
}

#[test]
fn content_length_is_correct_at_every_size() {
    for length in [0, 1, 9, 10, 99, 100, 12_345, 1_000_000] {
        let body: String = (0..length).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
        let answer = whole(&KEPT, Status::Ok, ContentType::Json, &body);
        assert!(answer.ends_with(&format!("Content-Length: {length}\r\n\r\n{body}")), "{length}");
        let head = whole(&Exchange { is_head: true, ..KEPT }, Status::Ok, ContentType::Json, &body);
        assert!(head.ends_with(&format!("Content-Length: {length}\r\n\r\n")), "{length}");
    }
}

#[test]
fn text_responses_forbid_content_sniffing() {
    let page = whole(&KEPT, Status::Ok, ContentType::Text, "hello");
    assert!(page.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{page}");
    assert!(page.contains("\r\nX-Content-Type-Options: nosniff\r\n"), "{page}");
}

#[test]
fn pages_are_sent_as_chunks() {
    let answer = written(|output| {
        let mut exchange = KEPT;
        exchange.begin_pages(ContentType::Json, &date(), output);
        exchange.write_page(false, output, |bytes| bytes.extend(b"[1,"));
        exchange.write_page(false, output, |_| ());
        exchange.write_page(false, output, |bytes| bytes.extend([b' '; 300]));
        exchange.write_page(true, output, |bytes| bytes.extend(b"2]\n"));
        assert!(!exchange.closes);
    });
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let json = "Content-Type: application/json\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nCache-Control: no-store\r\n";
    assert_eq!(head, format!("HTTP/1.1 200 OK\r\n{json}Transfer-Encoding: chunked"));
    let blank = " ".repeat(300);
    assert_eq!(body, format!("00000003\r\n[1,\r\n0000012c\r\n{blank}\r\n00000003\r\n2]\n\r\n0\r\n\r\n"));
}

#[test]
fn an_empty_last_page_ends_the_body() {
    let end = written(|output| KEPT.write_page(true, output, |_| ()));
    assert_eq!(end, "0\r\n\r\n");
}

#[test]
fn an_upgrade_response_is_written_byte_for_byte() {
    let answer = written(|output| write_upgrade("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", output));
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(answer, expected);
}

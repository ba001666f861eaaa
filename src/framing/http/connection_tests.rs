//! Requests on one connection: kinds, order and the end of the connection.

use super::HttpPage::{Health, Links, Root};
use super::replay_tests::Found::*;
use super::replay_tests::*;
use super::*;

fn write_whole(http: &Http, status: Status, content_type: ContentType, body: &[u8], output: &mut Buffer) {
    http.exchange.write_whole(status, content_type, &date(), output, |bytes| bytes.extend_from_slice(body));
}

#[test]
fn a_post_is_a_message_and_a_get_a_page() {
    check(&[
        (post("", "{}"), &[message("{}"), End]),
        (post("", ""), &[message(""), End]),
        (request("POST /any/path?with=query", "content-length: 2", "{}"), &[message("{}"), End]),
        (request("POST http://localhost:8888/", "Content-Length: 002", "{}"), &[message("{}"), End]),
        (request("POST HTTP://localhost", "Content-Length: 2", "{}"), &[message("{}"), End]),
        (request("POST /healthz/x", "Content-Length: 2", "{}"), &[message("{}"), End]),
        (post("Content-Type: application/x-www-form-urlencoded", "{}"), &[message("{}"), End]),
        (post("Content-Type: text/plain", "{}"), &[message("{}"), End]),
        (post("Content-Type: multipartial", "{}"), &[message("{}"), End]),
        (post("Content-Type: Multipart/form-data; boundary=x", "{}"), &[Ended(415)]),
        (post("Content-Type: text/plain\nContent-Type: multipart/mixed", "{}"), &[Ended(415)]),
        (post("Content-Type: multipart/mixed", ""), &[Refused(415), End]),
        (post("Content-Encoding: gzip", "{}"), &[Ended(415)]),
        (post("content-encoding: BR, identity", "{}"), &[Ended(415)]),
        (post("Content-Encoding: identity\nContent-Encoding: zstd", "{}"), &[Ended(415)]),
        (post("Content-Encoding: deflate", ""), &[Refused(415), End]),
        (post("Content-Encoding: Identity", "{}"), &[message("{}"), End]),
        (post("Content-Encoding:", "{}"), &[message("{}"), End]),
        (request("GET /", "", ""), &[Page(Root), End]),
        (request("HEAD /", "", ""), &[Page(Root), End]),
        (request("GET /?a=b", "", ""), &[Page(Root), End]),
        (request("GET http://localhost?a/b", "", ""), &[Page(Root), End]),
        (request("GET /", "Accept: application/json", ""), &[Page(Links), End]),
        (request("HEAD /", "accept: text/html, Application/JSON;q=0.9", ""), &[Page(Links), End]),
        (request("GET /", "Accept: */*", ""), &[Page(Root), End]),
        (request("GET /healthz", "Accept: application/json", ""), &[Page(Health), End]),
        (request("GET /healthz", "", ""), &[Page(Health), End]),
        (request("HEAD /healthz?", "", ""), &[Page(Health), End]),
        (request("GET http://LOCALHOST:1/healthz#", "", ""), &[Page(Health), End]),
        (request("GET /healthz/", "", ""), &[Refused(404), End]),
        (request("GET //", "", ""), &[Refused(404), End]),
        (request("HEAD /x", "", ""), &[Refused(404), End]),
        (request("GET /stat", "", ""), &[message(""), End]),
        (request("HEAD /STAT?a", "", ""), &[message(""), End]),
        (request("GET /stat", "Content-Length: 2", "{}"), &[message("{}"), End]),
        (request("POST /Stat", "", ""), &[message(""), End]),
        (request("POST /stat", "Content-Length: 2", "{}"), &[message("{}"), End]),
        (request("POST /create", "", ""), &[message(""), End]),
        (request("POST /DESTROY", "Content-Length: 2", "{}"), &[message("{}"), End]),
        (request("GET /stat/", "", ""), &[Refused(404), End]),
        (request("GET /create/x", "", ""), &[Refused(404), End]),
        (request("POST /create/x", "Content-Length: 2", "{}"), &[message("{}"), End]),
        (request("POST /stat/", "", ""), &[Refused(411), End]),
    ]);
}

#[test]
fn other_methods_get_405_with_the_allowed_ones() {
    let methods = [
        ("POST /healthz", "GET, HEAD, OPTIONS"),
        ("PUT /healthz", "GET, HEAD, OPTIONS"),
        ("PUT /", "GET, HEAD, POST, OPTIONS"),
        ("DELETE /x", "POST, OPTIONS"),
        ("PUT /stat", "GET, HEAD, POST, OPTIONS"),
        ("GET /create", "POST, OPTIONS"),
        ("HEAD /Destroy", "POST, OPTIONS"),
        ("PUT /create", "POST, OPTIONS"),
        ("TRACE /x", "POST, OPTIONS"),
        ("PATCH /x", "POST, OPTIONS"),
    ];
    for (first, allowed) in methods {
        let stream = request(first, "", "");
        assert_eq!(events(&stream), [Refused(405), End], "{first}");
        assert_eq!(events(request(first, "Content-Length: 2", "{}")), [Ended(405)], "{first} with a body");
        let (mut input, mut output) = (Buffer::new(), Buffer::new());
        input.push(stream.as_bytes());
        let event = Http::default().next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules());
        let HttpEvent::Refused(refused) = event else { panic!("{event:?}") };
        let Status::MethodNotAllowed(methods) = refused.status else { panic!("{first}: {refused:?}") };
        assert_eq!(methods.as_str(), allowed, "{first}");
    }
    check(&[
        (request("CONNECT localhost:443", "", ""), &[Ended(405)]),
        (request("BREW /", "", ""), &[Refused(501), End]),
        (request("get /", "", ""), &[Refused(501), End]),
        (request("QUERY /", "Content-Length: 1", "x"), &[Ended(501)]),
    ]);
}

#[test]
fn options_lists_the_allowed_methods() {
    check(&[
        (request("OPTIONS *", "", ""), &[Options("GET, HEAD, POST, OPTIONS"), End]),
        (request("OPTIONS /", "", ""), &[Options("GET, HEAD, POST, OPTIONS"), End]),
        (request("OPTIONS /?x", "Content-Length: 0", ""), &[Options("GET, HEAD, POST, OPTIONS"), End]),
        (request("OPTIONS /healthz", "", ""), &[Options("GET, HEAD, OPTIONS"), End]),
        (request("OPTIONS /stat", "", ""), &[Options("GET, HEAD, POST, OPTIONS"), End]),
        (request("OPTIONS /Create", "", ""), &[Options("POST, OPTIONS"), End]),
        (request("OPTIONS /destroy", "", ""), &[Options("POST, OPTIONS"), End]),
        (request("OPTIONS /stat/x", "", ""), &[Options("POST, OPTIONS"), End]),
        (request("OPTIONS /x", "", ""), &[Options("POST, OPTIONS"), End]),
        (request("OPTIONS /x", "Content-Length: 2", "{}"), &[Options("POST, OPTIONS"), Closed]),
        (
            request("OPTIONS /x", "Transfer-Encoding: chunked", "0\r\n\r\n"),
            &[Options("POST, OPTIONS"), Closed],
        ),
        // The health check of HAProxy.
        ("OPTIONS / HTTP/1.0\r\n\r\n".into(), &[Options("GET, HEAD, POST, OPTIONS"), Closed]),
    ]);
}

#[test]
fn a_body_is_read_only_within_its_limit() {
    let fits = "x".repeat(BODY_BYTES_MAX);
    let sized = |length: &str| request("POST /", &format!("Content-Length: {length}"), "");
    check(&[
        (post("", &fits), &[message(&fits), End]),
        (sized("65"), &[Ended(413)]),
        (sized("18446744073709551615"), &[Ended(413)]),
        (sized("18446744073709551616"), &[Ended(400)]),
        (request("POST /", "", ""), &[Refused(411), End]),
        ("POST / HTTP/1.0\r\n\r\n".into(), &[Ended(411)]),
        (sized("3"), &[Inside]),
        (sized("2") + "{", &[Inside]),
        // The body of a GET is not read and cannot be distinguished from the next request.
        (request("GET /", "Content-Length: 0", ""), &[Page(Root), End]),
        (request("GET /", "Content-Length: 2", "{}"), &[Page(Root), Closed]),
        (request("GET /", "Transfer-Encoding: chunked", "0\r\n\r\n"), &[Page(Root), Closed]),
        (request("GET /x", "Content-Length: 2", "{}"), &[Ended(404)]),
    ]);
}

#[test]
fn continue_is_sent_only_if_the_body_will_be_read() {
    let expecting = |headers: &str, body: &str| request("POST /", &format!("Expect: {headers}"), body);
    check(&[
        (expecting("100-continue\nContent-Length: 2", "{}"), &[Continue, message("{}"), End]),
        (expecting("100-CONTINUE\nContent-Length: 2", ""), &[Continue, Inside]),
        (
            expecting("100-continue\nTransfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n"),
            &[Continue, message("{}"), End],
        ),
        (expecting("100-continue\nContent-Length: 0", ""), &[message(""), End]),
        (expecting("100-continue\nContent-Length: 65", ""), &[Ended(413)]),
        (expecting("100-continue\nContent-Length: 2\nOrigin: http://evil.example", ""), &[Ended(403)]),
        (expecting("100-continue\nContent-Length: 2\nContent-Type: multipart/mixed", ""), &[Ended(415)]),
        (expecting("100-continue\nContent-Length: 2\nContent-Length: 2", ""), &[Ended(400)]),
        (expecting("100-continue", ""), &[Refused(411), End]),
        (expecting("200-ok\nContent-Length: 2", "{}"), &[Ended(417)]),
        (expecting("100-continue, x\nContent-Length: 2", "{}"), &[Ended(417)]),
        (expecting("x\nExpect: 100-continue\nContent-Length: 2", "{}"), &[Ended(417)]),
        (request("GET /", "Expect: x", ""), &[Refused(417), End]),
        (request("GET /", "Expect: 100-continue", ""), &[Page(Root), End]),
        (
            "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}".into(),
            &[message("{}"), Closed],
        ),
    ]);
}

#[test]
fn pipelined_requests_are_returned_in_order() {
    let (get, end) = (request("GET /", "", ""), request("GET /", "Connection: close", ""));
    let chunked = request("POST /", "Transfer-Encoding: chunked", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n");
    check(&[
        (post("", "{}") + &post("", "[]") + &get, &[message("{}"), message("[]"), Page(Root), End]),
        (chunked.clone() + &chunked + &get, &[message("{}"), message("{}"), Page(Root), End]),
        (request("GET /x", "", "") + &get, &[Refused(404), Page(Root), End]),
        (end.clone() + &get, &[Page(Root), Closed]),
        (post("Connection: close", "{}") + &get, &[message("{}"), Closed]),
        (post("Connection: x, Close", "{}") + &get, &[message("{}"), Closed]),
        (post("Connection: keep-alive\nConnection: ,close,", "{}") + &get, &[message("{}"), Closed]),
        (post("Connection: keep-alive, closed", "{}") + &get, &[message("{}"), Page(Root), End]),
        (request("GET /x", "Connection: close", "") + &get, &[Ended(404)]),
        ("GET / HTTP/1.0\r\n\r\n".to_string() + &get, &[Page(Root), Closed]),
        (
            "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n".to_string() + &get,
            &[Page(Root), Page(Root), End],
        ),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n".to_string() + &get, &[Page(Root), Closed]),
    ]);
}

#[test]
fn white_space_before_a_request_has_a_limit() {
    let get = request("GET /", "", "");
    let blank = |count: usize| "\r\n".repeat(count);
    let (most, more) = (limits::HTTP_BLANK_BYTES_MAX / 2, limits::HTTP_BLANK_BYTES_MAX / 2 + 1);
    check(&[
        (format!(" \t\r\n\n{get}"), &[Page(Root), End]),
        (blank(most) + &get, &[Page(Root), End]),
        (blank(more) + &get, &[Ended(400)]),
        (format!("{get}{}{get}", blank(most)), &[Page(Root), Page(Root), End]),
        (format!("{get}{}{get}", blank(more)), &[Page(Root), Ended(400)]),
        (format!("{get}\r\n{get}\r\n"), &[Page(Root), Page(Root), End]),
        (format!("{get}\r"), &[Page(Root), End]),
        (format!("{get}\r{get}"), &[Page(Root), Ended(400)]),
        (format!("{get}\n{get}"), &[Page(Root), Ended(400)]),
        (format!("{get} {get}"), &[Page(Root), Ended(400)]),
        (String::new(), &[End]),
        (" ".into(), &[End]),
        ("G".into(), &[Inside]),
    ]);
}

#[test]
fn websocket_handshakes_are_recognized() {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = "Upgrade: websocket\nConnection: Upgrade\n".to_string();
    let asks = upgrade.clone() + "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let with = |first: &str, headers: &str| request(first, headers, "");
    let seen = Upgrade(KEY.into());
    check(&[
        (with("GET /chat", &asks), std::slice::from_ref(&seen)),
        (with("GET /", &asks.replace("websocket", "h2c, WebSocket")), std::slice::from_ref(&seen)),
        (with("GET /", &asks.replace(": Upgrade", ": keep-alive, upgrade")), std::slice::from_ref(&seen)),
        (with("GET /", &format!("{asks}\nOrigin: http://localhost:8888")), std::slice::from_ref(&seen)),
        (with("GET /", &format!("{asks}\nContent-Length: 0")), std::slice::from_ref(&seen)),
        (with("GET /", &format!("{asks}\nOrigin: http://localhost:8889")), &[Ended(403)]),
        (with("GET /", &format!("{asks}\nOrigin: http://evil.example")), &[Ended(403)]),
        (with("GET /", &format!("{asks}\nSec-Fetch-Site: cross-site")), &[Ended(403)]),
        (with("GET /", &format!("{asks}\nContent-Length: 1")), &[Ended(400)]),
        (with("GET /", &asks.replace("13", "8")), &[Refused(426), End]),
        (with("GET /", &asks.replace("13", "13, 8")), &[Refused(426), End]),
        (with("GET /", &format!("{asks}\nSec-WebSocket-Version: 13")), &[Refused(426), End]),
        (with("GET /", &format!("{upgrade}Sec-WebSocket-Key: {KEY}")), &[Refused(426), End]),
        (with("GET /", &asks.replace("ZQ==", "ZQ=")), &[Ended(400)]),
        (with("GET /", &format!("{upgrade}Sec-WebSocket-Version: 13")), &[Ended(400)]),
        (with("GET /", &format!("{asks}\nSec-WebSocket-Key: {KEY}")), &[Ended(400)]),
        // An incomplete handshake is an ordinary request.
        (with("GET /", &asks.replace("websocket", "h2c")), &[Page(Root), End]),
        (with("GET /x", &asks.replace(": Upgrade", ": keep-alive")), &[Refused(404), End]),
        (with("HEAD /", &asks), &[Page(Root), End]),
        (request("POST /", &format!("{asks}\nContent-Length: 2"), "{}"), &[message("{}"), End]),
        (
            with("GET /", &format!("{asks}\nConnection: close")).replace("HTTP/1.1", "HTTP/1.0"),
            &[Page(Root), Closed],
        ),
    ]);
}

#[test]
fn bytes_after_a_handshake_stay_in_the_input() {
    let handshake = "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let (mut http, mut input, mut output) = (Http::default(), Buffer::new(), Buffer::new());
    input.push(request("GET /", handshake, "\x01\x02").as_bytes());
    let event = http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules());
    assert!(matches!(event, HttpEvent::Upgrade(_)), "{event:?}");
    assert_eq!(input.as_slice(), b"\x01\x02");
    assert_eq!(http.incomplete(), None);
}

#[test]
fn authorization_is_one_bearer_token_or_unusable() {
    let from = |headers: &str| post(headers, "{}");
    let bad_token = [MessageWithBadToken("{}".into()), End];
    check(&[
        (
            from("Authorization: Bearer abc-._~+/09=="),
            &[MessageFrom("abc-._~+/09==".into(), "{}".into()), End],
        ),
        (from("authorization: BEARER   a"), &[MessageFrom("a".into(), "{}".into()), End]),
        (from("Authorization: Bearer a\nAuthorization: Bearer a"), &bad_token),
        (from("Authorization: Basic dXNlcjpwYXNz"), &bad_token),
        (from("Authorization:"), &bad_token),
    ]);
    let chunked = "Authorization: Bearer t\nTransfer-Encoding: chunked";
    let seen = [MessageFrom("t".into(), "{}".into()), End];
    assert_eq!(events(request("POST /", chunked, "2\r\n{}\r\n0\r\n\r\n")), seen);
    // Credentials do not carry over to the next request.
    let both = from("Authorization: Bearer t") + &from("");
    assert_eq!(events(both), [MessageFrom("t".into(), "{}".into()), message("{}"), End]);
}

#[test]
fn each_incomplete_request_has_its_own_number() {
    let (mut http, mut input, mut output) = (Http::default(), Buffer::new(), Buffer::new());
    let mut numbers = Vec::new();
    for byte in (post("", "{}") + "\r\n" + &post("", "{}")).bytes() {
        input.push(&[byte]);
        http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules());
        numbers.push(http.incomplete());
        http.consume(&mut input);
    }
    let length = post("", "{}").len();
    assert!(numbers[..length - 1].iter().all(|number| *number == Some(1)), "from its first byte on");
    assert_eq!(numbers[length - 1..length + 2], [None, None, None], "between requests there is none");
    assert!(numbers[length + 2..2 * length + 1].iter().all(|number| *number == Some(2)));
    assert_eq!(numbers.last(), Some(&None));
}

#[test]
fn finish_makes_the_next_response_the_last() {
    for sent in [&post("", "{}")[..9], &post("", "{}")[..post("", "{}").len() - 1]] {
        let (mut http, mut input, mut output) = (Http::default(), Buffer::new(), Buffer::new());
        input.push(sent.as_bytes());
        assert_eq!(http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules()), HttpEvent::NeedMore);
        assert!(http.is_inside_message());
        http.finish();
        assert!(http.exchange.closes && !http.is_inside_message());
        write_whole(&http, Status::RequestTimeout, ContentType::Json, b"{}\n", &mut output);
        let answer = String::from_utf8_lossy(output.as_slice()).into_owned();
        assert!(
            answer.starts_with("HTTP/1.1 408 ") && answer.contains("\r\nConnection: close\r\n"),
            "{answer}"
        );
        input.push(post("", "{}").as_bytes());
        assert_eq!(http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules()), HttpEvent::NeedMore);
    }
}

#[test]
fn only_a_head_response_has_no_body() {
    let (mut http, mut input, mut output) = (Http::default(), Buffer::new(), Buffer::new());
    input.push((request("HEAD /", "", "") + &request("GET /", "", "")).as_bytes());
    assert_eq!(http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules()), HttpEvent::Page(Root));
    write_whole(&http, Status::Ok, ContentType::Text, b"hello", &mut output);
    let head = output.as_slice().to_vec();
    assert!(head.ends_with(b"\r\n\r\n"), "{}", head.escape_ascii());
    output.clear();
    assert_eq!(http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules()), HttpEvent::Page(Root));
    write_whole(&http, Status::Ok, ContentType::Text, b"hello", &mut output);
    assert_eq!(output.as_slice(), [&head[..], b"hello"].concat(), "the same but for the body");
}

/// An error before a request uses the default response format, not that of the previous request.
#[test]
fn an_error_between_requests_ignores_the_previous_request() {
    let (mut http, mut input, mut output) = (Http::default(), Buffer::new(), Buffer::new());
    input.push(b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules()), HttpEvent::Page(Root));
    input.push("\r\n".repeat(limits::HTTP_BLANK_BYTES_MAX).as_bytes());
    let event = http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules());
    assert!(matches!(
        event,
        HttpEvent::Refused(response::HttpError { status: Status::BadRequest, closes: true, .. })
    ));
    write_whole(&http, Status::BadRequest, ContentType::Json, b"{}\n", &mut output);
    assert!(output.as_slice().ends_with(b"\r\n\r\n{}\n"));
}

#[test]
fn pages_end_a_connection_of_http_1_0() {
    let (mut http, mut input, mut output) = (Http::default(), Buffer::new(), Buffer::new());
    input.push(
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.0\r\n\r\n",
    );
    let event = http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules());
    assert_eq!(event, HttpEvent::Message);
    http.consume(&mut input);
    assert!(!http.exchange.closes);
    http.exchange.begin_pages(ContentType::Json, &date(), &mut output);
    assert!(http.exchange.closes);
    http.exchange.write_page(false, &mut output, |bytes| bytes.extend_from_slice(b"[1,"));
    http.exchange.write_page(true, &mut output, |bytes| bytes.extend_from_slice(b"2]"));
    let answer = String::from_utf8_lossy(output.as_slice()).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Connection: close") && !head.contains("Transfer-Encoding"), "{head}");
    assert_eq!(body, "[1,2]");
    assert_eq!(http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules()), HttpEvent::NeedMore);
}

//! Properties that hold for any input: in every framing and dialect one end decodes what the other end encodes, in
//! whatever parts it arrives.
//!
//! Each test tries many cases; the number in a failure is the seed of its case.

use super::client_codec::{ClientCodec, HttpStyle, ServerMessage, frame};
use super::codec;
use super::framing::Framing;
use super::random::Random;
use super::request_texts::{any_request, text};
use vmherd::internals::buffer::Buffer;
use vmherd::internals::clock::{HttpDate, UnixSeconds};
use vmherd::internals::dialect::{convert, decode_json, encode_answer};
use vmherd::internals::framing::http::{
    self, Authorization, BodyBytesMax, ContentType, Http, HttpListener, Status,
};
use vmherd::internals::framing::raw_json::{self, RawJson};
use vmherd::internals::framing::websocket::{self, WebSocket};
use vmherd::internals::model::{Answer, Dialect, Request, RequestId};

const CASES: u64 = 1000;

/// Splits bytes into random parts.
fn split<'a>(mut bytes: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let (largest, mut parts) = (random.pick(&[1, 7, 300, usize::MAX]), Vec::new());
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at(random.between(1, largest.min(bytes.len())));
        parts.push(part);
        bytes = rest;
    }
    parts
}

/// Letters, often as many as where the header of a frame changes.
fn body(random: &mut Random) -> String {
    let length = match random.between(0, 9) {
        0 => random.pick(&[0, 125, 126, 65_535, 65_536]),
        _ => random.mostly_few(0, 3000),
    };
    (0..length).map(|index| char::from(b'a' + (index % 23) as u8)).collect()
}

/// Checks that `client` reads the texts of `sent` in `stream`, and nothing else.
fn assert_responses(
    mut client: ClientCodec,
    stream: &[u8],
    sent: Vec<String>,
    status: Option<u16>,
    case: u64,
    random: &mut Random,
) {
    let mut received = Vec::new();
    for part in split(stream, random) {
        received.extend(client.decode(part).unwrap_or_else(|why| panic!("case {case}: {why}")));
    }
    let sent: Vec<_> = sent.into_iter().map(|text| ServerMessage::Response(text, status)).collect();
    assert!(received == sent && client.is_at_boundary(), "case {case}");
}

#[test]
fn the_server_reads_what_a_websocket_client_sends() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let (mut client, mut server) = (ClientCodec::new(Framing::WebSocket), WebSocket::default());
        client.awaits_handshake = false;
        let sent: Vec<String> = (0..random.between(1, 5)).map(|_| body(&mut random)).collect();
        let stream: Vec<u8> =
            sent.iter().flat_map(|text| client.frames(text.as_bytes(), &mut random)).collect();
        let (mut input, mut output, mut received) = (Buffer::new(), Buffer::new(), Vec::new());
        for part in split(&stream, &mut random) {
            input.push(part);
            loop {
                match server.next(&mut input, &mut output, 1 << 20) {
                    websocket::WebSocketEvent::NeedMore => break,
                    websocket::WebSocketEvent::Frame => {}
                    websocket::WebSocketEvent::Message(_) => {
                        received.push(String::from_utf8_lossy(server.message(&input)).into_owned());
                        server.consume(&mut input);
                    }
                    other => panic!("case {case}: {other:?}"),
                }
            }
        }
        assert!(received == sent, "case {case}");
        assert_eq!(client.decode(output.as_slice()), Ok(Vec::new()), "case {case}: pongs only");
        assert!(client.has_nothing_pending(), "case {case}: every ping has its pong");
    }
}

#[test]
fn a_websocket_client_reads_what_the_server_frames() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let (mut client, mut output) = (ClientCodec::new(Framing::WebSocket), Buffer::new());
        client.awaits_handshake = false;
        let sent: Vec<String> = (0..random.between(1, 5)).map(|_| body(&mut random)).collect();
        for text in &sent {
            let parts = split(text.as_bytes(), &mut random);
            let parts = if (1..=50).contains(&parts.len()) { parts } else { vec![text.as_bytes()] };
            for (at, part) in parts.iter().enumerate() {
                let append = |bytes: &mut Vec<u8>| bytes.extend_from_slice(part);
                websocket::append_fragment(at == 0, at + 1 == parts.len(), &mut output, append);
            }
        }
        assert_responses(client, output.as_slice(), sent, None, case, &mut random);
    }
}

fn date() -> HttpDate {
    HttpDate::new(UnixSeconds(0))
}

fn write_whole(server: &Http, body: &[u8], output: &mut Buffer) {
    let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(body);
    server.exchange.write_whole(Status::Ok, ContentType::Json, &date(), output, write);
}

/// The tokens and bodies that the server finds in a stream of HTTP.
fn bodies(stream: &[u8], random: &mut Random) -> Vec<(Option<String>, Vec<u8>)> {
    let (mut server, rules) = (Http::default(), HttpListener::default());
    let body_bytes_max = BodyBytesMax { direct: 1 << 20, forwarded: 1 << 20 };
    let (mut input, mut output, mut found) = (Buffer::new(), Buffer::new(), Vec::new());
    for part in split(stream, random) {
        input.push(part);
        loop {
            match server.next(&mut input, &mut output, body_bytes_max, &rules) {
                http::HttpEvent::NeedMore => break,
                http::HttpEvent::Message => {
                    let token = match server.take_authorization() {
                        Authorization::Bearer(token) => Some(token.expose().to_owned()),
                        Authorization::Absent => None,
                        Authorization::Unusable => panic!("an unusable token"),
                    };
                    found.push((token, server.body(&input).to_vec()));
                    server.consume(&mut input);
                    write_whole(&server, b"{}\n", &mut output);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    found
}

#[test]
fn the_server_reads_what_an_http_client_posts() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let (mut sent, mut stream) = (Vec::new(), Vec::new());
        for _ in 0..random.between(1, 4) {
            let body = body(&mut random);
            let http_style = HttpStyle {
                path: None,
                bearer_token: random.chance(30).then(|| format!("{:x}", random.number())),
                is_chunked: random.chance(50),
                expects_continue: random.chance(20),
                is_last: false,
            };
            let (head, encoded) = ClientCodec::request(&body, &http_style, &mut random);
            stream.extend([head, encoded].concat());
            sent.push((http_style.bearer_token, body.into_bytes()));
        }
        assert!(bodies(&stream, &mut random) == sent, "case {case}");
    }
}

#[test]
fn an_http_client_reads_what_the_server_answers() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let client = ClientCodec::new(Framing::Http);
        let (mut server, mut output) = (Http::default(), Buffer::new());
        let sent: Vec<String> = (0..random.between(1, 4)).map(|_| body(&mut random)).collect();
        for text in &sent {
            let (text, is_paged) = (format!("{text}\n").into_bytes(), random.chance(50));
            if !is_paged {
                write_whole(&server, &text, &mut output);
                continue;
            }
            server.exchange.begin_pages(ContentType::Json, &date(), &mut output);
            let parts = split(&text, &mut random);
            for (at, part) in parts.iter().enumerate() {
                let is_last = at + 1 == parts.len();
                server.exchange.write_page(is_last, &mut output, |bytes| bytes.extend_from_slice(part));
            }
        }
        assert_responses(client, output.as_slice(), sent, Some(200), case, &mut random);
    }
}

/// The messages that the server finds in a stream of raw JSON.
fn raw_messages(stream: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    let (mut framing, mut input, mut found) = (RawJson::default(), Buffer::new(), Vec::new());
    for part in split(stream, random) {
        input.push(part);
        loop {
            match framing.next(&mut input, 1 << 20) {
                raw_json::JsonEvent::NeedMore => break,
                raw_json::JsonEvent::Message(length) => {
                    found.push(input.as_slice()[..length].to_vec());
                    input.consume(length);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    found
}

#[test]
fn requests_round_trip_through_every_framing() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let meant: Vec<(Request, String)> =
            (0..random.between(1, 4)).map(|_| any_request(&mut random)).collect();
        let texts: Vec<Vec<u8>> = meant.iter().map(|(_, text)| text.clone().into_bytes()).collect();
        for ((request, text), bytes) in meant.iter().zip(&texts) {
            assert_eq!(
                decode_json(bytes, &Default::default()).as_deref(),
                Ok(request),
                "case {case}: {text}"
            );
        }
        let between = random.pick(&["", "\n", " \r\n"]);
        let lines: Vec<u8> = texts.iter().flat_map(|text| [text, between.as_bytes()].concat()).collect();
        assert!(raw_messages(&lines, &mut random) == texts, "case {case}: raw JSON");
        let (mut posts, mut frames) = (Vec::new(), Vec::new());
        for (_, text) in &meant {
            let http_style = HttpStyle { is_chunked: random.chance(50), ..HttpStyle::default() };
            let (head, body) = ClientCodec::request(text, &http_style, &mut random);
            posts.extend([head, body].concat());
            frame(true, codec::TEXT, text.as_bytes(), &mut random, &mut frames);
        }
        let posted: Vec<Vec<u8>> = bodies(&posts, &mut random).into_iter().map(|(_, body)| body).collect();
        assert!(posted == texts, "case {case}: HTTP");
    }
}

#[test]
fn encoded_conversions_decode_to_the_same_entities() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let unique = |at: usize, random: &mut Random| format!("{at}{}", text(random, 10));
        let entities: Vec<(String, Vec<(String, String)>)> = (0..random.mostly_few(0, 20))
            .map(|at| {
                let parameters = (0..random.between(1, 5))
                    .map(|at| (unique(at, &mut random), format!("={}", text(&mut random, 10))))
                    .collect();
                (unique(at, &mut random), parameters)
            })
            .collect();
        let mut packed = String::new();
        for (name, parameters) in &entities {
            packed += name;
            for (name, value) in parameters {
                packed += &format!("&&{name}&&{value}");
            }
            packed += "%%";
        }
        let mut encoded = Vec::new();
        let (id, answer) = (RequestId("7".into()), Answer::Converted(convert(&packed)));
        encode_answer(Dialect::Conversion, Some(&id), &answer, &mut encoded);
        let value: serde_json::Value = serde_json::from_slice(&encoded).expect("a reply is JSON");
        let data = value["data"].as_object().expect("data is an object");
        assert_eq!(data.len(), entities.len(), "case {case}");
        for (name, parameters) in &entities {
            let read = data[name].as_object().expect("an entity is an object");
            assert_eq!(read.len(), parameters.len(), "case {case}");
            assert!(parameters.iter().all(|(name, value)| read[name] == *value), "case {case}");
        }
    }
}

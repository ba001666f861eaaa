//! Points over every framing: a point that is put over one is got over all others, in pages of long answers, too.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, request};
use crate::web::{CONTINUATION, TEXT, Web, message, post};

/// Points of the long answer: about twenty pages.
const POINTS: usize = 20_000;
/// Points in one request.
const BATCH: usize = 4000;

#[test]
fn a_point_round_trips_over_each_framing() {
    let daemon = Daemon::start();
    let mut json_client = daemon.client();
    let mut text = daemon.client();
    let mut http = Web::connect(daemon.address());
    let mut websocket = Web::websocket(daemon.address());
    let put = |id: &str, value: f64| {
        let data = json!({"key": "k", "value": value, "timestamp": 7});
        json!({"request_id": id, "command": "put", "data": data}).to_string()
    };
    let get = json!({"request_id": 1.5, "command": "get", "data": {"key": "k"}}).to_string();
    let is_put = |id: &str| {
        format!("{{\"request_id\":\"{id}\",\"status\":\"success\",\"message\":\"ok\",\"data\":{{}}}}")
    };
    let mut expect = |value: f64, http: &mut Web, websocket: &mut Web, text: &mut Client| {
        let found = format!(
            "{{\"request_id\":1.5,\"status\":\"success\",\"message\":null,\"data\":{{\"k\":[[7,{value:?}]]}}}}"
        );
        json_client.send(&get);
        assert_eq!(json_client.raw_line(), found);
        http.send(post(&get));
        let reply = http.reply();
        assert_eq!((reply.status, reply.body), (200, format!("{found}\n")));
        websocket.send(message(&get));
        assert_eq!(websocket.message(), found);
        assert_eq!(text.call_text("get k"), format!("ok\nk {value:?} 7\n\n"));
    };
    http.send(post(&put("a", 1.0)));
    let reply = http.reply();
    assert_eq!((reply.status, reply.body), (200, is_put("a") + "\n"));
    expect(1.0, &mut http, &mut websocket, &mut text);
    websocket.send(message(&put("b", 2.0)));
    assert_eq!(websocket.message(), is_put("b"));
    expect(2.0, &mut http, &mut websocket, &mut text);
    assert_eq!(text.call_text("put k 3 7"), "ok\n\n");
    expect(3.0, &mut http, &mut websocket, &mut text);
    let mut raw = daemon.client();
    raw.send(&put("c", 4.0));
    assert_eq!(raw.raw_line(), is_put("c"));
    expect(4.0, &mut http, &mut websocket, &mut text);
}

#[test]
fn an_error_is_reported_over_each_framing() {
    let daemon = Daemon::start();
    let bad = r#"{"command":"put","data":{"points":[{"key":"a","value":1},{"key":"a","value":"x"}]}}"#;
    let mut raw = daemon.client();
    raw.send(bad);
    let expected = raw.raw_line();
    assert!(expected.contains("points[1]") && expected.contains("value"), "{expected}");
    let mut http = Web::connect(daemon.address());
    http.send(post(bad));
    let reply = http.reply();
    assert_eq!((reply.status, reply.body), (200, format!("{expected}\n")));
    let mut websocket = Web::websocket(daemon.address());
    websocket.send(message(bad));
    assert_eq!(websocket.message(), expected);
    assert_eq!(daemon.client().call_text("get *"), "ok\n\n");
}

/// Each quarter of the points is put over another framing; all are then got over each.
#[test]
fn twenty_thousand_points_round_trip() {
    for store in [&["--store", "memory:"][..], &[]] {
        let daemon = Daemon::builder().args(store).start();
        let points = points();
        for (index, batch) in points.chunks(BATCH).enumerate() {
            put_all(&daemon, index, batch);
        }
        for key in ["*", "key-1"] {
            let (expected_text, expected_json) = expected(&points, key);
            let text = daemon.client().call_text(&format!("get {key}"));
            assert!(text == expected_text, "text, {key}");
            let get = request("get", json!({"key": key})).to_string();
            let mut raw = daemon.client();
            raw.send(&get);
            assert!(raw.raw_line() == expected_json, "raw JSON, {key}");
            let mut http = Web::connect(daemon.address());
            http.send(post(&get));
            let reply = http.reply();
            let is_chunked = reply.head.contains("\r\nTransfer-Encoding: chunked\r\n");
            assert!(reply.status == 200 && is_chunked, "{}", reply.head);
            assert!(reply.body == expected_json.clone() + "\n", "HTTP, {key}");
            let mut websocket = Web::websocket(daemon.address());
            websocket.send(message(&get));
            let (fragments, whole) = whole_message(&mut websocket);
            assert!(fragments > 1, "a long answer comes in pieces");
            assert!(whole == expected_json, "WebSocket, {key}");
            expect_whole_answers_at_once(&mut raw, key, &expected_json);
        }
    }
}

/// Long answers to several requests with ids do not mix.
#[track_caller]
fn expect_whole_answers_at_once(client: &mut Client, key: &str, expected: &str) {
    let get = |id: usize| json!({"request_id": id, "command": "get", "data": {"key": key}}).to_string();
    let put =
        json!({"request_id": 0, "command": "put", "data": {"key": "other", "value": 1, "timestamp": 1}});
    client.send(&[get(1), get(2), put.to_string(), get(3)].concat());
    let mut lines: Vec<String> = (0..4).map(|_| client.raw_line()).collect();
    lines.sort_unstable_by_key(|line| line[..20].to_owned());
    assert_eq!(lines[0], r#"{"request_id":0,"status":"success","message":"ok","data":{}}"#);
    // The answers may have the point that was put meanwhile.
    let without_other = expected.trim_end_matches('}');
    for (id, line) in lines.iter().enumerate().skip(1) {
        let start = format!("{{\"request_id\":{id},{}", &without_other[1..]);
        let rest = line.strip_prefix(&start).unwrap_or_else(|| panic!("{id} is not as it was put"));
        assert!(rest == "}}" || (key == "*" && rest == ",\"other\":[[1,1.0]]}}"), "{id}: {rest}");
    }
}

/// Points of three keys, whose times go up and down; no key has two points of a time.
fn points() -> Vec<(String, i64, f64)> {
    let point = |index: usize| {
        let second = (index * 7919 % POINTS) as i64 - 5000;
        (format!("key-{}", index % 3), second, index as f64 / 8.0 - 100.0)
    };
    (0..POINTS).map(point).collect()
}

#[track_caller]
fn put_all(daemon: &Daemon, framing: usize, batch: &[(String, i64, f64)]) {
    let points: Vec<Value> = batch
        .iter()
        .map(|(key, second, value)| json!({"key": key, "value": value, "timestamp": second}))
        .collect();
    let put = request("put", json!({"points": points})).to_string();
    let reply = match framing {
        0 => {
            let mut http = Web::connect(daemon.address());
            http.send(post(&put));
            http.reply().body
        }
        1 => {
            let mut websocket = Web::websocket(daemon.address());
            websocket.send(message(&put));
            websocket.message()
        }
        2 => {
            let mut raw = daemon.client();
            raw.send(&put);
            raw.raw_line()
        }
        _ => {
            let mut text = daemon.client();
            let mut lines = String::new();
            for (key, second, value) in batch {
                writeln!(lines, "put {key} {value} {second}").expect("a String takes everything");
            }
            text.send(&lines);
            (0..batch.len()).for_each(|_| assert_eq!(text.text_reply(), "ok\n\n"));
            return;
        }
    };
    assert_eq!(reply.trim_end(), r#"{"status":"success","message":"ok","data":{}}"#);
}

/// The replies to a `get` of `wanted`, in text and in JSON.
fn expected(points: &[(String, i64, f64)], wanted: &str) -> (String, String) {
    let (mut text, mut json) = ("ok\n".to_owned(), Vec::new());
    // Keys in the order in which they were first put.
    for key in ["key-0", "key-1", "key-2"].iter().filter(|key| wanted == "*" || wanted == **key) {
        let mut of_key: Vec<_> = points.iter().filter(|(of, ..)| of == key).collect();
        of_key.sort_by_key(|(_, second, _)| *second);
        for (_, second, value) in &of_key {
            writeln!(text, "{key} {value:?} {second}").expect("a String takes everything");
        }
        let pairs: Vec<String> =
            of_key.iter().map(|(_, second, value)| format!("[{second},{value:?}]")).collect();
        json.push(format!("\"{key}\":[{}]", pairs.join(",")));
    }
    let json = format!(r#"{{"status":"success","message":null,"data":{{{}}}}}"#, json.join(","));
    (text + "\n", json)
}

/// The next message, and the number of its fragments.
#[track_caller]
fn whole_message(websocket: &mut Web) -> (usize, String) {
    let mut payload = Vec::new();
    for fragments in 1.. {
        let frame = websocket.frame();
        assert_eq!(frame.opcode, if fragments == 1 { TEXT } else { CONTINUATION });
        payload.extend(frame.payload);
        if frame.is_final {
            return (fragments, String::from_utf8(payload).expect("a message is text"));
        }
    }
    unreachable!("a message has an end");
}

//! Metrics in JSON: one point or several, all or none; a range of time; and the same points in text.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, request, require, wait_until};

#[test]
fn a_point_has_the_documented_bytes() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let cases = [
        (
            r#"{"command":"put","data":{"key":"palm.cpu","value":10.6,"timestamp":1501864247}}"#,
            r#"{"status":"success","message":"ok","data":{}}"#,
        ),
        (
            r#"{"command":"get","data":{"key":"palm.cpu"}}"#,
            r#"{"status":"success","message":null,"data":{"palm.cpu":[[1501864247,10.6]]}}"#,
        ),
        (
            r#"{"request_id":"7","command":"put","data":{"points":[{"key":"\"é\"","value":-0.0,"timestamp":-1},{"key":"palm.cpu","value":1e300,"timestamp":3}]}}"#,
            r#"{"request_id":"7","status":"success","message":"ok","data":{}}"#,
        ),
        (
            r#"{"command":"get","request_id":8.0,"data":{"key":"*"}}"#,
            r#"{"request_id":8.0,"status":"success","message":null,"data":{"palm.cpu":[[3,1e300],[1501864247,10.6]],"\"é\"":[[-1,-0.0]]}}"#,
        ),
        (r#"{"command":"get","data":{"key":"nothing"}}"#, r#"{"status":"success","message":null,"data":{}}"#),
    ];
    for (said, heard) in cases {
        client.send(said);
        assert_eq!(client.raw_line(), heard, "{said}");
    }
    assert_eq!(
        daemon.client().call_text("get *"),
        "ok\npalm.cpu 1e300 3\npalm.cpu 10.6 1501864247\n\"é\" -0.0 -1\n\n"
    );
}

#[test]
fn text_and_json_see_the_same_points_at_once() {
    let daemon = Daemon::start();
    let (mut text, mut json) = (daemon.client(), daemon.client());
    for second in 0..50 {
        assert_eq!(text.call_text(&format!("put both {second} {second}")), "ok\n\n");
        let found = json.succeed("get", json!({"key": "both", "from": second}));
        assert_eq!(found, json!({"both": [[second, f64::from(second)]]}));
        put(&mut json, json!({"key": "both", "value": 0.5, "timestamp": second}));
        let reply = text.call_text("get both");
        assert!(reply.ends_with(&format!("\nboth 0.5 {second}\n\n")), "{reply}");
    }
}

#[test]
fn a_range_of_time_includes_its_bounds() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let seconds = [-62_135_596_800, -10, -1, 0, 1, 10, 1_501_864_247, 253_402_300_799];
    for key in ["a", "b"] {
        let point = |second: &i64| json!({"key": key, "value": 1.0, "timestamp": second});
        put(&mut client, json!({"points": seconds.iter().map(point).collect::<Vec<_>>()}));
    }
    let bounds = [None, Some(i64::MIN), Some(-10), Some(-9), Some(0), Some(11), Some(i64::MAX)];
    for from in bounds {
        for to in bounds {
            let is_meant =
                |second: &&i64| **second >= from.unwrap_or(i64::MIN) && **second <= to.unwrap_or(i64::MAX);
            let pairs: Vec<Value> =
                seconds.iter().filter(is_meant).map(|second| json!([second, 1.0])).collect();
            let mut data = json!({"key": "a"});
            if let Some(from) = from {
                data["from"] = json!(from);
            }
            if let Some(to) = to {
                data["to"] = json!(to);
            }
            let one = if pairs.is_empty() { json!({}) } else { json!({"a": pairs}) };
            assert_eq!(client.succeed("get", data.clone()), one, "{data}");
            data["key"] = json!("*");
            let both = if pairs.is_empty() { json!({}) } else { json!({"a": pairs, "b": pairs}) };
            assert_eq!(client.succeed("get", data.clone()), both, "{data}");
        }
    }
}

#[test]
fn a_non_second_timestamp_rejects_the_whole_request() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let allowed = "it must be an integer from -62135596800 to 253402300799 (seconds since 1970)";
    for second in ["-62135596801", "253402300800", "1501864247123", "9223372036854775808"] {
        let bad = format!(r#"{{"key": "a", "value": 1, "timestamp": {second}}}"#);
        client.send(&format!(r#"{{"command": "put", "data": {bad}}}"#));
        assert_eq!(client.error(), format!("timestamp: {second} is not allowed; {allowed}"));
        let good = r#"{"key": "a", "value": 1, "timestamp": 5}"#;
        client.send(&format!(r#"{{"command": "put", "data": {{"points": [{good}, {bad}]}}}}"#));
        assert_eq!(client.error(), format!("points[1].timestamp: {second} is not allowed; {allowed}"));
    }
    assert_eq!(client.succeed("get", json!({"key": "*"})), json!({}));
}

/// A point that was stored before the bounds existed is returned, and a range may name its time.
#[test]
fn a_stored_point_of_another_unit_is_returned() {
    require("python3", "python3");
    let mut daemon = Daemon::start();
    put(&mut daemon.client(), json!({"key": "a", "value": 1, "timestamp": 5}));
    daemon.stop();
    let script = "import sqlite3, sys\n\
                  connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  connection.execute('INSERT INTO points SELECT id, 1501864247123456789, 2.0 FROM series')";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(daemon.state_dir().join("vmherd.sqlite3"));
    assert!(command.status().expect("python3 can be run").success());
    daemon.restart();
    let mut client = daemon.client();
    let old = 1_501_864_247_123_456_789_i64;
    for (data, expected) in [
        (json!({"key": "a"}), json!({"a": [[5, 1.0], [old, 2.0]]})),
        (json!({"key": "*", "to": 253_402_300_799_i64}), json!({"a": [[5, 1.0]]})),
        (json!({"key": "*", "to": i64::MAX, "from": 6}), json!({"a": [[old, 2.0]]})),
        (json!({"key": "a", "from": old, "to": old}), json!({"a": [[old, 2.0]]})),
        (json!({"key": "a", "from": old + 1}), json!({})),
        (json!({"key": "a", "from": i64::MIN, "to": i64::MAX}), json!({"a": [[5, 1.0], [old, 2.0]]})),
    ] {
        assert_eq!(client.succeed("get", data.clone()), expected, "{data}");
    }
}

#[test]
fn a_point_without_a_timestamp_gets_the_current_time() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let before = now();
    put(&mut client, json!({"key": "a", "value": 1}));
    put(
        &mut client,
        json!({"points": [
            {"key": "b", "value": 2},
            {"key": "c", "value": 3, "timestamp": 77},
            {"key": "d", "value": 4},
        ]}),
    );
    let after = now();
    let found = client.succeed("get", json!({"key": "*"}));
    for key in ["a", "b", "d"] {
        let second = found[key][0][0].as_i64().expect("a time");
        assert!((before..=after).contains(&second), "{key}: {second} is not within {before}..={after}");
    }
    assert_eq!(found["b"][0][0], found["d"][0][0], "those of one request have one time");
    assert_eq!(found["c"], json!([[77, 3.0]]));
}

/// Of a list with an invalid point, which the error names, nothing is stored; nor of an invalid request.
#[test]
fn an_invalid_put_names_the_field_and_stores_nothing() {
    let good = json!({"key": "good", "value": 1, "timestamp": 1});
    let key = |length: usize| "k".repeat(length);
    let points = |bad: Value| json!({"points": [good, good, bad, {"key": 5}]});
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &["key", "value"]),
        (json!({"key": "a"}), &["value"]),
        (json!({"value": 1}), &["key"]),
        (json!({"key": "a", "value": 1, "time": 2}), &["time"]),
        (json!({"key": "a", "value": 1, "from": 2}), &["from"]),
        (json!({"key": "a", "value": "1"}), &["value"]),
        (json!({"key": "a", "value": null}), &["value"]),
        (json!({"key": "a", "value": true}), &["value"]),
        (json!({"key": 1, "value": 1}), &["key"]),
        (json!({"key": "", "value": 1}), &["key", "200"]),
        (json!({"key": "a b", "value": 1}), &["key"]),
        (json!({"key": "a\n", "value": 1}), &["key"]),
        (json!({"key": "a\u{a0}b", "value": 1}), &["key"]),
        (json!({"key": key(201), "value": 1}), &["key", "201"]),
        (json!({"key": "a", "value": 1, "timestamp": 1.5}), &["timestamp"]),
        (json!({"key": "a", "value": 1, "timestamp": "1"}), &["timestamp"]),
        (json!({"key": "a", "value": 1, "timestamp": 9_223_372_036_854_775_808_u64}), &["timestamp"]),
        (json!({"key": "good", "value": 1, "points": [good]}), &["points"]),
        (json!({"points": []}), &["points"]),
        (json!({"points": good}), &["points"]),
        (json!({"points": null}), &["points"]),
        (points(json!(1)), &["points[2]"]),
        (points(json!({})), &["points[2]"]),
        (points(json!({"key": "a"})), &["points[2]", "value"]),
        (points(json!({"key": "a", "value": "1"})), &["points[2]", "value"]),
        (points(json!({"key": "a b", "value": 1})), &["points[2]", "key"]),
        (points(json!({"key": "a", "value": 1, "timestamp": 1.0})), &["points[2]", "timestamp"]),
        (points(json!({"key": "a", "value": 1, "extra": 1})), &["points[2]", "extra"]),
        (json!({"points": vec![good.clone(); 4097]}), &["points", "4097"]),
    ];
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for (data, words) in cases {
        let message = client.fail(request("put", data.clone()));
        assert!(words.iter().all(|word| message.contains(word)), "{words:?} in {message}: {data}");
    }
    let in_raw = |text: &str| format!(r#"{{"command":"put","data":{{"key":"good","value":{text}}}}}"#);
    for text in ["1e400", "-1e400", "[1]", "{}"] {
        client.send(&in_raw(text));
        let message = client.error();
        assert!(message.contains("value"), "{text}: {message}");
    }
    for (text, word) in [
        (r#"{"command":"put","data":{"key":"a","key":"b","value":1}}"#, "key"),
        (r#"{"command":"put","data":{"points":[{"key":"a","value":1,"value":2}]}}"#, "points[0]"),
        (r#"{"command":"put","data":{"key":"a\u0000","value":1}}"#, "key"),
        (r#"{"command":"put","data":{"key":"\ud800","value":1}}"#, ""),
        (r#"{"command":"put","data":{"key":"good","value":1_0}}"#, "Invalid JSON"),
        (r#"{"command":"put","data":{"key":"good","value":NaN}}"#, "Invalid JSON"),
        (r#"{"command":"put","data":{"key":"good","value":.5}}"#, "Invalid JSON"),
        (r#"{"command":"put","data":[]}"#, "data"),
        (r#"{"command":"put"}"#, "key"),
    ] {
        client.send(text);
        let message = client.error();
        assert!(message.contains(word), "{word} in {message}: {text}");
    }
    for (data, word) in [
        (json!({}), "key"),
        (json!({"key": 1}), "key"),
        (json!({"key": "a b"}), "key"),
        (json!({"key": "a", "from": "1"}), "from"),
        (json!({"key": "a", "to": 1.5}), "to"),
        (json!({"key": "a", "until": 1}), "until"),
        (json!({"key": "a", "value": 1}), "value"),
    ] {
        let message = client.fail(request("get", data.clone()));
        assert!(message.contains(word), "{word} in {message}: {data}");
    }
    assert_eq!(client.succeed("get", json!({"key": "*"})), json!({}));
    put(&mut client, json!({"points": vec![good; 4096]}));
    assert_eq!(client.succeed("get", json!({"key": "*"})), json!({"good": [[1, 1.0]]}));
}

/// A request with an id may overtake others: its reply carries the id.
#[test]
fn requests_with_ids_are_answered_once_each() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let requests: String = (0..200)
        .map(|id| {
            let data = json!({"key": format!("k{id}"), "value": id, "timestamp": id});
            json!({"request_id": id, "command": "put", "data": data}).to_string()
        })
        .collect();
    client.send(&requests);
    let mut ids: Vec<u64> = (0..200)
        .map(|_| {
            let reply = client.reply();
            assert_eq!(reply["message"], "ok", "{reply}");
            reply["request_id"].as_u64().expect("an id")
        })
        .collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..200));
    let found = client.succeed("get", json!({"key": "*"}));
    assert_eq!(found.as_object().expect("an object").len(), 200);
    assert!((0..200).all(|id| found[format!("k{id}")] == json!([[id, f64::from(id)]])));
}

/// Where metrics are not open to anonymous clients, VMs put and get; a removed VM can do neither.
#[test]
fn a_removed_vm_can_neither_put_nor_get() {
    let closed = "You have to authenticate to run this operation";
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=").start();
    daemon.client().register("a", &[]);
    let [mut putting, mut getting] = [(); 2].map(|()| {
        let mut client = Client::connect(daemon.addresses()[1]);
        client.authenticate("a");
        put(&mut client, json!({"key": "k", "value": 1, "timestamp": 1}));
        client
    });
    daemon.vm_command(&["remove", "a"], "").expect_success();
    let point = json!({"key": "k", "value": 2, "timestamp": 2});
    assert_eq!(putting.fail(request("put", point.clone())), closed);
    assert_eq!(putting.fail(request("put", json!({"points": [point]}))), closed);
    assert_eq!(getting.fail(request("get", json!({"key": "*"}))), closed);
    assert_eq!(daemon.client().call_text("get *"), "ok\nk 1.0 1\n\n");
}

/// A client of metrics text is listed like others, without a VM.
#[test]
fn a_text_connection_is_in_the_list_of_connections() {
    let daemon = Daemon::start();
    let mut watcher = daemon.client();
    watcher.register("a", &[]);
    watcher.authenticate("a");
    let mut text = daemon.client();
    assert_eq!(text.call_text("get k"), "ok\n\n");
    let entry = json!({"addr": ["127.0.0.1", text.local_address().port()]});
    assert!(watcher.list("active_vms").contains(&entry));
    drop(text);
    wait_until("it is gone", DEADLINE, || !watcher.list("active_vms").contains(&entry));
}

#[track_caller]
fn put(client: &mut Client, data: Value) {
    let reply = client.call(request("put", data));
    assert_eq!(reply, json!({"status": "success", "message": "ok", "data": {}}));
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs() as i64
}

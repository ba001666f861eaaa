//! Points in requests and replies of the dialect, byte for byte.

use super::*;
use crate::dialect;
use crate::dialect::command::tests::{data_error, request};
use crate::ids::SeriesId;
use crate::model::{Caller, Cursor, Dialect, Listing, Query, RequestId};

fn new_point(key: &str, value: f64, second: i64) -> NewPoint {
    let value = MetricValue::new(value).expect("it is finite");
    NewPoint { key: MetricKey::from_store(key), point: Point { timestamp: second, value } }
}

#[test]
fn points_are_parsed_with_and_without_a_timestamp() {
    let cases = [
        (
            r#"{"key":"palm.cpu","value":10.6,"timestamp":1501864247}"#,
            vec![new_point("palm.cpu", 10.6, 1_501_864_247)],
            vec![],
        ),
        (r#"{"value":-1E-3,"key":"\u043a"}"#, vec![new_point("к", -0.001, 0)], vec![0]),
        (r#"{"value":0,"key":"a","timestamp":-0,"token":null}"#, vec![new_point("a", 0.0, 0)], vec![]),
        (
            r#"{"points":[{"key":"a","value":1},{"key":"*","value":-0,"timestamp":-62135596800},
                {"timestamp":253402300799,"value":1e308,"key":"a"},{"value":2,"key":"b"}]}"#,
            vec![
                new_point("a", 1.0, 0),
                new_point("*", -0.0, -62_135_596_800),
                new_point("a", 1e308, 253_402_300_799),
                new_point("b", 2.0, 0),
            ],
            vec![0, 3],
        ),
    ];
    for (data, points, undated) in cases {
        let request = request("put", data);
        assert_eq!((request.name, request.reply_count()), (CommandName::Put, 1));
        assert_eq!(request.command, Ok(Command::Put(Put { points, undated, is_atomic: true })), "{data}");
    }
}

#[test]
fn get_has_a_key_and_optional_bounds() {
    let key = |text| Some(MetricKey::from_store(text));
    for (data, wanted) in [
        (r#"{"key":"*"}"#, PointFilter::default()),
        (r#"{"key":"\u002a"}"#, PointFilter::default()),
        (r#"{"key":"**"}"#, PointFilter { key: key("**"), ..PointFilter::default() }),
        (r#"{"key":"a","from":-5}"#, PointFilter { key: key("a"), from: Some(-5), ..PointFilter::default() }),
        (
            r#"{"to":1,"from":2,"key":"*"}"#,
            PointFilter { from: Some(2), to: Some(1), ..PointFilter::default() },
        ),
    ] {
        assert_eq!(request("get", data).command, Ok(Command::Get(wanted)), "{data}");
    }
}

#[test]
fn invalid_points_have_exact_messages() {
    let long = format!("{{\"key\":\"{}\",\"value\":1}}", "k".repeat(201));
    let shape = r#"objects {"key": TEXT, "value": NUMBER, "timestamp": SECONDS}"#;
    let key = "it must be a string of 1 to 200 bytes without white space or control characters";
    let value = "it must be a number that a 64-bit float can hold";
    let second = "it must be an integer from -62135596800 to 253402300799 (seconds since 1970)";
    let bound = "it must be an integer of 64 bits (seconds since 1970)";
    let cases: Vec<(&str, &str, String)> = vec![
        ("put", "{}", "missing fields: key, value".into()),
        ("put", r#"{"key":"a"}"#, "missing field: value".into()),
        (
            "put",
            r#"{"key":"a","value":1,"from":1}"#,
            r#"unknown field "from"; allowed: key, value, timestamp, points, token"#.into(),
        ),
        (
            "put",
            r#"{"key":"a","value":1,"ram":1}"#,
            r#"unknown field "ram"; allowed: key, value, timestamp, points, token"#.into(),
        ),
        ("put", r#"{"key":"a","value":1,"value":1}"#, "value: the same field may not stand twice".into()),
        ("put", r#"{"key":"a b","value":1}"#, format!("key: \"a b\" is not allowed; {key}")),
        ("put", r#"{"key":"","value":1}"#, format!("key: a string of 0 bytes is not allowed; {key}")),
        ("put", &long, format!("key: a string of 201 bytes is not allowed; {key}")),
        (
            "put",
            r#"{"key":"a\u0000","value":1}"#,
            format!("key: a string with \\u0000 is not allowed; {key}"),
        ),
        ("put", r#"{"key":5,"value":1}"#, format!("key: 5 is not allowed; {key}")),
        ("put", r#"{"key":"a","value":"1"}"#, format!("value: \"1\" is not allowed; {value}")),
        ("put", r#"{"key":"a","value":1e999}"#, format!("value: 1e999 is not allowed; {value}")),
        ("put", r#"{"key":"a","value":null}"#, format!("value: null is not allowed; {value}")),
        ("put", r#"{"key":"a","value":true}"#, format!("value: true is not allowed; {value}")),
        ("put", r#"{"key":"a","value":[1]}"#, format!("value: a list is not allowed; {value}")),
        (
            "put",
            r#"{"key":"a","value":1,"timestamp":1.0}"#,
            format!("timestamp: 1.0 is not allowed; {second}"),
        ),
        (
            "put",
            r#"{"key":"a","value":1,"timestamp":null}"#,
            format!("timestamp: null is not allowed; {second}"),
        ),
        (
            "put",
            r#"{"key":"a","value":1,"timestamp":9223372036854775808}"#,
            format!("timestamp: 9223372036854775808 is not allowed; {second}"),
        ),
        (
            "put",
            r#"{"points":[],"key":"a"}"#,
            "points: it must not stand beside key, value or timestamp".into(),
        ),
        (
            "put",
            r#"{"points":[],"timestamp":1}"#,
            "points: it must not stand beside key, value or timestamp".into(),
        ),
        (
            "put",
            r#"{"points":[]}"#,
            format!("points: a list of 0 is not allowed; it must be a list of 1 to 4096 {shape}"),
        ),
        (
            "put",
            r#"{"points":{}}"#,
            format!("points: an object is not allowed; it must be a list of 1 to 4096 {shape}"),
        ),
        (
            "put",
            r#"{"points":[{"key":"a","value":1},7]}"#,
            format!("points[1]: 7 is not allowed; it must be an {}", shape.replace("objects", "object")),
        ),
        ("put", r#"{"points":[{"key":"a","value":1},{"value":1}]}"#, "points[1]: missing field: key".into()),
        (
            "put",
            r#"{"points":[{"key":"a","value":1,"x":1}]}"#,
            r#"points[0]: unknown field "x"; allowed: key, value, timestamp"#.into(),
        ),
        (
            "put",
            r#"{"points":[{"key":"a","key":"a","value":1}]}"#,
            "points[0].key: the same field may not stand twice".into(),
        ),
        (
            "put",
            r#"{"points":[{"key":"a","value":1},{"key":"a","value":1},{"key":"a","value":1},{"key":"a","value":"x"},8]}"#,
            format!("points[3].value: \"x\" is not allowed; {value}"),
        ),
        (
            "put",
            r#"{"points":[{"key":"a","value":1,"timestamp":"x"}]}"#,
            format!("points[0].timestamp: \"x\" is not allowed; {second}"),
        ),
        ("get", "{}", "missing field: key".into()),
        ("get", r#"{"key":null}"#, format!("key: null is not allowed; {key}")),
        ("get", r#"{"key":"a","from":"1"}"#, format!("from: \"1\" is not allowed; {bound}")),
        ("get", r#"{"key":"a","to":1e3}"#, format!("to: 1e3 is not allowed; {bound}")),
        (
            "get",
            r#"{"key":"a","timestamp":1}"#,
            r#"unknown field "timestamp"; allowed: key, from, to, token"#.into(),
        ),
        ("ping", r#"{"key":"a"}"#, r#"unknown field "key"; allowed: token"#.into()),
    ];
    for (name, data, error) in cases {
        assert_eq!(data_error(name, data), error, "{name} {data}");
    }
}

#[test]
fn a_request_is_limited_in_points() {
    let of = |count: usize| format!("{{\"points\":[{}]}}", vec![r#"{"key":"a","value":1}"#; count].join(","));
    let max = limits::POINTS_PER_REQUEST_MAX;
    match request("put", &of(max)).command {
        Ok(Command::Put(put)) => assert_eq!((put.points.len(), put.undated.len()), (max, max)),
        other => panic!("{other:?}"),
    }
    assert!(data_error("put", &of(max + 1)).starts_with("points: a list of 4097 is not allowed"));
}

#[test]
fn a_token_is_accepted_with_points() {
    let request = request("get", r#"{"key":"a","token":"abc"}"#);
    assert_eq!(request.token.map(|token| token.is_some()), Ok(true));
    assert!(request.command.is_ok());
}

#[test]
fn put_replies_are_written_byte_for_byte() {
    for (answer, wanted) in [
        (Answer::Put { refused: vec![] }, r#"{"status":"success","message":"ok","data":{}}"#),
        (
            Answer::Failed(Failure::KeyLimitReached(None)),
            r#"{"status":"error","message":"key limit reached","data":{}}"#,
        ),
        (
            Answer::Failed(Failure::KeyLimitReached(Some(3))),
            r#"{"status":"error","message":"key limit reached (points[3])","data":{}}"#,
        ),
    ] {
        let mut output = Vec::new();
        dialect::encode_answer(Dialect::Command, None, &answer, &mut output);
        assert_eq!(String::from_utf8(output).unwrap(), wanted);
    }
}

fn series(id: i64, key: &str, points: &[(i64, f64)]) -> Series {
    let point =
        |&(second, value)| Point { timestamp: second, value: MetricValue::new(value).expect("it is finite") };
    Series { id: SeriesId(id), key: MetricKey::from_store(key), points: points.iter().map(point).collect() }
}

/// The text of points that consist of these pages.
fn pages(id: Option<&str>, pages: Vec<Vec<Series>>) -> String {
    let id = id.map(|id| RequestId(id.into()));
    let (mut output, mut progress, count) = (Vec::new(), PageProgress::default(), pages.len());
    for (index, series) in pages.into_iter().enumerate() {
        let next = (index + 1 < count).then_some(Cursor::AfterPoint(None));
        let query = Query::Points(PointFilter::default());
        let listing = Listing { command: CommandName::Get, query, caller: Caller::default() };
        let page = Page { listing, items: Items::Points(series), next };
        dialect::encode_page(Dialect::Command, id.as_ref(), &page, &mut progress, &mut output);
    }
    String::from_utf8(output).unwrap()
}

#[test]
fn a_series_is_written_once_across_pages() {
    let whole = |data: &str| format!("{{\"status\":\"success\",\"message\":null,\"data\":{{{data}}}}}");
    let a = |points| series(1, "a\"", points);
    let b = |points| series(2, "б", points);
    for empty in [vec![vec![]], vec![vec![], vec![]], vec![vec![a(&[])], vec![]]] {
        assert_eq!(pages(None, empty), whole(""));
    }
    let wanted = whole(r#""a\"":[[-1,10.0],[2,1e16],[3,-0.0]],"б":[[5,0.1]]"#);
    let all: Vec<Vec<Vec<Series>>> = vec![
        vec![vec![a(&[(-1, 10.0), (2, 1e16), (3, -0.0)]), b(&[(5, 0.1)])]],
        vec![vec![a(&[(-1, 10.0), (2, 1e16), (3, -0.0)])], vec![b(&[(5, 0.1)])]],
        vec![
            vec![],
            vec![a(&[(-1, 10.0)])],
            vec![a(&[(2, 1e16)])],
            vec![a(&[(3, -0.0)]), b(&[(5, 0.1)])],
            vec![],
        ],
        vec![vec![a(&[(-1, 10.0), (2, 1e16)])], vec![a(&[]), a(&[(3, -0.0)]), b(&[])], vec![b(&[(5, 0.1)])]],
    ];
    for split in all {
        let text = pages(None, split);
        assert_eq!(text, wanted);
        serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
    }
    let with_id = pages(Some("1.50"), vec![vec![a(&[(1, 1.0)])]]);
    assert_eq!(with_id, whole(r#""a\"":[[1,1.0]]"#).replacen('{', "{\"request_id\":1.50,", 1));
}

//! Parsing of lines.

use super::*;

fn point(key: &str, value: f64, second: i64) -> NewPoint {
    let value = crate::model::MetricValue::new(value).expect("it is finite");
    NewPoint { key: MetricKey::from_store(key), point: Point { timestamp: second, value } }
}

fn all_of(key: Option<&str>) -> TextCommand {
    TextCommand::Get(PointFilter { key: key.map(MetricKey::from_store), ..PointFilter::default() })
}

#[test]
fn lines_are_parsed() {
    let longest = "k".repeat(200);
    let cases = [
        ("put palm.cpu 10.6 1501864247", TextCommand::Put(point("palm.cpu", 10.6, 1_501_864_247))),
        ("put another_key 10 1503319739", TextCommand::Put(point("another_key", 10.0, 1_503_319_739))),
        (" \tput\t a \t 1e3  -5 \t", TextCommand::Put(point("a", 1000.0, -5))),
        ("put ключ -.5 007", TextCommand::Put(point("ключ", -0.5, 7))),
        ("put put +1. -0", TextCommand::Put(point("put", 1.0, 0))),
        ("put {\"a\":1} 1 253402300799", TextCommand::Put(point("{\"a\":1}", 1.0, 253_402_300_799))),
        ("put * 1 -62135596800", TextCommand::Put(point("*", 1.0, -62_135_596_800))),
        ("get palm.cpu", all_of(Some("palm.cpu"))),
        ("get test_key ", all_of(Some("test_key"))),
        ("get *", all_of(None)),
        ("\tget  * \t", all_of(None)),
        ("get **", all_of(Some("**"))),
        ("get get", all_of(Some("get"))),
    ];
    for (line, wanted) in cases {
        assert_eq!(decode_line(line.as_bytes()), Ok(wanted), "{line}");
    }
    assert_eq!(decode_line(format!("get {longest}").as_bytes()), Ok(all_of(Some(&longest))));
}

#[test]
fn timestamps_out_of_range_are_reported_as_such() {
    for line in [
        "put a 1 253402300800",
        "put a 1 -62135596801",
        "put a 1 9223372036854775808",
        "put a 1 1501864247123 ",
    ] {
        let failure = decode_line(line.as_bytes()).map_err(|refusal| refusal.failure);
        assert_eq!(failure, Err(Failure::TimeOutOfRange), "{line}");
    }
}

#[test]
fn invalid_lines_are_wrong_commands() {
    let longer = format!("get {}k", "k".repeat(200));
    let cases = [
        "got test_key",
        "get",
        "get ",
        "get a b",
        "get wrong command test",
        "GET a",
        "Put a 1 2",
        "put",
        "put a",
        "put a 1",
        "put a 1 2 3",
        "puta 1 2",
        "put a one 2",
        "put a nan 2",
        "put a inf 2",
        "put a 0x10 2",
        "put a 1_0 2",
        "put a 1e999 2",
        "put a 1,5 2",
        "put a . 2",
        "put a 1 two",
        "put a 1 2.0",
        "put a 1 2e3",
        // A timestamp has no plus sign.
        "put a 1 +2",
        "put a 1 9223372036854775808 1",
        "put a one 9223372036854775808",
        "put a\u{a0}b 1 2",
        "put\u{a0}a 1 2",
        "put a\rb 1 2",
        "put a\u{85} 1 2",
        "put a 1 2\r",
        "\u{feff}put a 1 2",
        "\"put\" a 1 2",
        "[{\"command\":\"ping\"}]",
        &longer,
    ];
    let wrong = Refusal { dialect: Dialect::Text, id: None, failure: Failure::UnknownTextCommand };
    for line in cases {
        assert_eq!(decode_line(line.as_bytes()), Err(wrong.clone()), "{line}");
    }
    let json = Refusal { failure: Failure::JsonLine, ..wrong };
    for line in ["{\"command\":\"ping\"}", "{", "{ put a 1 2"] {
        assert_eq!(decode_line(line.as_bytes()), Err(json.clone()), "{line}");
    }
}

#[test]
fn a_put_request_has_one_reply_per_point() {
    let points: Vec<NewPoint> = (0..3).map(|second| point("a", 1.0, second)).collect();
    let request = put_request(points.clone());
    assert_eq!((request.dialect, request.name, request.reply_count()), (Dialect::Text, CommandName::Put, 3));
    assert_eq!(request.command, Ok(Command::Put(Put { points, undated: Vec::new(), is_atomic: false })));
    assert!(!request.is_barrier());
    let request = get_request(PointFilter::default());
    assert_eq!((request.dialect, request.name, request.reply_count()), (Dialect::Text, CommandName::Get, 1));
}

//! Parsing of lines, and replies byte for byte.

use super::*;
use crate::dialect;
use crate::ids::SeriesId;
use crate::model::{Caller, Cursor, Listing, MetricValue, Query, Series};

fn point(key: &str, value: f64, second: i64) -> NewPoint {
    let value = MetricValue::new(value).expect("it is finite");
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
fn plain_puts_are_what_their_lines_are() {
    let words = [
        "put",
        "put",
        "put",
        "PUT",
        "get",
        "a",
        "web-1.cpu",
        "ключ",
        "a\u{a0}b",
        "*",
        "1",
        "-0",
        "-1.25",
        "+.5",
        "1e3",
        ".",
        "1501864247",
        "-5",
        "253402300800",
        "",
        "\t",
        "\r",
        "\u{7f}",
        "nan",
        "put a 1",
    ];
    let (mut random, mut taken): (u64, usize) = (7, 0);
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for _ in 0..200_000 {
        let line = (0..=next(5)).map(|_| words[next(words.len())]).collect::<Vec<_>>().join(" ");
        let mut points = Vec::new();
        let bytes = read_plain_puts(format!("{line}\nput ").as_bytes(), 9, &mut points);
        if bytes > 0 {
            assert_eq!(bytes, line.len() + 1, "{line:?}");
            assert_eq!(decode_line(line.as_bytes()), Ok(TextCommand::Put(points.remove(0))), "{line:?}");
            taken += 1;
        }
        assert!(points.is_empty(), "{line:?}");
    }
    assert!(taken > 100, "{taken}");
    let lines = "put a 1 5\nput b 2.5 6\nput c 3 7\nget a\n";
    let mut points = Vec::new();
    assert_eq!(read_plain_puts(lines.as_bytes(), 9, &mut points), lines.len() - "get a\n".len());
    assert_eq!(points, [point("a", 1.0, 5), point("b", 2.5, 6), point("c", 3.0, 7)]);
    points.clear();
    assert_eq!(read_plain_puts(lines.as_bytes(), 2, &mut points), "put a 1 5\nput b 2.5 6\n".len());
    let long = format!("put a {}1 5\n", "0".repeat(limits::TEXT_LINE_BYTES_MAX));
    assert_eq!(read_plain_puts(long.as_bytes(), 9, &mut points), 0, "no line is that long");
    let broken = [b"put a 1 5\nput b 1 6\n", &b"\xff\xff"[..]].concat();
    assert_eq!(read_plain_puts(&broken, 9, &mut Vec::new()), broken.len() - 2, "what is before it");
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
    for (dialect, count) in [(Dialect::Text, 1), (Dialect::Command, 3)] {
        let request = Request::puts(dialect, points.clone());
        assert_eq!((request.name, request.reply_count(), request.count()), (CommandName::Put, 3, count));
        assert!(!request.is_barrier());
    }
    let request = get_request(PointFilter::default());
    assert_eq!((request.dialect, request.name, request.reply_count()), (Dialect::Text, CommandName::Get, 1));
}

fn encode(answer: &Answer, count: usize) -> String {
    let mut output = b"before ".to_vec();
    encode_answer(answer, count, &mut output);
    String::from_utf8(output).unwrap().strip_prefix("before ").expect("it only appends").to_string()
}

#[test]
fn each_point_has_its_reply() {
    let (ok, full) = ("ok\n\n", "error\nkey limit reached\n\n");
    for (count, refused, wanted) in [
        (1, vec![], vec![ok]),
        (1, vec![0], vec![full]),
        (3, vec![], vec![ok, ok, ok]),
        (3, vec![1], vec![ok, full, ok]),
        (4, vec![0, 2, 3], vec![full, ok, full, full]),
    ] {
        assert_eq!(encode(&Answer::Put { refused }, count), wanted.concat());
    }
}

#[test]
fn every_failure_has_its_message() {
    for (failure, words) in [
        (Failure::UnknownTextCommand, "wrong command"),
        (Failure::JsonLine, "wrong command: this connection speaks metrics text; open a new one for JSON"),
        (Failure::LineTooLong, "line too long"),
        (Failure::BadText, "a line must be UTF-8 without control characters"),
        (Failure::UnexpectedEnd, "the input ended inside a line"),
        (Failure::TimedOut, "the line did not end in time"),
        (Failure::AuthenticationRequired, "authentication required"),
        (Failure::Busy, "busy"),
        (Failure::StoreUnavailable, "store unavailable"),
        (Failure::OutcomeUnknown, "outcome unknown"),
        (Failure::KeyLimitReached(None), "key limit reached"),
        (Failure::Internal, "internal error"),
    ] {
        let (failed, reply) = (Answer::Failed(failure), format!("error\n{words}\n\n"));
        assert_eq!(encode(&failed, 1), reply);
        assert_eq!(encode(&failed, 3), reply.repeat(3), "three lines get three replies");
    }
}

fn series(id: i64, key: &str, points: &[(i64, f64)]) -> Series {
    let point =
        |&(second, value)| Point { timestamp: second, value: MetricValue::new(value).expect("it is finite") };
    Series { id: SeriesId(id), key: MetricKey::from_store(key), points: points.iter().map(point).collect() }
}

fn pages(pages: Vec<Vec<Series>>) -> String {
    let (mut output, mut progress, count) = (Vec::new(), PageProgress::default(), pages.len());
    for (index, series) in pages.into_iter().enumerate() {
        let next = (index + 1 < count).then_some(Cursor::AfterPoint(None));
        let query = Query::Points(PointFilter::default());
        let listing = Listing { command: CommandName::Get, query, caller: Caller::default() };
        let page = Page { listing, items: Items::Points(series), next };
        dialect::encode_page(Dialect::Text, None, &page, &mut progress, &mut output);
    }
    String::from_utf8(output).unwrap()
}

#[test]
fn points_are_lines_page_by_page() {
    assert_eq!(pages(vec![vec![]]), "ok\n\n");
    assert_eq!(pages(vec![vec![], vec![]]), "ok\n\n");
    let palm = series(1, "palm.cpu", &[(1_501_864_247, 10.5), (1_501_864_248, 1e300)]);
    let eardrum = series(2, "ключ", &[(-5, -0.0)]);
    let wanted = "ok\npalm.cpu 10.5 1501864247\npalm.cpu 1e300 1501864248\nключ -0.0 -5\n\n";
    assert_eq!(pages(vec![vec![palm.clone(), eardrum.clone()]]), wanted);
    assert_eq!(pages(vec![vec![palm.clone()], vec![eardrum.clone()]]), wanted);
    let (first, mut second) = (series(1, "palm.cpu", &[(1_501_864_247, 10.5)]), palm);
    second.points.remove(0);
    assert_eq!(pages(vec![vec![first], vec![second, eardrum], vec![]]), wanted);
}

//! Unit tests of sessions with metrics text.

use super::*;
use crate::ids::SeriesId;
use crate::model::{
    Caller, Command, CommandName, Items, Listing, MetricKey, MetricValue, Point, PointFilter, Put, Query,
    Series,
};

impl Bench {
    fn speaking(text: &str) -> Bench {
        let mut bench = Bench::new();
        bench.input.push(text.as_bytes());
        bench
    }

    /// The seq of the next request, which puts points, and the points as lines.
    fn put(&mut self) -> (RequestSeq, Vec<String>) {
        match self.next() {
            Step::Call(head, request) => match request.command {
                Ok(Command::Put(Put { points, undated, is_atomic: false })) if undated.is_empty() => {
                    let line = |new: &crate::model::NewPoint| {
                        format!("{} {} {}", new.key, new.point.value, new.point.timestamp)
                    };
                    (self.session.open(head), points.iter().map(line).collect())
                }
                other => panic!("expected points, got {other:?}"),
            },
            step => panic!("expected a request, got {step:?}"),
        }
    }

    /// The seq of the next request, which gets points, and its filter.
    fn get(&mut self) -> (RequestSeq, PointFilter) {
        match self.next() {
            Step::Call(head, request) => match request.command {
                Ok(Command::Get(filter)) => (self.session.open(head), filter),
                other => panic!("expected a filter, got {other:?}"),
            },
            step => panic!("expected a request, got {step:?}"),
        }
    }

    fn answer_stored(&mut self, seq: RequestSeq) {
        self.answer_with(seq, &Answer::Put { refused: Vec::new() });
    }

    fn answer_page(&mut self, seq: RequestSeq, series: Vec<Series>, next: Option<Cursor>) {
        let page = Page {
            listing: Listing {
                command: CommandName::Get,
                query: Query::Points(PointFilter::default()),
                caller: Caller::default(),
            },
            items: Items::Points(series),
            next,
        };
        assert!(self.session.complete_page(seq, &page, &mut self.output, &self.date));
    }

    /// The output since the last call.
    fn written(&mut self) -> String {
        let text = String::from_utf8(self.output.as_slice().to_vec()).unwrap();
        self.output.clear();
        text
    }
}

fn series(id: i64, key: &str, points: &[(i64, f64)]) -> Series {
    let point =
        |&(second, value)| Point { timestamp: second, value: MetricValue::new(value).expect("it is finite") };
    Series { id: SeriesId(id), key: MetricKey::from_store(key), points: points.iter().map(point).collect() }
}

const WRONG: &str = "error\nwrong command\n\n";

#[test]
fn puts_and_gets_answer_in_the_documented_format() {
    let mut bench = Bench::new();
    let test_key = |points| series(1, "test_key", points);
    bench.input.push(b"get test_key\n");
    let (seq, filter) = bench.get();
    assert_eq!(filter.key, Some(MetricKey::from_store("test_key")));
    bench.answer_page(seq, vec![], None);
    assert_eq!(bench.written(), "ok\n\n");

    assert!(matches!(bench.say("got test_key\n"), Step::NeedInput));
    assert_eq!(bench.written(), WRONG);

    for (line, point) in [
        ("put test_key 12.0 1503319740\n", "test_key 12.0 1503319740"),
        ("put test_key 13.0 1503319739\n", "test_key 13.0 1503319739"),
    ] {
        bench.input.push(line.as_bytes());
        let (seq, points) = bench.put();
        assert_eq!(points, [point]);
        bench.answer_stored(seq);
        assert_eq!(bench.written(), "ok\n\n");
    }

    bench.input.push(b"get test_key \n");
    let (seq, filter) = bench.get();
    assert_eq!(
        filter,
        PointFilter { key: Some(MetricKey::from_store("test_key")), ..PointFilter::default() }
    );
    bench.answer_page(seq, vec![test_key(&[(1_503_319_739, 13.0), (1_503_319_740, 12.0)])], None);
    assert_eq!(bench.written(), "ok\ntest_key 13.0 1503319739\ntest_key 12.0 1503319740\n\n");

    bench.input.push(b"put another_key 10 1503319739\n");
    let (seq, points) = bench.put();
    assert_eq!(points, ["another_key 10.0 1503319739"]);
    bench.answer_stored(seq);
    assert_eq!(bench.written(), "ok\n\n");

    bench.input.push(b"get *\n");
    let (seq, filter) = bench.get();
    assert_eq!(filter, PointFilter::default());
    bench.answer_page(seq, vec![test_key(&[(1_503_319_739, 13.0)])], Some(AFTER));
    assert!(
        matches!(bench.next(), Step::NextPage(of, Listing { query: Query::Points(_), .. }, AFTER) if of == seq)
    );
    let rest = vec![test_key(&[(1_503_319_740, 12.0)]), series(2, "another_key", &[(1_503_319_739, 10.0)])];
    bench.answer_page(seq, rest, None);
    let wanted = "ok\ntest_key 13.0 1503319739\ntest_key 12.0 1503319740\nanother_key 10.0 1503319739\n\n";
    assert_eq!(bench.written(), wanted);
    bench.waits_for_input();
}

const AFTER: Cursor = Cursor::AfterPoint(None);

#[test]
fn consecutive_points_are_one_request_with_a_reply_each() {
    let mut bench = Bench::speaking("put a 1 1\n\n \r\nput b 2 2\r\nput a 3 3\nput c 4");
    let (seq, points) = bench.put();
    assert_eq!(points, ["a 1.0 1", "b 2.0 2", "a 3.0 3"]);
    bench.is_blocked();
    bench.answer_with(seq, &Answer::Put { refused: vec![1] });
    assert_eq!(bench.written(), "ok\n\nerror\nkey limit reached\n\nok\n\n");
    bench.waits_for_input();
    bench.input.push(b" 4\n");
    let (seq, points) = bench.put();
    assert_eq!(points, ["c 4.0 4"]);
    bench.answer_stored(seq);
    assert_eq!(bench.written(), "ok\n\n");
}

#[test]
fn a_failed_request_fails_each_of_its_points() {
    for (failure, words) in [
        (Failure::Busy, "busy"),
        (Failure::StoreUnavailable, "store unavailable"),
        (Failure::AuthenticationRequired, "authentication required"),
        (Failure::OutcomeUnknown, "outcome unknown"),
    ] {
        let mut bench = Bench::speaking("put a 1 1\nput b 2 2\nget *\n");
        let (seq, _) = bench.put();
        bench.answer_with(seq, &Answer::Failed(failure.clone()));
        let (seq, _) = bench.get();
        bench.answer_with(seq, &Answer::Failed(failure));
        assert_eq!(bench.written(), format!("error\n{words}\n\n").repeat(3));
    }
}

#[test]
fn replies_are_in_the_order_of_lines() {
    let mut bench = Bench::speaking("put a 1 1\nput a x 1\nput b 1 1\nget a\nnonsense\n\nput c 1 1\n");
    let (seq, points) = bench.put();
    assert_eq!(points, ["a 1.0 1"]);
    bench.is_blocked();
    assert_eq!(bench.written(), "");
    bench.answer_stored(seq);
    let (seq, points) = bench.put();
    assert_eq!(points, ["b 1.0 1"]);
    assert_eq!(bench.written(), format!("ok\n\n{WRONG}"));
    bench.answer_stored(seq);
    let (seq, _) = bench.get();
    bench.is_blocked();
    bench.answer_page(seq, vec![series(1, "a", &[(1, 1.0)])], None);
    let (seq, points) = bench.put();
    assert_eq!(points, ["c 1.0 1"]);
    assert_eq!(bench.written(), format!("ok\n\nok\na 1.0 1\n\n{WRONG}"));
    bench.answer_stored(seq);
    bench.waits_for_input();
    assert_eq!(bench.written(), "ok\n\n");
}

#[test]
fn the_points_of_a_request_are_limited() {
    let count = limits::POINTS_PER_REQUEST_MAX + 1;
    let mut bench = Bench::speaking(&"put a 1 1\n".repeat(count));
    let (seq, points) = bench.put();
    assert_eq!(points.len(), limits::POINTS_PER_REQUEST_MAX);
    bench.answer_stored(seq);
    let (seq, points) = bench.put();
    assert_eq!(points.len(), 1);
    bench.answer_stored(seq);
    assert_eq!(bench.written(), "ok\n\n".repeat(count));
    bench.waits_for_input();
}

#[test]
fn each_invalid_line_gets_one_error_and_blank_lines_get_none() {
    let mut bench =
        Bench::speaking("\n\nget wrong command test\n\n \t\r\n{\"command\": \"ping\"}\nGET a\n\"text\"\n");
    bench.waits_for_input();
    let json = WRONG.replace("\n\n", ": this connection speaks metrics text; open a new one for JSON\n\n");
    assert_eq!(bench.written(), [WRONG, &json, WRONG, WRONG].concat());
    assert_eq!(bench.session.take_refused(), 4);
}

#[test]
fn a_violation_of_the_framing_gets_one_error_and_ends_the_connection() {
    let longer = format!("put {} 1 1\n", "k".repeat(limits::TEXT_LINE_BYTES_MAX));
    for (text, words) in [
        (longer.as_str(), "line too long"),
        ("put a\0b 1 1\n", "a line must be UTF-8 without control characters"),
        ("\u{7f}", "a line must be UTF-8 without control characters"),
    ] {
        let mut bench = Bench::speaking(&format!("put a 1 1\n{text}put b 1 1\n"));
        let (seq, points) = bench.put();
        assert_eq!(points, ["a 1.0 1"]);
        bench.is_blocked();
        bench.answer_stored(seq);
        bench.ends(Ending::Linger);
        assert_eq!(bench.written(), format!("ok\n\nerror\n{words}\n\n"));
    }
}

#[test]
fn a_line_of_http_ends_a_text_connection_without_effect() {
    let mut bench = Bench::speaking("put a 1 1\nPOST / HTTP/1.1\r\nHost: a\r\n\r\nput b 1 1\n");
    let (seq, points) = bench.put();
    assert_eq!(points, ["a 1.0 1"]);
    bench.answer_stored(seq);
    bench.ends(Ending::HttpLine);
    assert_eq!(bench.written(), "ok\n\n");
}

#[test]
fn an_incomplete_last_line_is_not_executed() {
    let mut bench = Bench::speaking("put a 1 1\nput a 1 15018642");
    bench.session.end_input();
    let (seq, points) = bench.put();
    assert_eq!(points, ["a 1.0 1"]);
    bench.answer_stored(seq);
    bench.ends(Ending::Linger);
    assert_eq!(bench.written(), "ok\n\nerror\nthe input ended inside a line\n\n");

    let mut bench = Bench::speaking("get *\n \n");
    bench.session.end_input();
    let (seq, _) = bench.get();
    bench.answer_page(seq, vec![], None);
    bench.ends(Ending::Close);
    assert_eq!(bench.written(), "ok\n\n");
}

#[test]
fn an_incomplete_signature_of_another_framing_is_text() {
    for start in ["GET ", "SS", "\0", "OPTIONS "] {
        let mut bench = Bench::speaking(start);
        bench.waits_for_input();
        bench.session.end_input();
        bench.ends(Ending::Linger);
        assert!(bench.written().starts_with("error\n"), "{start:?}");
    }
}

#[test]
fn the_deadline_of_a_line_starts_at_its_first_byte() {
    let mut bench = Bench::new();
    for piece in [" ", "pu", "t a", " 1"] {
        bench.input.push(piece.as_bytes());
        bench.waits_for_input();
        bench.now = bench.now + SECOND;
    }
    assert_eq!(bench.session.deadline(&bench.rules), Some(Instant::ORIGIN + 11 * SECOND));
    bench.input.push(b" 1\n");
    let (seq, _) = bench.put();
    assert_eq!(bench.session.deadline(&bench.rules), None);
    bench.answer_stored(seq);
    bench.waits_for_input();
    assert_eq!(bench.session.deadline(&bench.rules), Some(bench.now + 3600 * SECOND));
    bench.now = bench.now + SECOND;
    bench.input.push(b"\r\n \n");
    bench.waits_for_input();
    let idle = bench.now + 3599 * SECOND;
    assert_eq!(bench.session.deadline(&bench.rules), Some(idle), "white space begins nothing");
    bench.input.push(b"get");
    bench.waits_for_input();
    bench.now = bench.now + 10 * SECOND;
    assert!(bench.session.expire(&bench.rules, bench.now));
    bench.ends(Ending::Linger);
    assert_eq!(bench.written(), "ok\n\nerror\nthe line did not end in time\n\n");
}

#[test]
fn a_drained_session_answers_open_lines() {
    let mut bench = Bench::speaking("put a 1 1\nput b 1 1\nget *\n");
    let (seq, _) = bench.put();
    bench.session.begin_drain(&bench.input);
    bench.answer_stored(seq);
    bench.ends(Ending::Linger);
    assert_eq!(bench.written(), "ok\n\nok\n\n");
}

const GET: &str = "{\"command\": \"get\", \"data\": {\"key\": \"*\"}}";
const POINTS: &str =
    "{\"status\":\"success\",\"message\":null,\"data\":{\"a\":[[1,1.0],[2,2.0]],\"b\":[[3,3.0]]}}";

/// Answers a request for points in two pages, split inside a series.
fn answer_in_two_pages(bench: &mut Bench) {
    let (seq, filter) = bench.get();
    assert_eq!(filter, PointFilter::default());
    bench.answer_page(seq, vec![series(1, "a", &[(1, 1.0)])], Some(AFTER));
    assert!(
        matches!(bench.next(), Step::NextPage(of, Listing { query: Query::Points(_), .. }, AFTER) if of == seq)
    );
    bench.answer_page(seq, vec![series(1, "a", &[(2, 2.0)]), series(2, "b", &[(3, 3.0)])], None);
}

#[test]
fn points_are_sent_in_raw_json() {
    let mut bench = Bench::speaking(GET);
    answer_in_two_pages(&mut bench);
    assert_eq!(bench.written(), format!("{POINTS}\n"));
    bench.input.push(b"{\"command\": \"put\", \"data\": {\"key\": \"a\", \"value\": 1}}");
    match bench.next() {
        Step::Call(head, request) => {
            assert_eq!(request.reply_count(), 1);
            let seq = bench.session.open(head);
            bench.answer_stored(seq);
        }
        step => panic!("expected a request, got {step:?}"),
    }
    assert_eq!(bench.written(), "{\"status\":\"success\",\"message\":\"ok\",\"data\":{}}\n");
}

#[test]
#[cfg(feature = "http")]
fn points_are_sent_over_http() {
    let length = GET.len();
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    let mut bench = Bench::speaking(&format!("{head}{GET}"));
    answer_in_two_pages(&mut bench);
    let written = bench.written();
    let (head, mut rest) = written.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("chunked"), "{head}");
    let mut body = String::new();
    loop {
        let (size, rest_of_input) = rest.split_once("\r\n").expect("a chunk");
        let size = usize::from_str_radix(size, 16).expect("its size");
        if size == 0 {
            break;
        }
        body.push_str(&rest_of_input[..size]);
        rest = rest_of_input[size..].strip_prefix("\r\n").expect("its end");
    }
    assert_eq!(body, format!("{POINTS}\n"));
}

#[test]
#[cfg(feature = "websocket")]
fn points_are_sent_over_websocket() {
    let mut bench = Bench::speaking(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    bench.waits_for_input();
    assert!(bench.written().starts_with("HTTP/1.1 101 "));
    // The mask is zero.
    let length = u8::try_from(GET.len()).expect("it is short");
    bench.input.push(&[&[0x81, 0x80 | length, 0, 0, 0, 0], GET.as_bytes()].concat());
    answer_in_two_pages(&mut bench);
    let frames = bench.output.as_slice().to_vec();
    let first = usize::from(frames[1]);
    let second = 2 + first;
    assert_eq!((frames[0], frames[second]), (0x01, 0x80), "a message of two fragments");
    let text = [&frames[2..second], &frames[second + 2..]].concat();
    assert_eq!(String::from_utf8(text).unwrap(), POINTS);
}

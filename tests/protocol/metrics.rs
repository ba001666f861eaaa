//! Metrics text, byte for byte: lines, whole or in pieces; numbers and keys; errors and the end of input.

use std::collections::BTreeMap;

use crate::common::{Client, Daemon, Random};

const OK: &str = "ok\n\n";
const WRONG: &str = "error\nwrong command\n\n";
const WRONG_JSON: &str =
    "error\nwrong command: this connection speaks metrics text; open a new one for JSON\n\n";
const OUT_OF_RANGE: &str = "error\ntimestamp out of range: seconds since 1970\n\n";
const BAD_TEXT: &str = "error\na line must be UTF-8 without control characters\n\n";
const TOO_LONG: &str = "error\nline too long\n\n";
const CUT_SHORT: &str = "error\nthe input ended inside a line\n\n";

/// The input of a connection and the complete replies to it. Each has keys of its own, so that it can be repeated.
fn conversations() -> Vec<(Vec<u8>, String)> {
    let case = |said: &str, heard: &[&str]| (said.as_bytes().to_vec(), heard.concat());
    let bad = |said: &[u8], heard: &[&str]| (said.to_vec(), heard.concat());
    let (full, over) = (format!("get{}", " ".repeat(4091)), "get".to_owned() + &" ".repeat(4092));
    let mut cases = vec![
        // Well-formed lines.
        case("put k 1 2\n", &[OK]),
        case("put k1 10.6 2\nget k1\n", &[OK, "ok\nk1 10.6 2\n\n"]),
        case(
            "put k2 3 9\nput k2 1 7\nput k2 2 8\nget k2\n",
            &[OK, OK, OK, "ok\nk2 1.0 7\nk2 2.0 8\nk2 3.0 9\n\n"],
        ),
        case("put k3 1 7\nput k3 2 7\nget k3\n", &[OK, OK, "ok\nk3 2.0 7\n\n"]),
        case("get nothing\n", &[OK]),
        case("get nothing\nget nothing\n", &[OK, OK]),
        // Ends of lines and blanks.
        case("put r 1 2\r\nget r\r\n", &[OK, "ok\nr 1.0 2\n\n"]),
        case("put s 1 2 \t \nget s \r\n", &[OK, "ok\ns 1.0 2\n\n"]),
        case("put\tt  1 \t\t 2\nget\t t\n", &[OK, "ok\nt 1.0 2\n\n"]),
        case("  \tput u 1 2\n \tget u\n", &[OK, "ok\nu 1.0 2\n\n"]),
        case("", &[]),
        case("\n\r\n \n\t\r\n\n", &[]),
        case("get nothing\n\n\n \n\nget nothing\n\n", &[OK, OK]),
        case("get wrong command test\n\n", &[WRONG]),
        // More of them than are skipped before a first byte.
        case(&format!("{}get nothing\n", " ".repeat(63)), &[OK]),
        case(&format!("{}get nothing\n", " ".repeat(64)), &[OK]),
        case(&format!("{}get nothing\n", "\r\n".repeat(40)), &[OK]),
        case(&format!("{}{{\"command\":\"ping\"}}\n", "\n".repeat(65)), &[WRONG_JSON]),
        case("wrong\n\n\nwrong\r\n\r\n", &[WRONG, WRONG]),
        // Invalid lines change nothing and do not end the connection.
        case(
            "put v 1 2\nput v 2\nput v x 2\nput v 2 x\nput v 3 3 3\nget v\n",
            &[OK, WRONG, WRONG, WRONG, WRONG, "ok\nv 1.0 2\n\n"],
        ),
        case(
            "Put w 1 2\nPUT w 1 2\nput\nget\nGET w\nget w w\nputw 1 2\nget w\n",
            &[WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, OK],
        ),
        case(
            "{\n",
            &[
                "{\"status\":\"error\",\"message\":\"Invalid JSON: the input ended inside a request\",\"data\":{}}\n",
            ],
        ),
        case("x{\"command\":\"ping\"}\n{\"command\":\"ping\"}\n[]\n", &[WRONG, WRONG_JSON, WRONG]),
        // A carriage return inside a line is neither a blank nor a line break.
        case("put x\r1 2\nget x\rget x\n", &[WRONG, WRONG]),
        // The end of the input.
        case("get nothing", &[CUT_SHORT]),
        case("put y1 1 2\nput y1 1 3", &[OK, CUT_SHORT]),
        case("put y2 1 2\nget y2\n  \t", &[OK, "ok\ny2 1.0 2\n\n"]),
        // The length of a line.
        case(&format!("{full} q\nget nothing\n"), &[OK, OK]),
        case(&format!("{full} q\r\nget nothing\n"), &[OK, OK]),
        case(&format!("get nothing\n{over} q\nget nothing\n"), &[OK, TOO_LONG]),
        case(&format!("{over} q\r\nget nothing\n"), &[TOO_LONG]),
        case(&format!("{over}{over}{over} q"), &[TOO_LONG]),
        case(&format!("{}\nget nothing\n", "x".repeat(4096)), &[WRONG, OK]),
        case(&format!("{}\nget nothing\n", "x".repeat(4097)), &[TOO_LONG]),
        // A line of HTTP ends a connection of text: nothing after it is done.
        case("put z1 1 2\nGET / HTTP/1.1\r\nHost: a\r\n\r\nput evil 1 1\n", &[OK]),
        case("get nothing\nPOST http://a/ HTTP/1.1\r\n\r\nput evil 1 1\n", &[OK]),
        case("get nothing\nOPTIONS * HTTP/1.1\r\n\r\nput evil 1 1\n", &[OK]),
        case("get nothing\nGET *\nGET a/ b\nput z2 1 2\n", &[OK, WRONG, WRONG, OK]),
        // Keys.
        case("put ключ 1 2\nget ключ\n", &[OK, "ok\nключ 1.0 2\n\n"]),
        case(
            "put \u{1f411}{}[]\"'\\ 1 2\nget \u{1f411}{}[]\"'\\\n",
            &[OK, "ok\n\u{1f411}{}[]\"'\\ 1.0 2\n\n"],
        ),
        case(
            "put put 1 2\nput get 1 2\nget put\nget get\n",
            &[OK, OK, "ok\nput 1.0 2\n\n", "ok\nget 1.0 2\n\n"],
        ),
        // A key has no white space or control characters of several bytes.
        case("put a\u{a0}b 1 2\nput a\u{2003}b 1 2\nput a\u{85}b 1 2\nget a\u{85}b\n", &[WRONG; 4]),
    ];
    for length in [200, 201] {
        let (key, wide) = ("k".repeat(length), "я".repeat(length / 2) + &"k".repeat(length % 2));
        for key in [key, wide] {
            let line = format!("ok\n{key} 1.0 2\n\n");
            let heard = if length == 200 { [OK, &line] } else { [WRONG, WRONG] };
            cases.push(case(&format!("put {key} 1 2\nget {key}\n"), &heard));
        }
    }
    for control in (0..0x20).filter(|byte| !b"\t\n\r".contains(byte)).chain([0x7f]) {
        let said = [b"get nothing\nput c 1 ", &[control][..], b"2\nput evil 1 1\n"].concat();
        cases.push((said, [OK, BAD_TEXT].concat()));
    }
    for what in
        [&b"\xff"[..], b"\xc3(", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2\x82"]
    {
        let said = [b"get nothing\nput a", what, b" 1 2\nput evil 1 1\n"].concat();
        cases.push((said, [OK, BAD_TEXT].concat()));
    }
    cases.extend([
        bad(b"\xff\n", &[BAD_TEXT]),
        bad(b"get nothing\nget \xe2\x82\nget nothing\n", &[OK, BAD_TEXT]),
        // Cut by the end of the input, which the error names.
        bad(b"get nothing\nget \xe2\x82", &[OK, CUT_SHORT]),
    ]);
    cases
}

#[test]
fn each_conversation_works_whole_byte_by_byte_and_at_every_split() {
    let daemon = in_memory();
    let mut splits = 0;
    for (said, heard) in conversations() {
        assert_eq!(converse(&daemon, &[&said]), heard, "{}", said.escape_ascii());
        if said.len() > 1000 {
            let places = [1, 3, 4, 4094, 4095, 4096, 4097, 4098, 4099, said.len() - 1];
            for at in places.into_iter().filter(|at| *at < said.len()) {
                let (start, end) = said.split_at(at);
                assert_eq!(converse(&daemon, &[start, end]), heard, "split at {at}: {heard}");
            }
            continue;
        }
        let bytes: Vec<&[u8]> = said.chunks(1).collect();
        assert_eq!(converse(&daemon, &bytes), heard, "byte by byte: {}", said.escape_ascii());
        for at in 1..said.len() {
            let (start, end) = said.split_at(at);
            assert_eq!(converse(&daemon, &[start, end]), heard, "split at {at}: {}", said.escape_ascii());
            splits += 1;
        }
    }
    assert_eq!(daemon.client().call_text("get evil"), OK);
    eprintln!("{splits} splits");
}

/// The kernel resets a connection that is closed with unread bytes, which would discard the error.
#[test]
fn the_last_error_arrives_although_unread_input_remains() {
    let daemon = in_memory();
    for (last, error) in [("\0", BAD_TEXT), (&"x".repeat(5000)[..], TOO_LONG)] {
        let mut client = daemon.client();
        client.send(&format!("put a 1 2\n{last}"));
        client.send(&"\nput evil 1 1\n".repeat(300_000));
        client.half_close();
        assert_eq!(client.rest(), [OK, error].concat());
    }
    assert_eq!(daemon.client().call_text("get *"), "ok\na 1.0 2\n\n");
}

#[test]
fn values_are_printed_as_the_shortest_round_trip_decimal() {
    let cases = [
        ("1", Some("1.0")),
        ("+1", Some("1.0")),
        ("-1", Some("-1.0")),
        (".5", Some("0.5")),
        ("5.", Some("5.0")),
        ("-.5e1", Some("-5.0")),
        ("1e3", Some("1000.0")),
        ("1E-3", Some("0.001")),
        ("1e+3", Some("1000.0")),
        ("007", Some("7.0")),
        ("0", Some("0.0")),
        ("-0.0", Some("-0.0")),
        ("-0", Some("-0.0")),
        ("10.60", Some("10.6")),
        ("0.1", Some("0.1")),
        ("4200000", Some("4200000.0")),
        ("1e22", Some("1e22")),
        ("1e-7", Some("1e-7")),
        ("1e-400", Some("0.0")),
        ("5e-324", Some("5e-324")),
        ("2.2250738585072011e-308", Some("2.225073858507201e-308")),
        ("1.7976931348623157e308", Some("1.7976931348623157e308")),
        ("0.30000000000000004", Some("0.30000000000000004")),
        ("9007199254740993", Some("9007199254740992.0")),
        ("123456789012345678901234567890", Some("1.2345678901234568e29")),
        ("1e400", None),
        ("-1e400", None),
        ("1.8e308", None),
        ("inf", None),
        ("-inf", None),
        ("infinity", None),
        ("nan", None),
        ("NaN", None),
        ("0x1", None),
        ("0x1p3", None),
        ("1_0", None),
        ("1,5", None),
        ("1f", None),
        ("--1", None),
        ("+-1", None),
        (".", None),
        ("+", None),
        ("-", None),
        ("e5", None),
        (".e5", None),
        ("1e", None),
        ("1e+", None),
        ("1e1.5", None),
        ("1.2.3", None),
        ("\u{661}", None),
        ("½", None),
    ];
    let digits = "3.".to_owned() + &"1".repeat(3000);
    let zeros = "0".repeat(3000) + "7";
    let nines = "9".repeat(400);
    let long = [(&*digits, Some("3.111111111111111")), (&*zeros, Some("7.0")), (&*nines, None)];
    let daemon = in_memory();
    let mut client = daemon.client();
    for (text, shown) in cases.into_iter().chain(long) {
        let (reply, points) = match shown {
            Some(shown) => (OK, format!("ok\nk {shown} 1\n\n")),
            None => (WRONG, "ok\nk 77.0 1\n\n".to_owned()),
        };
        assert_eq!(client.call_text("put k 77 1"), OK);
        assert_eq!(client.call_text(&format!("put k {text} 1")), reply, "{text}");
        assert_eq!(client.call_text("get k"), points, "{text}");
    }
}

#[test]
fn timestamps_are_decimal_integers_of_the_years_1_to_9999() {
    let cases = [
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("1501864247", Some(1_501_864_247)),
        ("000000000000000000000000000012", Some(12)),
        ("-62135596800", Some(-62_135_596_800_i64)),
        ("253402300799", Some(253_402_300_799)),
        ("1.0", None),
        ("1e3", None),
        ("0x10", None),
        ("1_0", None),
        ("--1", None),
        ("-", None),
        ("now", None),
        ("\u{661}", None),
    ];
    let daemon = in_memory();
    let mut client = daemon.client();
    let mut kept = BTreeMap::new();
    for (text, second) in cases {
        let expected = if second.is_some() { OK } else { WRONG };
        assert_eq!(client.call_text(&format!("put k 1 {text}")), expected, "{text}");
        kept.extend(second.map(|second| (second, ())));
    }
    // Most likely another unit: milliseconds, microseconds, nanoseconds, and more than any number holds.
    for text in [
        "-62135596801",
        "253402300800",
        "1501864247123",
        "1501864247123456",
        "1501864247123456789",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "99999999999999999999999",
    ] {
        assert_eq!(client.call_text(&format!("put k 1 {text}")), OUT_OF_RANGE, "{text}");
        assert_eq!(client.call_text(&format!("put k 1 {text} 1")), WRONG, "{text}");
        assert_eq!(client.call_text(&format!("put k one {text}")), WRONG, "{text}");
    }
    // Also among other lines.
    client.send(&format!("put a 1 1\nput a 1 {}\nput a 2 2\n", i64::MAX));
    assert_eq!([(); 3].map(|()| client.text_reply()), [OK, OUT_OF_RANGE, OK]);
    let lines: String = kept.keys().map(|second| format!("k 1.0 {second}\n")).collect();
    assert_eq!(client.call_text("get k"), format!("ok\n{lines}\n"), "in the order of time");
}

#[test]
fn values_survive_bit_for_bit() {
    const COUNT: usize = 3000;
    let mut numbers = Random::with_seed(7);
    let bits = std::iter::repeat_with(|| numbers.any());
    let values: Vec<f64> = bits.map(f64::from_bits).filter(|value| value.is_finite()).take(COUNT).collect();
    for store in [&["--store", "memory:"][..], &[]] {
        let daemon = Daemon::builder().args(store).start();
        let mut client = daemon.client();
        // The shortest text, and all significant digits.
        for (key, exact) in [("short", false), ("exact", true)] {
            let line = |(second, value): (usize, &f64)| match exact {
                true => format!("put {key} {value:.17e} {second}\n"),
                false => format!("put {key} {value:?} {second}\n"),
            };
            client.send(&values.iter().enumerate().map(line).collect::<String>());
            (0..COUNT).for_each(|_| assert_eq!(client.text_reply(), OK));
            let reply = client.call_text(&format!("get {key}"));
            let read = reply.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<f64>().ok());
            assert!(read.map(f64::to_bits).eq(values.iter().map(|value| value.to_bits())), "{key}");
        }
    }
}

#[test]
fn a_key_may_be_a_star_and_is_found_among_all() {
    let daemon = in_memory();
    let mut client = daemon.client();
    assert_eq!(client.call_text("put a 1 1"), OK);
    assert_eq!(client.call_text("put * 2 1"), OK);
    assert_eq!(client.call_text("put ** 3 1"), OK);
    assert_eq!(client.call_text("get *"), "ok\na 1.0 1\n* 2.0 1\n** 3.0 1\n\n");
    assert_eq!(client.call_text("get **"), "ok\n** 3.0 1\n\n");
}

#[test]
fn five_thousand_commands_in_one_packet_get_ordered_replies() {
    const COUNT: usize = 5000;
    // With a store on disk each get waits for the put before it.
    for (store, run_max) in [(&["--store", "memory:"][..], 3), (&[], 60)] {
        let daemon = Daemon::builder().args(store).start();
        let (mut said, mut heard) = (String::new(), String::new());
        let mut kept = Kept::default();
        let mut random = Random::with_seed(run_max);
        let mut count = 0;
        while count < COUNT {
            for _ in 0..(random.below(run_max) + 1).min((COUNT - count) as u64) {
                let (key, second) = (format!("key-{}", random.below(9)), random.below(20) as i64 - 10);
                said.push_str(&format!("put {key} {count} {second}\n"));
                kept.put(&key, second, count as f64);
                heard.push_str(OK);
                count += 1;
            }
            let (line, reply) = match random.below(4) {
                0 => ("nonsense\n".to_owned(), WRONG.to_owned()),
                1 => (format!("put key-1 {count}\n"), WRONG.to_owned()),
                2 if random.below(4) == 0 => ("get *\n".to_owned(), kept.reply(None)),
                _ => {
                    let key = format!("key-{}", random.below(10));
                    (format!("get {key}\n"), kept.reply(Some(&key)))
                }
            };
            said.push_str(&line);
            heard.push_str(&reply);
            count += 1;
        }
        let mut client = daemon.client();
        client.send(&said);
        client.half_close();
        let replies = client.rest();
        assert_eq!(first_difference(&replies, &heard), None, "{count} commands");
    }
}

/// A batch of good lines with bad ones between them: each good one is stored.
#[test]
fn each_put_of_a_batch_has_its_own_result() {
    let daemon = in_memory();
    let mut client = daemon.client();
    let (mut said, mut heard, mut kept) = (String::new(), String::new(), String::new());
    for second in 0..10_000 {
        if second % 7 == 3 {
            said.push_str(&format!("put batch {second} {second} much\n"));
            heard.push_str(WRONG);
        } else {
            said.push_str(&format!("put batch {second} {second}\n"));
            heard.push_str(OK);
            kept.push_str(&format!("batch {second}.0 {second}\n"));
        }
    }
    client.send(&said);
    client.half_close();
    assert_eq!(first_difference(&client.rest(), &heard), None);
    assert_eq!(first_difference(&daemon.client().call_text("get batch"), &format!("ok\n{kept}\n")), None);
}

/// All replies to a client that sends these pieces and then ends its input.
#[track_caller]
fn converse(daemon: &Daemon, pieces: &[&[u8]]) -> String {
    let mut client = Client::connect(daemon.address());
    for piece in pieces {
        // The daemon may have closed by now; what is sent then is lost.
        let _ = client.try_send(piece);
        // Whether they arrive in pieces depends on the system.
        std::thread::yield_now();
    }
    let _ = client.shutdown(std::net::Shutdown::Write);
    client.rest()
}

fn in_memory() -> Daemon {
    Daemon::builder().args(["--store", "memory:"]).start()
}

/// The first difference of the two, with a little context.
fn first_difference(one: &str, two: &str) -> Option<(String, String)> {
    let at = one.bytes().zip(two.bytes()).position(|(one, two)| one != two);
    let at = at.or((one.len() != two.len()).then_some(one.len().min(two.len())))?;
    let part = |text: &str| text.chars().skip(at.saturating_sub(80)).take(200).collect();
    Some((part(one), part(two)))
}

/// The points that have to be stored.
#[derive(Default)]
struct Kept(Vec<(String, BTreeMap<i64, f64>)>);

impl Kept {
    fn put(&mut self, key: &str, second: i64, value: f64) {
        let index = self.0.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
            self.0.push((key.to_owned(), BTreeMap::new()));
            self.0.len() - 1
        });
        self.0[index].1.insert(second, value);
    }

    /// The reply to a `get` of one key or all.
    fn reply(&self, wanted: Option<&str>) -> String {
        let series = self.0.iter().filter(|(key, _)| wanted.is_none_or(|wanted| wanted == key));
        let lines = series.flat_map(|(key, points)| {
            points.iter().map(move |(second, value)| format!("{key} {value:?} {second}\n"))
        });
        format!("ok\n{}\n", lines.collect::<String>())
    }
}

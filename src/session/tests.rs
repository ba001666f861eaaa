//! Unit tests of sessions: order, barriers, pages, deadlines and endings.

use std::time::Duration;

use super::*;
use crate::clock::HttpDate;
use crate::ids::DiskId;
use crate::model::{Caller, CommandName, Cursor, Items, List, Listing, LongMessage, Page, Peer, Query};

mod delayed;
mod dropped;
mod long;
mod one_pass;
mod ping;
mod refused;
#[cfg(feature = "sealed")]
mod sealed;
mod steps;
mod text;
mod watch;
mod writes;

const PONG: Answer = Answer::Pong(Peer::Unix { uid: None });
const SECOND: Duration = Duration::from_secs(1);
const ROOM: Capacity = Capacity { for_request: true, for_page: true };

/// A session with its buffers and a manual clock.
struct Bench {
    session: Session,
    input: Buffer,
    output: Buffer,
    rules: Rules,
    now: Instant,
    date: HttpDate,
    /// How many steps were taken.
    steps: u64,
}

impl Bench {
    fn new() -> Bench {
        let rules = Rules {
            customs: Default::default(),
            first_request_timeout: Some(300 * SECOND),
            request_timeout: 10 * SECOND,
            idle_timeout_anonymous: Some(3600 * SECOND),
            idle_timeout_authenticated: None,
            idle_timeout_http: Some(Duration::from_secs(75)),
            #[cfg(feature = "http")]
            http: Default::default(),
            #[cfg(feature = "sealed")]
            sealed: None,
            write_timeout: 10 * SECOND,
            request_bytes_max_anonymous: 1000,
            inline_bytes_max: limits::INLINE_BYTES_MAX,
            request_bytes_max_forwarded: 1000,
            requests_max: 3,
        };
        let (now, date) = (Instant::ORIGIN, HttpDate::new(Default::default()));
        let (input, output) = (Buffer::new(), Buffer::new());
        Bench { session: Session::default(), input, output, rules, now, date, steps: 0 }
    }

    fn next(&mut self) -> Step {
        self.next_within(ROOM)
    }

    fn next_within(&mut self, capacity: Capacity) -> Step {
        self.steps += 1;
        let (rules, date, seq) = (&self.rules, &self.date, RequestSeq(self.steps));
        let context = StepContext { rules, capacity, now: self.now, date, seq, keeps_refusals: false };
        self.session.next(&mut self.input, &mut self.output, context)
    }

    fn say(&mut self, text: &str) -> Step {
        self.input.push(text.as_bytes());
        self.next()
    }

    /// The seq and command of the next request.
    fn call(&mut self) -> (RequestSeq, CommandName) {
        match self.next() {
            Step::Call(head, request) => (self.session.open(head), request.name),
            step => panic!("expected a request, got {step:?}"),
        }
    }

    fn answer(&mut self, seq: RequestSeq) {
        self.answer_with(seq, &PONG);
    }

    fn answer_with(&mut self, seq: RequestSeq, answer: &Answer) {
        assert!(self.session.complete(seq, answer, &mut self.output, &self.date));
    }

    fn page(&mut self, seq: RequestSeq, next: Option<Cursor>) {
        let page = Page {
            listing: Listing {
                command: CommandName::List,
                query: Query::List(List::AllDisks),
                caller: Caller::default(),
            },
            items: Items::Disks(Vec::new()),
            next,
        };
        assert!(self.session.complete_page(seq, &page, &mut self.output, &self.date));
    }

    /// The replies since the last call, one line each.
    fn replies(&mut self) -> Vec<String> {
        let text = String::from_utf8(self.output.as_slice().to_vec()).unwrap();
        self.output.clear();
        text.lines().map(str::to_owned).collect()
    }

    fn waits_for_input(&mut self) {
        let step = self.next();
        assert!(matches!(step, Step::NeedInput), "{step:?}");
    }

    fn is_blocked(&mut self) {
        let step = self.next();
        assert!(matches!(step, Step::Blocked), "{step:?}");
    }

    fn ends(&mut self, ending: Ending) {
        match self.next() {
            Step::Finished(found) => assert_eq!(found, ending),
            step => panic!("expected the end, got {step:?}"),
        }
    }
}

fn ping(id: &str) -> String {
    format!("{{\"request_id\": \"{id}\", \"command\": \"ping\"}}")
}

/// A `ping` that is read like any other request.
const PING: &str = "{\"data\": {}, \"command\": \"ping\"}";
const LOGOUT: &str = "{\"command\": \"logout\"}";
const LIST: &str =
    "{\"request_id\": \"list\", \"command\": \"list\", \"data\": {\"list_type\": \"all_disks\"}}";

#[test]
fn requests_without_an_id_wait_for_each_other() {
    let mut bench = Bench::new();
    bench.input.push(PING.repeat(2).as_bytes());
    let (first, _) = bench.call();
    bench.is_blocked();
    bench.answer(first);
    let (second, _) = bench.call();
    assert_ne!(first, second);
    bench.answer(second);
    bench.waits_for_input();
    assert_eq!(bench.replies().len(), 2);
}

#[test]
fn a_request_with_an_id_may_be_answered_first() {
    let mut bench = Bench::new();
    bench.input.push(format!("{PING}{}{}", ping("a"), ping("b")).as_bytes());
    let (serial, a, b) = (bench.call().0, bench.call().0, bench.call().0);
    for seq in [b, a, serial] {
        bench.answer(seq);
    }
    let replies = bench.replies();
    assert!(replies[0].starts_with("{\"request_id\":\"b\","), "{replies:?}");
    assert!(replies[1].starts_with("{\"request_id\":\"a\","), "{replies:?}");
    assert!(replies[2].starts_with("{\"status\":"), "{replies:?}");
}

#[test]
fn errors_without_an_id_are_in_order() {
    let mut bench = Bench::new();
    bench.input.push(format!("{PING}{{\"command\": 5}}nonsense\n{PING}").as_bytes());
    let (first, _) = bench.call();
    bench.is_blocked();
    assert_eq!(bench.replies().len(), 0);
    bench.answer(first);
    let (second, _) = bench.call();
    bench.answer(second);
    let replies = bench.replies();
    assert_eq!(replies.len(), 4);
    assert!(replies[1].contains("command") && replies[2].contains("Invalid JSON"), "{replies:?}");
}

#[test]
fn messages_handled_without_a_step_are_counted() {
    let mut bench = Bench::new();
    bench.input.push(b"[]{}nonsense\n[]");
    bench.waits_for_input();
    // The selection of the framing counts as well.
    assert_eq!((bench.session.take_refused(), bench.session.take_handled_inline()), (4, 5));
    assert_eq!((bench.session.take_refused(), bench.session.take_handled_inline()), (0, 0));
    bench.input.push(PING.as_bytes());
    let (seq, _) = bench.call();
    bench.answer(seq);
    bench.waits_for_input();
    assert_eq!(bench.session.take_handled_inline(), 0, "it had a step of its own");
}

#[test]
fn nothing_is_decoded_after_a_barrier() {
    let mut bench = Bench::new();
    bench.input.push(format!("{LOGOUT}{}", ping("a")).as_bytes());
    let (barrier, name) = bench.call();
    assert_eq!(name, CommandName::Logout);
    bench.is_blocked();
    assert_eq!(bench.input.len(), ping("a").len());
    bench.answer(barrier);
    bench.call();
}

#[test]
fn one_request_too_many_is_busy_and_the_connection_continues() {
    let mut bench = Bench::new();
    for id in ["a", "b", "c", "d"] {
        bench.input.push(ping(id).as_bytes());
    }
    let (first, _, _) = (bench.call().0, bench.call(), bench.call());
    bench.waits_for_input();
    assert!(
        bench.replies()[0].starts_with("{\"request_id\":\"d\",\"status\":\"error\",\"message\":\"busy\"")
    );
    bench.answer(first);
    bench.input.push(ping("e").as_bytes());
    bench.call();
    let named_logout = "{\"request_id\": 1, \"command\": \"logout\"}";
    bench.input.push(named_logout.as_bytes());
    assert_eq!(bench.call().1, CommandName::Logout, "a barrier is not refused unread");
}

#[test]
fn nothing_is_written_between_the_pages_of_a_reply() {
    let mut bench = Bench::new();
    bench.input.push(format!("{LIST}{}{LIST}", ping("a")).as_bytes());
    let (list, a) = (bench.call().0, bench.call().0);
    bench.is_blocked();
    bench.page(list, Some(Cursor::AfterDisk(DiskId(1))));
    bench.answer(a);
    assert!(
        matches!(bench.next(), Step::NextPage(seq, Listing { query: Query::List(List::AllDisks), .. }, _) if seq == list)
    );
    bench.is_blocked();
    bench.page(list, None);
    let replies = bench.replies();
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert!(replies[0].starts_with("{\"request_id\":\"list\"") && replies[0].ends_with("[]}}"));
    assert!(replies[1].starts_with("{\"request_id\":\"a\""));
    bench.call();
}

#[test]
fn a_broken_off_answer_is_not_well_formed() {
    let mut bench = Bench::new();
    bench.input.push(LIST.as_bytes());
    let (list, _) = bench.call();
    bench.page(list, Some(Cursor::AfterDisk(DiskId(1))));
    assert!(matches!(bench.next(), Step::NextPage(..)));
    assert!(bench.session.complete(
        list,
        &Answer::Failed(Failure::StoreUnavailable),
        &mut bench.output,
        &bench.date
    ));
    bench.ends(Ending::Abort);
    assert!(!bench.replies()[0].ends_with('}'));
}

#[test]
fn a_late_answer_is_dropped() {
    let mut bench = Bench::new();
    bench.input.push(PING.as_bytes());
    let (seq, _) = bench.call();
    bench.answer(seq);
    assert!(!bench.session.complete(seq, &PONG, &mut bench.output, &bench.date));
    assert_eq!(bench.replies().len(), 1);
}

#[test]
fn requests_before_the_end_of_input_are_answered() {
    let mut bench = Bench::new();
    bench.input.push(PING.repeat(2).as_bytes());
    bench.session.end_input();
    for _ in 0..2 {
        let (seq, _) = bench.call();
        bench.is_blocked();
        bench.answer(seq);
    }
    bench.ends(Ending::Close);
    assert_eq!(bench.replies().len(), 2);
}

#[test]
fn the_last_error_follows_the_open_answers() {
    let mut bench = Bench::new();
    bench.input.push(format!("{}{{", ping("a")).as_bytes());
    let (seq, _) = bench.call();
    bench.session.end_input();
    bench.is_blocked();
    bench.answer(seq);
    bench.ends(Ending::Linger);
    let replies = bench.replies();
    assert!(replies[0].contains("PONG") && replies[1].contains("Invalid JSON"), "{replies:?}");
}

#[test]
fn an_authenticated_client_may_send_longer_messages() {
    let long = format!("{{\"command\": \"ping\", \"data\": {{\"token\": \"{}\"}}}}", "x".repeat(2000));
    let mut bench = Bench::new();
    bench.input.push(long.as_bytes());
    bench.ends(Ending::Linger);
    assert!(bench.replies()[0].contains("1000"));

    let mut bench = Bench::new();
    bench.session.set_authenticated(true);
    bench.input.push(long.as_bytes());
    bench.call();
}

#[test]
fn receiving_bytes_does_not_reset_the_deadline_of_a_request() {
    let mut bench = Bench::new();
    for byte in ["{", "\"", "c", "o", "m", "m", "a", "n"] {
        assert!(matches!(bench.say(byte), Step::NeedInput));
        assert_eq!(bench.session.deadline(&bench.rules), Some(Instant::ORIGIN + 10 * SECOND));
        bench.now = bench.now + SECOND;
    }
    bench.now = Instant::ORIGIN + 10 * SECOND;
    assert!(bench.session.expire(&bench.rules, bench.now));
    bench.ends(Ending::Linger);
    assert!(bench.replies()[0].contains("timeout"));
}

#[test]
#[cfg(feature = "http")]
fn the_deadline_of_the_first_request_starts_at_its_first_byte() {
    let mut bench = Bench::new();
    for piece in ["\r\n", "POST", " ", "/ HTTP/1.1\r\n", "Host: localhost\r\n"] {
        assert!(matches!(bench.say(piece), Step::NeedInput));
        bench.now = bench.now + SECOND;
    }
    assert_eq!(bench.session.deadline(&bench.rules), Some(Instant::ORIGIN + 11 * SECOND));
}

#[test]
fn each_request_has_its_own_deadline() {
    let mut bench = Bench::new();
    assert!(matches!(bench.say("{}nonsense"), Step::NeedInput));
    bench.now = bench.now + 9 * SECOND;
    assert!(matches!(bench.say("\n{\"command\":"), Step::NeedInput));
    assert_eq!(bench.session.deadline(&bench.rules), Some(bench.now + 10 * SECOND));
}

#[test]
fn white_space_does_not_begin_a_request_or_reset_the_idle_timeout() {
    let mut bench = Bench::new();
    assert!(matches!(bench.say(" \n"), Step::NeedInput));
    assert_eq!(bench.session.deadline(&bench.rules), Some(Instant::ORIGIN + 300 * SECOND));
    bench.input.push(PING.as_bytes());
    let (seq, _) = bench.call();
    assert_eq!(bench.session.deadline(&bench.rules), None);
    bench.answer(seq);
    bench.waits_for_input();
    bench.now = bench.now + SECOND;
    assert!(matches!(bench.say("\n"), Step::NeedInput));
    assert_eq!(bench.session.deadline(&bench.rules), Some(Instant::ORIGIN + 3600 * SECOND));
    bench.session.set_authenticated(true);
    assert_eq!(bench.session.deadline(&bench.rules), None);
}

#[test]
fn a_drained_session_answers_open_requests_and_starts_none() {
    let mut bench = Bench::new();
    bench.input.push(PING.repeat(2).as_bytes());
    let (seq, _) = bench.call();
    bench.session.begin_drain(&bench.input);
    bench.is_blocked();
    bench.answer(seq);
    bench.ends(Ending::Linger);
    assert_eq!(bench.replies().len(), 1);

    let mut idle = Bench::new();
    idle.session.begin_drain(&idle.input);
    idle.ends(Ending::Close);
}

#[test]
fn other_protocols_get_a_one_line_error() {
    for hello in ["\u{16}\u{3}\u{1}", "SSH-2.0", "PROXY TCP4 ", "PRI * HTTP/2.0", "\0\r\nQUIT\n"] {
        let mut bench = Bench::new();
        bench.input.push(hello.as_bytes());
        bench.ends(Ending::Linger);
        let replies = bench.replies();
        assert!(replies.len() == 1 && replies[0].contains("JSON"), "{hello:?}: {replies:?}");
    }
}

#[test]
fn a_line_of_http_ends_a_connection_of_raw_json() {
    let mut bench = Bench::new();
    bench.input.push(b"{}\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n{\"command\": \"ping\"}");
    bench.ends(Ending::HttpLine);
}

/// Nothing may follow an answer that says `Connection: close`.
#[cfg(feature = "http")]
#[test]
fn memory_is_freed_after_the_open_request_over_http_is_answered() {
    let mut bench = Bench::new();
    let request =
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{PING}", PING.len());
    bench.input.push(request.repeat(2).as_bytes());
    let (seq, _) = bench.call();
    assert!(bench.session.refuse_for_room(&mut bench.input));
    bench.is_blocked();
    bench.answer(seq);
    bench.ends(Ending::Linger);
    let replies = bench.replies();
    let count = |line: &str| replies.iter().filter(|reply| reply.starts_with(line)).count();
    assert_eq!(
        (count("HTTP/1.1 200"), count("HTTP/1.1"), count("Connection: close")),
        (1, 1, 1),
        "{replies:?}"
    );
}

#[test]
fn a_list_that_waits_for_memory_can_be_refused() {
    const NO_ROOM: Capacity = Capacity { for_page: false, ..ROOM };
    let mut bench = Bench::new();
    assert!(!bench.session.refuse_page(), "nothing waits");
    bench.input.push(format!("{LIST}{PING}").as_bytes());
    assert!(matches!(bench.next_within(NO_ROOM), Step::NeedRoom));
    assert!(bench.session.refuse_page());
    let Step::Call(ping, _) = bench.next_within(NO_ROOM) else { panic!("the next request begins") };
    let ping = bench.session.open(ping);
    bench.answer(ping);
    let replies = bench.replies();
    assert!(
        replies[0].starts_with(r#"{"request_id":"list","status":"error","message":"busy""#),
        "{replies:?}"
    );
    assert_eq!(replies.len(), 2);
    // An error needs no page.
    bench.input.push(LIST.replace("all_disks", "other").as_bytes());
    assert!(matches!(bench.next_within(NO_ROOM), Step::Call(..)));
}

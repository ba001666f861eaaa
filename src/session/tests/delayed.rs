//! Delayed answers: when they are due, and what they wait for.

use super::*;

const CONVERTED: Answer = Answer::Converted(String::new());

fn conversion(id: &str) -> String {
    format!("{{\"request_id\": \"{id}\", \"data\": \"Hub&&id&&{id}\"}}")
}

impl Bench {
    /// Takes the next conversion and delays its answer until `at`.
    fn delay(&mut self, at: Instant) -> RequestSeq {
        let (seq, name) = self.call();
        assert_eq!(name, CommandName::Convert);
        assert!(self.session.delay(seq, at, "data".into()));
        seq
    }

    fn is_due(&mut self) -> RequestSeq {
        match self.next() {
            Step::Due(seq, data) => {
                assert_eq!(&*data, "data");
                seq
            }
            step => panic!("expected a due answer, got {step:?}"),
        }
    }
}

#[test]
fn delayed_answers_are_due_in_order_of_time() {
    let mut bench = Bench::new();
    bench.input.push([conversion("a"), conversion("b"), conversion("c")].concat().as_bytes());
    let start = bench.now;
    let seqs = [3, 1, 2].map(|seconds| bench.delay(start + seconds * SECOND));
    assert_eq!(bench.session.delayed(), (3, 12));
    bench.waits_for_input();
    assert_eq!(bench.session.next_due(), Some(start + SECOND));
    bench.now = start + 2 * SECOND;
    assert_eq!([bench.is_due(), bench.is_due()], [seqs[1], seqs[2]]);
    bench.waits_for_input();
    bench.answer_with(seqs[2], &CONVERTED);
    bench.answer_with(seqs[1], &CONVERTED);
    bench.now = start + 3 * SECOND;
    assert_eq!(bench.is_due(), seqs[0]);
    bench.answer_with(seqs[0], &CONVERTED);
    bench.waits_for_input();
    assert_eq!((bench.session.delayed(), bench.session.next_due()), ((0, 0), None));
    assert_eq!(bench.replies().len(), 3);
}

#[test]
fn due_answers_go_out_despite_a_barrier_or_lack_of_capacity() {
    let mut bench = Bench::new();
    bench.input.push([&conversion("a"), LOGOUT, PING].concat().as_bytes());
    let due = bench.now + SECOND;
    let seq = bench.delay(due);
    let (logout, _) = bench.call();
    bench.is_blocked();
    bench.now = due;
    assert_eq!(bench.is_due(), seq);
    bench.answer_with(seq, &CONVERTED);
    bench.answer(logout);
    let step = bench.next_within(Capacity { for_request: false, ..ROOM });
    assert!(matches!(step, Step::Blocked), "nothing new starts: {step:?}");
    assert_eq!(bench.call().1, CommandName::Ping);
}

#[test]
fn the_end_of_input_waits_for_delayed_answers() {
    let mut bench = Bench::new();
    bench.input.push(conversion("a").as_bytes());
    let due = bench.now + SECOND;
    let seq = bench.delay(due);
    bench.session.end_input();
    bench.is_blocked();
    bench.now = due;
    assert_eq!(bench.is_due(), seq);
    bench.answer_with(seq, &CONVERTED);
    bench.ends(Ending::Close);
    assert_eq!(bench.replies().len(), 1);
}

#[test]
fn due_answers_pause_while_much_output_waits_for_a_page() {
    let mut bench = Bench::new();
    bench.rules.requests_max = 2000;
    bench.input.push(LIST.as_bytes());
    let (list, _) = bench.call();
    let due = bench.now + SECOND;
    let big = Answer::Converted("e".repeat(3000));
    for id in 0..100 {
        bench.input.push(conversion(&id.to_string()).as_bytes());
        bench.delay(due);
    }
    bench.page(list, Some(Cursor::AfterDisk(DiskId(1))));
    assert!(matches!(bench.next(), Step::NextPage(..)));
    bench.now = due;
    let mut answered = 0;
    while let Step::Due(seq, _) = bench.next() {
        bench.answer_with(seq, &big);
        answered += 1;
    }
    assert!((20..40).contains(&answered), "{answered} replies of about 3000 bytes each");
    assert_eq!(bench.session.next_due(), None, "no wake-up is needed");
    bench.page(list, None);
    bench.output.clear();
    while let Step::Due(seq, _) = bench.next() {
        bench.answer_with(seq, &big);
        bench.output.clear();
        answered += 1;
    }
    assert_eq!(answered, 100);
}

#[test]
fn a_due_answer_waits_for_the_conversion_before_it() {
    let mut bench = Bench::new();
    let due = bench.now + SECOND;
    for id in 0..2 {
        bench.input.push(conversion(&id.to_string()).as_bytes());
        bench.delay(due);
    }
    bench.now = due;
    let Step::Due(first, _) = bench.next() else { panic!("the first is due") };
    bench.session.begin_conversion(first);
    assert_eq!(bench.session.next_due(), None, "no wake-up is needed");
    bench.waits_for_input();
    bench.answer_with(first, &CONVERTED);
    assert_eq!(bench.session.next_due(), Some(due));
    assert!(matches!(bench.next(), Step::Due(..)));
}

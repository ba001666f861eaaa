//! Writes: several are open at a time, without ids too; their replies are in order, and reads wait for them.

use super::*;
use crate::ids::VmId;
use crate::model::ActionAnswer;

const PUT: &str = "{\"command\": \"put\", \"data\": {\"key\": \"a\", \"value\": 1}}";
const PUT_POINT: &str = "{\"command\": \"put\", \"data\": {\"key\": \"a\", \"value\": 1, \"timestamp\": 1}}";
const GET: &str = "{\"command\": \"get\", \"data\": {\"key\": \"a\"}}";
const UPDATE: &str = "{\"command\": \"update\", \"data\": {\"ram\": 1}}";
const UPDATE_OF_OTHER: &str = "{\"command\": \"update\", \"data\": {\"vm_id\": \"a\", \"ram\": 1}}";
const ADD_VM: &str = "{\"action\": \"add_vm\", \"ram\": 1, \"disks\": [1]}";
const UPDATE_VM: &str = "{\"action\": \"update_vm\", \"vm_id\": 1, \"ram\": 1}";
const LIST_VMS: &str = "{\"action\": \"list_all_vms\"}";
const CONNECT: &str = "{\"action\": \"connect\", \"vm_id\": 1}";
const CONVERT: &str = "{\"request_id\": 1, \"data\": \"a\"}";
const PUT_WITH_TOKEN: &str =
    "{\"command\": \"put\", \"data\": {\"key\": \"a\", \"value\": 1, \"token\": \"t\"}}";

fn with_id(request: &str) -> String {
    request.replacen('{', "{\"request_id\": \"id\", ", 1)
}

fn add(number: usize) -> Answer {
    Answer::Action(ActionAnswer::Added(VmId(number as i64)))
}

/// All orders of `count` numbers.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(count - 1);
    let insert = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, count - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..count).map(move |at| insert(order, at))).collect()
}

#[test]
fn replies_to_writes_are_in_order_however_they_complete() {
    const COUNT: usize = 5;
    for order in permutations(COUNT) {
        let mut bench = Bench::new();
        bench.input.push(ADD_VM.repeat(COUNT).as_bytes());
        let open: Vec<RequestSeq> = (0..COUNT).map(|_| bench.call().0).collect();
        bench.waits_for_input();
        let mut replies = Vec::new();
        for (done, at) in order.iter().enumerate() {
            bench.answer_with(open[*at], &add(*at));
            assert!(!bench.session.complete(open[*at], &add(9), &mut bench.output, &bench.date), "once");
            replies.extend(bench.replies());
            let in_turn = (0..COUNT).take_while(|at| order[..=done].contains(at)).count();
            assert_eq!(replies.len(), in_turn, "{order:?} after {done}");
        }
        let expected: Vec<String> =
            (0..COUNT).map(|at| format!("{{\"status\":\"vm added\",\"vm_id\":{at}}}")).collect();
        assert_eq!(replies, expected, "{order:?}");
        bench.waits_for_input();
        assert_eq!(bench.session.held_bytes(), 0);
    }
}

#[test]
fn a_failed_write_fails_alone() {
    let mut bench = Bench::new();
    bench.input.push(ADD_VM.repeat(3).as_bytes());
    let open = [bench.call().0, bench.call().0, bench.call().0];
    bench.answer_with(open[1], &Answer::Failed(Failure::Busy));
    bench.answer_with(open[2], &add(2));
    bench.answer_with(open[0], &add(0));
    let replies = bench.replies();
    assert!(replies[0].contains("added") && replies[2].contains("added"), "{replies:?}");
    assert!(replies[1].contains("busy"), "{replies:?}");
}

/// Whether `second` begins while `first` is open.
fn overlap(first: &str, second: &str) -> bool {
    let mut bench = Bench::new();
    bench.input.push(format!("{first}{second}").as_bytes());
    let (first, _) = bench.call();
    let overlaps = match bench.next() {
        Step::Call(..) => true,
        Step::Blocked => false,
        step => panic!("unexpected {step:?}"),
    };
    if !overlaps {
        bench.answer_with(first, &Answer::Failed(Failure::Busy));
        bench.call();
    }
    overlaps
}

#[test]
fn writes_overlap_and_reads_wait_for_them() {
    let writes = [PUT, UPDATE, ADD_VM, UPDATE_VM];
    for first in writes {
        for second in writes {
            for (first, second) in [
                (first.to_owned(), second.to_owned()),
                (with_id(first), second.to_owned()),
                (first.to_owned(), with_id(second)),
                (with_id(first), with_id(second)),
            ] {
                assert!(overlap(&first, &second), "{first} {second}");
            }
        }
        let waits = [GET, LIST_VMS, CONNECT, LOGOUT, PUT_WITH_TOKEN];
        for second in waits.map(str::to_owned).into_iter().chain(waits.map(with_id)).chain([LIST.to_owned()])
        {
            assert!(!overlap(first, &second), "{first} {second}");
            assert!(!overlap(&with_id(first), &second), "{first} with an id, {second}");
        }
        // What neither reads the store nor writes to it waits only as its reply has to.
        assert!(overlap(first, CONVERT) && overlap(&with_id(first), PING), "{first}");
        assert!(!overlap(first, PING) && !overlap(first, UPDATE_OF_OTHER), "{first}");
        for earlier in [PING, GET, LIST_VMS, UPDATE_OF_OTHER] {
            assert!(!overlap(earlier, first), "{earlier} {first}");
            assert!(overlap(earlier, &with_id(first)), "{earlier} {first} with an id");
        }
    }
    assert!(!overlap(UPDATE_OF_OTHER, UPDATE_OF_OTHER) && !overlap(&with_id(UPDATE_OF_OTHER), GET));
}

#[test]
fn consecutive_puts_of_a_point_run_together_and_have_a_reply_each() {
    let mut bench = Bench::new();
    bench.input.push(format!("{PUT_POINT}\n{PUT_POINT} {PUT_POINT}{PUT}{PUT_POINT}{GET}").as_bytes());
    let mut puts = Vec::new();
    for count in [3, 1, 1] {
        let Step::Call(head, request) = bench.next() else { panic!("a request begins") };
        assert_eq!((request.name, head.count(), request.count()), (CommandName::Put, count, count));
        puts.push(bench.session.open(head));
    }
    bench.is_blocked();
    bench.answer_with(puts[2], &Answer::Put { refused: vec![0] });
    bench.answer_with(puts[0], &Answer::Put { refused: vec![1] });
    bench.answer_with(puts[1], &Answer::Failed(Failure::Busy));
    let replies = bench.replies();
    let found: Vec<&str> = replies.iter().map(|reply| reply.split('"').nth(7).unwrap_or_default()).collect();
    assert_eq!(found, ["ok", "key limit reached", "ok", "busy", "key limit reached"]);
    assert_eq!(bench.call().1, CommandName::Get);
}

#[test]
fn a_failure_of_puts_that_run_together_is_the_reply_to_each() {
    let mut bench = Bench::new();
    bench.input.push(PUT_POINT.repeat(2).as_bytes());
    let (puts, _) = bench.call();
    bench.answer_with(puts, &Answer::Failed(Failure::AuthenticationRequired));
    let replies = bench.replies();
    assert!(replies.len() == 2 && replies.iter().all(|reply| reply.contains("authenticate")), "{replies:?}");
}

#[test]
fn a_read_waits_for_all_writes_before_it() {
    let mut bench = Bench::new();
    bench.input.push(format!("{PUT}{}{PUT}{}", with_id(PUT), with_id(GET)).as_bytes());
    let open = [bench.call().0, bench.call().0, bench.call().0];
    for seq in [open[2], open[0], open[1]] {
        bench.is_blocked();
        bench.answer(seq);
    }
    assert_eq!(bench.call().1, CommandName::Get);
    assert_eq!(bench.replies().len(), 3);
}

#[test]
fn open_writes_are_bounded() {
    let mut bench = Bench::new();
    bench.rules.request_bytes_max_anonymous = 1 << 20;
    bench.input.push(PUT.repeat(limits::ORDERED_WRITES_MAX + 1).as_bytes());
    let open: Vec<RequestSeq> = (0..limits::ORDERED_WRITES_MAX).map(|_| bench.call().0).collect();
    bench.is_blocked();
    for seq in &open[1..] {
        bench.answer(*seq);
    }
    bench.is_blocked();
    assert_eq!(bench.replies().len(), 0);
    let held = bench.session.held_bytes();
    assert!((limits::ORDERED_WRITES_MAX * 50..limits::ORDERED_WRITES_MAX * 512).contains(&held), "{held}");
    bench.answer(open[0]);
    assert_eq!(bench.replies().len(), limits::ORDERED_WRITES_MAX);
    bench.call();
}

#[test]
fn the_last_error_follows_the_replies_to_all_writes() {
    let mut bench = Bench::new();
    bench.input.push(format!("{PUT}{PUT}{{").as_bytes());
    let open = [bench.call().0, bench.call().0];
    bench.session.end_input();
    bench.answer(open[1]);
    bench.is_blocked();
    bench.answer(open[0]);
    bench.ends(Ending::Linger);
    let replies = bench.replies();
    assert!(replies.len() == 3 && replies[2].contains("Invalid JSON"), "{replies:?}");
}

#[test]
fn replies_to_writes_wait_for_pages_and_keep_their_order() {
    let mut bench = Bench::new();
    bench.input.push(format!("{LIST}{ADD_VM}{ADD_VM}").as_bytes());
    let (list, first, second) = (bench.call().0, bench.call().0, bench.call().0);
    bench.page(list, Some(Cursor::AfterDisk(DiskId(1))));
    bench.answer_with(second, &add(2));
    bench.answer_with(first, &add(1));
    assert!(matches!(bench.next(), Step::NextPage(..)));
    bench.page(list, None);
    let replies = bench.replies();
    assert!(replies[0].starts_with("{\"request_id\":\"list\"") && replies[0].ends_with("[]}}"));
    assert!(replies[1].contains("\"vm_id\":1") && replies[2].contains("\"vm_id\":2"), "{replies:?}");
}

#[test]
fn nothing_is_written_after_an_answer_that_broke_off() {
    let mut bench = Bench::new();
    bench.input.push(format!("{LIST}{PUT}{PUT}").as_bytes());
    let (list, first, second) = (bench.call().0, bench.call().0, bench.call().0);
    bench.answer(second);
    bench.page(list, Some(Cursor::AfterDisk(DiskId(1))));
    assert!(matches!(bench.next(), Step::NextPage(..)));
    bench.answer_with(list, &Answer::Failed(Failure::StoreUnavailable));
    let written = bench.output.len();
    assert!(!bench.session.complete(first, &PONG, &mut bench.output, &bench.date));
    assert_eq!((bench.output.len(), bench.session.open_count()), (written, 0));
    bench.ends(Ending::Abort);
}

#[test]
fn an_answer_at_once_needs_no_ticket_and_waits_for_earlier_ones() {
    let stored = Answer::Put { refused: Vec::new() };
    let mut bench = Bench::new();
    bench.input.push(format!("{PUT}{PUT}").as_bytes());
    let Step::Call(head, _) = bench.next() else { panic!("a request begins") };
    let first = bench.session.open(head);
    let Step::Call(head, _) = bench.next() else { panic!("another begins") };
    bench.session.answer(head, &Answer::Failed(Failure::Busy), &mut bench.output, &bench.date);
    assert!(bench.output.is_empty());
    bench.answer_with(first, &stored);
    let replies = bench.replies();
    assert!(replies[0].contains("ok") && replies[1].contains("busy"), "{replies:?}");
    bench.input.push(PING.as_bytes());
    let Step::Call(head, _) = bench.next() else { panic!("a request begins") };
    bench.session.answer(head, &PONG, &mut bench.output, &bench.date);
    assert_eq!((bench.replies().len(), bench.session.open_count()), (1, 0));
}

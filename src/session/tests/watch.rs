//! Changes for a client that watches.

use super::*;
use crate::ids::VmId;
use crate::model::{Change, ChangeGroup, Revision, WatchFilter};

const WATCH: &str = "{\"request_id\": \"w\", \"command\": \"watch\"}";
const REVISION: Revision = Revision { epoch: 1, number: 2 };

impl Bench {
    /// A page of the snapshot that `seq` has asked for.
    fn snapshot(&mut self, seq: RequestSeq, next: Option<Cursor>) {
        let query = Query::Snapshot(REVISION);
        let listing = Listing { command: CommandName::Watch, query, caller: Caller::default() };
        let page = Page { listing, items: Items::ObservedVms(Vec::new()), next };
        assert!(self.session.complete_page(seq, &page, &mut self.output, &self.date));
    }

    /// A session whose client watches, and has taken the snapshot.
    fn watching() -> Bench {
        let mut bench = Bench::new();
        bench.input.push(WATCH.as_bytes());
        let (seq, _) = bench.call();
        bench.snapshot(seq, None);
        bench.replies();
        bench
    }

    /// Writes a change, if that is possible now.
    fn change(&mut self) -> bool {
        let may = self.session.may_write_change();
        if may {
            let change =
                Change { group: ChangeGroup::Vms, text: "\"kind\":\"removed\"".into(), points: [].into() };
            let filter = WatchFilter::new(true, true, Vec::new());
            self.session.write_change(REVISION, &change, &filter, &mut self.output);
        }
        may
    }
}

const CHANGE: &str = "{\"request_id\":\"w\",\"status\":\"success\",\"message\":\"change\",\
    \"data\":{\"revision\":\"0000000000000001-2\",\"kind\":\"removed\"}}";

#[test]
fn each_page_of_a_snapshot_is_a_line_and_changes_follow_the_last() {
    let mut bench = Bench::new();
    bench.input.push(format!("{WATCH}{}", ping("a")).as_bytes());
    let (seq, _) = bench.call();
    assert!(!bench.change());
    bench.snapshot(seq, Some(Cursor::AfterVm(VmId(7))));
    assert!(!bench.change() && !bench.session.is_watching());
    assert!(matches!(bench.next(), Step::NextPage(_, _, Cursor::AfterVm(VmId(7)))));
    bench.snapshot(seq, None);
    assert!(bench.change());
    let replies = bench.replies();
    assert_eq!(replies.len(), 3);
    assert!(replies[..2].iter().all(|page| page.starts_with("{\"request_id\":\"w\"")), "{replies:?}");
    assert_eq!(replies[2], CHANGE);
    assert_eq!(bench.call().1, CommandName::Ping);
}

#[test]
fn an_error_may_follow_the_pages_of_a_snapshot() {
    let mut bench = Bench::new();
    bench.input.push(format!("{WATCH}{}", ping("a")).as_bytes());
    let (seq, _) = bench.call();
    bench.snapshot(seq, Some(Cursor::AfterVm(VmId(7))));
    assert!(matches!(bench.next(), Step::NextPage(..)));
    bench.answer_with(seq, &Answer::Failed(Failure::StoreUnavailable));
    assert!(!bench.session.is_watching() && !bench.session.has_broken_off());
    let (ping, _) = bench.call();
    bench.answer(ping);
    assert_eq!(bench.replies().len(), 3);
}

#[test]
fn a_change_waits_for_the_end_of_a_paged_reply() {
    let mut bench = Bench::watching();
    bench.input.push(LIST.as_bytes());
    let (list, _) = bench.call();
    assert!(bench.change(), "nothing of the reply is written yet");
    bench.page(list, Some(Cursor::AfterDisk(DiskId(1))));
    assert!(!bench.change());
    assert!(matches!(bench.next(), Step::NextPage(..)));
    bench.page(list, None);
    assert!(bench.change());
    let replies = bench.replies();
    assert_eq!((replies.len(), &*replies[0], &*replies[2]), (3, CHANGE, CHANGE));
}

#[test]
fn a_client_that_watches_is_not_idle() {
    let mut bench = Bench::watching();
    bench.waits_for_input();
    assert_eq!(bench.session.deadline(&bench.rules), None);
    bench.say("{");
    assert!(bench.session.deadline(&bench.rules).is_some(), "a request that has begun has its time");
    bench.input.push(b"\"command\": \"unwatch\"}");
    let (unwatch, _) = bench.call();
    bench.answer_with(unwatch, &Answer::Unwatched);
    bench.waits_for_input();
    assert!(bench.session.deadline(&bench.rules).is_some() && !bench.change());
}

#[test]
fn a_watch_outlasts_the_requests_of_a_session_that_drains() {
    let mut bench = Bench::watching();
    bench.input.push(ping("a").as_bytes());
    let (ping, _) = bench.call();
    bench.session.begin_drain(&bench.input);
    bench.answer(ping);
    bench.is_blocked();
    assert!(bench.change());
    bench.session.end_watch();
    bench.ends(Ending::Linger);
    assert_eq!(bench.replies().last().map(String::as_str), Some(CHANGE));
    // The end of the client's input ends it at once.
    let mut bench = Bench::watching();
    bench.session.end_input();
    bench.ends(Ending::Close);
    assert!(!bench.change());
}

#[test]
fn an_error_ends_a_watch_and_not_the_session() {
    let mut bench = Bench::watching();
    bench.session.fail_watch(Failure::TooFarBehind, &mut bench.output, &bench.date);
    let wanted =
        "{\"request_id\":\"w\",\"status\":\"error\",\"message\":\"too far behind, list again\",\"data\":{}}";
    assert_eq!(bench.replies(), [wanted]);
    assert!(!bench.change());
    bench.waits_for_input();
}

#[cfg(feature = "page")]
#[test]
fn silence_is_filled_with_comments() {
    let mut bench = Bench::new();
    bench.input.push(b"GET /events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (seq, command) = bench.call();
    assert_eq!(command, CommandName::Watch);
    bench.snapshot(seq, None);
    bench.waits_for_input();
    bench.replies();
    assert_eq!(bench.session.next_due(), None, "it is not sent yet");
    bench.session.output_sent(bench.now);
    assert_eq!(bench.session.next_due(), Some(bench.now + limits::WATCH_COMMENT_INTERVAL));
    bench.waits_for_input();
    assert_eq!(bench.replies(), [] as [String; 0]);
    bench.now = bench.now + limits::WATCH_COMMENT_INTERVAL;
    bench.waits_for_input();
    assert_eq!(bench.replies(), ["00000003", ":", "", ""]);
    // What the client sends is ignored.
    bench.input.push(PING.as_bytes());
    bench.waits_for_input();
    assert!(bench.input.is_empty() && bench.change());
    let lines = bench.replies();
    assert_eq!(lines[1], "id: 0000000000000001-2");
    bench.session.end_input();
    bench.ends(Ending::Close);
    assert_eq!(bench.replies(), ["0", ""]);
}

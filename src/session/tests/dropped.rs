//! Replies that wait for a paged one and are dropped with it: they are never taken for sent.

use super::*;

/// A session that writes a list in pages, for which a reply waits.
fn writing_pages() -> (Bench, RequestSeq) {
    let mut bench = Bench::new();
    bench.input.push(format!("{LIST}{}", ping("a")).as_bytes());
    let (list, a) = (bench.call().0, bench.call().0);
    bench.page(list, Some(Cursor::AfterDisk(DiskId(1))));
    assert!(!bench.session.owes_answer());
    bench.answer(a);
    assert!(bench.session.owes_answer());
    (bench, list)
}

#[test]
fn a_reply_that_waits_is_owed_until_the_pages_end() {
    let (mut bench, list) = writing_pages();
    bench.page(list, None);
    assert!(!bench.session.owes_answer());
    assert_eq!(bench.replies().len(), 2);
}

#[test]
fn a_reply_that_is_dropped_stays_owed() {
    let (mut bench, list) = writing_pages();
    bench.answer_with(list, &Answer::Failed(Failure::StoreUnavailable));
    assert!(bench.session.has_broken_off() && bench.session.owes_answer(), "the pages broke off");
    let (mut bench, _) = writing_pages();
    bench.session.disconnect();
    assert!(bench.session.owes_answer(), "it was disconnected");
    bench.session.disconnect();
    assert!(bench.session.owes_answer(), "again");
}

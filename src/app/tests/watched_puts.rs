//! Points of a put that is in flight when a watch begins: the history may not have them yet, so the watch does.

use super::*;
use crate::app::watch::Watching;
use crate::clock::Instant;
use crate::model::{Principal, Watch, WatchFilter};
use crate::store::ChangesPosition;

#[test]
fn points_stored_after_a_watch_began_are_told_whenever_their_put_began() {
    let mut bed = Bed::new(AnonymousAccess::ALL);
    let request =
        Request::new(Dialect::Command, CommandName::Put, Ok(put(&[("k", 1), ("other", 1)], &[], true)));
    let Next::Work { work, stage } = bed.app.begin(CONN, Box::new(request), NOW) else {
        panic!("a put has work")
    };
    let watches = bed.app.watches_mut();
    watches.go_live(ChangesPosition::default(), Instant::ORIGIN);
    let filter = WatchFilter::new(false, false, vec!["k".into()]);
    let client = Watching { principal: Principal::Anonymous, caller: Caller::default(), token: None };
    let watch = Watch { from: None, filter };
    watches.begin(CONN, watch, client, &mut token::SystemRandom, Instant::ORIGIN).expect("it begins");
    let result = bed.worker.run([&work]).remove(0);
    assert!(result.is_ok(), "{result:?}");
    let outcome = bed.app.begin_note(&stage, &result);
    bed.app.end_note(outcome);
    bed.app.watches_mut().publish();
    assert_eq!(bed.app.watches().counters().0.changes, 1);
}

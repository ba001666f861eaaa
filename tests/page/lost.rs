//! Lost connections: the page comes back by itself, without a gap.

use crate::chromium::Chromium;
use crate::common::Daemon;
use crate::relay::Relay;
use crate::{cell, wait_until_live};

/// The page has lost its connection.
fn wait_until_lost(browser: &mut Chromium) {
    browser.wait_for("document.querySelector('#connection').dataset.state != 'live'");
}

#[test]
fn a_lost_connection_is_resumed_and_a_new_daemon_is_listed_again() {
    let mut daemon = Daemon::start();
    daemon.client().register("before", &[1]);
    let relay = Relay::to(daemon.address());
    let mut browser = Chromium::start();
    browser.open(&relay.url());
    wait_until_live(&mut browser);
    browser.wait_for(&format!("{} != null", cell("before", "state")));

    // The network fails; a VM is registered meanwhile.
    browser.received.clear();
    relay.cut(None);
    wait_until_lost(&mut browser);
    daemon.client().register("between", &[1]);
    relay.cut(Some(daemon.address()));
    browser.wait_for(&format!("{} != null", cell("between", "state")));
    wait_until_live(&mut browser);
    let says = |browser: &Chromium, text: &str| browser.received.iter().any(|message| message.contains(text));
    assert!(says(&browser, "\"message\":\"resumed\""), "{:?}", browser.received);

    // The daemon is another one.
    browser.received.clear();
    relay.cut(None);
    daemon.restart();
    daemon.client().register("after", &[1]);
    relay.cut(Some(daemon.address()));
    browser.wait_for(&format!("{} != null", cell("after", "state")));
    wait_until_live(&mut browser);
    assert!(says(&browser, "too far behind"), "{:?}", browser.received);
    for name in ["before", "between", "after"] {
        browser.wait_for(&format!("{} != null", cell(name, "state")));
    }
    // Connections that failed are logged by the browser itself; the page adds nothing to that.
    let problems = browser.problems();
    assert!(problems.iter().all(|problem| problem.contains("\"source\":\"network\"")), "{problems:?}");
}

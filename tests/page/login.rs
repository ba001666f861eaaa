//! The login, where a listener is closed.

use serde_json::json;

use crate::cell;
use crate::chromium::Chromium;
use crate::common::{Daemon, PASSWORD, run};
use crate::{expect_no_problems, put, url, wait_until_live};

/// Fills the form that has the field `last`, and sends it.
fn submit(browser: &mut Chromium, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        browser.eval(&format!("document.querySelector('input[name={name}]').select()"));
        browser.type_text(value);
    }
    browser.press("Enter");
}

/// Waits for the login form with this message.
fn expect_login(browser: &mut Chromium, message: &str) {
    browser.wait_for(&format!(
        "document.querySelector('.login .error')?.textContent.startsWith({})",
        json!(message)
    ));
    assert_eq!(browser.eval("document.querySelector('#logout').hidden"), true);
    assert_eq!(
        browser.eval("document.querySelectorAll('.body .row').length"),
        0,
        "nothing is left of what it showed"
    );
}

#[test]
fn a_closed_listener_asks_for_a_vms_password_or_a_readers_token() {
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=none").start();
    let mut operator = daemon.operator();
    operator.succeed("add", json!({"vm_id": "a", "ram": 1, "cpu": 1, "password": PASSWORD, "disks": []}));
    put(&mut operator, "a.load", 10, &[0.25, 0.5]);
    let mut token = std::process::Command::new(env!("CARGO_BIN_EXE_vmherd"));
    token.env_clear().args(["token", "add", "--reader", "grafana", "--state-dir"]).arg(daemon.state_dir());
    let said = run(&mut token).expect_success().stdout;
    let reader = said.lines().last().expect("the token").to_owned();

    let mut browser = Chromium::start();
    browser.open(&url(&daemon));
    expect_login(&mut browser, "");
    submit(&mut browser, &[("name", "a"), ("password", "wrong password")]);
    expect_login(&mut browser, "Invalid credentials");
    submit(&mut browser, &[("token", "unknown")]);
    expect_login(&mut browser, "This token is not valid.");
    assert_eq!(browser.eval("document.title"), "Login · vmherd");
    // By then the page has what it says from each of its sources.
    let is_whole = format!("{}?.textContent == '0.50'", cell("a", "load"));
    for fields in [&[("name", "a"), ("password", PASSWORD)][..], &[("token", &reader)]] {
        submit(&mut browser, fields);
        wait_until_live(&mut browser);
        browser.wait_for(&is_whole);
        let state = browser.eval(&format!("{}.textContent", cell("a", "state")));
        assert_ne!(state, "online", "a login that looks is no session of the VM");
        browser.eval("location.hash = '#/server'");
        browser.wait_for("document.querySelectorAll('.counters tbody tr').length > 50");
        browser.eval("location.hash = '#/'");
        browser.wait_for(&is_whole);
        browser.eval("document.querySelector('#logout').click()");
        expect_login(&mut browser, "");
    }
    // Neither in a store nor in the URL.
    let kept =
        "localStorage.length + sessionStorage.length + document.cookie.length + location.search.length";
    assert_eq!(browser.eval(kept), 0);
    expect_no_problems(&mut browser);
}

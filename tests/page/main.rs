//! The web page in a real browser: what it shows, follows and draws, its login, keys, looks and limits.

#[path = "../common/chromium.rs"]
mod chromium;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/false_clock.rs"]
mod false_clock;

mod login;
mod looks;
mod lost;
mod plots;
mod relay;
mod table;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use chromium::Chromium;
use common::{Client, Daemon};

/// The address of the page.
fn url(daemon: &Daemon) -> String {
    format!("http://{}/", daemon.address())
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// A browser with the page of `daemon`, which shows its VMs.
#[track_caller]
fn open(daemon: &Daemon) -> Chromium {
    let mut browser = Chromium::start();
    browser.open(&url(daemon));
    wait_until_live(&mut browser);
    browser
}

#[track_caller]
fn wait_until_live(browser: &mut Chromium) {
    browser.wait_for("document.querySelector('#connection')?.dataset.state == 'live'");
}

/// Nothing has gone wrong on the page.
#[track_caller]
fn expect_no_problems(browser: &mut Chromium) {
    assert_eq!(browser.problems(), Vec::<String>::new());
}

/// Puts points of `key`, the newest now.
#[track_caller]
fn put(client: &mut Client, key: &str, step: i64, values: &[f64]) {
    let first = now() - step * (values.len() as i64 - 1);
    for (chunk, values) in values.chunks(500).enumerate() {
        let at = |index: usize| first + step * (chunk * 500 + index) as i64;
        let point = |(index, value)| json!({"key": key, "value": value, "timestamp": at(index)});
        let points: Vec<Value> = values.iter().enumerate().map(point).collect();
        client.succeed("put", json!({ "points": points }));
    }
}

/// JavaScript that finds the cell `column` of the row of the VM `name`, if it is in sight.
fn cell(name: &str, column: &str) -> String {
    let name = json!(name);
    format!(
        "[...document.querySelectorAll('.body .row:not([hidden])')].find((row) => \
         row.querySelector('bdi').textContent === {name})?.querySelector('.cell.{column}')"
    )
}

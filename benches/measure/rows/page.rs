//! The web page, in a browser.

use serde_json::json;

use super::ROUNDS;
use super::seeded_store::SeededStore;
use crate::chromium::Chromium;
use crate::figures::{Line, Samples, Verdict};
use crate::process::{Cores, Server};

/// The time until 10 000 VMs are shown, once the page has them, and until a filter has chosen some.
pub fn page(cores: &Cores) -> Vec<Line> {
    let seeded = SeededStore::new(10_000, 2);
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let mut browser = Chromium::start();
    browser.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": LAST_BYTE}));
    let (mut shown, mut filtered) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        browser.open("about:blank");
        browser.open(&format!("http://{}/", server.address));
        shown.push(browser.eval(SHOWN).as_f64().expect("milliseconds"));
        filtered.push(browser.eval(FILTERED).as_f64().expect("milliseconds"));
    }
    let line = |figure: &str, wanted: f64, samples: &Samples| Line {
        figure: figure.into(),
        wanted: format!("≤ {wanted} ms"),
        measured: format!("{samples} ms"),
        beside: String::new(),
        verdict: Verdict::at_most(wanted, samples),
    };
    vec![
        line("the page shows 10 000 VMs, from the last byte of their list to the frame", 500.0, &shown),
        line("the page filters 10 000 VMs, from the key to the frame", 50.0, &filtered),
    ]
}

/// Notes when the last message of the first snapshot comes.
const LAST_BYTE: &str = r#"
    window.WebSocket = class extends WebSocket {
        constructor(url) {
            super(url);
            this.addEventListener("message", ({ data }) => {
                if (data.slice(-40).includes('"more":false')) window.lastByte ??= performance.now();
            });
        }
    };
"#;

/// Milliseconds from then to the frame after the one whose content is all VMs.
const SHOWN: &str = r#"
    new Promise((done) => {
        const look = () => {
            const isShown = window.lastByte != null && document.querySelector(".body .row")
                && document.querySelector("[data-count=all] b")?.textContent === "10,000";
            if (isShown) requestAnimationFrame(() => done(performance.now() - window.lastByte));
            else requestAnimationFrame(look);
        };
        look();
    })
"#;

/// Milliseconds from a key in the filter to the frame after the one that shows what matches.
const FILTERED: &str = r#"
    new Promise((done) => {
        const filter = document.querySelector("input[type=search]");
        filter.value = "7";
        const begin = performance.now();
        filter.dispatchEvent(new Event("input"));
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)));
    })
"#;

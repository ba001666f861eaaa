//! Headless Chromium, driven over its DevTools protocol: pages are opened, scripts run in them, keys typed, pictures
//! taken. Each wait has a deadline.
//!
//! Targets include the file so: `#[path = "../common/chromium.rs"] mod chromium;`

// Each target uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A browser is slow to start on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A browser with its child processes. What is said on its standard input and output is the DevTools protocol, each
/// message ended by a zero byte.
pub struct Chromium {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    next_id: u64,
    session: Value,
    problems: Vec<String>,
    /// The messages of WebSockets that the page has received, each cut after its first characters.
    pub received: Vec<String>,
    /// Its home, removed with it.
    home: PathBuf,
}

impl Chromium {
    /// Starts a browser with one empty page of 1440 × 900 pixels, in light colours.
    #[track_caller]
    pub fn start() -> Chromium {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = std::env::split_paths(&path).any(|folder| folder.join("chromium").is_file());
        assert!(is_there, "this needs the program `chromium`: install the package chromium");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("vmherd-chromium-{}-{number}", std::process::id()));
        // Chromium reads the protocol from descriptor 3 and writes it to 4.
        let shell = "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null";
        let mut command = Command::new("sh");
        command.env_clear().env("PATH", path).env("HOME", &home).env("TZ", "UTC");
        command.args(["-c", shell, "chromium"]);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", home.join("profile").display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().expect("sh can be run");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            while matches!(output.read_until(0, &mut bytes), Ok(1..)) {
                bytes.pop();
                // The receiver is dropped at the end of the test.
                let message = serde_json::from_slice(&bytes).expect("a message of Chromium is JSON");
                drop(sender.send(message));
                bytes.clear();
            }
        });
        let input = child.stdin.take().expect("piped");
        let session = Value::Null;
        let (problems, received) = (Vec::new(), Vec::new());
        let mut browser = Chromium { child, input, messages, next_id: 0, session, problems, received, home };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        browser.session = browser.call("Target.attachToTarget", attach)["sessionId"].take();
        for domain in ["Runtime", "Log", "Page", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.look(1440, 900, false);
        browser
    }

    /// The result of a method of the protocol, which must succeed.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        let bytes = format!("{message}\0").into_bytes();
        self.input.write_all(&bytes).and_then(|()| self.input.flush()).expect("Chromium reads");
        loop {
            let mut message =
                self.messages.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    /// Remembers what a page must not do: errors, and violations of its policy.
    fn note(&mut self, message: &Value) {
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.problems.push(parameters["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => {
                self.problems.push(parameters["args"].to_string());
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] != "info" => {
                self.problems.push(parameters["entry"].to_string());
            }
            Some("Network.webSocketFrameReceived") => {
                let text = parameters["response"]["payloadData"].as_str().unwrap_or_default();
                self.received.push(text.chars().take(200).collect());
            }
            _ => {}
        }
    }

    /// The errors of the page since the last call.
    #[track_caller]
    pub fn problems(&mut self) -> Vec<String> {
        // What was sent before the answer to this has come.
        self.eval("0");
        std::mem::take(&mut self.problems)
    }

    /// Opens `url`.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
    }

    /// The size of the page in pixels, and its colours.
    pub fn look(&mut self, width: u32, height: u32, is_dark: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// The value of an expression in the page, which may be a promise.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut found = self.call("Runtime.evaluate", parameters);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {found}");
        found["result"]["value"].take()
    }

    /// The text of the first element that `selector` finds; empty without one.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let found = self.eval(&format!("document.querySelector({})?.textContent ?? ''", json!(selector)));
        found.as_str().expect("a text").to_owned()
    }

    /// Waits until an expression in the page, which may be a promise, is true.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.eval(&format!("(async () => Boolean(await ({expression})))()")) != true {
            if Instant::now() > end {
                let body = self.eval("document.body.innerText");
                panic!("waited {PATIENCE:?} in vain: {expression}\nthe page: {body}\n{:?}", self.problems);
            }
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Presses a key: its name, or one character.
    #[track_caller]
    pub fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            _ if key.chars().count() == 1 => key,
            _ => "",
        };
        let codes =
            [("Enter", 13), ("Escape", 27), ("ArrowUp", 38), ("ArrowDown", 40), ("End", 35), ("Home", 36)];
        let code = codes.iter().find(|(name, _)| *name == key).map_or(0, |(_, code)| *code);
        for (kind, text) in [("keyDown", text), ("keyUp", "")] {
            let mut event = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types a text into the element that has the focus.
    #[track_caller]
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Moves the pressed mouse over these points, x and y in pixels.
    #[track_caller]
    pub fn drag(&mut self, points: &[(f64, f64)]) {
        let (first, last) = (points[0], points[points.len() - 1]);
        let moves = points.iter().skip(1).map(|point| ("mouseMoved", *point));
        let steps = [("mouseMoved", first), ("mousePressed", first)];
        for (kind, (x, y)) in steps.into_iter().chain(moves).chain([("mouseReleased", last)]) {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// A picture of the page, as PNG.
    #[track_caller]
    pub fn picture(&mut self) -> Vec<u8> {
        let found = self.call("Page.captureScreenshot", json!({"format": "png", "optimizeForSpeed": false}));
        decode_base64(found["data"].as_str().expect("a text"))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // With its child processes, which are a group of their own.
        let kill = format!("kill -KILL -- -{}", self.child.id());
        let _ = Command::new("bash").args(["-c", &kill]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for character in text.bytes().filter(|character| *character != b'=') {
        let digit = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("{} is not base64", char::from(other)),
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

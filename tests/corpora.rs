//! Collections of bad input: JSON texts with a verdict each, and strings that break programs.
//!
//! Small collections are here and always run. `VMHERD_CORPUS` names a folder in the shape of the public
//! JSON test suite (`y_*.json` is JSON, `n_*.json` is not, `i_*.json` may be either), `VMHERD_STRINGS` a
//! file with a JSON array of strings; they run as well. Each text is sent as raw JSON, over HTTP and over WebSocket, and
//! gets the same answer.

mod common;
#[cfg(feature = "websocket")]
#[path = "common/web.rs"]
mod web;

use std::fs;
use std::path::Path;

use common::{Client, Daemon, PASSWORD, request};
use serde_json::{Value, json};

/// Whether a text is valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    Json,
    NotJson,
    Either,
}

use Verdict::{Either, Json, NotJson};

/// JSON texts, and texts that nearly are.
const TEXTS: &[(Verdict, &[u8])] = &[
    (Json, b"{}"),
    (Json, b" { } "),
    (Json, b"\t\r\n{\n}\r\n"),
    (Json, b"[]"),
    (Json, b"[[[[]]]]"),
    (Json, b"[1,2,3]"),
    (Json, b"null"),
    (Json, b"true"),
    (Json, b"false"),
    (Json, b"0"),
    (Json, b"-0"),
    (Json, b"-0.0e-0"),
    (Json, b"1E22"),
    (Json, b"1e+1"),
    (Json, b"123456789012345678901234567890"),
    (Json, b"18446744073709551616"),
    (Json, b"\"\""),
    (Json, b"\"text\""),
    (Json, b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    (Json, b"\"\\u0041\\uD834\\uDD1E\""),
    (Json, b"\"}{][,:\""),
    (Json, b"\"\\\\\""),
    (Json, "\"é€𝄞\u{7f}\u{feff}\u{ffff}\"".as_bytes()),
    (Json, b"{\"\":0}"),
    (Json, b"{\"a\":{\"a\":{\"a\":[]}}}"),
    (Json, b"{\"a\":1,\"a\":2}"),
    (Json, b"{\"\\u0000\":\"\\u0000\"}"),
    (Json, b"{\"vm_id\":null,\"}\":\"{\"}"),
    (Either, b"1e400"),
    (Either, b"-1e99999"),
    (Either, b"1e-400"),
    (Either, b"\"\\uD800\""),
    (Either, b"\"\\uDC00\\uD800\""),
    (Either, b"\xef\xbb\xbf{}"),
    (Either, b"\"\xff\""),
    (Either, b"\"\xc0\xaf\""),
    (Either, b"\"\xed\xa0\x80\""),
    (NotJson, b""),
    (NotJson, b" \r\n\t "),
    (NotJson, b"{"),
    (NotJson, b"}"),
    (NotJson, b"}}"),
    (NotJson, b"[}"),
    (NotJson, b"{]"),
    (NotJson, b"[1,]"),
    (NotJson, b"[,1]"),
    (NotJson, b"[1 2]"),
    (NotJson, b"{\"a\"}"),
    (NotJson, b"{\"a\":}"),
    (NotJson, b"{\"a\":1,}"),
    (NotJson, b"{a:1}"),
    (NotJson, b"{'a':1}"),
    (NotJson, b"{1:1}"),
    (NotJson, b"{} {}"),
    (NotJson, b"{},"),
    (NotJson, b"{}}x"),
    (NotJson, b"01"),
    (NotJson, b"-"),
    (NotJson, b"-01"),
    (NotJson, b"+1"),
    (NotJson, b".5"),
    (NotJson, b"1."),
    (NotJson, b"1e"),
    (NotJson, b"0x10"),
    (NotJson, b"NaN"),
    (NotJson, b"Infinity"),
    (NotJson, b"True"),
    (NotJson, b"nul"),
    (NotJson, b"\"open"),
    (NotJson, b"\"\\\""),
    (NotJson, b"\"\\x41\""),
    (NotJson, b"\"\\u12\""),
    (NotJson, b"\"line\nbreak\""),
    (NotJson, b"\"tab\there\""),
    (NotJson, b"\"nul\0\""),
    (NotJson, b"\0"),
    (NotJson, b"{}\0"),
    (NotJson, b"/* comment */{}"),
    (NotJson, b"{} // comment"),
    (NotJson, b"\xa0{}"),
    (NotJson, b"{}\x0c"),
    (NotJson, b"\xff\xfe{\0}\0"),
];

/// Names that may break programs.
const NAMES: &[&str] = &[
    "",
    " ",
    "a b",
    "tab\there",
    "line\nbreak",
    "nul\0",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{3000}",
    "12345",
    "-1",
    "1e5",
    "0x10",
    "１２３",
    "undefined",
    "null",
    "true",
    "NaN",
    "'",
    "\"",
    "\\",
    "\\\\",
    "\\u0041",
    "`",
    "''||''",
    "';DROP/**/TABLE/**/vms;--",
    "1'/**/OR/**/'1'='1",
    "%s%s%n",
    "{}",
    "{\"vm_id\":1}",
    "$(reboot)",
    "`reboot`",
    "../../etc/passwd",
    "..",
    "/dev/null",
    "con",
    "<script>alert(1)</script>",
    "&amp;",
    "%00",
    "\u{1b}[31m",
    "é",
    "e\u{301}",
    "\u{fb01}",
    "ﬁ",
    "ß",
    "İ",
    "ı",
    "田中さんに",
    "𝕿𝖍𝖊",
    "👩\u{200d}👩\u{200d}👧",
    "\u{200b}",
    "\u{feff}",
    "\u{202e}evil",
    "\u{2066}bidi\u{2069}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10ffff}",
    "Ω≈ç√∫˜µ≤≥÷",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

#[test]
fn every_text_is_accepted_or_rejected_as_expected() {
    let texts =
        TEXTS.iter().map(|&(verdict, text)| (text.escape_ascii().to_string(), verdict, text.to_vec()));
    expect_verdicts(&texts.collect::<Vec<_>>());
}

#[test]
fn texts_of_the_given_folder_are_judged_as_their_names_say() {
    let Some(folder) = std::env::var_os("VMHERD_CORPUS") else { return };
    let texts = texts_in(Path::new(&folder));
    expect_verdicts(&texts);
}

#[test]
fn every_name_round_trips_or_is_refused() {
    expect_names(NAMES);
}

#[test]
fn names_of_the_given_file_round_trip_or_are_refused() {
    let Some(file) = std::env::var_os("VMHERD_STRINGS") else { return };
    let text = fs::read(&file).unwrap_or_else(|error| panic!("{} can't be read: {error}", file.display()));
    let names: Vec<String> = serde_json::from_slice(&text).expect("a JSON array of strings");
    assert!(!names.is_empty(), "{} is empty", file.display());
    expect_names(&names);
}

/// The texts of a folder with the verdicts in their names.
fn texts_in(folder: &Path) -> Vec<(String, Verdict, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut texts = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        let verdict = match name.split_at_checked(2) {
            _ if !name.ends_with(".json") => continue,
            Some(("y_", _)) => Json,
            Some(("n_", _)) => NotJson,
            Some(("i_", _)) => Either,
            _ => continue,
        };
        texts.push((name, verdict, fs::read(&path).expect("a file can be read")));
    }
    texts.sort();
    let has = |wanted: Verdict| texts.iter().any(|(_, verdict, _)| *verdict == wanted);
    assert!(has(Json) && has(NotJson), "{} holds no y_*.json or no n_*.json", folder.display());
    texts
}

/// Sends each text as a request's data on a connection of its own, then ends the input.
#[track_caller]
fn expect_verdicts(texts: &[(String, Verdict, Vec<u8>)]) {
    let mut daemon = Daemon::start();
    let mut wrong = Vec::new();
    for (name, verdict, text) in texts {
        let mut client = daemon.client();
        let message = [b"{\"command\":\"ping\",\"data\":", &text[..], b"}"].concat();
        client.send_bytes(&message);
        client.half_close();
        let replies = client.rest();
        let lines: Vec<Value> = replies.lines().map(|line| reply(name, line)).collect();
        let says_invalid = lines.iter().any(|reply| {
            let message = reply["message"].as_str();
            message.is_some_and(|message| message.starts_with("Invalid JSON"))
        });
        let is_as_due = match verdict {
            Json => !says_invalid && lines.len() == 1,
            NotJson => says_invalid,
            Either => !lines.is_empty(),
        };
        if !is_as_due {
            wrong.push(format!("{name}: {verdict:?}, but {replies:?}"));
        }
        #[cfg(feature = "websocket")]
        wrong.extend(in_other_framings::faults(&daemon, name, *verdict, text, &lines));
    }
    assert!(daemon.is_running(), "it is the same daemon that was started");
    daemon.client().ping();
    println!("{} texts", texts.len());
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), texts.len());
    expect_quiet_log(&daemon);
}

/// Registers a VM by each name and checks all outputs that show names.
#[track_caller]
fn expect_names<S: AsRef<str>>(names: &[S]) {
    // With all events in the log, so that a name in it would be seen.
    let mut daemon = Daemon::builder().args(["--log", "trace"]).start();
    let mut accepted: Vec<&str> = Vec::new();
    for name in names {
        let name = name.as_ref();
        let mut client = daemon.client();
        let data =
            json!({"vm_id": name, "ram": 1, "cpu": 1, "password": PASSWORD, "disks": [{"disk_size": 1}]});
        let reply = client.call(request("register", data));
        if reply["status"] == "error" {
            let text = reply["message"].as_str().expect("an error has a message");
            let is_known = accepted.contains(&name) && text == "VM is already registered";
            assert!(is_known || text.starts_with("vm_id: "), "{name:?}: {reply}");
        } else {
            assert_eq!(reply["data"], json!({"auth_id": name}));
            accepted.push(name);
            expect_shown(&mut client, name);
        }
        // In any case the connection stays open.
        client.ping();
        #[cfg(feature = "websocket")]
        in_other_framings::expect_same_name(&daemon, name, reply["status"] == "error");
    }
    assert!(names.len() < 10 || accepted.len() > 10, "nearly every name is refused: {accepted:?}");
    let mut client = daemon.client();
    client.authenticate(accepted[0]);
    let listed = client.list("all_vms");
    assert_eq!(listed.iter().map(|vm| &vm["vm_id"]).collect::<Vec<_>>(), accepted);
    daemon.restart();
    let mut client = daemon.client();
    client.authenticate(accepted[0]);
    assert_eq!(client.list("all_vms"), listed, "after a restart");
    println!("{} names, {} refused", names.len(), names.len() - accepted.len());
    drop(client);
    daemon.stop();
    expect_quiet_log(&daemon);
}

/// The VM `name`, which has just been registered, has that name in all outputs.
#[track_caller]
fn expect_shown(client: &mut Client, name: &str) {
    client.authenticate(name);
    let authenticated = client.list("authenticated_vms");
    assert_eq!((authenticated.len(), &authenticated[0]["vm_info"]["vm_id"]), (1, &json!(name)));
    assert_eq!(authenticated[0]["vm_info"]["disks"][0]["vm_id"], name);
    let disks = client.list("all_disks");
    assert_eq!(disks.last().expect("its own")["vm_id"], name);
    let reply = client.call(request("logout", json!({})));
    assert_eq!(reply["message"], format!("VM ({name}) logged out successfully"));
}

/// Each line in the log is one event, and none is a crash.
#[track_caller]
fn expect_quiet_log(daemon: &Daemon) {
    let log = daemon.log();
    for line in log.lines() {
        // Each begins with its time.
        let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
        let has_time = time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T';
        let is_event =
            ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].iter().any(|level| rest.starts_with(level));
        assert!(has_time && is_event, "no line of an event: {line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(!line.contains("panic"), "{line}");
    }
}

#[track_caller]
fn reply(name: &str, line: &str) -> Value {
    let reply: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line:?}"));
    assert!(reply["status"].is_string() && reply["data"].is_object(), "{name}: {reply}");
    reply
}

/// The same over HTTP and WebSocket, where a message has an end whatever its content.
#[cfg(feature = "websocket")]
mod in_other_framings {
    use super::*;
    use crate::web::{CLOSE, TEXT, Web, frame, message, post};

    /// The mistakes in the answers to `text`, as a request's data and as a request; `raw` are the answers to it as data
    /// in raw JSON.
    pub(super) fn faults(
        daemon: &Daemon,
        name: &str,
        verdict: Verdict,
        text: &[u8],
        raw: &[Value],
    ) -> Vec<String> {
        let data = [b"{\"command\":\"ping\",\"data\":", text, b"}"].concat();
        let mut faults = Vec::new();
        for (is_data, bytes) in [(true, &data[..]), (false, text)] {
            let (status, body) = over_http(daemon, bytes);
            let reply = reply(name, &body);
            let said = reply["message"].as_str().unwrap_or_default().to_owned();
            let says_invalid = said.starts_with("Invalid JSON: ");
            let is_as_due = match verdict {
                Json => !says_invalid,
                NotJson => says_invalid,
                Either => true,
            };
            // A text that is not a request itself never becomes one.
            let due = if !is_data || says_invalid { 400 } else { 200 };
            // As raw JSON a message may end earlier, or never.
            let is_same_message = is_data
                && raw.len() == 1
                && raw[0]["message"] != "Invalid JSON: the input ended inside a request";
            let is_same = !is_same_message || without_address(&raw[0]) == without_address(&reply);
            if status != due || !is_as_due || !is_same {
                faults.push(format!("HTTP: {name}: {verdict:?}, but {status} {body:?}; raw JSON: {raw:?}"));
            }
            let heard = over_websocket(daemon, bytes);
            let is_same = match &heard {
                Ok(text) => {
                    without_address(&super::reply(name, text)) == without_address(&reply)
                        && std::str::from_utf8(bytes).is_ok()
                }
                Err(code) => *code == 1007 && std::str::from_utf8(bytes).is_err(),
            };
            if !is_same {
                faults.push(format!("WebSocket: {name}: {heard:?}; HTTP: {status} {body:?}"));
            }
        }
        faults
    }

    /// The name that was registered, or refused, gets the same answer everywhere.
    #[track_caller]
    pub(super) fn expect_same_name(daemon: &Daemon, name: &str, was_refused: bool) {
        let data = json!({"vm_id": name, "ram": 1, "cpu": 1, "password": PASSWORD, "disks": []});
        let request = request("register", data).to_string();
        let mut client = daemon.client();
        client.send(&request);
        let raw = client.raw_line();
        assert!(was_refused || raw.contains("VM is already registered"), "{name:?}: {raw}");
        assert_eq!(over_http(daemon, request.as_bytes()), (200, raw.clone() + "\n"), "{name:?}");
        assert_eq!(over_websocket(daemon, request.as_bytes()), Ok(raw), "{name:?}");
    }

    /// The status and the body of the answer; the connection goes on, as long as its length was right.
    #[track_caller]
    fn over_http(daemon: &Daemon, bytes: &[u8]) -> (u16, String) {
        let mut web = Web::connect(daemon.address());
        let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", bytes.len());
        web.send([head.as_bytes(), bytes].concat());
        let answer = web.reply();
        web.send(post("{\"command\":\"ping\"}"));
        assert!(web.reply().body.contains("PONG"), "{}", bytes.escape_ascii());
        (answer.status, answer.body)
    }

    /// The text of the answer, or the code of the close.
    #[track_caller]
    fn over_websocket(daemon: &Daemon, bytes: &[u8]) -> Result<String, u16> {
        let mut web = Web::websocket(daemon.address());
        web.send(frame(TEXT, true, bytes));
        let frame = web.frame();
        if frame.opcode == CLOSE {
            return Err(u16::from_be_bytes([frame.payload[0], frame.payload[1]]));
        }
        web.send(message("{\"command\":\"ping\"}"));
        assert!(web.message().contains("PONG"), "{}", bytes.escape_ascii());
        Ok(String::from_utf8(frame.payload).expect("an answer is UTF-8"))
    }

    /// Each connection has an address of its own.
    fn without_address(reply: &Value) -> Value {
        let mut reply = reply.clone();
        if let Some(address) = reply.pointer_mut("/data/addr/1") {
            *address = Value::Null;
        }
        reply
    }
}

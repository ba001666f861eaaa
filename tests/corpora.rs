//! Whole collections of bad input: JSON texts with a verdict each, and strings that break things.
//!
//! Small collections stand here and always run. `VMHERD_CORPUS` names a folder in the shape of the public
//! JSON test suite (`y_*.json` is JSON, `n_*.json` is not, `i_*.json` may be either), `VMHERD_STRINGS` a
//! file with a JSON array of strings; they run besides.

mod common;

use std::fs;
use std::path::Path;

use common::{Client, Daemon, PASSWORD, request};
use serde_json::{Value, json};

/// What is said of a text.
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

/// Names that break things, or nearly.
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
fn every_text_gets_the_verdict_that_is_its_due() {
    let texts =
        TEXTS.iter().map(|&(verdict, text)| (text.escape_ascii().to_string(), verdict, text.to_vec()));
    expect_verdicts(&texts.collect::<Vec<_>>());
}

#[test]
fn the_given_folder_s_texts_get_the_verdicts_of_their_names() {
    let Some(folder) = std::env::var_os("VMHERD_CORPUS") else { return };
    let texts = texts_in(Path::new(&folder));
    println!("{} texts", texts.len());
    expect_verdicts(&texts);
}

#[test]
fn every_name_comes_back_as_it_went_in_or_is_refused() {
    expect_names(NAMES);
}

#[test]
fn the_given_file_s_names_come_back_as_they_went_in_or_are_refused() {
    let Some(file) = std::env::var_os("VMHERD_STRINGS") else { return };
    let text = fs::read(&file).unwrap_or_else(|error| panic!("{} can't be read: {error}", file.display()));
    let names: Vec<String> = serde_json::from_slice(&text).expect("a JSON array of strings");
    assert!(!names.is_empty(), "{} is empty", file.display());
    expect_names(&names);
}

/// The texts of a folder and what their names say of them.
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
    }
    assert!(daemon.is_running(), "it is the same daemon that was started");
    daemon.client().ping();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), texts.len());
    expect_quiet_log(&daemon);
}

/// Registers a VM by each name and looks for it wherever names are shown.
#[track_caller]
fn expect_names<S: AsRef<str>>(names: &[S]) {
    // With every event in the log there is, so that a name that reaches it would be seen.
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
        // Whatever became of it, the connection lives.
        client.ping();
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

/// The VM `name`, which has just been registered, is shown by that name everywhere.
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

/// One line in the log is one event, and none is of a crash.
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

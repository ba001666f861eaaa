//! What every command prints in every format, the terminal's width, and readers that leave.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::common::{Daemon, wait};
use crate::support::{User, names};

const VM: &[&str] = &[
    "addresses",
    "connected_since",
    "cpu",
    "disks",
    "id",
    "last_seen",
    "managed",
    "offline_since",
    "ram",
    "vm_id",
];
const DISK: &[&str] = &["disk_size", "id", "vm_id"];
const CHANGE: &[&str] = &["cpu", "disks", "ram"];

/// Each command with the key of its document and the names below it. Programs depend on them.
pub type Schemas = &'static [(&'static [&'static str], &'static str, &'static [&'static str])];

pub const SCHEMAS: Schemas = &[
    (&["ping"], "ping", &["address", "milliseconds", "server"]),
    (&["register", "{new}", "--ram", "1G", "--cpu", "1", "--disk", "1G"], "registered", &["vm_id"]),
    (&["authenticate", "web-1"], "login", &["token", "vm_id"]),
    (&["logout", "--vm", "web-1"], "logged_out", &["message"]),
    (&["vms", "--vm", "web-1"], "vms", VM),
    (&["list_active", "--vm", "web-1"], "vms", VM),
    (&["list_auth", "--vm", "web-1"], "vms", VM),
    (&["list_authenticated", "--vm", "web-1"], "vms", VM),
    (&["list_all", "--vm", "web-1"], "vms", VM),
    (&["top", "--once", "--vm", "web-1"], "vms", &["cpu", "disks", "ram", "since", "state", "vm_id"]),
    (&["disks", "--vm", "web-1"], "disks", DISK),
    (&["list_all_disks", "--vm", "web-1"], "disks", DISK),
    (&["update", "--ram", "1G", "--vm", "web-1"], "updated", CHANGE),
    (&["update_ram", "1G", "--vm", "web-1"], "updated", CHANGE),
    (&["update_ram_cpu_disks", "1G", "2", "1=5G", "--vm", "web-1"], "updated", CHANGE),
    (&["metrics", "put", "load", "0.5"], "stored", &["points"]),
    (&["metrics", "get"], "points", &["key", "timestamp", "value"]),
    (&["metrics", "plot"], "points", &["key", "timestamp", "value"]),
    (&["stat"], "server", &["available", "uptime", "version"]),
    (&["wait", "web-1", "--for", "offline", "--vm", "other"], "waited", &["seconds", "state", "vm_id"]),
    (&["convert", "Hub&&name&&qwe"], "parameters", &["entity", "name", "value"]),
    (&["raw", "{\"command\": \"ping\"}"], "replies", &["reply"]),
];

/// The same on the daemon's own socket.
pub const OPERATOR_SCHEMAS: Schemas = &[
    (&["vm", "list"], "vms", VM),
    (&["vm", "show", "web-1"], "vm", VM),
    (&["vm", "add", "{new}", "--ram", "1G", "--cpu", "1"], "added", &["id", "vm_id"]),
    (&["vm", "set", "web-1", "--ram", "1G"], "updated", CHANGE),
    (&["vm", "passwd", "web-1"], "changed", &["vm_id"]),
    (&["vm", "remove", "{new}"], "removed", &["error", "vm_id"]),
    (&["stats"], "counters", &["name", "value"]),
];

#[test]
fn every_command_has_its_schema_in_every_format() {
    let daemon = Daemon::builder().args(["--conversion-delay", "0"]).start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &["5"]);
    user.register("other", &[]);
    check(&user, SCHEMAS);
    check(&User::operator(&daemon).with_password(), OPERATOR_SCHEMAS);
}

fn check(user: &User, schemas: Schemas) {
    for (arguments, key, members) in schemas {
        // Each format has VMs of its own, which are registered or added first and removed later.
        let in_format = |format: &str| {
            let new = format!("{}-{format}", arguments[0]);
            let name = |argument: &&'static str| {
                if *argument == "{new}" { new.clone() } else { (*argument).into() }
            };
            let arguments: Vec<String> = arguments.iter().map(name).collect();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            user.output(&[&arguments[..], &["--format", format]].concat())
        };
        let text = in_format("json");
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(names(&document), [*key], "{arguments:?}");
        let content = document[*key].as_array().map_or(&document[*key], |rows| &rows[0]);
        assert_eq!(names(content), *members, "{arguments:?}");

        let csv = in_format("csv");
        let mut headings: Vec<&str> = csv.lines().next().expect("a heading").split(',').collect();
        headings.sort_unstable();
        assert_eq!(headings, *members, "{arguments:?}");
        let compact = in_format("compact");
        assert!(!compact.is_empty(), "{arguments:?}");
        assert_eq!(compact.lines().next().expect("a line").split('\t').count(), members.len(), "{compact}");
        assert!(in_format("table").lines().count() > 0, "{arguments:?}");
    }
}

#[test]
fn forty_columns_are_enough() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password().env("COLUMNS", "40");
    // 128 bytes each: the longest names there are.
    let long = "n".repeat(128);
    let wide = "長".repeat(42);
    for name in [&long, &wide, "x\u{301}yx\u{301}"] {
        user.register(name, &["100", "200", "300", "400", "500", "600"]);
    }
    for command in [
        &["vms"][..],
        &["list_active"],
        &["disks"],
        &["vms", "-c", "vm_id,ram,cpu,disks,addresses,last_seen"],
    ] {
        let text = user.output(&[command, &["--vm", &long]].concat());
        for line in text.lines() {
            let width: usize = line.chars().map(columns_of).sum();
            assert!(width <= 40, "{command:?} has a line of {width} columns:\n{text}");
        }
        let joined: String = text.chars().filter(|character| *character == 'n').collect();
        assert!(joined.len() >= 128, "the name is whole: {text}");
    }
}

/// Of the characters here.
fn columns_of(character: char) -> usize {
    match character {
        '\u{301}' => 0,
        '長' => 2,
        _ => 1,
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &[]);
    let names: Vec<String> = (0..300).map(|number| format!("{number}-{}", "x".repeat(100))).collect();
    let mut client = daemon.client();
    for name in &names {
        client.register(name, &[1]);
    }
    for format in ["table", "json", "csv"] {
        let mut command = user.command(&["vms", "--vm", "web-1", "--format", format]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        drop(child.stdout.take());
        let status = wait(&mut child, "it ends");
        let mut text = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
        assert_eq!((status.code(), &*text), (Some(0), ""), "{format}");
    }
}

#[test]
fn help_fits_eighty_columns_and_names_every_exit_code() {
    let user = User::at("tcp://127.0.0.1:1");
    let help = user.output(&["--help"]);
    for code in
        ["1 failed", "2 usage", "3 not_found", "4 denied", "5 no_connection", "6 timeout", "7 partial"]
    {
        assert!(help.contains(code), "{code}: {help}");
    }
    let commands = SCHEMAS.iter().chain(OPERATOR_SCHEMAS).map(|(arguments, ..)| arguments[0]);
    for command in commands {
        assert!(
            help.contains(&format!("  {command}")) || help.contains(&format!(", {command}")),
            "{command}: {help}"
        );
        let text = user.output(&[command, "--help"]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("Columns: ") || ["metrics", "vm"].contains(&command), "{text}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    assert_eq!(user.output(&["--version"]), concat!("vmherdctl ", env!("CARGO_PKG_VERSION"), "\n"));
}

//! docs/vms.md: its commands do what it shows, and its options exist.

use std::fs;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::common::{Daemon, run};
use crate::real::{real, ssh};
use crate::support::wait_gone;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/vms.md");

/// The commands of the page in their order, each with the lines that it prints there.
fn commands(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for block in page.split("```console\n").skip(1) {
        for line in block.lines().take_while(|line| *line != "```") {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command, Vec::new())),
                (None, Some((_, shown))) => shown.push(line),
                (None, None) => panic!("no command has printed {line}"),
            }
        }
    }
    commands
}

/// `text` with all digits as `0` and all letters as `a`, without the end where it is cut off.
fn shape(text: &str) -> String {
    let shape = |character: char| match character {
        '0'..='9' => '0',
        'a'..='z' | 'A'..='Z' => 'a',
        other => other,
    };
    text.trim_end_matches("...").chars().map(shape).collect()
}

/// The fields of a VM that `vm create` prints, which have the names and the shape that the page shows.
fn created(daemon: &Daemon, shown: &[&str]) -> Value {
    let printed = daemon.vm_command(&["create"], "").expect_success().stdout;
    let mut fields = Map::new();
    for (line, shown) in printed.lines().zip(shown) {
        let (name, value) = line.split_once(' ').expect("a name and a value");
        let (shown_name, shown_value) = shown.split_once(' ').expect("a name and a value");
        assert_eq!(name, shown_name);
        assert_eq!(line.find(value.trim()), shown.find(shown_value.trim()), "the column: {line}");
        if !shown.ends_with("...") && !name.ends_with("sha256") && !name.ends_with("uuid") {
            assert_eq!(shape(value), shape(shown_value));
        }
        let value = value.trim();
        fields
            .insert(name.to_owned(), value.parse::<u64>().map_or_else(|_| json!(value), |port| json!(port)));
    }
    assert_eq!((printed.lines().count(), fields.len()), (6, 6), "{printed}");
    fields.into()
}

#[test]
fn the_commands_of_the_page_do_what_it_shows() {
    let page = fs::read_to_string(PAGE).expect(PAGE);
    let commands = commands(&page);
    let lines: Vec<&str> = commands.iter().map(|(command, _)| *command).collect();
    let [install, make, create, login, download, start, again, console, log, stop] = lines[..] else {
        panic!("other commands: {lines:?}")
    };
    // tests/debian runs them as well.
    assert!(install.starts_with("sudo apt-get install ") && download.starts_with("curl -LO https://"));
    let makes = run(Command::new("make").args(["-n", make.strip_prefix("make ").expect("a target")]));
    let image = "--vm-image \"$(tests/guest/build)\" --vm-memory 128";
    assert!(makes.expect_success().stdout.contains(image));
    let check = start.split(' ').skip(1).chain(["--check-config"]);
    run(Command::new(env!("CARGO_BIN_EXE_vmherd")).args(check)).expect_success();

    let daemon = real().start();
    assert_eq!((create, again), ("target/release/vmherd vm create", "vmherd vm create"));
    let shown = &commands[2].1;
    let (first, second) = (created(&daemon, shown), created(&daemon, shown));
    let [port, user] = ["container_listen_port", "container_username"].map(|name| {
        let line = shown.iter().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().nth(1).expect("a value")
    });
    assert_eq!(login, format!("ssh -p {port} {user}@127.0.0.1"));
    assert_eq!(ssh(&first, "id -un"), first["container_username"].as_str().unwrap());
    let id = shown[0].split_whitespace().nth(1).expect("an id");
    let vm = |command: &str, created: &Value, input: &str| {
        let action = command.strip_prefix("vmherd vm ").and_then(|rest| rest.strip_suffix(id));
        let action = action.unwrap_or_else(|| panic!("{command}: another VM than {id}")).trim();
        let id = created["container_uuid"].as_str().expect("text");
        daemon.vm_command(&[action, id], input).expect_success().stdout
    };
    assert!(vm(console, &first, "echo poweroff >/run/power\n").contains("reboot: Power down"));
    assert!(vm(log, &first, "").contains("reboot: Power down"));
    vm(stop, &second, "");
    wait_gone(&daemon, 4);
}

#[test]
fn the_options_of_the_page_exist() {
    let page = fs::read_to_string(PAGE).expect(PAGE).replace("`cloud-init status --wait`", "");
    let help = run(Command::new(env!("CARGO_BIN_EXE_vmherd")).arg("--help")).expect_success().stdout;
    let options = page.split(|character: char| !matches!(character, 'a'..='z' | '-'));
    let options: Vec<&str> = options.filter(|word| word.starts_with("--") && *word != "---").collect();
    assert!(options.len() > 10, "{options:?}");
    for option in options {
        assert!(help.contains(&format!(" {option} ")), "{option}");
    }
}

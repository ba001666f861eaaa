//! The command line, the errors, and the list.

use vmherd::client::VmUpdate;
use vmherd::{Config, PasswordCost, Registry, Secret};

use super::*;
use crate::vm_registry::{VmEntry, VmError, VmPresence};

fn read(args: &[&str]) -> Result<Option<VmCommand>, ToolError> {
    let parsed = TOOL.parse(args.iter().map(OsString::from), VmCommand::parse)?;
    Ok(parsed.map(|(command, _)| command))
}

fn usage_error(args: &[&str]) -> String {
    match read(args) {
        Err(failure) if failure.exit_code == 2 => failure.to_string(),
        other => panic!("{args:?} gave {other:?}"),
    }
}

fn name(text: &str) -> VmName {
    VmName::parse(text).unwrap()
}

#[test]
fn commands_are_parsed() {
    let add = |disks: &[u64]| VmCommand::Add {
        name: name("web-1"),
        shape: VmShape { ram_mib: 2048, cpus: 2 },
        disk_sizes_gib: disks.to_vec(),
    };
    let set = |change| VmCommand::Set { name: name("web-1"), change };
    let cases: &[(&[&str], VmCommand)] = &[
        (&["add", "web-1", "--ram", "2048", "--cpu", "2"], add(&[])),
        (&["--cpu=2", "--disk=3", "add", "--ram=2048", "web-1", "--disk", "1"], add(&[3, 1])),
        (&["add", "web-1", "--ram", "2G", "--cpu", "2", "--disk=1T", "--disk=20GiB"], add(&[1024, 20])),
        (&["list"], VmCommand::List { as_json: false }),
        (&["list", "--json", "--store", "memory:"], VmCommand::List { as_json: true }),
        (&["show", "web-1"], VmCommand::Show { name: name("web-1"), as_json: false }),
        (&["show", "17", "--json"], VmCommand::Show { name: name("17"), as_json: true }),
        (&["set", "web-1", "--ram=4G"], set(VmUpdate { ram: Some(4096), ..VmUpdate::default() })),
        (
            &["set", "web-1", "--cpu=3", "--disk=7=20G", "--disk", "2=1T"],
            set(VmUpdate {
                ram: None,
                cpu: Some(3),
                disks: Some(DiskUpdate::Resize(vec![(7, 20), (2, 1024)])),
            }),
        ),
        (&["remove", "web-1"], VmCommand::Remove(name("web-1"))),
        (&["remove", "17"], VmCommand::Remove(name("17"))),
        (&["remove", "--", "--help"], VmCommand::Remove(name("--help"))),
        (&["passwd", "web-1"], VmCommand::ChangePassword(name("web-1"))),
    ];
    for (args, command) in cases {
        assert_eq!(read(args).unwrap().as_ref(), Some(command), "{args:?}");
    }
    for help in [&["--help"][..], &["add", "--help"], &["list", "--ram=1", "--help"]] {
        assert_eq!(read(help).unwrap(), None, "{help:?}");
    }
}

#[test]
fn usage_errors_say_what_is_wrong() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "say what to do: add, list, show, set, remove or passwd"),
        (&["ad", "x"], "there is no command \"ad\""),
        (&["add"], "say which VM: its name is missing"),
        (&["passwd"], "say which VM: its name is missing"),
        (&["list", "x"], "unexpected argument \"x\""),
        (&["remove", "x", "y"], "unexpected argument \"y\""),
        (&["add", "x", "--cpu", "1"], "--ram is missing"),
        (&["add", "x", "--ram", "1"], "--cpu is missing"),
        (&["set"], "say which VM: its name is missing"),
        (&["set", "x"], "say what to change: --ram, --cpu or --disk"),
        (&["set", "x", "--disk", "20"], "--disk: \"20\" must be a disk and its size, such as 1=20G"),
        (&["set", "x", "--disk", "1="], "--disk: \"\": a size is a number with an optional unit"),
        (&["set", "x", "--disk", "a=20"], "--disk: \"a=20\" must be a disk and its size, such as 1=20G"),
        (&["set", "x", "--disk", "0=20"], "--disk: \"0=20\" must be a disk and its size, such as 1=20G"),
        (&["set", "x", "--disk", "1=20", "--disk", "1=30"], "--disk: disk 1 is given twice"),
        (&["list", "--ram", "1"], "--ram is not for list"),
        (&["remove", "x", "--disk", "1"], "--disk is not for remove"),
        (&["add", "x", "--json"], "--json is not for add"),
        (&["add", "x", "--password", "secret"], "there is no flag \"--password\"; see --help"),
        (&["list", "--listen", "unix:/x"], "there is no flag \"--listen\"; see --help"),
    ];
    for (args, expected) in cases {
        let error = usage_error(args);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn field_limits_match_the_network() {
    let cases = [
        ("--ram", "1", "1073741824", "1073741825"),
        ("--cpu", "1", "65535", "65536"),
        ("--disk", "1", "1125899906842624", "1125899906842625"),
    ];
    let command = |flag: &str, value: &str| {
        let mut args = vec!["add".to_owned(), "x".into(), format!("{flag}={value}")];
        let others = ["--ram", "--cpu"].iter().filter(|other| **other != flag);
        args.extend(others.map(|other| format!("{other}=1")));
        read(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (flag, least, most, above) in cases {
        command(flag, least).unwrap();
        command(flag, most).unwrap();
        for bad in ["0", above, "-1", "+1", "1.5", "", "x", "18446744073709551616"] {
            let failure = command(flag, bad).unwrap_err();
            let expected = format!("{flag}: {bad:?}");
            assert!(failure.to_string().starts_with(&expected) && failure.exit_code == 2, "{failure}");
        }
    }
    let disks = |count: usize| {
        let fixed = ["add", "x", "--ram=1", "--cpu=1"].into_iter();
        let args: Vec<&str> = fixed.chain(std::iter::repeat_n("--disk=1", count)).collect();
        read(&args)
    };
    disks(1024).unwrap();
    assert!(disks(1025).unwrap_err().to_string().starts_with("a VM has 1024 disks at most"));
}

#[test]
fn name_rules_match_the_network() {
    let shape = ["--ram=1", "--cpu=1"];
    for bad in ["", "two words", "12345", "tab\t", &"x".repeat(129)] {
        let error = usage_error(&["add", bad, shape[0], shape[1]]);
        assert!(error.contains("is not a valid VM name") && error.contains(NameError::ALLOWED), "{error}");
    }
    read(&["add", &"x".repeat(128), shape[0], shape[1]]).unwrap();
    assert!(usage_error(&["add", "web\u{200b}", shape[0], shape[1]]).contains("a text with U+200B"));
    for old in ["web\u{200b}", "e\u{301}"] {
        read(&["remove", old]).unwrap();
        read(&["passwd", old]).unwrap();
    }
    assert!(usage_error(&["remove", "two words"]).contains("is not a valid VM name"));
}

#[test]
fn memory_store_is_a_config_error() {
    let settings = ToolSettings { config: Config::default(), is_default_store: false };
    let failure = VmCommand::List { as_json: false }.execute(settings).unwrap_err();
    assert_eq!(failure.exit_code, 78);
    assert!(failure.to_string().contains("\"memory:\" exists only inside the daemon's process"), "{failure}");
}

#[test]
fn a_list_of_a_store_has_no_states() {
    let mut registry = registry();
    add(&mut registry, "a", 512, &[]);
    add(&mut registry, "näme-that-is-long", 1 << 20, &[20, 1024]);
    let expected = "\
NAME               ID  STATE  LAST SEEN   RAM  CPU  DISKS
a                   1  -      -          512M    1  -
näme-that-is-long   2  -      -            1T    1  20G,1T
";
    assert_eq!(listed(registry), expected);
}

#[test]
fn a_vm_is_shown_with_what_a_daemon_knows() {
    let addresses = vec![("192.0.2.7".to_owned(), 4711), ("unix".to_owned(), 0)];
    let connected_since = Some(1_501_864_247);
    let vm = VmEntry {
        name: "web-1".into(),
        id: 9,
        ram_mib: 2048,
        cpus: 2,
        disks: vec![(7, 20), (8, 1024)],
        is_managed: true,
        last_seen: Some(1_501_864_300),
        presence: Some(VmPresence { connected_since, offline_since: None, addresses }),
    };
    let shown = |as_json| {
        let mut output = Vec::new();
        vm_table::write_vm(&vm, as_json, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    };
    let expected = "\
name             web-1
id               9
state            online
connected since  2017-08-04T16:30:47Z
offline since    -
addresses        192.0.2.7 4711, unix 0
last seen        2017-08-04T16:31:40Z
managed          yes
RAM              2G
CPUs             2
disk 7           20G
disk 8           1T
";
    assert_eq!(shown(false), expected);
    let expected = serde_json::json!({
        "vm_id": "web-1", "id": 9, "state": "online", "connected_since": 1_501_864_247, "offline_since": null,
        "last_seen": 1_501_864_300, "addrs": [["192.0.2.7", 4711], ["unix", 0]], "managed": true, "ram": 2048,
        "cpu": 2, "disks": [{"id": 7, "disk_size": 20}, {"id": 8, "disk_size": 1024}]
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown(true)).unwrap(), expected);
}

#[test]
fn errors_about_a_vm_name_it_and_give_advice() {
    let cases = [
        (VmError::UnknownVm, 3, "there is no VM guest"),
        (VmError::UnknownDisk(7), 3, "guest has no disk 7; its disks: vmherd vm show guest"),
        (VmError::Managed, 1, "guest is managed by a server; this ends it: vmherd vm stop guest"),
    ];
    for (error, exit_code, text) in cases {
        let error = error.of_vm(&name("guest"));
        assert_eq!((error.to_string().as_str(), error.exit_code), (text, exit_code));
    }
}

#[test]
fn names_are_escaped_in_a_list() {
    let names = ["a\u{202e}b", "web\u{200b}", "\u{e0041}\u{3164}", "c\u{2066}d\u{fe0f}"];
    let mut registry = registry();
    names.into_iter().for_each(|name| add(&mut registry, name, 1, &[]));
    let expected = "\
NAME              ID  STATE  LAST SEEN  RAM  CPU  DISKS
a\\u202eb           1  -      -           1M    1  -
web\\u200b          2  -      -           1M    1  -
\\U000e0041\\u3164   3  -      -           1M    1  -
c\\u2066d\\ufe0f     4  -      -           1M    1  -
";
    assert_eq!(listed(registry), expected);
}

#[test]
fn empty_list_is_its_header() {
    assert_eq!(listed(registry()), "NAME  ID  STATE  LAST SEEN  RAM  CPU  DISKS\n");
}

#[test]
fn long_list_has_every_vm_once() {
    let count = 5000;
    let mut registry = registry();
    (1..=count).for_each(|number| add(&mut registry, &format!("vm-{number}"), 1, &[]));
    assert!(registry.pages().count() > 3);
    let text = listed(registry);
    let names = text.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().to_owned());
    assert!(names.eq((1..=count).map(|number| format!("vm-{number}"))));
}

#[test]
fn the_help_text_fits_two_screens_and_has_the_settings() {
    let text = TOOL.help();
    assert!(text.lines().count() <= 48 && text.lines().all(|line| line.len() <= 80), "{text}");
    for Flag { name, .. } in TOOL.all_flags() {
        assert!(text.contains(&format!("\n  --{name} ")), "--{name} is missing");
    }
}

/// The list of `registry`.
fn listed(registry: Registry) -> String {
    let mut output = Vec::new();
    vm_table::write_list(&mut VmRegistry::Store(registry), &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

/// An empty registry in memory.
fn registry() -> Registry {
    let mut config = Config::default();
    config.argon2 = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };
    Registry::open(&config).unwrap()
}

fn add(registry: &mut Registry, text: &str, ram_mib: u32, sizes: &[u64]) {
    let shape = VmShape { ram_mib, cpus: 1 };
    registry.add(name(text), shape, sizes.to_vec(), &Secret::new("a password")).unwrap();
}

//! The command line, the errors, and the list.

use vmherd::{Config, Disk, DiskId, PasswordCost, Secret, VmId};

use super::*;

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
    let cases: &[(&[&str], VmCommand)] = &[
        (&["add", "web-1", "--ram", "2048", "--cpu", "2"], add(&[])),
        (&["--cpu=2", "--disk=3", "add", "--ram=2048", "web-1", "--disk", "1"], add(&[3, 1])),
        (&["list"], VmCommand::List),
        (&["list", "--store", "memory:"], VmCommand::List),
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
        (&[], "say what to do: add, list, remove or passwd"),
        (&["ad", "x"], "there is no command \"ad\""),
        (&["add"], "say which VM: its name is missing"),
        (&["passwd"], "say which VM: its name is missing"),
        (&["list", "x"], "unexpected argument \"x\""),
        (&["remove", "x", "y"], "unexpected argument \"y\""),
        (&["add", "x", "--cpu", "1"], "--ram is missing"),
        (&["add", "x", "--ram", "1"], "--cpu is missing"),
        (&["list", "--ram", "1"], "--ram is for add only"),
        (&["remove", "x", "--disk", "1"], "--disk is for add only"),
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
        for bad in ["0", above, "-1", "+1", "1.0", "", "x", "18446744073709551616"] {
            let failure = command(flag, bad).unwrap_err();
            let expected = format!("{flag}: {bad:?} must be a whole number, {least} to {most}");
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
    let failure = VmCommand::List.execute(settings).unwrap_err();
    assert_eq!(failure.exit_code, 78);
    assert!(failure.to_string().contains("\"memory:\" exists only inside the daemon's process"), "{failure}");
}

#[test]
fn a_list_is_aligned() {
    let mut registry = registry();
    add(&mut registry, "a", 512, &[]);
    add(&mut registry, "näme-that-is-long", 1 << 20, &[20, 100]);
    let mut output = Vec::new();
    list(&mut registry, &mut output).unwrap();
    let expected = "\
NAME               RAM MiB  CPUS  MANAGED  DISKS GiB
a                      512     1  no       -
näme-that-is-long  1048576     1  no       20,100
";
    assert_eq!(String::from_utf8(output).unwrap(), expected);
}

#[test]
fn a_managed_vm_is_marked_in_a_list() {
    let vm = |is_managed, disks| Vm {
        id: VmId(1),
        name: name("guest"),
        shape: VmShape { ram_mib: 128, cpus: 1 },
        has_password: false,
        is_managed,
        last_seen: None,
        disks,
    };
    let disk = Disk { id: DiskId(1), size_gib: 8 };
    assert_eq!(row(&vm(true, vec![disk])), ["guest", "128", "1", "yes", "8"]);
    assert_eq!(row(&vm(true, vec![])), ["guest", "128", "1", "yes", "-"]);
    assert_eq!(row(&vm(false, vec![disk])), ["guest", "128", "1", "no", "8"]);
}

#[test]
fn a_change_of_a_managed_vm_fails_with_advice() {
    let error = of_vm(&name("guest"), RegistryError::Store(StoreError::Managed));
    let wanted = "guest is managed by a server; this ends it: vmherd vm stop guest";
    assert_eq!((error.to_string().as_str(), error.exit_code), (wanted, 1));
}

#[test]
fn names_are_escaped_in_a_list() {
    let names = ["a\u{202e}b", "web\u{200b}", "\u{e0041}\u{3164}", "c\u{2066}d\u{fe0f}"];
    let mut registry = registry();
    names.into_iter().for_each(|name| add(&mut registry, name, 1, &[]));
    let mut output = Vec::new();
    list(&mut registry, &mut output).unwrap();
    let expected = "\
NAME              RAM MiB  CPUS  MANAGED  DISKS GiB
a\\u202eb                1     1  no       -
web\\u200b               1     1  no       -
\\U000e0041\\u3164        1     1  no       -
c\\u2066d\\ufe0f          1     1  no       -
";
    assert_eq!(String::from_utf8(output).unwrap(), expected);
}

#[test]
fn empty_list_is_its_header() {
    let mut output = Vec::new();
    list(&mut registry(), &mut output).unwrap();
    assert_eq!(output, b"NAME  RAM MiB  CPUS  MANAGED  DISKS GiB\n");
}

#[test]
fn long_list_has_every_vm_once() {
    let count = 5000;
    let mut registry = registry();
    (1..=count).for_each(|number| add(&mut registry, &format!("vm-{number}"), 1, &[]));
    assert!(registry.pages().count() > 3);
    let mut output = Vec::new();
    list(&mut registry, &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
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

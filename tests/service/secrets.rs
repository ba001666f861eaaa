//! Passwords of databases in the wrong places: no message repeats them.

use std::fs;
use std::process::Command;

use crate::common::{TempDir, run};
use crate::reload::Reloadable;
use crate::support::vmherd;

/// The text that no message may have.
const PASSWORD: &str = "secretpw";
const URL: &str = "postgresql://herd:secretpw@127.0.0.1/herd";

/// Invalid stores, and a valid one.
const VALUES: [&str; 7] = [
    URL,
    "postgresql://herd:secretpw@192.0.2.1/herd",
    "herd:secretpw@127.0.0.1/herd",
    "postgresql:herd:secretpw@h",
    "host=h password=secretpw",
    "mysql://h/herd?user=herd&password=secretpw",
    "sqlite:postgresql://herd:secretpw@h/herd",
];

/// Settings that may get a store by mistake, and the store itself.
const NAMES: [&str; 8] =
    ["store", "store-file", "config", "listen", "state-dir", "log", "vms-max", "registration"];

/// Lines of a settings file that are not settings, or have an invalid value.
const LINES: [&str; 9] = [
    "VMHERD_STORE: postgresql://herd:secretpw@h/herd?sslmode=disable",
    "VMHERD_STORE: postgresql://herd:secretpw@h/herd",
    "VMHERD_STORE herd:secretpw@h/herd=1\nVMHERD_STORE herd:secretpw@h/herd=2",
    "postgresql://herd:secretpw@h/herd?sslmode=disable",
    "VMHERD_STORE='postgresql://herd:secretpw@h/herd",
    "VMHERD_STORE=herd:secretpw@h/herd",
    "VMHERD_STORE_FILE=postgresql://herd:secretpw@h/herd",
    "VMHERD_STORE_FILE=herd:secretpw@h/herd",
    "VMHERD_LISTEN=postgresql://herd:secretpw@h/herd",
];

#[track_caller]
fn says_nothing(command: &mut Command) {
    let ran = run(command);
    let is_silent = !ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD);
    assert!(is_silent, "{command:?}: {ran:?}");
}

/// The daemon and each of the tools, with a directory of its own.
#[track_caller]
fn none_says_anything(dir: &TempDir, arrange: impl Fn(&mut Command)) {
    for words in [&["--check-config"][..], &["--show-config"], &["vm", "list"], &["stats"]] {
        let mut command = vmherd(&dir.path().join("state"));
        command.current_dir(dir.path()).args(words);
        arrange(&mut command);
        says_nothing(&mut command);
    }
}

#[test]
fn an_error_does_not_repeat_a_misplaced_value() {
    let dir = TempDir::new();
    for value in VALUES {
        for name in NAMES.into_iter().filter(|name| !(*name == "store" && value == URL)) {
            let variable = format!("VMHERD_{}", name.to_uppercase().replace('-', "_"));
            none_says_anything(&dir, |command| _ = command.env(&variable, value));
            if ["store", "store-file", "config", "state-dir"].contains(&name) {
                none_says_anything(&dir, |command| _ = command.args([&format!("--{name}"), value]));
                none_says_anything(&dir, |command| _ = command.arg(format!("--{name}={value}")));
            }
        }
    }
}

#[test]
fn an_error_does_not_repeat_a_stray_argument() {
    let dir = TempDir::new();
    for value in VALUES {
        for stray in [value.to_owned(), format!("--{value}"), format!("--stor={value}"), format!("-{value}")]
        {
            none_says_anything(&dir, |command| _ = command.arg(&stray));
            says_nothing(vmherd(dir.path()).arg("vm").arg(&stray));
            says_nothing(vmherd(dir.path()).args(["vm", "add", &stray]));
            says_nothing(vmherd(dir.path()).args(["vm", "add", "web", "--ram", &stray]));
            says_nothing(vmherd(dir.path()).args(["vm", "remove", &stray]));
        }
    }
}

#[test]
fn an_error_does_not_repeat_a_line_of_a_settings_file() {
    let dir = TempDir::new();
    let file = dir.path().join("vmherd.conf");
    for line in LINES {
        fs::write(&file, line).expect("a new file");
        none_says_anything(&dir, |command| _ = command.arg("--config").arg(&file));
    }
    let name = "VMHERD_STORE: postgresql://herd:secretpw@h";
    none_says_anything(&dir, |command| _ = command.env(name, "x"));
}

#[test]
fn start_and_reload_errors_repeat_no_secret() {
    let dir = TempDir::new();
    for value in VALUES.into_iter().filter(|value| *value != URL) {
        says_nothing(vmherd(dir.path()).args(["--store", value]));
        says_nothing(vmherd(dir.path()).args(["--state-dir=/dev/null", "--store=memory:"]).arg(value));
    }
    let service = Reloadable::start("");
    for line in LINES {
        for format in [line.to_owned(), line.replace("VMHERD_STORE=", "VMHERD_STORE_FILE=")] {
            service.reload(format);
        }
    }
    service.daemon.wait_for_log("is not a setting's name");
    assert!(!service.daemon.log().contains(PASSWORD), "{}", service.daemon.log());
}

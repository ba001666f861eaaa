//! The formats of the log: for people, for programs, and for the journal.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use crate::common::{Daemon, TempDir, run};
use crate::support::vmherd;

#[track_caller]
fn all_json(text: &str) -> Vec<serde_json::Value> {
    let parse = |line: &str| {
        let object: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?} in {text}"));
        assert!(["time", "level", "target", "message"].iter().all(|key| object[key].is_string()), "{line}");
        object
    };
    text.lines().map(parse).collect()
}

#[test]
fn every_log_line_is_json_with_the_json_format() {
    let dir = TempDir::new();
    let file = dir.path().join("vmherd.conf");
    fs::write(&file, "VMHERD_LOG_FORMAT=json\n").unwrap();
    let misspelt = dir.path().join("misspelt.conf");
    fs::write(&misspelt, "VMHERD_LOG_FORMAT=json\nVMHERD_LISTN=x\n").unwrap();
    let misspelt = misspelt.to_str().unwrap();
    let file = file.to_str().unwrap();
    let broken = dir.path().join("broken.conf");
    fs::write(&broken, "VMHERD_LOG_FORMAT=json\nVMHERD_LOG='\n").unwrap();
    let broken = broken.to_str().unwrap();
    let cases: &[(&[&str], Option<i32>)] = &[
        (&["--config", broken], Some(78)),
        (&["--config", file, "--log-format"], Some(2)),
        (&["--log-format=json", "--nonsense"], Some(2)),
        (&["--log-format", "json", "stray"], Some(2)),
        (&["--log-format=json", "--auth-queue=0"], Some(78)),
        (&["--config", file, "--auth-queue=0"], Some(78)),
        (&["--config", misspelt, "--check-config"], Some(78)),
        (&["--config", misspelt], Some(78)),
        (&["--config", file, "--check-config"], Some(0)),
        (&["--config", file, "--show-config"], Some(0)),
        (&["--config", file, "--state-dir=/dev/null/x"], Some(1)),
        (&["--config", file, "--state-dir=/dev/null/x", "--log=off"], Some(1)),
        (&["--config", file, "--listen=unix:/dev/null/x", "--store=memory:"], Some(1)),
    ];
    for (args, code) in cases {
        // A warning.
        let ran = run(vmherd(dir.path()).args(*args).env("VMHERD_LISTN", "x"));
        assert_eq!(ran.code(), *code, "{args:?}: {ran:?}");
        let lines = all_json(&ran.stderr);
        assert!(!lines.is_empty(), "{args:?}: {ran:?}");
    }
    let mut daemon = Daemon::builder().arg("--log-format=json").start();
    daemon.signal("HUP");
    daemon.wait_for_log("read again");
    daemon.signal("USR1");
    daemon.wait_for_log("statistics: ");
    daemon.stop();
    assert!(all_json(&daemon.log()).len() > 5);
}

#[test]
fn the_journal_gets_priorities_and_no_times() {
    for format in ["text", "json"] {
        let dir = TempDir::new();
        let log = dir.path().join("log");
        let file = File::create(&log).unwrap();
        let metadata = file.metadata().unwrap();
        let mut command = vmherd(dir.path());
        command.args(["--listen=unix:/dev/null/x", "--store=memory:", "--log-format", format]);
        command.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino())).stderr(file);
        assert_eq!(command.status().unwrap().code(), Some(1));
        let text = fs::read_to_string(&log).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("<6>") && lines[0].contains("opening the store"), "{text}");
        assert!(lines[1].starts_with("<4>") && lines[1].contains("is not persistent"), "{text}");
        assert!(lines[2].starts_with("<3>") && lines[2].contains("can't listen"), "{text}");
        if format == "text" {
            assert!(lines[1].starts_with("<4>vmherd: "), "{text}");
        } else {
            lines.iter().for_each(|line| drop(all_json(&line[3..])));
        }
    }
}

#[test]
fn mistakes_in_settings_have_a_priority_in_the_journal() {
    let dir = TempDir::new();
    let log = dir.path().join("log");
    let file = File::create(&log).unwrap();
    let metadata = file.metadata().unwrap();
    let mut command = vmherd(dir.path());
    command.arg("--auth-queue=0").stderr(file);
    command.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()));
    assert_eq!(command.status().unwrap().code(), Some(78));
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text, "<3>vmherd: --auth-queue: \"0\" must be a whole number, 1 to 65536\n");
}

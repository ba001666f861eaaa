//! The settings file, and how its settings are shown.

use std::fs;
use std::path::Path;

use crate::common::{Daemon, TempDir, run};
use crate::support::{Process, vmherd};

#[test]
fn a_daemon_runs_by_its_settings_file() {
    let dir = TempDir::new();
    let file = dir.path().join("vmherd.conf");
    fs::write(&file, "# What a service has\nVMHERD_REGISTRATION='closed'\n").unwrap();
    let daemon = Daemon::builder().arg("--config").arg(&file).env("VMHERD_LISTN", "x").start();
    let mut client = daemon.client();
    let data =
        serde_json::json!({"vm_id": "a", "ram": 1, "cpu": 1, "password": "securePass123", "disks": []});
    assert_eq!(client.fail(crate::common::request("register", data)), "Registration is closed");
    daemon
        .wait_for_log("environment variable \"VMHERD_LISTN\" is not a setting; did you mean VMHERD_LISTEN?");
}

#[test]
fn mistakes_in_files_are_named_and_end_with_78() {
    let dir = TempDir::new();
    let file = dir.path().join("vmherd.conf");
    let text = file.to_str().unwrap();
    let cases = [
        ("VMHERD_AUTH_QUEUE=0\n", ":1: VMHERD_AUTH_QUEUE: \"0\" must be a whole number, 1 to 65536"),
        ("\n\nVMHERD_LOG=loud=x", ":3: VMHERD_LOG: \"loud=x\" must be off, error"),
        ("A=1\nVMHERD_LISTEN='", ":2: this opens a quote that nothing closes"),
        (
            "VMHERD_REGISTRATON=closed",
            ":1: \"VMHERD_REGISTRATON\" is not a setting; did you mean VMHERD_REGISTRATION?",
        ),
        ("VMHERD_REGISTRATION closed", ":1: there is no = on this line"),
        ("VMHERD_LOG=notice", ":1: VMHERD_LOG: \"notice\" must be off, error"),
    ];
    for (content, expected) in cases {
        fs::write(&file, content).unwrap();
        for mode in [&["--config", text][..], &["--config", text, "--check-config"]] {
            let ran = run(vmherd(dir.path()).args(mode));
            assert_eq!((ran.code(), ran.stdout.as_str()), (Some(78), ""), "{ran:?}");
            assert!(ran.stderr.contains(&format!("{text}{expected}")), "{ran:?}");
            assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        }
    }
    for path in ["/nonexistent/file", "/proc", "/dev/zero"] {
        let ran = run(vmherd(dir.path()).args(["--config", path]));
        assert_eq!(ran.code(), Some(78), "{ran:?}");
        assert!(ran.stderr.contains(&format!("can't read {path}")), "{ran:?}");
    }
}

/// A check accepts exactly the listeners that a start accepts.
#[test]
fn a_listener_that_is_checked_can_be_listened_on() {
    let dir = TempDir::new();
    let own = |name: &str| format!("unix:{}/{name}", dir.path().display());
    let refused = [
        vec!["tcp://[fe80::1]:0".into()],
        vec!["tcp://224.0.0.1:0".into()],
        vec!["tcp://[ff02::1%1]:0".into()],
        vec!["tcp://255.255.255.255:0".into()],
        vec!["tcp://127.0.0.1:18".into(), "tcp://0.0.0.0:18".into()],
        vec!["tcp://[::]:18".into(), "tcp://[::1]:18".into()],
        vec!["tcp://[::ffff:127.0.0.1]:18".into(), "tcp://127.0.0.1:18".into()],
        vec![own("")],
        vec![own(".")],
        vec![own("vmherd.sock")],
        vec![own("vmherd.lock")],
        vec![own("vmherd.new")],
        vec![own("a"), own("./a")],
        #[cfg(feature = "sqlite")]
        vec![own("vmherd.sqlite3")],
    ];
    for listeners in &refused {
        for check in [&[][..], &["--check-config"]] {
            let mut command = vmherd(dir.path());
            command.arg("--allow-plaintext").args(check);
            listeners.iter().for_each(|listener: &String| _ = command.arg("--listen").arg(listener));
            let ran = run(&mut command);
            assert_eq!((ran.code(), ran.stdout.as_str()), (Some(78), ""), "{listeners:?}: {ran:?}");
            assert!(ran.stderr.starts_with("vmherd: --listen: "), "{ran:?}");
        }
    }
    let taken = [
        vec!["tcp://[::ffff:127.0.0.1]:0".into()],
        vec!["tcp://127.0.0.1:0".into(), "tcp://0.0.0.0:0".into(), "tcp://[::]:0".into()],
        vec!["tcp://127.0.0.1:0?open=".into(), own("a"), own("b")],
    ];
    for listeners in &taken {
        let command = |check: &[&str]| {
            let mut command = vmherd(dir.path());
            command.arg("--allow-plaintext").args(check);
            listeners.iter().for_each(|listener: &String| _ = command.arg("--listen").arg(listener));
            command
        };
        run(&mut command(&["--check-config"])).expect_success();
        let mut process = Process::start(command(&[]));
        process.wait_for_log("/vmherd.sock");
        process.stop();
    }
}

#[test]
fn every_setting_is_shown_with_its_origin_and_without_secrets() {
    let dir = TempDir::new();
    let file = dir.path().join("vmherd.conf");
    fs::write(&file, "\nVMHERD_VMS_MAX=7\n").unwrap();
    let mut command = vmherd(dir.path());
    command.args(["--show-config", "--log=debug", "--config"]).arg(&file);
    let ran = run(&mut command).expect_success();
    let line = |name: &str| {
        let line = ran.stdout.lines().find(|line| line.starts_with(&format!("--{name} ")));
        line.unwrap_or_else(|| panic!("no {name}: {ran:?}")).split_whitespace().skip(1).collect::<Vec<_>>()
    };
    assert_eq!(line("log"), ["debug", "flag"]);
    assert_eq!(line("argon2-memory"), ["64", "environment"]);
    assert_eq!(line("vms-max"), ["7", &*format!("{}:2", file.display())]);
    assert_eq!(line("auth-queue"), ["256", "default"]);
    assert!(Path::new(line("state-dir")[0]) == dir.path());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn the_store_can_be_named_by_a_file_of_its_own() {
    let dir = TempDir::new();
    let store = dir.path().join("store");
    fs::write(&store, "memory:\n").unwrap();
    let daemon = Daemon::builder().env("VMHERD_STORE_FILE", &store).start();
    daemon.wait_for_log("with the store memory:");
    let both = run(vmherd(dir.path()).args(["--store=memory:", "--store-file"]).arg(&store));
    assert_eq!(both.code(), Some(78), "{both:?}");
    assert!(both.stderr.contains("only one of them"), "{both:?}");
}

#[test]
fn the_host_tools_read_the_same_file() {
    let dir = TempDir::new();
    let (file, state) = (dir.path().join("vmherd.conf"), dir.path().join("state"));
    fs::write(&file, format!("VMHERD_STATE_DIR={}\n", state.display())).unwrap();
    let mut command = vmherd(dir.path());
    command.env_remove("VMHERD_STATE_DIR").args(["vm", "list", "--config"]).arg(&file);
    let ran = run(&mut command);
    if cfg!(feature = "sqlite") {
        assert!(ran.stderr.contains(state.to_str().unwrap()), "{ran:?}");
    }
    let mut command = vmherd(dir.path());
    command.env_remove("VMHERD_STATE_DIR").args(["stats", "--config"]).arg(&file);
    let ran = run(&mut command);
    assert!(ran.stderr.contains(state.join("vmherd.sock").to_str().unwrap()), "{ran:?}");
}

// It is that of the default build.
#[cfg(feature = "sqlite")]
#[test]
fn the_example_file_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/vmherd.conf");
    let dir = TempDir::new();
    let ran = run(vmherd(dir.path()).arg("--check-config").arg("--config").arg(&path)).expect_success();
    assert_eq!(ran.stderr, "", "nothing to warn of");
}

//! Unrelated signals do not end the daemon; those that ask for its end stop it in good order.

use std::fs;

#[cfg(feature = "sqlite")]
use crate::common::registration;
use crate::common::{Daemon, TempDir, require};

#[test]
fn stray_signals_end_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    // 16 is SIGSTKFLT, which not every shell knows; from 34 to 64 they are left to programs.
    for name in ["XFSZ", "PIPE", "USR2", "VTALRM", "PROF", "IO", "16", "34", "37", "64"] {
        daemon.signal(name);
        client.ping();
    }
}

#[test]
fn terminating_signals_stop_the_daemon_cleanly() {
    for name in ["INT", "TERM", "XCPU", "ALRM", "PWR"] {
        let mut daemon = Daemon::start();
        daemon.client().register("a", &[]);
        daemon.signal(name);
        assert!(daemon.wait().success(), "{name}");
        let log = daemon.log();
        assert!(log.contains(&format!("SIG{name}: stopping")) && log.contains("stopped\n"), "{log}");
    }
}

#[test]
fn an_early_reload_signal_is_not_lost() {
    require("strace", "strace");
    let dir = TempDir::new();
    let file = dir.path().join("vmherd.conf");
    fs::write(&file, "VMHERD_VMS_MAX=7\n").unwrap();
    let path = file.to_str().unwrap();
    // The signal comes with the first call that opens the file.
    let inject = "inject=openat:signal=HUP:when=1";
    let arguments = ["-D", "-q", "-o", "/dev/null", "-P", path, "-e", "trace=openat", "-e", inject];
    let daemon = Daemon::builder().arg("--config").arg(path).through("strace", &arguments).start();
    daemon.wait_for_log("the settings were read again");
}

/// A file that may not grow is an error for writes, as a full disk is, and does not affect reads. (SQLite does not
/// distinguish it from a failing disk, after which a commit may be stored.)
#[cfg(feature = "sqlite")]
#[test]
fn a_file_size_limit_refuses_writes_and_nothing_else() {
    require("prlimit", "util-linux");
    let limit = "--fsize=200000:unlimited";
    let daemon = Daemon::builder().through("prlimit", &[limit]).start();
    let mut client = daemon.client();
    client.register("a", &[1, 2]);
    let refusal = (0..3000).find_map(|number| {
        let reply = client.call(registration(&format!("vm-{number}"), &[1, 2]));
        (reply["status"] == "error").then(|| reply["message"].clone())
    });
    let refusal = refusal.expect("files have their limit");
    assert!(refusal == "outcome unknown" || refusal == "store unavailable", "{refusal}");
    client.ping();
    let reply = daemon.client().call(serde_json::json!({"action": "list_all_vms"}));
    assert!(reply["all_vms"].as_array().is_some_and(|vms| !vms.is_empty()), "{reply}");
    // With room again writes work.
    let id = daemon.id().to_string();
    let mut command = std::process::Command::new("prlimit");
    crate::common::run(command.args(["--pid", &id, "--fsize=unlimited"])).expect_success();
    client.register("b", &[1, 2]);
}

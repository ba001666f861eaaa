//! The messages to a service manager.

use std::fs;
use std::time::Duration;

use crate::common::{Daemon, TempDir, registration, run};
use crate::support::{Manager, Process, vmherd};

#[test]
fn the_manager_gets_status_notifications() {
    let manager = Manager::new();
    let mut daemon = Daemon::builder().arg("--store=memory:").env("NOTIFY_SOCKET", manager.path()).start();
    assert_eq!(manager.next(), "STATUS=opening the store memory:");
    let ready = manager.next();
    let address = daemon.address();
    assert!(ready.starts_with(&format!("READY=1\nSTATUS=listening on tcp://{address}, unix:")), "{ready}");
    daemon.client().ping();

    daemon.signal("HUP");
    let reloading = manager.next();
    let lines: Vec<&str> = reloading.lines().collect();
    let time = lines[1].strip_prefix("MONOTONIC_USEC=").and_then(|time| time.parse::<u64>().ok());
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split_whitespace().next().and_then(|seconds| seconds.parse().ok()).unwrap();
    let seconds = time.expect("a time") as f64 / 1e6;
    assert!(lines[0] == "RELOADING=1" && (uptime - 60.0..uptime + 60.0).contains(&seconds), "{reloading}");
    assert_eq!(manager.next(), ready, "as before");

    daemon.stop();
    assert!(manager.next().starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=10000000\nSTATUS="));
}

#[test]
fn permanent_failures_have_an_exit_code_that_prevents_restarts() {
    let dir = TempDir::new();
    let occupied = dir.path().join("occupied");
    fs::write(&occupied, "no socket, and no database, at all: neither is what it should be").unwrap();
    let code = |argument: String| {
        let arguments = [argument.as_str(), "--listen=tcp://127.0.0.1:0", "--log=off"];
        let ran = run(vmherd(dir.path()).args(arguments));
        assert!(!ran.stderr.is_empty(), "{ran:?}");
        ran.code()
    };
    assert_eq!(code(format!("--listen=unix:{}", occupied.display())), Some(78));
    assert!(occupied.is_file(), "it is left alone");
    if cfg!(feature = "sqlite") {
        assert_eq!(code(format!("--store=sqlite:{}", occupied.display())), Some(78));
    }
    assert_eq!(code("--store=postgresql://herd@192.0.2.1/herd".into()), Some(78));
    // Failures that may be temporary.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(code(format!("--listen=tcp://{}", taken.local_addr().unwrap())), Some(1));
}

#[test]
fn a_daemon_waiting_for_its_store_is_ready_and_reports_it() {
    let manager = Manager::new();
    let store = "--store=postgresql://herd@127.0.0.1:1/herd";
    let mut daemon = Daemon::builder().arg(store).env("NOTIFY_SOCKET", manager.path()).start();
    assert_eq!(manager.next(), "STATUS=opening the store postgresql://herd@127.0.0.1:1/herd");
    let ready = manager.next();
    assert!(ready.starts_with("READY=1\nSTATUS=waiting for the store; listening on tcp://"), "{ready}");
    let mut client = daemon.client();
    client.ping();
    assert_eq!(client.fail(registration("web", &[1])), "store unavailable");
    daemon.signal("HUP");
    assert!(manager.next().starts_with("RELOADING=1\n"));
    assert_eq!(manager.next(), ready, "as before");
    daemon.stop();
}

#[test]
fn a_daemon_that_cannot_start_never_reports_ready() {
    let manager = Manager::new();
    let dir = TempDir::new();
    let mut command = vmherd(dir.path());
    command.args(["--listen=unix:/dev/null/x", "--store=memory:"]).env("NOTIFY_SOCKET", manager.path());
    let mut process = Process::start(command);
    assert_eq!(process.wait().code(), Some(1));
    assert!(manager.next().starts_with("STATUS="));
    assert_eq!(manager.next_within(Duration::from_millis(1)), None);
}

#[test]
fn a_watchdog_is_fed_while_the_reactor_turns() {
    let manager = Manager::new();
    let daemon =
        Daemon::builder().env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "100000").start();
    manager.wait_for("READY=1");
    let mut client = daemon.client();
    for _ in 0..5 {
        assert_eq!(manager.next_within(Duration::from_secs(10)).as_deref(), Some("WATCHDOG=1"));
        client.ping();
    }
    daemon.signal("STOP");
    // Messages in flight arrive; then none for many intervals.
    while manager.next_within(Duration::from_secs(1)).is_some() {}
    daemon.signal("CONT");
    assert_eq!(manager.next_within(Duration::from_secs(10)).as_deref(), Some("WATCHDOG=1"));
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::new();
    let _daemon = Daemon::builder()
        .env("NOTIFY_SOCKET", manager.path())
        .env("WATCHDOG_USEC", "20000")
        .env("WATCHDOG_PID", "1")
        .start();
    manager.wait_for("READY=1");
    assert_eq!(manager.next_within(Duration::from_millis(300)), None);
}

//! The end of VMs: by their client, by themselves, by a setting, with the daemon.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{DEADLINE, send_signal, wait_until};
use crate::serial::Console;
use crate::support::*;

#[test]
fn a_qemu_that_does_not_quit_is_killed() {
    for fault in ["hang:quit", "error:quit"] {
        let daemon = fake(fault).start();
        let mut client = daemon.client();
        let created = create(&mut client);
        let process = pid(&daemon);
        assert_eq!(destroy(&mut client, &created)["message"], "OK", "{fault}");
        assert!(!is_alive(process));
        wait_gone(&daemon, 4);
    }
}

#[test]
fn a_vm_may_end_by_itself() {
    for (word, wanted) in [
        ("guest-shutdown", "the guest has powered off"),
        ("guest-reset", "the guest has rebooted"),
        ("guest-panic", "the guest has crashed"),
    ] {
        let daemon = fake("").start();
        let created = create(&mut daemon.client());
        Console::open(&daemon, &created).send(word);
        daemon.wait_for_log(wanted);
        wait_gone(&daemon, 4);
    }
    let daemon = fake("").start();
    let created = create(&mut daemon.client());
    send_signal("KILL", pid(&daemon));
    daemon.wait_for_log("QEMU was ended by signal 9");
    wait_gone(&daemon, 4);
    assert_eq!(destroy(&mut daemon.client(), &created)["message"], "Bad authentication");
}

#[test]
fn a_vm_is_ended_after_its_maximum_life() {
    // Longer than a slow machine takes to create it: a VM that ends before is not created.
    const LIFE_MAX: Duration = Duration::from_secs(5);
    let daemon = fake("").args(["--vm-life-max", "5s"]).start();
    let begun = Instant::now();
    create(&mut daemon.client());
    daemon.wait_for_log("its maximum life is over (--vm-life-max)");
    assert!(begun.elapsed() >= LIFE_MAX, "{:?}", begun.elapsed());
    wait_gone(&daemon, 4);
}

#[test]
fn a_vm_that_is_not_used_is_ended() {
    let daemon = fake("").args(["--vm-idle-timeout", "2s"]).start();
    let created = create(&mut daemon.client());
    let port: u16 = created["container_listen_port"].as_u64().unwrap().try_into().unwrap();
    let used = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let begun = Instant::now();
    wait_until("its connections were counted", DEADLINE, || begun.elapsed() > Duration::from_secs(5));
    assert_eq!(available(&daemon), 3, "it is used");
    drop(used);
    daemon.wait_for_log("it was not used (--vm-idle-timeout)");
    wait_gone(&daemon, 4);
}

#[test]
fn a_stop_powers_vms_off() {
    let mut daemon = fake("").start();
    let processes = create_two(&daemon);
    daemon.stop();
    assert!(!processes.iter().any(|pid| is_alive(*pid)));
    assert!(directories(&daemon).is_empty());
}

#[test]
fn a_stop_kills_vms_that_do_not_end() {
    let mut daemon = fake("hang:system_powerdown")
        .args(["--vm-qemu-arg=fake=hang:quit", "--vm-stop-timeout", "1s"])
        .start();
    let processes = create_two(&daemon);
    let begun = Instant::now();
    daemon.stop();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(!processes.iter().any(|pid| is_alive(*pid)));
    assert!(directories(&daemon).is_empty());
}

#[test]
fn a_stop_ends_a_creation() {
    let mut daemon = fake("mute").start();
    let mut client = daemon.client();
    client.send(&verb("CREATE", json!({})).to_string());
    wait_until("QEMU runs", DEADLINE, || !children(&daemon).is_empty());
    let begun = Instant::now();
    daemon.signal("TERM");
    assert_eq!(client.reply()["message"], "Internal error");
    daemon.wait();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(directories(&daemon).is_empty());
}

fn create_two(daemon: &crate::common::Daemon) -> Vec<u32> {
    create(&mut daemon.client());
    create(&mut daemon.client());
    let processes = children(daemon);
    assert_eq!(processes.len(), 2);
    processes
}

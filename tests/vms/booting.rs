//! CREATE: a VM that one can log in to, or an error that says why there is none, and nothing left.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use serde_json::json;

use crate::common::{DEADLINE, send_signal, wait_until};
use crate::support::*;

#[test]
fn a_vm_is_created_and_destroyed() {
    let daemon = fake("").start();
    let mut client = daemon.client();
    let created = create(&mut client);
    // Of `abc`.
    assert_eq!(
        created["container_iso_sha256"],
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert!(is_listening(&created["container_listen_port"]));
    assert_eq!(available(&daemon), 3);
    let directory = &directories(&daemon)[0];
    assert_eq!(directory.file_name().unwrap().to_str(), created["container_uuid"].as_str());
    assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
    let seed = fs::read(directory.join("seed.img")).unwrap();
    for secret in ["container_username", "container_password"] {
        let secret = created[secret].as_str().unwrap().as_bytes();
        assert!(seed.windows(secret.len()).any(|part| part == secret), "the seed has it");
    }
    assert!(
        !seed.windows(20).any(|part| part == &created["client_token"].as_str().unwrap().as_bytes()[..20])
    );
    let process = pid(&daemon);
    assert!(is_alive(process));
    let oom_score = fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
    assert_eq!(oom_score, "500\n", "it goes before the daemon when memory runs out");
    assert_eq!(destroy(&mut client, &created), json!({"success": true, "message": "OK", "data": {}}));
    assert!(!is_alive(process), "the answer comes after its end");
    assert!(!is_listening(&created["container_listen_port"]));
    wait_gone(&daemon, 4);
    assert_eq!(destroy(&mut client, &created)["message"], "Bad authentication");
}

#[test]
fn a_vm_that_does_not_become_ready_is_an_error_that_says_why() {
    for (fault, wanted) in [
        ("exit:Could not open 'x'", "QEMU has failed with the exit code 1: -drive x: Could not open 'x'"),
        ("no-sockets", "its guest has not greeted at its SSH port within 2 s (--vm-ready-timeout)"),
        ("silence", "its guest has not greeted at its SSH port within 2 s (--vm-ready-timeout)"),
        ("garbage", "QEMU's monitor has failed: a line is not JSON"),
        ("half-line", "its guest has not greeted at its SSH port within 2 s (--vm-ready-timeout)"),
        ("long-line", "QEMU's monitor has failed: a line has more than 65536 bytes"),
        ("error:qmp_capabilities", "QEMU's monitor has failed: Negotiate: it is not possible"),
        ("error:human-monitor-command", "it is not possible"),
        ("hang:qmp_capabilities", "its guest has not greeted"),
        ("die:qmp_capabilities", "QEMU has failed with the exit code 3"),
        ("die:human-monitor-command", "QEMU has failed with the exit code 3"),
        ("die-at-greeting", "QEMU has failed with the exit code 4"),
        ("mute", "its guest has not greeted"),
        ("greeting:HTTP/1.1 400", "its guest has not greeted"),
        ("no-port", "no port is free: Could not set up host forwarding rule"),
    ] {
        let timeout = if wanted.starts_with("its guest") { "2s" } else { "1m" };
        let daemon = fake(fault).args(["--vm-ready-timeout", timeout]).start();
        let reply = daemon.client().call(verb("CREATE", json!({})));
        assert_eq!(reply, json!({"success": false, "message": "Internal error", "data": {}}), "{fault}");
        daemon.wait_for_log(wanted);
        wait_gone(&daemon, 4);
        if !matches!(fault.split(':').next(), Some("exit" | "no-sockets")) {
            daemon.wait_for_log("has written: fake guest");
        }
    }
}

#[test]
fn the_greeting_may_come_late() {
    let daemon = fake("").start();
    let mut client = daemon.client();
    client.send(&verb("CREATE", json!({})).to_string());
    wait_until("QEMU runs", DEADLINE, || !children(&daemon).is_empty());
    let process = children(&daemon)[0];
    // It does nothing for longer than the first wait for a greeting.
    send_signal("STOP", process);
    client.expect_silence(std::time::Duration::from_secs(1));
    send_signal("CONT", process);
    assert_eq!(client.reply()["message"], "OK");
}

#[test]
fn there_are_never_more_vms_than_allowed() {
    let daemon = fake("").start();
    let replies: Vec<_> = thread::scope(|scope| {
        let create = || daemon.client().call(verb("CREATE", json!({})));
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let created: Vec<_> = replies.iter().filter(|reply| reply["message"] == "OK").collect();
    assert_eq!(created.len(), 4, "{replies:?}");
    let full = "Unavailable (Running containers maximum amount was reached)";
    assert_eq!(replies.iter().filter(|reply| reply["message"] == full).count(), 2);
    assert_eq!((children(&daemon).len(), directories(&daemon).len()), (4, 4));
    for field in ["container_uuid", "container_listen_port", "container_username", "container_password"] {
        let values: BTreeSet<String> = created.iter().map(|reply| reply["data"][field].to_string()).collect();
        assert_eq!(values.len(), 4, "{field}: {values:?}");
    }
    for reply in created {
        assert_eq!(destroy(&mut daemon.client(), &reply["data"])["message"], "OK");
    }
    wait_gone(&daemon, 4);
}

#[test]
fn a_vm_that_finds_no_place_to_boot_is_not_started() {
    let places = thread::available_parallelism().unwrap().get();
    let wanted = 3 * places;
    let daemon = fake("mute").args(["--vm-ready-timeout", "2s", "--vms-running-max", &wanted.to_string()]);
    let daemon = daemon.args(["--vm-ports", &ports(wanted as u16)]).start();
    let replies: Vec<_> = thread::scope(|scope| {
        let create = || daemon.client().call(verb("CREATE", json!({})));
        let threads: Vec<_> = (0..wanted).map(|_| scope.spawn(create)).collect();
        wait_until("all wait", DEADLINE, || directories(&daemon).len() == wanted);
        wait_until("all are answered", DEADLINE, || {
            assert!(children(&daemon).len() <= places);
            threads.iter().all(|thread| thread.is_finished())
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // The first take all places; when they give up, the time of the others is over, but perhaps for a moment.
    let count = |message: &str| replies.iter().filter(|reply| reply["message"] == message).count();
    let (failed, unavailable) = (count("Internal error"), count("Unavailable (busy)"));
    assert_eq!(failed + unavailable, wanted, "{replies:?}");
    assert!(failed >= places && unavailable >= places, "{replies:?}");
    wait_gone(&daemon, wanted as u64);
}

#[test]
fn a_port_that_another_program_has_is_passed_over() {
    let range = ports(2);
    let _taken = occupy(&range);
    let daemon = fake("").args(["--vm-ports", &range, "--vms-running-max", "2"]).start();
    let mut client = daemon.client();
    let created = create(&mut client);
    let last: u64 = range.split('-').next_back().unwrap().parse().unwrap();
    assert_eq!(created["container_listen_port"], last);
    // The other VM finds none.
    assert_eq!(client.call(verb("CREATE", json!({})))["message"], "Internal error");
    daemon
        .wait_for_log(&format!("--vm-ports {range}: no port is free: Could not set up host forwarding rule"));
    assert_eq!(destroy(&mut client, &created)["message"], "OK");
    wait_gone(&daemon, 2);
}

#[test]
fn a_vm_whose_client_has_left_is_undone() {
    let daemon = fake("").start();
    let mut client = daemon.client();
    client.send(&verb("CREATE", json!({})).to_string());
    wait_until("QEMU runs", DEADLINE, || !children(&daemon).is_empty());
    drop(client);
    daemon.wait_for_log("a client did not get the container");
    wait_gone(&daemon, 4);
}

#[test]
fn nothing_is_leaked_over_many_vms() {
    let daemon = fake("").start();
    let mut client = daemon.client();
    destroy_new(&mut client);
    wait_gone(&daemon, 4);
    let descriptors = daemon.fd_count();
    for _ in 0..10 {
        destroy_new(&mut client);
    }
    wait_gone(&daemon, 4);
    wait_until("all is closed", DEADLINE, || daemon.fd_count() <= descriptors);
}

fn destroy_new(client: &mut crate::common::Client) {
    let created = create(client);
    assert_eq!(destroy(client, &created)["message"], "OK");
}

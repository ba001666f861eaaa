//! What a daemon that has crashed leaves behind, and what the next one does about it.

use serde_json::json;

use crate::common::{DEADLINE, wait_until};
use crate::support::*;

#[test]
fn vms_die_with_their_daemon_and_leave_nothing() {
    let mut daemon = fake("").start();
    create(&mut daemon.client());
    let process = pid(&daemon);
    daemon.kill();
    wait_until("QEMU was killed with it", DEADLINE, || !is_alive(process));
    assert_eq!(directories(&daemon).len(), 1);
    daemon.restart();
    wait_gone(&daemon, 4);
    create(&mut daemon.client());
}

#[test]
fn a_daemon_may_be_killed_at_each_stage_of_a_boot() {
    for fault in ["no-sockets", "silence", "hang:qmp_capabilities", "hang:human-monitor-command", "mute"] {
        let mut daemon = fake(fault).start();
        daemon.client().send(&verb("CREATE", json!({})).to_string());
        wait_until("QEMU runs", DEADLINE, || !children(&daemon).is_empty());
        let process = pid(&daemon);
        daemon.kill();
        wait_until("QEMU was killed with it", DEADLINE, || !is_alive(process));
        daemon.restart();
        wait_gone(&daemon, 4);
    }
}

#[test]
fn surviving_vms_are_taken_over() {
    let mut daemon = fake("").arg("--vms-survive").start();
    let created = create(&mut daemon.client());
    let process = pid(&daemon);
    for stop in [true, false] {
        if stop {
            daemon.stop()
        } else {
            daemon.kill()
        }
        assert!(is_alive(process));
        daemon.restart();
        assert!(is_alive(process));
        assert_eq!((available(&daemon), directories(&daemon).len()), (3, 1));
        let mut console = crate::serial::Console::open(&daemon, &created);
        console.send("again");
        console.expect("[again]");
    }
    assert!(is_listening(&created["container_listen_port"]));
    assert_eq!(destroy(&mut daemon.client(), &created)["message"], "OK");
    wait_until("it has ended", DEADLINE, || !is_alive(process));
    wait_gone(&daemon, 4);
}

#[test]
fn a_surviving_vm_that_was_not_ready_is_ended() {
    let mut daemon = fake("mute").arg("--vms-survive").start();
    daemon.client().send(&verb("CREATE", json!({})).to_string());
    wait_until("QEMU runs", DEADLINE, || !children(&daemon).is_empty());
    let process = pid(&daemon);
    daemon.kill();
    daemon.restart();
    assert!(!is_alive(process));
    wait_gone(&daemon, 4);
}

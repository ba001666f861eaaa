//! The VM manager's documented requests, in the document's order, on a new store.

use crate::cluster::Cluster;
use crate::common::Daemon;
use crate::program_client::{Framing, ProgramClient};
use crate::programs::fetch;

/// Requests as the document shows them, and the answers, byte for byte. A request that the document shows for two cases
/// is made in both.
pub(crate) const CONVERSATION: [(&str, &str); 21] = [
    // No VM is connected to yet.
    (r#"{"action": "update_vm", "vm_id": 1}"#, r#"{"error":"vm not authenticated"}"#),
    (r#"{"action": "add_vm", "ram": 2048, "disks": [100, 200]}"#, r#"{"status":"vm added","vm_id":1}"#),
    (
        r#"{"action": "list_all_vms"}"#,
        r#"{"all_vms":[{"id":1,"ram":2048,"cpu":2,"disks":[{"id":1,"size":100},{"id":2,"size":200}]}]}"#,
    ),
    (
        r#"{"action": "list_all_disks"}"#,
        r#"{"all_disks":[{"id":1,"vm_id":1,"size":100},{"id":2,"vm_id":1,"size":200}]}"#,
    ),
    (r#"{"action": "add_vm", "ram": 1028, "disks": [300]}"#, r#"{"status":"vm added","vm_id":2}"#),
    (r#"{"action": "add_vm", "ram": 4096, "disks": [500, 400]}"#, r#"{"status":"vm added","vm_id":3}"#),
    (r#"{"action": "update_vm", "vm_id": 1}"#, r#"{"error":"vm not authenticated"}"#),
    (r#"{"action": "authenticate", "vm_id": 1}"#, r#"{"status":"authenticated"}"#),
    (r#"{"action": "connect", "vm_id": 2}"#, r#"{"status":"connected and authenticated"}"#),
    (r#"{"action": "connect", "vm_id": 3}"#, r#"{"status":"connected and authenticated"}"#),
    (
        r#"{"action": "list_authorized_vms"}"#,
        r#"{"authorized_vms":[{"id":1,"ram":2048,"cpu":2,"disks":[{"id":1,"size":100},{"id":2,"size":200}]},{"id":2,"ram":1028,"cpu":1,"disks":[{"id":3,"size":300}]},{"id":3,"ram":4096,"cpu":2,"disks":[{"id":4,"size":500},{"id":5,"size":400}]}]}"#,
    ),
    (
        r#"{"action": "list_connected_vms"}"#,
        r#"{"connected_vms":[{"id":2,"ram":1028,"cpu":1,"disks":[{"id":3,"size":300}]},{"id":3,"ram":4096,"cpu":2,"disks":[{"id":4,"size":500},{"id":5,"size":400}]}]}"#,
    ),
    (r#"{"action": "logout_vm", "vm_id": 2}"#, r#"{"status":"logged out"}"#),
    (
        r#"{"action": "list_connected_vms"}"#,
        r#"{"connected_vms":[{"id":3,"ram":4096,"cpu":2,"disks":[{"id":4,"size":500},{"id":5,"size":400}]}]}"#,
    ),
    (
        r#"{"action": "list_ever_connected"}"#,
        r#"{"all_connected_vms":[{"id":2,"ram":1028,"cpu":1,"disks":[{"id":3,"size":300}]},{"id":3,"ram":4096,"cpu":2,"disks":[{"id":4,"size":500},{"id":5,"size":400}]}]}"#,
    ),
    (r#"{"action": "update_vm", "vm_id": 1, "ram": 1028}"#, r#"{"status":"vm updated"}"#),
    // The edge cases: nothing to update, an unknown number, a VM without disks.
    (r#"{"action": "update_vm", "vm_id": 1}"#, r#"{"error":"required data: ram, disks"}"#),
    (r#"{"action": "authenticate", "vm_id": 11231}"#, r#"{"error":"VM ID does not exist"}"#),
    (r#"{"action": "add_vm", "ram": 2048}"#, r#"{"error":"required data: ram, disks"}"#),
    // The update has changed this, and the failed request has added nothing.
    (
        r#"{"action": "list_all_vms"}"#,
        r#"{"all_vms":[{"id":1,"ram":1028,"cpu":2,"disks":[{"id":1,"size":100},{"id":2,"size":200}]},{"id":2,"ram":1028,"cpu":1,"disks":[{"id":3,"size":300}]},{"id":3,"ram":4096,"cpu":2,"disks":[{"id":4,"size":500},{"id":5,"size":400}]}]}"#,
    ),
    (
        r#"{"action": "list_all_disks"}"#,
        r#"{"all_disks":[{"id":1,"vm_id":1,"size":100},{"id":2,"vm_id":1,"size":200},{"id":3,"vm_id":2,"size":300},{"id":4,"vm_id":3,"size":500},{"id":5,"vm_id":3,"size":400}]}"#,
    ),
];

#[track_caller]
fn converse(daemon: &Daemon, framing: Framing) {
    let mut program = ProgramClient::of(daemon, framing);
    for (step, (request, reply)) in CONVERSATION.iter().enumerate() {
        assert_eq!(program.call_text(request), *reply, "step {step} by {framing:?}: {request}");
    }
    program.close();
}

#[test]
fn actions_work_over_each_framing_with_a_memory_store() {
    for framing in Framing::ALL {
        converse(&Daemon::builder().args(["--store", "memory:"]).start(), framing);
    }
}

#[test]
fn actions_work_over_each_framing_with_a_file_store() {
    for framing in Framing::ALL {
        converse(&Daemon::start(), framing);
    }
}

#[test]
fn actions_work_with_curl_and_a_database() {
    let database = Cluster::shared().database();
    converse(&Daemon::builder().args(["--store", &database.url()]).start(), Framing::Http);
}

/// State does not depend on a connection: each client goes on where another has stopped, with another program.
#[test]
fn each_action_works_from_a_different_program() {
    let daemon = Daemon::start();
    let mut programs = Framing::ALL.map(|framing| ProgramClient::of(&daemon, framing));
    for (step, (request, reply)) in CONVERSATION.iter().enumerate() {
        assert_eq!(programs[step % 3].call_text(request), *reply, "step {step}: {request}");
    }
    programs.into_iter().for_each(ProgramClient::close);
}

/// The document's address has a host name, which may resolve to other addresses first.
#[test]
fn actions_work_at_the_documented_address() {
    let daemon = Daemon::start();
    let url = format!("http://localhost:{}/", daemon.address().port());
    for (request, reply) in CONVERSATION {
        let answer = fetch(["-X", "POST", "--json", request, &url]);
        assert_eq!((answer.status, answer.body), (200, format!("{reply}\n")), "{request}");
    }
}

/// The set of ever connected VMs is stored; the other sets begin empty.
#[test]
fn a_restart_keeps_only_the_vms_ever_connected() {
    let mut daemon = Daemon::start();
    converse(&daemon, Framing::RawJson);
    daemon.restart();
    let mut program = ProgramClient::of(&daemon, Framing::Http);
    let said = |list: &str| program.call_text(&format!(r#"{{"action": "{list}"}}"#));
    let ever = CONVERSATION[14].1;
    assert_eq!(
        ["list_authorized_vms", "list_connected_vms", "list_ever_connected"].map(said),
        [r#"{"authorized_vms":[]}"#, r#"{"connected_vms":[]}"#, ever]
    );
}

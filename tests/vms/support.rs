//! A daemon that runs VMs, and what is left of them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Builder, Client, DEADLINE, Daemon, wait_until};

/// A daemon whose QEMU is the program of these tests, with this fault, or none if it is empty. Flags replace its settings.
pub fn fake(fault: &str) -> Builder {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vms/fake_qemu.py");
    let builder = Daemon::builder();
    let image = builder.state_dir().join("image");
    fs::write(&image, "abc").expect("a file");
    let builder = builder.env("VMHERD_VM_IMAGE", image);
    let builder = builder.env("VMHERD_VM_QEMU", program).env("VMHERD_VM_ACCEL", "tcg");
    let builder = builder.env("VMHERD_VM_PORTS", ports(10)).env("VMHERD_VM_READY_TIMEOUT", "20s");
    if fault.is_empty() { builder } else { builder.arg(format!("--vm-qemu-arg=fake={fault}")) }
}

/// A range of this many ports that no other test uses.
pub fn ports(count: u16) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(21_000);
    let first = NEXT.fetch_add(count, Ordering::Relaxed);
    format!("{first}-{}", first + count - 1)
}

/// A request of the verb `name`.
pub fn verb(name: &str, parameters: Value) -> Value {
    json!({"verb": name, "parameters": parameters})
}

/// The answer to CREATE.
#[track_caller]
pub fn create(client: &mut Client) -> Value {
    let mut reply = client.call(verb("CREATE", json!({})));
    assert_eq!(reply["message"], "OK", "{reply}");
    reply["data"].take()
}

/// The answer to DESTROY of the VM that `created` is the answer for.
#[track_caller]
pub fn destroy(client: &mut Client, created: &Value) -> Value {
    let credentials =
        json!({"container_uuid": created["container_uuid"], "client_token": created["client_token"]});
    client.call(verb("DESTROY", credentials))
}

/// The number of VMs that may still be created.
#[track_caller]
pub fn available(daemon: &Daemon) -> u64 {
    let reply = daemon.client().call(verb("STAT", json!({})));
    reply["data"]["available"].as_u64().expect("a maximum is set")
}

/// The directories of VMs.
pub fn directories(daemon: &Daemon) -> Vec<PathBuf> {
    let entries = fs::read_dir(daemon.state_dir().join("vms"));
    entries
        .map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.expect("an entry").path()).collect())
}

/// The process of the only VM, as its directory names it.
#[track_caller]
pub fn pid(daemon: &Daemon) -> u32 {
    let directories = directories(daemon);
    let [directory] = &directories[..] else { panic!("there is one VM: {directories:?}") };
    let read = || fs::read_to_string(directory.join("pid")).ok()?.parse().ok();
    wait_until("the process has written its number", DEADLINE, || read().is_some());
    read().expect("a number")
}

/// Whether the process `pid` runs.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, state)| !state.starts_with(" Z"))
}

/// The processes that `daemon` has started.
pub fn children(daemon: &Daemon) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.id())).expect("it runs");
    let files = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    files
        .flat_map(|text| {
            text.split_whitespace().map(|pid| pid.parse().expect("a number")).collect::<Vec<_>>()
        })
        .collect()
}

/// Waits until nothing is left of any VM but the logs: no process, no directory, no port, no place taken.
#[track_caller]
pub fn wait_gone(daemon: &Daemon, available_before: u64) {
    wait_until("the directories are removed", DEADLINE, || directories(daemon).is_empty());
    wait_until("the processes are gone", DEADLINE, || children(daemon).is_empty());
    wait_until("the place is free", DEADLINE, || available(daemon) == available_before);
    let list = || daemon.client().call(json!({"action": "list_all_vms"}));
    wait_until("the VMs are in no list", DEADLINE, || list() == json!({"all_vms": []}));
}

/// Whether something listens on `port`.
pub fn is_listening(port: &Value) -> bool {
    let port = port.as_u64().and_then(|port| port.try_into().ok()).expect("a port");
    TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(1)).is_ok()
}

/// Takes the first port of `range` for as long as the result lives.
pub fn occupy(range: &str) -> TcpListener {
    let first = range.split('-').next().and_then(|port| port.parse::<u16>().ok()).expect("a range");
    TcpListener::bind(("127.0.0.1", first)).expect("no other test uses it")
}

//! A real QEMU, and in it a system with an SSH server, without help of the processor.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{
    Builder, Client, DEADLINE, Daemon, is_in_a_namespace, run, run_in_a_namespace, send_signal, wait_until,
};
use crate::guest::{guest_disk, guest_iso};
use crate::serial::Console;
use crate::support::*;

/// Twenty times what a boot takes on an idle machine.
const BOOT_DEADLINE: Duration = Duration::from_secs(120);

/// A daemon that boots the test guest.
pub fn real() -> Builder {
    let builder = Daemon::builder().env("VMHERD_VM_IMAGE", guest_iso());
    let builder = builder.env("VMHERD_VM_ACCEL", "tcg").env("VMHERD_VM_MEMORY", "128");
    builder.env("VMHERD_VM_PORTS", ports(10))
}

/// The answer to CREATE, which may take a while.
#[track_caller]
pub fn boot(client: &mut Client) -> Value {
    client.send(&verb("CREATE", json!({})).to_string());
    assert!(client.has_input(BOOT_DEADLINE), "CREATE is answered");
    let mut reply = client.reply();
    assert_eq!(reply["message"], "OK", "{reply}");
    reply["data"].take()
}

/// What `script` prints in the VM, by SSH as its user.
#[track_caller]
pub fn ssh(created: &Value, script: &str) -> String {
    ssh_at("127.0.0.1", created, script)
}

#[track_caller]
fn ssh_at(address: &str, created: &Value, script: &str) -> String {
    let text = |field: &str| created[field].as_str().expect("text").to_owned();
    let (port, user) = (created["container_listen_port"].to_string(), text("container_username"));
    let options =
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=60"];
    let mut command = Command::new("sshpass");
    command.args(["-e", "ssh", "-p", &port]).env("SSHPASS", text("container_password"));
    command.args(options.iter().flat_map(|option| ["-o", option]));
    let output = command.args([&format!("{user}@{address}"), script]).output().expect("sshpass runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn its_user_logs_in_and_the_vm_ends_with_all_it_had() {
    let daemon = real().start();
    let mut client = daemon.client();
    let rounds = std::env::var("VMHERD_ROUNDS").map_or(10, |text| text.parse().expect("a number"));
    let (mut secrets, mut descriptors) = (BTreeSet::new(), None);
    for round in 1..=rounds {
        let created = boot(&mut client);
        assert_eq!(ssh(&created, "id -un"), created["container_username"].as_str().unwrap());
        assert_eq!(ssh(&created, "hostname"), created["container_uuid"].as_str().unwrap());
        let process = pid(&daemon);
        assert_eq!(destroy(&mut client, &created)["message"], "OK");
        assert!(!is_alive(process) && !is_listening(&created["container_listen_port"]));
        wait_gone(&daemon, 4);
        let descriptors = *descriptors.get_or_insert_with(|| daemon.fd_count());
        wait_until(&format!("all is closed after round {round}"), DEADLINE, || {
            daemon.fd_count() <= descriptors
        });
        secrets.insert(created["container_username"].to_string());
        secrets.insert(created["container_password"].to_string());
    }
    assert!(secrets.len() > rounds + rounds / 2, "users and passwords differ: {secrets:?}");
}

#[test]
fn a_vm_is_reached_at_its_address_and_at_no_other() {
    if !is_in_a_namespace() {
        return run_in_a_namespace("real::a_vm_is_reached_at_its_address_and_at_no_other");
    }
    run(Command::new("sh").args(["-c", "PATH=$PATH:/sbin; ip address add 192.0.2.7/32 dev lo"]))
        .expect_success();
    let addresses = ["127.0.0.2", "192.0.2.7"];
    for address in addresses {
        let daemon = real().args(["--vm-address", address]).start();
        let created = boot(&mut daemon.client());
        assert_eq!(ssh_at(address, &created, "id -un"), created["container_username"].as_str().unwrap());
        let port = created["container_listen_port"].as_u64().expect("a port") as u16;
        for other in ["127.0.0.1", addresses[0], addresses[1]].into_iter().filter(|other| *other != address) {
            assert!(TcpStream::connect((other, port)).is_err(), "{other}, not {address}");
        }
    }
}

#[test]
fn four_boot_at_a_time_and_clients_do_not_notice() {
    let daemon = real().start();
    let mut client = daemon.client();
    let replies = thread::scope(|scope| {
        let create = || {
            let mut client = daemon.client();
            client.send(&verb("CREATE", json!({})).to_string());
            assert!(client.has_input(BOOT_DEADLINE), "CREATE is answered");
            client.reply()
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(create)).collect();
        let mut times = Vec::new();
        while threads.iter().any(|thread| !thread.is_finished()) {
            let begun = Instant::now();
            client.ping();
            times.push(begun.elapsed());
            assert!(children(&daemon).len() <= 4);
            thread::park_timeout(Duration::from_millis(10));
        }
        times.sort();
        // The figure is in the benchmarks; this is against a reactor that waits for a guest.
        assert!(times[times.len() * 99 / 100] < Duration::from_secs(1), "{:?}", times.last());
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let created: Vec<_> = replies.iter().filter(|reply| reply["message"] == "OK").collect();
    assert_eq!(created.len(), 4, "{replies:?}");
    for reply in created {
        ssh(&reply["data"], "true");
        assert_eq!(destroy(&mut client, &reply["data"])["message"], "OK");
    }
    wait_gone(&daemon, 4);
}

#[test]
fn a_guest_ends_its_vm() {
    for (order, reason) in [
        ("poweroff", "the guest has powered off"),
        ("reboot", "the guest has rebooted"),
        ("crash", "the guest has crashed"),
    ] {
        let daemon = real().start();
        let created = boot(&mut daemon.client());
        // The connection ends in order before the guest does.
        ssh(&created, &format!("(sleep 1; echo {order} > /run/power) < /dev/null > /dev/null 2>&1 &"));
        daemon.wait_for_log(reason);
        wait_gone(&daemon, 4);
    }
}

#[test]
fn a_stop_has_guests_power_off_and_a_console_shows_it() {
    let mut daemon = real().args(["--vm-stop-timeout", "1m"]).start();
    let created = boot(&mut daemon.client());
    let mut console = Console::open(&daemon, &created);
    console.send("echo 6 times 7 is $((6 * 7))");
    console.expect("6 times 7 is 42");
    daemon.stop();
    console.expect("reboot: Power down");
    assert!(directories(&daemon).is_empty());
}

#[test]
fn user_data_of_the_operator_and_the_user_both_reach_the_guest() {
    let builder = real();
    let user_data = builder.state_dir().join("user-data");
    fs::write(&user_data, "#!/bin/sh\necho grüße > /run/greeting\n").unwrap();
    let daemon = builder.arg("--vm-user-data").arg(&user_data).start();
    let created = boot(&mut daemon.client());
    assert_eq!(ssh(&created, "cat /run/greeting"), "grüße");
}

/// An image in the format qcow2 (QEMU's docs/interop/qcow2), version 2, of a disk of 5 GiB that begins with `content`.
fn qcow2(content: &[u8]) -> Vec<u8> {
    const CLUSTER: usize = 1 << 16;
    let offset = |cluster: usize| (cluster * CLUSTER) as u64;
    let clusters = content.len().div_ceil(CLUSTER);
    // Magic and version, no backing file, bits of a cluster, size, no encryption, tables of clusters and of reference
    // counts, no snapshots.
    let header =
        [0x5146_49fb << 32 | 2, 0, 16, 5 << 30, 10, offset(3), offset(1), 1 << 32, 0].map(u64::to_be_bytes);
    let references = offset(2).to_be_bytes();
    let counts = [0, 1].repeat(5 + clusters);
    let in_use = |cluster| (offset(cluster) | 1 << 63).to_be_bytes();
    let tables = in_use(4);
    let table: Vec<u8> = (5..5 + clusters).flat_map(in_use).collect();
    let mut image = Vec::new();
    for part in [&header.concat(), &references[..], &counts, &tables, &table, content] {
        image.extend(part);
        image.resize(image.len().next_multiple_of(CLUSTER), 0);
    }
    image
}

#[test]
fn a_disk_of_each_format_boots_and_what_a_vm_writes_is_its_own() {
    let raw = fs::read(guest_disk()).unwrap();
    let beginning: String = raw[..5].iter().map(|byte| format!("{byte:02x} ")).collect();
    for (content, size) in [(qcow2(&raw), 5), (raw, 1)] {
        let builder = real();
        let (image, script) = (builder.state_dir().join("disk"), builder.state_dir().join("script"));
        fs::write(&image, &content).unwrap();
        let read = "head -c 5 /dev/vda >>/run/read";
        fs::write(&script, format!("#!/bin/sh\n{read}\nprintf WRITE >/dev/vda\n{read}\n")).unwrap();
        let daemon = builder.arg("--vm-image").arg(&image).arg("--vm-user-data").arg(&script).start();
        let mut client = daemon.client();
        let created = boot(&mut client);
        let read = ssh(&created, "od -A n -t x1 /run/read");
        assert_eq!(read, format!("{beginning}57 52 49 54 45"), "what the image has, then what it wrote");
        let all = client.call(json!({"action": "list_all_vms"}));
        assert_eq!(all["all_vms"][0]["disks"][0]["size"], size, "{all}");
        assert_eq!(destroy(&mut client, &created)["message"], "OK");
        wait_gone(&daemon, 4);
        assert!(fs::read(&image).unwrap() == content, "the image is as it was");
    }
}

#[test]
fn a_qemu_that_is_killed_while_it_boots_is_an_error() {
    let daemon = real().start();
    for millis in [0, 50, 500, 2000] {
        let mut client = daemon.client();
        client.send(&verb("CREATE", json!({})).to_string());
        wait_until("QEMU runs", BOOT_DEADLINE, || !directories(&daemon).is_empty());
        let process = pid(&daemon);
        client.expect_silence(Duration::from_millis(millis));
        send_signal("KILL", process);
        assert_eq!(client.reply()["message"], "Internal error", "after {millis} ms");
        wait_gone(&daemon, 4);
    }
    daemon.wait_for_log("the VM has ended before it was ready: QEMU was ended by signal 9");
}

#[test]
fn a_guest_authenticates_as_its_own_vm() {
    let port = ports(1).split('-').next().unwrap().to_owned();
    let address = format!("tcp://127.0.0.1:{port}?open=verb");
    let daemon = real().only_on(address).args(["--vm-network", "open", "--vm-enroll"]).start();
    let created = boot(&mut daemon.client());
    let enrollment: Value =
        serde_json::from_str(&ssh(&created, "cat /etc/vmherd/enrollment.json")).expect("JSON");
    assert_eq!(enrollment["vm_id"], created["container_uuid"]);
    assert_eq!(enrollment["address"], format!("10.0.2.2:{port}"));
    let list = json!({"command": "list", "data": {"list_type": "all_vms", "token": enrollment["token"]}});
    let listed = ssh(&created, &format!("echo '{list}' | nc 10.0.2.2 {port}"));
    let reply: Value = serde_json::from_str(listed.lines().next().expect("a line")).expect("JSON");
    assert_eq!(reply["status"], "success", "{reply}");
    assert!(listed.contains(created["container_uuid"].as_str().unwrap()), "{listed}");
    assert_eq!(destroy(&mut daemon.client(), &created)["message"], "OK");
    let reply = daemon.client().call(list);
    assert_eq!(reply["status"], "error", "the token ends with the VM: {reply}");
}

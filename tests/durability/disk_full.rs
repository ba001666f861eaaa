//! A full disk: writes fail and say that nothing was done, reads work, and with free space again everything works.

#![allow(unreachable_pub)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::common::{Builder, Client, Daemon, PASSWORD, registration, request, require};

/// A small disk that only some processes see: a tmpfs in a mount namespace, held by a process in it.
pub struct SmallDisk {
    holder: Child,
    mounted_on: PathBuf,
    is_root: bool,
}

impl SmallDisk {
    /// Mounts one of so many MiB on the state directory that `builder` gives its daemons.
    pub fn mount(builder: &Builder, mib: u32) -> SmallDisk {
        require("unshare", "util-linux");
        require("nsenter", "util-linux");
        let mounted_on = builder.state_dir().to_owned();
        let is_root = fs::metadata("/proc/self").expect("proc is mounted").uid() == 0;
        let script = format!(r#"mount -t tmpfs -o size={mib}m tmpfs "$0" && echo mounted && exec cat"#);
        let mut command = Command::new("unshare");
        command.arg(if is_root { "-m" } else { "-rm" }).args(["sh", "-c", &script]).arg(&mounted_on);
        let mut holder =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare can be run");
        let mut line = String::new();
        let stdout = holder.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a pipe can be read");
        assert_eq!(
            line, "mounted\n",
            "this test needs a mount namespace with a tmpfs: run it as root, or \
                                       allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
        );
        SmallDisk { holder, mounted_on, is_root }
    }

    /// Runs daemons in its namespace.
    pub fn daemon(&self, builder: Builder) -> Builder {
        let target = self.holder.id().to_string();
        let mut arguments = vec!["--mount", "--target", &target];
        if !self.is_root {
            arguments.extend(["--user", "--preserve-credentials"]);
        }
        builder.through("nsenter", &arguments)
    }

    /// Takes all free space.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Frees it.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        let inside: &Path = self.mounted_on.strip_prefix("/").expect("an absolute path");
        root.join(inside).join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The mount ends with the last process in its namespace.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Registers VMs until the daemon refuses; the error. Adds the acknowledged ones to `names`.
fn register_until_refused(client: &mut Client, names: &mut Vec<String>) -> String {
    for _ in 0..2000 {
        let name = format!("vm-{}", names.len());
        let mut reply = client.call(registration(&name, &[1, 2]));
        if reply["status"] == "error" {
            return reply["message"].take().as_str().expect("a message").to_owned();
        }
        names.push(name);
    }
    panic!("a full disk takes VM after VM");
}

#[track_caller]
fn listed(client: &mut Client) -> Vec<String> {
    let vms = client.list("all_vms");
    assert!(vms.iter().all(|vm| vm["disks"].as_array().map(Vec::len) == Some(2)), "{vms:?}");
    assert_eq!(client.list("all_disks").len(), 2 * vms.len());
    vms.iter().map(|vm| vm["vm_id"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    let builder = Daemon::builder();
    let disk = SmallDisk::mount(&builder, 1);
    let mut daemon = disk.daemon(builder).start();
    let mut client = daemon.client();
    let mut names = vec!["vm-0".to_owned()];
    client.register("vm-0", &[1, 2]);
    let token = client.authenticate("vm-0");

    disk.fill();
    assert_eq!(register_until_refused(&mut client, &mut names), "store unavailable");
    assert_eq!(client.fail(request("update", json!({"disks": [{"disk_size": 7}]}))), "store unavailable");
    let mut other = daemon.client();
    let login = json!({"vm_id": "vm-0", "password": PASSWORD});
    assert_eq!(other.fail(request("authenticate", login)), "store unavailable");
    // Reads work: lists, and tokens.
    assert_eq!(listed(&mut client), names);
    other.succeed("list", json!({"list_type": "all_vms", "token": token}));
    client.ping();

    disk.free();
    client.register("between", &[1, 2]);
    names.push("between".to_owned());
    assert_eq!(listed(&mut client), names);

    disk.fill();
    assert_eq!(register_until_refused(&mut client, &mut names), "store unavailable");
    daemon.kill();
    disk.free();
    daemon.restart();
    let mut client = daemon.client();
    client.succeed("list", json!({"list_type": "all_vms", "token": token}));
    assert_eq!(listed(&mut client), names);
    client.register("after", &[1, 2]);
}

/// The disk fills up while many clients write at once: each gets the true outcome.
#[test]
fn writes_that_share_a_commit_share_its_failure() {
    let builder = Daemon::builder();
    let disk = SmallDisk::mount(&builder, 1);
    let mut daemon = disk.daemon(builder).start();
    let mut client = daemon.client();
    client.register("a", &[1, 2]);
    client.authenticate("a");
    disk.fill();
    let mut others: Vec<Client> = (0..16).map(|_| daemon.client()).collect();
    let mut acknowledged = vec!["a".to_owned()];
    for round in 0..20 {
        let name = |number| format!("vm-{round}-{number}");
        for (number, other) in others.iter_mut().enumerate() {
            other.send(&registration(&name(number), &[1, 2]).to_string());
        }
        let replies: Vec<Value> = others.iter_mut().map(Client::reply).collect();
        for (number, reply) in replies.iter().enumerate() {
            match reply["message"].as_str() {
                Some("Save the vm_id for authentication") => acknowledged.push(name(number)),
                message => assert_eq!(message, Some("store unavailable")),
            }
        }
    }
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert!(acknowledged.len() < 320, "the disk was not full");
    assert_eq!(sorted(listed(&mut client)), sorted(acknowledged.clone()));
    disk.free();
    daemon.restart();
    let mut client = daemon.client();
    client.authenticate("a");
    assert_eq!(sorted(listed(&mut client)), sorted(acknowledged));
}

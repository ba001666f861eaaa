//! Live changes: `watch` and `unwatch`.

mod delivery;
#[cfg(feature = "page")]
mod events;
#[cfg(feature = "sqlite")]
mod others;
mod presence;
mod rights;
mod tools;
mod vms;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, request};

const TOO_FAR_BEHIND: &str = "too far behind, list again";
const NOT_AUTHENTICATED: &str = "You have to authenticate to run this operation";

/// Requests with `data` to watch; the VMs of the snapshot, and its revision.
#[track_caller]
fn watch(client: &mut Client, data: Value) -> (Vec<Value>, String) {
    client.send(&request("watch", data).to_string());
    let (mut vms, mut revisions) = (Vec::new(), Vec::new());
    loop {
        let mut reply = client.reply();
        assert_eq!((&reply["status"], &reply["message"]), (&json!("success"), &json!("snapshot")), "{reply}");
        vms.append(reply["data"]["vms"].as_array_mut().expect("a list"));
        revisions.push(reply["data"]["revision"].as_str().expect("a revision").to_owned());
        if reply["data"]["more"] == json!(false) {
            revisions.dedup();
            assert_eq!(revisions.len(), 1, "the revision is that of the start");
            return (vms, revisions.remove(0));
        }
    }
}

/// A client that watches everything except points.
#[track_caller]
fn watcher(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    watch(&mut client, json!({}));
    client
}

/// The data of the next message, which must be a change.
#[track_caller]
fn change(client: &mut Client) -> Value {
    let mut reply = client.reply();
    assert_eq!((&reply["status"], &reply["message"]), (&json!("success"), &json!("change")), "{reply}");
    reply["data"].take()
}

/// The kind, VM and reason of the next change.
#[track_caller]
fn kind(client: &mut Client) -> (String, String, Option<String>) {
    let change = change(client);
    let text = |name: &str| change[name].as_str().map(str::to_owned);
    (text("kind").expect("a kind"), text("vm_id").expect("a VM"), text("reason"))
}

/// What [`kind`] returns.
fn kind_of(kind: &str, vm: &str, reason: &str) -> (String, String, Option<String>) {
    (kind.to_owned(), vm.to_owned(), Some(reason.to_owned()).filter(|reason| !reason.is_empty()))
}

/// The epoch and the number of a revision.
fn parts(revision: &str) -> (&str, u64) {
    let (epoch, number) = revision.split_once('-').expect("a hyphen");
    (epoch, number.parse().expect("a number"))
}

//! Many writes in one packet on one connection, in every store: each has its own result, the replies to those without an id
//! come in order, the writes are done in the order in which they are sent, and a read finds all of them.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::common::{Client, Daemon, request};

/// Writes in one packet: more than the server has open at a time.
const COUNT: usize = 600;
const ROUNDS: usize = 5;

/// Calls `test` with a client of a daemon on each store.
#[track_caller]
fn on_each_store(test: impl Fn(&mut Client)) {
    let database = Cluster::shared().database();
    let url = database.url();
    let stores: [&[&str]; 4] =
        [&["--store", "memory:"], &[], &["--metrics-durability", "memory"], &["--store", &url]];
    for arguments in stores {
        let daemon = Daemon::builder().args(arguments).start();
        let mut client = daemon.client();
        client.register("a", &[1, 2]);
        client.authenticate("a");
        test(&mut client);
    }
}

/// `request` with an id, if it is one of those that have.
fn numbered(number: usize, mut request: Value, has_id: bool) -> String {
    if has_id {
        request["request_id"] = json!(number);
    }
    request.to_string()
}

/// Sends the writes that `write` makes of their numbers and then `read`, in one packet; returns the replies to the writes, and
/// the read's. `id_every`: some of the writes have an id, and the read in every other round.
#[track_caller]
fn pipeline(
    client: &mut Client,
    write: impl Fn(usize) -> Value,
    read: &Value,
    id_every: Option<usize>,
    round: usize,
) -> (Vec<Value>, Value) {
    let has_id = |number: usize| id_every.is_some_and(|every| number.is_multiple_of(every));
    let packet: String = (0..COUNT).map(|number| numbered(number, write(number), has_id(number))).collect();
    client.send(&(packet + &numbered(COUNT, read.clone(), id_every.is_some() && round.is_multiple_of(2))));
    let mut replies = vec![Value::Null; COUNT];
    let mut without_id = (0..COUNT).filter(|number| !has_id(*number));
    for _ in 0..COUNT {
        let reply = client.reply();
        let number = match reply["request_id"].as_u64() {
            Some(id) => id as usize,
            None => without_id.next().expect("the read is answered after the writes"),
        };
        assert!(number < COUNT && replies[number].is_null(), "before a write is answered: {reply}");
        replies[number] = reply;
    }
    (replies, client.reply())
}

const IDS: [Option<usize>; 4] = [None, Some(1), Some(2), Some(3)];

#[test]
fn a_get_finds_the_last_of_the_puts_before_it() {
    on_each_store(|client| {
        for round in 0..ROUNDS {
            for (at, id_every) in IDS.into_iter().enumerate() {
                let key = format!("k{round}.{at}");
                // Two seconds in turn, sometimes both in one request.
                let write = |number: usize| match number % 5 {
                    0 => {
                        let point = |second| json!({"key": key, "value": number, "timestamp": second});
                        request("put", json!({"points": [point(0), point(1)]}))
                    }
                    _ => request("put", json!({"key": key, "value": number, "timestamp": number % 2})),
                };
                let read = request("get", json!({"key": key}));
                let (replies, found) = pipeline(client, write, &read, id_every, round);
                assert!(replies.iter().all(|reply| reply["message"] == "ok"), "{replies:?}");
                let last =
                    [[0, COUNT - 2], [1, COUNT - 1]].map(|[second, value]| json!([second, value as f64]));
                assert_eq!(found["data"][&key], json!(last), "{id_every:?}, round {round}");
            }
        }
    });
}

#[test]
fn a_list_shows_the_last_of_the_updates_before_it() {
    on_each_store(|client| {
        for round in 0..ROUNDS {
            for id_every in IDS {
                // One of them fails.
                let write = |number| match number {
                    77 => request("update", json!({"disks": [{"id": 999_999, "disk_size": 1}]})),
                    _ => request("update", json!({"ram": 1 + round + number})),
                };
                let read = request("list", json!({"list_type": "all_vms"}));
                let (replies, found) = pipeline(client, write, &read, id_every, round);
                for (number, reply) in replies.iter().enumerate() {
                    assert_eq!(reply["status"] == "success", number != 77, "{reply}");
                }
                assert_eq!(found["data"]["all_vms"][0]["ram"], round + COUNT, "{id_every:?}, round {round}");
            }
        }
    });
}

#[test]
fn a_list_shows_the_vms_added_and_changed_before_it() {
    on_each_store(|client| {
        let mut last = 1;
        for (round, id_every) in IDS.into_iter().enumerate() {
            let write = |number| json!({"action": "add_vm", "ram": 1 + number, "disks": [1]});
            let read = json!({"action": "list_all_vms"});
            let (replies, found) = pipeline(client, write, &read, id_every, round);
            let ids: Vec<u64> = replies.iter().map(|reply| reply["vm_id"].as_u64().expect("added")).collect();
            assert_eq!(ids, (last + 1..=last + COUNT as u64).collect::<Vec<_>>(), "{id_every:?}");
            last += COUNT as u64;
            assert_eq!(found["all_vms"].as_array().map(Vec::len), Some(last as usize));

            client.send(&json!({"action": "authenticate", "vm_id": last}).to_string());
            assert_eq!(client.reply()["status"], "authenticated");
            let write = |number| json!({"action": "update_vm", "vm_id": last, "ram": 5 + number});
            let (replies, found) = pipeline(client, write, &read, id_every, round);
            assert!(replies.iter().all(|reply| reply["status"] == "vm updated"), "{replies:?}");
            assert_eq!(found["all_vms"][last as usize - 1]["ram"], 4 + COUNT, "{id_every:?}");
        }
    });
}

/// The number of a VM is known before the reply.
#[test]
fn a_vm_is_authorized_in_the_packet_that_adds_it() {
    on_each_store(|client| {
        let add = json!({"action": "add_vm", "ram": 1, "disks": [1]});
        for id in 2..20_usize {
            let join = json!({"action": "connect", "vm_id": id});
            let update = json!({"action": "update_vm", "vm_id": id, "ram": id});
            let requests = [&add, &join, &update].into_iter().enumerate();
            client.send(
                &requests
                    .map(|(at, request)| numbered(at, request.clone(), id.is_multiple_of(2)))
                    .collect::<String>(),
            );
            let replies = [client.reply(), client.reply(), client.reply()];
            let statuses = replies.each_ref().map(|reply| reply["status"].as_str().unwrap_or_default());
            assert_eq!(statuses, ["vm added", "connected and authenticated", "vm updated"], "{replies:?}");
        }
    });
}

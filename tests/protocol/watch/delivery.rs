//! Changes between replies, clients that read slowly, and WebSocket.

use std::time::Duration;

use serde_json::{Value, json};

use super::{TOO_FAR_BEHIND, change, kind, kind_of, watch, watcher};
use crate::common::{Client, DEADLINE, Daemon, registration, request, wait_until};
#[cfg(feature = "websocket")]
use crate::web::{Web, message};

#[test]
fn changes_stand_between_replies() {
    let daemon = Daemon::start();
    let (mut client, mut watching) = (daemon.client(), daemon.operator());
    let sizes = vec![1; 1000];
    for index in 0..20 {
        client.register(&format!("vm-{index}"), &sizes);
    }
    watch(&mut watching, json!({}));
    // A list of several pages, of which the client reads nothing for now, and a change meanwhile.
    watching.send(&request("list", json!({"list_type": "all_disks"})).to_string());
    client.authenticate("vm-0");
    watching.send(&request("ping", json!({})).to_string());
    let messages: Vec<Value> = (0..3).map(|_| watching.reply()).collect();
    let index_of = |name: &str| messages.iter().position(|message| message["message"] == name);
    let list = messages.iter().find(|message| message["data"]["all_disks"].is_array()).expect("a list");
    assert_eq!(list["data"]["all_disks"].as_array().map(Vec::len), Some(20_000));
    assert!(index_of("change").is_some() && index_of("PONG").is_some());
}

#[test]
fn another_watch_replaces_the_first_and_unwatch_ends_it() {
    let daemon = Daemon::start();
    let (mut client, mut watching) = (daemon.client(), daemon.client());
    let watch =
        |id: &str, what: &str| json!({"command": "watch", "request_id": id, "data": {"what": [what]}});
    assert_eq!(watching.call(watch("one", "vms"))["request_id"], "one");
    client.register("a", &[]);
    assert_eq!(watching.reply()["request_id"], "one");
    assert_eq!(watching.call(watch("two", "presence"))["request_id"], "two");
    client.register("b", &[]);
    client.authenticate("b");
    let reply = watching.reply();
    assert_eq!((&reply["request_id"], &reply["data"]["kind"]), (&json!("two"), &json!("online")), "{reply}");
    for _ in 0..2 {
        let reply = watching.call(json!({"command": "unwatch", "request_id": 3, "data": {}}));
        let wanted = json!({"request_id": 3, "status": "success", "message": "unwatched", "data": {}});
        assert_eq!(reply, wanted);
    }
    client.succeed("logout", json!({}));
    watching.ping();
    daemon.wait_for_counter("watchers", |count| count == 0);
}

/// A client that adds prefixes keeps its place; one that comes anew lists again.
#[test]
fn a_client_adds_prefixes_while_it_watches() {
    let daemon = Daemon::start();
    let (mut client, mut watching) = (daemon.client(), daemon.client());
    let (_, revision) = watch(&mut watching, json!({"what": ["vms", "points:a."]}));
    client.register("vm", &[]);
    let registered = change(&mut watching);
    let what = json!(["vms", "points:a.", "points:b."]);
    let more = json!({"what": what, "from": registered["revision"]});
    assert_eq!(watching.succeed("watch", more), json!({"revision": registered["revision"]}));
    client.succeed("put", json!({"key": "b.x", "value": 1}));
    assert_eq!(change(&mut watching)["points"][0]["key"], "b.x");
    let early = json!({"what": what, "from": revision});
    assert_eq!(daemon.client().fail(request("watch", early)), TOO_FAR_BEHIND);
}

/// A client that reads nothing costs its output only, delays no other, and is closed after the time to write.
#[test]
fn a_client_that_reads_nothing_is_cut() {
    let daemon = Daemon::builder().args(["--write-timeout", "2s"]).start();
    let (mut client, mut other) = (daemon.client(), watcher(&daemon));
    let slow = watcher(&daemon);
    let mut operator = daemon.operator();
    client.register("a", &vec![1; 100]);
    assert_eq!(kind(&mut other), kind_of("registered", "a", ""));
    client.authenticate("a");
    assert_eq!(kind(&mut other), kind_of("online", "a", ""));
    let mut sent = 0;
    let mut bytes_max = 0;
    wait_until("the slow client is closed", DEADLINE, || {
        for _ in 0..100 {
            client.succeed("update", json!({"ram": 1 + sent % 2}));
            sent += 1;
            assert_eq!(kind(&mut other), kind_of("updated", "a", ""), "after {sent} changes");
        }
        let counters = operator.succeed("stats", json!({}));
        bytes_max = bytes_max.max(counters["buffers_bytes"].as_u64().expect("a number"));
        counters["connections_stalled"] == 1
    });
    assert!((16 << 10..64 << 10).contains(&bytes_max), "{bytes_max} bytes after {sent} changes");
    drop(slow);
}

/// A client that reads too slowly gets an error instead of the changes that are not kept.
#[test]
fn a_client_that_reads_too_slowly_lists_again() {
    let daemon = Daemon::builder().args(["--write-timeout", "60s", "--store", "memory:"]).start();
    let (mut client, mut slow) = (daemon.client(), daemon.client());
    slow.socket().set_recv_buffer_size(64 << 10).expect("a socket option");
    let data = json!({"what": ["points:"]});
    slow.send(&json!({"command": "watch", "request_id": 9, "data": data}).to_string());
    assert_eq!(slow.reply()["message"], "snapshot");
    let points: Vec<Value> = (0..4096)
        .map(|index| json!({"key": format!("k{index:0190}"), "value": 1, "timestamp": 1_700_000_000}))
        .collect();
    // Each change has about a megabyte; the log keeps 16, and the system some of those that are sent.
    let put = request("put", json!({"points": points}));
    let mut counts = 0;
    let mut operator = daemon.operator();
    while counts < 30 {
        assert_eq!(client.call(put.clone())["status"], "success");
        counts += 1;
    }
    assert_eq!(operator.succeed("stats", json!({}))["changes"], counts);
    let mut got = 0;
    loop {
        let reply = slow.reply();
        assert_eq!(reply["request_id"], 9);
        if reply["status"] == "error" {
            assert_eq!(reply["message"], TOO_FAR_BEHIND);
            break;
        }
        got += 1;
    }
    assert!(got < counts, "{got} of {counts}");
    assert_eq!(operator.succeed("stats", json!({}))["watches_too_far_behind"], 1);
    slow.ping();
}

/// Changes of many VMs at once reach many clients, in the same order.
#[test]
fn many_clients_get_all_changes_in_order() {
    let daemon = Daemon::start();
    let mut watching: Vec<_> = (0..20).map(|_| watcher(&daemon)).collect();
    let mut clients: Vec<_> = (0..10).map(|_| daemon.client()).collect();
    for round in 0..20 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(&registration(&format!("vm-{round}-{index}"), &[]).to_string());
        }
    }
    let changes = |client: &mut Client| (0..200).map(|_| change(client)).collect::<Vec<_>>();
    let wanted = changes(&mut watching[0]);
    assert!(watching[1..].iter_mut().all(|client| changes(client) == wanted));
    watching[0].expect_silence(Duration::from_millis(50));
}

#[cfg(feature = "websocket")]
#[test]
fn websocket_gets_each_page_and_change_as_a_message() {
    let daemon = Daemon::start();
    let (mut client, mut web) = (daemon.client(), Web::websocket(daemon.address()));
    let sizes = vec![1; 1000];
    for index in 0..3 {
        client.register(&format!("vm-{index}"), &sizes);
    }
    web.send(message(&json!({"command": "watch", "request_id": 1, "data": {}}).to_string()));
    let mut next = || -> Value { serde_json::from_str(&web.message()).expect("a message is JSON") };
    for more in [true, true, false] {
        let page = next();
        assert_eq!((&page["message"], &page["data"]["more"]), (&json!("snapshot"), &json!(more)));
    }
    client.authenticate("vm-1");
    let change = next();
    assert_eq!((&change["request_id"], &change["data"]["kind"]), (&json!(1), &json!("online")));
    drop(client);
    assert_eq!(next()["data"]["reason"], "closed");
}

#[cfg(feature = "http")]
#[test]
fn http_does_not_watch_by_post() {
    use crate::web::{Web, post};
    let daemon = Daemon::start();
    let mut web = Web::connect(daemon.address());
    web.send(post(&request("watch", json!({})).to_string()));
    let reply = web.reply();
    assert_eq!(reply.status, 400, "{reply:?}");
}

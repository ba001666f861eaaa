//! When VMs were last seen and since when they are offline, as the operator sees it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

#[cfg(feature = "http")]
use crate::common::request;
use crate::common::{Client, DEADLINE, Daemon, wait_until};

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    i64::try_from(since.as_secs()).expect("it is sooner")
}

/// The times of the VM `a`: `connected_since`, `last_seen`, `offline_since`.
#[track_caller]
fn times(operator: &mut Client) -> [Option<i64>; 3] {
    let vms = operator.list("all_vms");
    let vm = vms.iter().find(|vm| vm["vm_id"] == "a").expect("it is listed");
    ["connected_since", "last_seen", "offline_since"].map(|name| match &vm[name] {
        Value::Null => None,
        time => Some(time.as_i64().unwrap_or_else(|| panic!("{name} is {time}"))),
    })
}

/// The time at which `a` was last seen, which is offline since then.
#[track_caller]
fn offline_since(operator: &mut Client) -> i64 {
    let [connected, seen, offline] = times(operator);
    assert_eq!((connected, seen), (None, offline));
    seen.expect("it was seen")
}

#[test]
fn every_request_of_a_vm_moves_its_time() {
    let (daemon, begun) = (Daemon::start(), now());
    let (mut operator, mut client) = (daemon.operator(), daemon.client());
    client.register("a", &[]);
    assert_eq!(times(&mut operator), [None; 3], "a registration is no login");
    client.authenticate("a");
    let [connected, seen, offline] = times(&mut operator);
    assert_eq!((connected, offline), (seen, None));
    assert!(seen.is_some_and(|seen| (begun..=now()).contains(&seen)), "{seen:?}");
    let login = connected;
    wait_until("a ping is a second later", DEADLINE, || {
        client.ping();
        let [connected, later, offline] = times(&mut operator);
        assert_eq!((connected, offline), (login, None));
        later > seen
    });
    client.succeed("logout", json!({}));
    let logout = offline_since(&mut operator);
    assert!((begun..=now()).contains(&logout));
    // An anonymous connection is no VM any more.
    wait_until("a second has passed", DEADLINE, || now() > logout + 1);
    client.ping();
    assert_eq!(offline_since(&mut operator), logout);
}

#[test]
fn a_vm_is_offline_when_its_last_connection_has_ended() {
    let daemon = Daemon::start();
    let (mut operator, mut client) = (daemon.operator(), daemon.client());
    client.register("a", &[]);
    client.authenticate("a");
    let mut same = daemon.client();
    same.authenticate("a");
    let [connected, ..] = times(&mut operator);
    drop(client);
    wait_until("one is gone", DEADLINE, || operator.list("authenticated_vms").len() == 1);
    let [still, _, offline] = times(&mut operator);
    assert!(still >= connected && offline.is_none(), "{still:?}, {offline:?}");
    drop(same);
    wait_until("both are gone", DEADLINE, || operator.list("authenticated_vms").is_empty());
    offline_since(&mut operator);
}

#[cfg(feature = "http")]
#[test]
fn http_moves_the_time_and_connects_no_vm() {
    let daemon = Daemon::start();
    let (mut operator, mut client) = (daemon.operator(), daemon.client());
    client.register("a", &[]);
    let post = |data: Value| {
        let body = request("list", data).to_string();
        let mut client = daemon.client();
        client.send(&format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert!(client.rest().contains("\"status\":\"success\""));
    };
    let token = client.authenticate("a");
    drop(client);
    wait_until("it is gone", DEADLINE, || operator.list("authenticated_vms").is_empty());
    let gone = offline_since(&mut operator);
    wait_until("a request is a second later", DEADLINE, || {
        post(json!({"list_type": "all_disks", "token": token}));
        offline_since(&mut operator) > gone
    });
    assert_eq!(operator.list("authenticated_vms"), [] as [Value; 0]);
}

/// The stop of the daemon ends the session of a VM that is online.
#[test]
fn the_time_outlasts_a_restart() {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[]);
    client.authenticate("a");
    let before = now();
    daemon.restart();
    let mut operator = daemon.operator();
    let stopped = offline_since(&mut operator);
    assert!((before..=now()).contains(&stopped), "{stopped} is not after {before}");
    let mut client = daemon.client();
    client.authenticate("a");
    client.succeed("logout", json!({}));
    let logout = offline_since(&mut operator);
    daemon.restart();
    assert_eq!(offline_since(&mut daemon.operator()), logout);
}

/// The store knows of the end of a session soon, not only at the end of the daemon.
#[cfg(feature = "sqlite")]
#[test]
fn the_end_of_a_session_is_stored_soon() {
    use vmherd::internals::ids::VmId;
    use vmherd::internals::store::{Location, open};
    let mut daemon = Daemon::start();
    let (mut operator, mut client) = (daemon.operator(), daemon.client());
    client.register("a", &[]);
    client.authenticate("a");
    client.succeed("logout", json!({}));
    let logout = offline_since(&mut operator);
    let store = open(&Location::Sqlite(daemon.state_dir().join("vmherd.sqlite3"))).expect("its store");
    let mut store = store.connect().expect("a connection");
    wait_until("it is stored", DEADLINE, || {
        let vms = store.registry().vms_after(VmId(0), 10).expect("a page").vms;
        vms[0].last_seen.is_some_and(|seen| seen.0 == logout)
    });
    drop(store);
    daemon.kill();
    daemon.restart();
    assert_eq!(offline_since(&mut daemon.operator()), logout);
}

//! The library `vmherd::client` with a server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vmherd::client::{
    Client, ClientError, DiskUpdate, ListedVm, NewVm, Point, PointsByKey, ServerAddress, VmUpdate,
};
use vmherd::{Config, Server, TestHypervisor};

use crate::common::{DEADLINE, Daemon, PASSWORD, TempDir};

/// A client of the daemon's listener `index`.
#[track_caller]
fn connect(daemon: &Daemon, index: usize) -> Client {
    Client::connect(daemon.addresses()[index].to_string(), Some(DEADLINE)).expect("the daemon accepts")
}

/// A client of the daemon's own socket.
#[track_caller]
fn operator(daemon: &Daemon) -> Client {
    let address = ServerAddress::Unix(daemon.own_socket());
    Client::connect_to(&address, Some(DEADLINE)).expect("the daemon accepts")
}

/// The message of the server's error.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Server { message, .. }) => message,
        other => panic!("not an error of the server: {other:?}"),
    }
}

fn new_vm(vm_id: &str, disks: &[u64]) -> NewVm {
    NewVm { vm_id: vm_id.into(), ram: 512, cpu: 4, password: Some(PASSWORD.into()), disks: disks.to_vec() }
}

fn points(series: &[(&str, &[(i64, f64)])]) -> PointsByKey {
    series.iter().map(|(key, points)| (key.to_string(), points.to_vec())).collect()
}

/// The example of the protocol's description, over TCP and a unix socket.
#[test]
fn the_documented_example_works() {
    let unix = |daemon: &Daemon| format!("unix:{}", daemon.own_socket().display());
    let tcp = |daemon: &Daemon| daemon.address().to_string();
    for address in [unix, tcp] {
        let daemon = Daemon::builder().args(["--store", "memory:"]).start();
        let mut client = Client::connect(address(&daemon), Some(DEADLINE)).expect("a connection");
        let begin = unix_now();
        client.put("palm.cpu", 0.5, Some(1150864247)).expect("a point");
        client.put("palm.cpu", 2.0, Some(1150864248)).expect("a point");
        client.put("palm.cpu", 0.5, Some(1150864248)).expect("a point");
        client.put("eardrum.cpu", 4.0, Some(1150864251)).expect("a point");
        client.put("eardrum.cpu", 3.0, Some(1150864250)).expect("a point");
        client.put("eardrum.memory", 4200000.0, None).expect("a point");
        let palm = ("palm.cpu", &[(1150864247, 0.5), (1150864248, 0.5)][..]);
        assert_eq!(client.get("palm.cpu").expect("points"), points(&[palm]));
        let mut all = client.get("*").expect("points");
        let memory = all.remove("eardrum.memory").expect("a point of now");
        assert!(memory.len() == 1 && memory[0].1 == 4200000.0, "{memory:?}");
        assert!((begin..=unix_now()).contains(&memory[0].0), "{memory:?} is not now");
        assert_eq!(all, points(&[palm, ("eardrum.cpu", &[(1150864250, 3.0), (1150864251, 4.0)])]));
        assert_eq!(client.get("non_existing_key").expect("nothing"), PointsByKey::new());
    }
}

#[test]
fn values_and_bounds_are_exact() {
    let daemon = Daemon::start();
    let mut client = connect(&daemon, 0);
    let values =
        [0.1 + 0.2, -0.0, 5e-324, f64::MAX, 1e22, 9_007_199_254_740_993.0, 0.3, 123_456.789_012_345_67];
    for (second, value) in (0..).zip(values) {
        client.put("ключ.\"\\", value, Some(second)).expect("a point");
    }
    let kept = client.get("ключ.\"\\").expect("points").remove("ключ.\"\\").expect("the key");
    let bits = |values: &mut dyn Iterator<Item = f64>| values.map(f64::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&mut kept.iter().map(|point| point.1)), bits(&mut values.into_iter()));
    let mut between = |from, to| {
        let found = client.get_between("*", from, to).expect("points");
        found.into_values().flatten().map(|point| point.0).collect::<Vec<_>>()
    };
    assert_eq!(between(Some(2), Some(4)), [2, 3, 4]);
    assert_eq!((between(None, Some(1)), between(Some(7), None)), (vec![0, 1], vec![7]));
    assert!(between(Some(8), None).is_empty());
}

#[test]
fn a_hundred_thousand_points_are_put() {
    let daemon = Daemon::start();
    let mut client = connect(&daemon, 0);
    let point = |index: i64| Point {
        key: format!("host-{}.load", index % 7),
        value: index as f64 / 8.0,
        timestamp: Some(index),
    };
    let many: Vec<Point> = (0..100_000).map(point).collect();
    client.put_many(&many).expect("all are stored");
    let found = client.get("*").expect("points");
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), many.len());
    for Point { key, value, timestamp } in many {
        let (of_key, second) = (&found[&key], timestamp.expect("a time"));
        assert_eq!(of_key[second as usize / 7], (second, value), "{key}");
    }
    client.put_many(&[]).expect("nothing to do");
    client.put_many(&[Point { key: "now".into(), value: 1.0, timestamp: None }]).expect("a point of now");
    assert!(unix_now() - client.get("now").expect("points")["now"][0].0 < 60);
}

/// Also for points, on a listener that opens nothing.
#[test]
fn a_login_counts_for_the_connection_and_a_token_for_others() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=none").start();
    let mut client = connect(&daemon, 1);
    client.register(&new_vm("web-1", &[40, 100])).expect("a registration");
    assert_eq!(refusal(client.register(&new_vm("web-1", &[]))), "VM is already registered");
    let closed = "You have to authenticate to run this operation";
    assert_eq!(refusal(client.put("a", 1.0, Some(1))), closed);
    let error = client.put_many(&[Point { key: "a".into(), value: 1.0, timestamp: Some(1) }]).unwrap_err();
    assert!(error.stored.is_empty() && error.unknown.is_empty() && error.failed == (0..1), "{error}");
    assert_eq!(refusal(Err::<(), _>(error.into())), closed);
    assert_eq!(refusal(client.authenticate("web-1", "wrong password")), "Invalid credentials");
    let token = client.authenticate("web-1", PASSWORD).expect("a token");
    client.put("a", 1.0, Some(1)).expect("a point");
    assert_eq!(client.get("a").expect("points")["a"], [(1, 1.0)]);

    let mut other = connect(&daemon, 1);
    let own_address = other.ping().expect("a reply");
    assert_eq!(own_address.0, "127.0.0.1");
    assert_eq!(refusal(other.all_vms()), closed);
    other.set_token(Some("0".repeat(64)));
    assert!(refusal(other.all_vms()).starts_with("Invalid access token"));
    other.set_token(Some(token));
    let vms = other.all_vms().expect("a list");
    let of = |vm: &ListedVm| (vm.vm_id.clone(), vm.ram, vm.cpu, vm.disks.len(), vm.id);
    assert_eq!(vms.iter().map(of).collect::<Vec<_>>(), [("web-1".to_owned(), 512, 4, 2, None)]);
    assert_eq!(other.authenticated_vms().expect("a list").len(), 2);
    let active = connect(&daemon, 1).active_vms();
    assert_eq!(refusal(active), closed);
    let active = other.active_vms().expect("a list");
    let own = active.iter().find(|entry| entry.addr == own_address).expect("its own connection");
    assert_eq!(own.vm_info.as_ref(), Some(&vms[0]));
    other.logout().expect("logged out");
    assert_eq!(refusal(other.all_vms()), closed, "its token is forgotten");
}

#[test]
fn a_vm_changes_itself() {
    let daemon = Daemon::start();
    let mut client = connect(&daemon, 0);
    client.register(&new_vm("web-1", &[40, 100])).expect("a registration");
    client.authenticate("web-1", PASSWORD).expect("a token");
    client.update(&VmUpdate { ram: Some(1024), ..VmUpdate::default() }).expect("an update");
    let sizes = |client: &mut Client| {
        let disks = client.all_disks().expect("a list");
        disks.iter().map(|disk| (disk.id, disk.disk_size)).collect::<Vec<_>>()
    };
    let before = sizes(&mut client);
    let resize = DiskUpdate::Resize(vec![(before[1].0, 150)]);
    client.update(&VmUpdate { disks: Some(resize), ..VmUpdate::default() }).expect("an update");
    assert_eq!(sizes(&mut client), [before[0], (before[1].0, 150)]);
    let replace = DiskUpdate::Replace(vec![7]);
    client
        .update(&VmUpdate { cpu: Some(2), disks: Some(replace), ..VmUpdate::default() })
        .expect("an update");
    assert_eq!(sizes(&mut client), [(before[0].0, 7)]);
    let vm = client.all_vms().expect("a list").remove(0);
    assert_eq!((vm.ram, vm.cpu), (1024, 2));
    assert_eq!(refusal(client.update(&VmUpdate::default())), "No fields for update");
}

#[test]
fn every_dialect_can_be_used_by_name() {
    let daemon = Daemon::builder().args(["--conversion-delay", "0"]).start();
    let mut client = connect(&daemon, 0);
    let ping = client.command("ping", Value::Null).expect("a reply");
    assert_eq!((ping.message.as_deref(), ping.data["addr"][0].as_str()), (Some("PONG"), Some("127.0.0.1")));
    assert_eq!(refusal(client.command("nothing", json!({}))), "Unknown command");
    let added = client.action("add_vm", json!({"ram": 1, "disks": [1]})).expect("a reply");
    assert_eq!(added, json!({"status": "vm added", "vm_id": 1}));
    assert_eq!(client.action("list_all_disks", Value::Null).expect("a reply")["all_disks"][0]["vm_id"], 1);
    assert_eq!(refusal(client.action("nothing", Value::Null)), "invalid action");
    assert_eq!(client.verb("STAT", Value::Null).expect("a reply")["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(refusal(client.verb("NOTHING", Value::Null)), "Bad request (Unknown verb)");
    let text = "Hub&&name&&qwe&&id&&123&&%%Device&&name&&wqe&&id&&234&&";
    let converted = json!({"Hub": {"name": "qwe", "id": "123"}, "Device": {"name": "wqe", "id": "234"}});
    assert_eq!(client.convert("01", text).expect("a result"), converted);
    let whole = client.request(&json!({"request_id": 7, "command": "nothing"})).expect("a reply");
    assert_eq!((&whole["request_id"], &whole["status"]), (&json!(7), &json!("error")));
    for wrong in [client.request(&json!([])).map(drop), client.command("ping", json!(1)).map(drop)] {
        assert!(matches!(wrong, Err(ClientError::InvalidArgument(_))), "{wrong:?}");
    }
    let large = client.command("ping", json!({"token": "x".repeat(1 << 20)}));
    assert!(matches!(large, Err(ClientError::InvalidArgument(_))), "{large:?}");
    client.ping().expect("it goes on");
}

#[test]
fn containers_are_created_and_destroyed() {
    let folder = TempDir::new();
    let config = Config::default().state_dir(folder.path()).store("memory:".parse().expect("a store"));
    let config = config.listen("tcp://127.0.0.1:0".parse().expect("an address"));
    let hypervisor = TestHypervisor::default();
    let server = Server::builder(config).hypervisor(hypervisor.clone()).containers_max(2);
    let server = server.bind().expect("it binds");
    let address = server.addresses()[0].to_string();
    let running = server.start().expect("it starts");
    let mut client = Client::connect(address, Some(DEADLINE)).expect("a connection");
    let status = client.status().expect("a status");
    assert_eq!((status.available, status.version.as_str()), (Some(2), env!("CARGO_PKG_VERSION")));
    assert!(status.uptime < Duration::from_secs(3600));
    let (first, second) = (client.create().expect("a container"), client.create().expect("another"));
    assert_eq!(hypervisor.containers().len(), 2);
    let shown = format!("{first:?}");
    assert!(!shown.contains(&first.client_token) && !shown.contains(&first.container_password), "{shown}");
    assert!(refusal(client.create()).starts_with("Unavailable ("));
    let wrong = client.destroy(&second.container_uuid, &first.client_token);
    assert_eq!(refusal(wrong), "Bad authentication");
    client.destroy(&first.container_uuid, &first.client_token).expect("it ends");
    let own_socket = ServerAddress::Unix(folder.path().join(vmherd::SOCKET_NAME));
    let mut operator = Client::connect_to(&own_socket, Some(DEADLINE)).expect("a connection");
    operator.stop(&second.container_uuid).expect("it ends");
    assert!(hypervisor.containers().is_empty());
    running.stop(Duration::ZERO).expect("it stops");
}

#[test]
fn the_operator_sees_the_counters_in_their_order() {
    let daemon = Daemon::start();
    let counters = operator(&daemon).stats().expect("counters");
    assert!(counters.len() > 40 && counters[0].0 == "uptime_s", "{counters:?}");
    assert!(!counters.is_sorted(), "they are in the server's order");
    assert_eq!(refusal(connect(&daemon, 0).stats()), "Unknown command");
}

#[test]
fn the_operator_manages_vms() {
    let daemon = Daemon::builder().args(["--registration", "closed"]).start();
    let mut operator = operator(&daemon);
    let numbers = ["web-1", "web-2"].map(|vm_id| operator.add(&new_vm(vm_id, &[40])).expect("added"));
    assert_eq!(numbers, [1, 2]);
    let without = NewVm { password: None, ..new_vm("web-3", &[]) };
    assert_eq!(operator.add(&without).expect("added"), 3);
    assert_eq!(refusal(operator.add(&without)), "VM is already registered");

    let mut client = connect(&daemon, 0);
    assert_eq!(refusal(client.add(&without)), "Unknown command");
    client.authenticate("web-1", PASSWORD).expect("a token");
    let address = client.ping().expect("a reply");
    let vm = operator.all_vms().expect("a list").remove(0);
    assert_eq!((vm.vm_id.as_str(), vm.id, vm.offline_since), ("web-1", Some(1), None));
    assert_eq!(vm.addrs, Some(vec![address]));
    assert!(vm.connected_since.is_some_and(|since| (unix_now() - since).abs() < 60), "{vm:?}");
    let own = client.all_vms().expect("a list").remove(0);
    assert_eq!((own.id, own.connected_since, own.addrs), (None, None, None), "operators only");

    operator.update_vm("web-1", &VmUpdate { ram: Some(7), ..VmUpdate::default() }).expect("updated");
    assert_eq!(client.all_vms().expect("a list")[0].ram, 7);
    operator.logout_vm("web-1").expect("logged out");
    assert!(refusal(client.all_vms()).starts_with("You have to authenticate"));
    operator.set_password("web-1", "another password").expect("changed");
    assert_eq!(refusal(client.authenticate("web-1", PASSWORD)), "Invalid credentials");
    client.authenticate("web-1", "another password").expect("a token");
    assert_eq!(operator.end_sessions("web-1").expect("ended"), 1);
    assert!(matches!(client.ping(), Err(ClientError::Closed)), "its connection is closed");
    operator.remove("web-1").expect("removed");
    let no_such_vm = "VM does not exist";
    assert_eq!(refusal(operator.remove("web-1")), no_such_vm);
    assert_eq!(refusal(operator.end_sessions("web-1")), no_such_vm);
    assert_eq!(operator.all_vms().expect("a list").len(), 2);
}

/// A client notices that its server has been away, and a new one works.
#[test]
fn a_restart_closes_the_connection() {
    let mut daemon = Daemon::start();
    let mut client = connect(&daemon, 0);
    client.put("a", 1.0, Some(1)).expect("a point");
    daemon.restart();
    let lost = client.put("a", 2.0, Some(2));
    assert!(matches!(lost, Err(ClientError::Closed)), "{lost:?}");
    assert!(matches!(client.ping(), Err(ClientError::Closed)));
    assert_eq!(connect(&daemon, 0).get("a").expect("points")["a"], [(1, 1.0)]);
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs() as i64
}

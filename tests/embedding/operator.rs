//! Managed VMs: what their tokens allow, what other clients can't do to them, and the operator's `stop`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use vmherd::{Event, ServerId, TestHypervisor};

use crate::common::{Client, DEADLINE, request, wait_until};
use crate::containers::{create, destroy};
use crate::running::Bed;
use crate::test_store::{Fault, TestStore};

const MANAGED: &str = "the VM is managed by a server, which alone changes it";

/// A server whose containers get a token, with a VM `web` that has the number 1.
fn bed() -> (Bed, TestHypervisor, TestStore) {
    let (hypervisor, store) = (TestHypervisor::default(), TestStore::new());
    hypervisor.enroll();
    let bed = Bed::with(|builder| {
        builder.hypervisor(hypervisor.clone()).store(Arc::new(store.clone())).containers_max(2)
    });
    bed.client().register("web", &[5]);
    (bed, hypervisor, store)
}

fn token(hypervisor: &TestHypervisor) -> String {
    let order = hypervisor.last_order().expect("an order");
    order.enrollment.expect("a token").expose().to_owned()
}

fn stop(client: &mut Client, name: &Value) -> Value {
    client.call(request("stop", json!({"vm_id": name})))
}

#[test]
fn a_token_is_that_of_the_vm_as_long_as_it_lives() {
    let (bed, hypervisor, _) = bed();
    let credentials = create(&mut bed.client());
    let (uuid, token) = (credentials["container_uuid"].clone(), token(&hypervisor));
    assert_eq!(token.len(), 64);
    let list = request("list", json!({"list_type": "authenticated_vms", "token": token}));
    let mut agent = bed.client();
    let reply = agent.call(list.clone());
    assert_eq!(reply["data"]["authenticated_vms"][0]["vm_info"]["vm_id"], uuid);
    // The token has made the connection that VM; it is in the sets as one with a password is.
    let connected = bed.client().call(json!({"action": "list_connected_vms"}));
    assert_eq!(connected["connected_vms"][0]["managed"], true);
    assert_eq!(agent.fail(request("update", json!({"ram": 7}))), MANAGED);
    assert_eq!(agent.call(json!({"action": "update_vm", "vm_id": 2, "ram": 7})), json!({"error": MANAGED}));
    agent.succeed("put", json!({"key": "guest.load", "value": 1}));
    assert_eq!(destroy(&mut bed.client(), &credentials)["success"], true);
    let message = bed.client().fail(list);
    assert_eq!(message, "Invalid access token. Try refreshing with the 'authenticate' command");
    let message = agent.fail(request("list", json!({"list_type": "all_vms"})));
    assert_eq!(message, "You have to authenticate to run this operation");
}

#[test]
fn without_enrollment_an_order_has_no_token() {
    let hypervisor = TestHypervisor::default();
    let bed = Bed::with(|builder| builder.hypervisor(hypervisor.clone()));
    create(&mut bed.client());
    assert_eq!(hypervisor.last_order().expect("an order").enrollment, None);
}

#[test]
fn no_client_changes_or_joins_a_managed_vm() {
    let (bed, _, store) = bed();
    let credentials = create(&mut bed.client());
    let before = store.vms();
    let mut client = bed.client();
    let invalid = json!({"error": "Invalid credentials"});
    for action in ["authenticate", "connect"] {
        assert_eq!(client.call(json!({"action": action, "vm_id": 2})), invalid);
        assert_eq!(client.call(json!({"action": action, "vm_id": 2, "password": "securePass123"})), invalid);
    }
    let not_authorized = json!({"error": "vm not authenticated"});
    for request in
        [json!({"action": "update_vm", "vm_id": 2, "ram": 7}), json!({"action": "logout_vm", "vm_id": 2})]
    {
        assert_eq!(client.call(request), not_authorized);
    }
    for list in ["list_authorized_vms", "list_connected_vms", "list_ever_connected"] {
        let reply = client.call(json!({"action": list}));
        let members = reply.as_object().and_then(|reply| reply.values().next()).expect("a list");
        assert_eq!(*members, json!([]), "{list}");
    }
    let login = json!({"vm_id": credentials["container_uuid"], "password": "securePass123"});
    assert_eq!(client.fail(request("authenticate", login)), "Invalid credentials");
    assert_eq!(store.vms(), before);
}

#[test]
fn the_operator_stops_a_vm_without_credentials() {
    let (hypervisor, store) = (TestHypervisor::default(), TestStore::new());
    let operators = Arc::<Mutex<Vec<bool>>>::default();
    let seen = Arc::clone(&operators);
    let bed = Bed::with(|builder| {
        let builder = builder.hypervisor(hypervisor.clone()).store(Arc::new(store.clone()));
        builder.containers_max(1).on_event(move |event| {
            if let Event::DestroyedContainer { client: Some(client), .. } = event {
                seen.lock().unwrap().push(client.is_operator());
            }
        })
    });
    let credentials = create(&mut bed.client());
    let name = &credentials["container_uuid"];
    let unknown = json!({"status": "error", "message": "Unknown command", "data": {}});
    assert_eq!(stop(&mut bed.client(), name), unknown);
    let mut operator = bed.operator();
    store.fail(Fault::Down);
    assert_eq!(operator.fail(request("stop", json!({"vm_id": name}))), "store unavailable");
    assert_eq!(hypervisor.containers().len(), 1);
    store.recover();
    hypervisor.hold();
    operator.send(&request("stop", json!({"vm_id": name})).to_string());
    wait_until("it is being stopped", DEADLINE, || hypervisor.held() == 1);
    assert_eq!(bed.operator().fail(request("stop", json!({"vm_id": name}))), "busy");
    operator.expect_silence(Duration::from_millis(20));
    hypervisor.release();
    let stopped = json!({"status": "success", "message": "VM stopped", "data": {}});
    assert_eq!(operator.reply(), stopped);
    assert_eq!((store.names().len(), hypervisor.containers().len()), (0, 0));
    assert_eq!(bed.containers_available(), Some(1));
    wait_until("its end is reported", DEADLINE, || *operators.lock().unwrap() == [true]);
    assert_eq!(operator.fail(request("stop", json!({"vm_id": name}))), "VM does not exist");
}

#[test]
fn the_operator_stops_only_vms_of_this_server() {
    let (bed, _, store) = bed();
    let other = ServerId::parse(&"0f".repeat(16)).expect("an id");
    let foreign = "00000000-0000-4000-8000-000000000000";
    store.add_managed(foreign, other);
    let before = store.names();
    let mut operator = bed.operator();
    for (name, message) in [
        ("web", "the VM is not managed by this server"),
        (foreign, "the VM is not managed by this server"),
        ("unknown", "VM does not exist"),
        ("00000000-0000-4000-8000-000000000001", "VM does not exist"),
    ] {
        assert_eq!(operator.fail(request("stop", json!({"vm_id": name}))), message, "{name}");
    }
    assert_eq!(operator.fail(request("stop", json!({}))), "missing field: vm_id");
    assert_eq!(store.names(), before);
}

/// The server runs, but could not remove the row at its start.
#[test]
fn the_operator_removes_a_row_that_a_crash_has_left() {
    let (bed, _, store) = bed();
    let credentials = create(&mut bed.client());
    let name = credentials["container_uuid"].as_str().expect("a text");
    let stale = "00000000-0000-4000-8000-000000000002";
    store.add_managed(stale, bed.server_id());
    assert_eq!(bed.operator().succeed("stop", json!({"vm_id": stale})), json!({}));
    assert_eq!(store.names(), ["web", name]);
}

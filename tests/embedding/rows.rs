//! Containers in the registry: a client gets a container with its row, or neither is left.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmherd::{Event, TestHypervisor};

use crate::common::{Client, DEADLINE, wait_until};
use crate::containers::{create, create_unread, destroy, failure};
use crate::running::{Bed, verb};
use crate::test_store::{Fault, TestStore};

/// A server with room for one container, its hypervisor and its store.
fn bed() -> (Bed, TestHypervisor, TestStore) {
    bed_with_log().0
}

type Log = Arc<Mutex<Vec<String>>>;

/// The same, with the events of containers.
fn bed_with_log() -> ((Bed, TestHypervisor, TestStore), Log) {
    let (hypervisor, store, log) = (TestHypervisor::default(), TestStore::new(), Log::default());
    let seen = Arc::clone(&log);
    let bed = Bed::with(|builder| {
        let builder = builder.hypervisor(hypervisor.clone()).store(Arc::new(store.clone()));
        builder.containers_max(1).on_event(move |event| {
            let (name, container) = match event {
                Event::CreatedContainer { container, .. } => ("created", container),
                Event::DestroyedContainer { container, client } => {
                    assert!(client.is_some(), "its client is known");
                    ("destroyed", container)
                }
                _ => return,
            };
            seen.lock().unwrap().push(format!("{name} {container}"));
        })
    });
    ((bed, hypervisor, store), log)
}

/// Ends the connection with a reset: after an orderly close, the server would still send the answer.
fn reset(client: Client) {
    client.socket().set_linger(Some(Duration::ZERO)).expect("a socket option");
}

/// Waits until there is neither a container nor a row, and another container can be created and destroyed.
#[track_caller]
fn expect_nothing_left(bed: &Bed, hypervisor: &TestHypervisor, store: &TestStore) {
    wait_until("nothing counts", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
    assert_eq!(store.names(), [""; 0]);
    let mut client = bed.client();
    let credentials = create(&mut client);
    assert_eq!(store.names(), [credentials["container_uuid"].as_str().expect("a text")]);
    assert_eq!(destroy(&mut client, &credentials)["success"], true);
    assert_eq!(store.names(), [""; 0]);
}

#[test]
fn a_container_is_a_vm_in_every_list_until_it_is_destroyed() {
    let (bed, _, store) = bed();
    let mut client = bed.client();
    client.register("web", &[5]);
    client.authenticate("web");
    let credentials = create(&mut client);
    let uuid = &credentials["container_uuid"];
    let disk = json!({"id": 2, "vm_id": uuid, "disk_size": 8});
    let expected = [
        json!({"vm_id": "web", "ram": 512, "cpu": 4, "disks": [{"id": 1, "vm_id": "web", "disk_size": 5}]}),
        json!({"vm_id": uuid, "ram": 128, "cpu": 1, "disks": [disk], "managed": true}),
    ];
    assert_eq!(client.list("all_vms"), expected);
    assert_eq!(client.list("all_disks")[1], disk);
    let numbered = client.call(json!({"action": "list_all_vms"}));
    let disks = json!([{"id": 2, "size": 8}]);
    assert_eq!(
        numbered["all_vms"][1],
        json!({"id": 2, "ram": 128, "cpu": 1, "disks": disks, "managed": true})
    );
    assert_eq!(numbered["all_vms"][0].get("managed"), None);
    assert!(store.vms()[1].is_managed && !store.vms()[1].has_password);
    assert_eq!(destroy(&mut client, &credentials)["success"], true);
    assert_eq!(client.list("all_vms"), expected[..1]);
}

#[test]
fn the_row_is_added_before_the_answer_and_removed_before_the_guest() {
    let (bed, hypervisor, store) = bed();
    let latch = store.hold();
    let mut client = bed.client();
    client.send(&verb("CREATE").to_string());
    wait_until("its row is being added", DEADLINE, || latch.waiting() == 1);
    assert_eq!(hypervisor.containers().len(), 1);
    client.expect_silence(Duration::from_millis(20));
    latch.open();
    let data = client.reply()["data"].clone();
    assert_eq!(store.names().len(), 1);
    hypervisor.hold();
    let credentials = json!({"container_uuid": data["container_uuid"], "client_token": data["client_token"]});
    client.send(&json!({"verb": "DESTROY", "parameters": credentials}).to_string());
    wait_until("it is being destroyed", DEADLINE, || hypervisor.held() == 1);
    assert_eq!((store.names().len(), hypervisor.containers().len()), (0, 1));
    hypervisor.release();
    assert_eq!(client.reply()["success"], true);
    expect_nothing_left(&bed, &hypervisor, &store);
}

#[test]
fn a_container_whose_row_cannot_be_added_is_destroyed() {
    let unavailable = failure("Unavailable (store unavailable)");
    let unknown = failure("Internal error (outcome unknown)");
    for (fault, answer) in [
        (Fault::Down, unavailable),
        (Fault::Unknown { is_done: true }, unknown.clone()),
        (Fault::Unknown { is_done: false }, unknown),
    ] {
        let ((bed, hypervisor, store), log) = bed_with_log();
        store.fail(fault);
        assert_eq!(bed.client().call(verb("CREATE")), answer);
        // A store that is away does not hold up the end of the guest.
        wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
        store.recover();
        wait_until("both events are reported", DEADLINE, || log.lock().unwrap().len() == 2);
        expect_nothing_left(&bed, &hypervisor, &store);
    }
}

#[test]
fn a_container_counts_among_the_vms() {
    let (hypervisor, store) = (TestHypervisor::default(), TestStore::new());
    let bed = Bed::with_config(
        |config| config.vms_max = 1,
        |builder| builder.hypervisor(hypervisor.clone()).store(Arc::new(store.clone())),
    );
    let mut client = bed.client();
    client.register("web", &[]);
    assert_eq!(client.call(verb("CREATE")), failure("Unavailable (VM limit reached)"));
    wait_until("it is destroyed", DEADLINE, || hypervisor.containers().is_empty());
    assert_eq!(store.names(), ["web"]);
}

#[test]
fn the_time_for_a_creation_includes_its_row() {
    let (bed, hypervisor, store) = bed();
    hypervisor.create_within(Duration::from_millis(300));
    let latch = store.hold();
    let begun = Instant::now();
    assert_eq!(bed.client().call(verb("CREATE")), failure("Internal error (outcome unknown)"));
    let took = begun.elapsed();
    assert!(took < vmherd::internals::limits::STORE_DEADLINE, "{took:?}");
    wait_until("the guest does not wait", DEADLINE, || hypervisor.containers().is_empty());
    assert_eq!(bed.containers_available(), Some(0), "its row may still come into being");
    latch.open();
    expect_nothing_left(&bed, &hypervisor, &store);
}

#[test]
fn a_client_that_leaves_while_the_row_is_added_leaves_nothing() {
    let (bed, hypervisor, store) = bed();
    let latch = store.hold();
    let mut gone = bed.client();
    gone.send(&verb("CREATE").to_string());
    wait_until("its row is being added", DEADLINE, || latch.waiting() == 1);
    reset(gone);
    wait_until("the guest does not wait", DEADLINE, || hypervisor.containers().is_empty());
    latch.open();
    expect_nothing_left(&bed, &hypervisor, &store);
}

#[test]
fn an_answer_that_is_not_sent_leaves_nothing() {
    let (bed, hypervisor, store) = bed();
    let mut client = bed.local_client();
    create_unread(&mut client);
    wait_until("it is answered", DEADLINE, || bed.counter("requests_verb_create_ok") == 1);
    assert_eq!(store.names().len(), 1);
    drop(client);
    expect_nothing_left(&bed, &hypervisor, &store);
}

#[test]
fn a_container_lives_while_its_row_cannot_be_removed() {
    let (bed, hypervisor, store) = bed();
    let mut client = bed.client();
    let credentials = create(&mut client);
    store.fail(Fault::Down);
    for _ in 0..2 {
        assert_eq!(destroy(&mut client, &credentials), failure("Unavailable (store unavailable)"));
        assert_eq!((store.names().len(), hypervisor.containers().len()), (1, 1));
    }
    store.recover();
    assert_eq!(destroy(&mut client, &credentials)["success"], true);
    expect_nothing_left(&bed, &hypervisor, &store);
}

#[test]
fn a_destruction_that_may_have_begun_is_carried_through() {
    for is_done in [false, true] {
        let (bed, hypervisor, store) = bed();
        let mut client = bed.client();
        let credentials = create(&mut client);
        store.fail(Fault::Unknown { is_done });
        assert_eq!(destroy(&mut client, &credentials), failure("Internal error (outcome unknown)"));
        expect_nothing_left(&bed, &hypervisor, &store);
    }
}

#[test]
fn a_destruction_whose_client_leaves_is_carried_through() {
    let ((bed, hypervisor, store), log) = bed_with_log();
    let credentials = create(&mut bed.client());
    let latch = store.hold();
    let mut gone = bed.client();
    gone.send(&json!({"verb": "DESTROY", "parameters": credentials}).to_string());
    wait_until("its row is being removed", DEADLINE, || latch.waiting() == 1);
    reset(gone);
    wait_until("the client has left", DEADLINE, || bed.counter("connections_open") == 0);
    latch.open();
    wait_until("both events are reported", DEADLINE, || log.lock().unwrap().len() == 2);
    expect_nothing_left(&bed, &hypervisor, &store);
}

/// The container that runs.
fn only(hypervisor: &TestHypervisor) -> vmherd::ContainerId {
    *hypervisor.containers().first().expect("one runs")
}

/// The events of one container: its creation, and its end once.
#[track_caller]
fn expect_one_end(log: &Log, uuid: &Value) {
    let uuid = uuid.as_str().expect("a text");
    wait_until("its end is reported", DEADLINE, || {
        log.lock().unwrap().iter().any(|event| *event == format!("destroyed {uuid}"))
    });
    let events: Vec<String> =
        log.lock().unwrap().iter().filter(|event| event.ends_with(uuid)).cloned().collect();
    assert_eq!(events, [format!("created {uuid}"), format!("destroyed {uuid}")]);
}

#[test]
fn a_container_that_ends_by_itself_leaves_the_registry() {
    let ((bed, hypervisor, store), log) = bed_with_log();
    let mut client = bed.client();
    let credentials = create(&mut client);
    hypervisor.end(only(&hypervisor));
    expect_nothing_left(&bed, &hypervisor, &store);
    assert_eq!(destroy(&mut client, &credentials), failure("Bad authentication"), "it is gone");
    expect_one_end(&log, &credentials["container_uuid"]);
}

#[test]
fn a_container_that_has_ended_is_destroyed_for_its_client() {
    let ((bed, hypervisor, store), log) = bed_with_log();
    let mut client = bed.client();
    let credentials = create(&mut client);
    store.fail(Fault::Down);
    hypervisor.end(only(&hypervisor));
    expect_one_end(&log, &credentials["container_uuid"]);
    // Its row is still there, and the server sees to it.
    assert_eq!(destroy(&mut client, &credentials), json!({"success": true, "message": "OK", "data": {}}));
    assert_eq!((store.names().len(), bed.containers_available()), (1, Some(0)));
}

#[test]
fn a_container_that_ends_while_it_is_destroyed_is_destroyed() {
    let ((bed, hypervisor, store), log) = bed_with_log();
    let mut client = bed.client();
    let credentials = create(&mut client);
    let latch = store.hold();
    client.send(&json!({"verb": "DESTROY", "parameters": credentials}).to_string());
    wait_until("its row is being removed", DEADLINE, || latch.waiting() == 1);
    hypervisor.end(only(&hypervisor));
    expect_one_end(&log, &credentials["container_uuid"]);
    latch.open();
    assert_eq!(client.reply()["success"], true);
    expect_nothing_left(&bed, &hypervisor, &store);
    expect_one_end(&log, &credentials["container_uuid"]);
}

#[test]
fn a_container_that_ends_before_its_client_gets_it_is_an_error() {
    let ((bed, hypervisor, store), log) = bed_with_log();
    let latch = store.hold();
    let mut client = bed.client();
    client.send(&verb("CREATE").to_string());
    wait_until("its row is being added", DEADLINE, || latch.waiting() == 1);
    let uuid = json!(only(&hypervisor).to_string());
    hypervisor.end(only(&hypervisor));
    expect_one_end(&log, &uuid);
    latch.open();
    assert_eq!(client.reply(), failure("Internal error"));
    expect_nothing_left(&bed, &hypervisor, &store);
    expect_one_end(&log, &uuid);
}

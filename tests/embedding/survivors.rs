//! Containers over a stop, a restart and a crash: those that survive keep their rows, and no other row stays.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use vmherd::custom_store::Write;
use vmherd::{ContainerId, Event, ServerBuilder, ServerId, TestHypervisor, VmName};

use crate::common::{DEADLINE, TempDir, wait_until};
use crate::containers::{create, destroy, failure};
use crate::running::Bed;
use crate::test_store::{Fault, TestStore};
use crate::{GRACE, builder};

/// What outlasts a server.
struct World {
    directory: TempDir,
    hypervisor: TestHypervisor,
    store: TestStore,
}

impl World {
    fn new() -> World {
        let (hypervisor, store) = (TestHypervisor::default(), TestStore::new());
        World { directory: TempDir::new(), hypervisor, store }
    }

    fn builder(&self) -> ServerBuilder {
        builder(&self.directory).hypervisor(self.hypervisor.clone()).store(Arc::new(self.store.clone()))
    }

    /// The id of the server.
    fn server_id(&self) -> ServerId {
        let text = std::fs::read_to_string(self.directory.path().join("id")).expect("a file");
        ServerId::parse(text.trim_end()).expect("an id")
    }
}

const STALE: &str = "00000000-0000-4000-8000-000000000000";

fn name(credentials: &Value) -> String {
    credentials["container_uuid"].as_str().expect("a text").to_owned()
}

#[test]
fn rows_end_with_the_server_and_with_each_run() {
    let world = World::new();
    let bed = Bed::serving(world.builder());
    create(&mut bed.client());
    assert_eq!(world.store.names().len(), 1);
    bed.restart();
    assert_eq!(world.store.names(), [""; 0]);
    create(&mut bed.client());
    assert_eq!(world.store.names().len(), 1);
    bed.stop();
    assert_eq!((world.store.names().len(), world.hypervisor.stops()), (0, 2));
}

#[test]
fn survivors_keep_their_rows_and_their_clients_the_credentials() {
    let world = World::new();
    world.hypervisor.survive();
    let bed = Bed::serving(world.builder().containers_max(2));
    let (first, second) = (create(&mut bed.client()), create(&mut bed.client()));
    let names = [name(&first), name(&second)];
    bed.restart();
    assert_eq!((world.store.names().as_slice(), bed.containers_available()), (&names[..], Some(0)));
    let mut client = bed.client();
    assert_eq!(destroy(&mut client, &second)["success"], true);
    bed.stop();
    assert_eq!(world.store.names(), names[..1]);
    let bed = Bed::serving(world.builder().containers_max(2));
    let mut client = bed.client();
    assert_eq!(destroy(&mut client, &second), failure("Bad authentication"));
    assert_eq!(destroy(&mut client, &first)["success"], true);
    assert_eq!((world.store.names().len(), world.hypervisor.containers().len()), (0, 0));
}

#[test]
fn the_client_of_a_survivor_is_not_known() {
    let world = World::new();
    world.hypervisor.survive();
    let ends = Arc::<Mutex<Vec<(bool, Box<str>)>>>::default();
    let seen = Arc::clone(&ends);
    let bed = Bed::serving(world.builder().on_event(move |event| {
        if let Event::DestroyedContainer { client, container } = event {
            seen.lock().unwrap().push((client.is_some(), container.clone()));
        }
    }));
    let (first, second) = (create(&mut bed.client()), create(&mut bed.client()));
    bed.restart();
    // One ends by itself, and one for a client.
    let by_itself = world.hypervisor.containers().into_iter().find(|id| id.to_string() == name(&first));
    world.hypervisor.end(by_itself.expect("it survives"));
    wait_until("its end is reported", DEADLINE, || ends.lock().unwrap().len() == 1);
    assert_eq!(destroy(&mut bed.client(), &second)["success"], true);
    wait_until("its end is reported", DEADLINE, || ends.lock().unwrap().len() == 2);
    assert_eq!(*ends.lock().unwrap(), [(false, name(&first).into()), (true, name(&second).into())]);
    wait_until("no row is left", DEADLINE, || world.store.names().is_empty());
}

/// A hypervisor reports a survivor's end before the server serves, and one between two runs.
#[test]
fn ends_before_the_first_turn_are_noted() {
    let world = World::new();
    world.hypervisor.survive();
    let bed = Bed::serving(world.builder());
    create(&mut bed.client());
    bed.stop();
    let server = world.builder().bind().expect("a server");
    let survivor = *world.hypervisor.containers().first().expect("it survives");
    world.hypervisor.end(survivor);
    let running = server.start().expect("a running server");
    wait_until("no row is left", DEADLINE, || world.store.names().is_empty());
    running.stop(GRACE).expect("no error");
}

#[test]
fn a_start_removes_the_rows_that_a_crash_has_left() {
    let world = World::new();
    drop(world.builder().bind().expect("a server"));
    assert_eq!(world.hypervisor.stops(), 1, "it was started, and never served");
    let other = ServerId::parse(&"0f".repeat(16)).expect("an id");
    world.store.add_managed(STALE, world.server_id());
    world.store.add_managed("of-another-server", other);
    // Before any client is served.
    let server = world.builder().bind().expect("a server");
    assert_eq!(world.store.names(), ["of-another-server"]);
    drop(server);
    assert_eq!(world.store.names(), ["of-another-server"]);
    // Also one that has no hypervisor any more.
    world.store.add_managed(STALE, world.server_id());
    let server = builder(&world.directory).store(Arc::new(world.store.clone())).bind().expect("a server");
    assert_eq!(world.store.names(), ["of-another-server"]);
    drop(server);
}

#[test]
fn the_rows_that_a_crash_has_left_are_removed_when_the_store_is_there() {
    for is_open in [false, true] {
        let world = World::new();
        drop(world.builder().bind().expect("a server"));
        world.store.add_managed(STALE, world.server_id());
        world.store.set_open(is_open);
        if is_open {
            world.store.fail(Fault::Down);
        }
        let bed = Bed::serving(world.builder());
        bed.client().ping();
        assert_eq!(world.store.names(), [STALE]);
        world.store.set_open(true);
        world.store.recover();
        wait_until("no row is left", DEADLINE, || world.store.names().is_empty());
        create(&mut bed.client());
    }
}

/// Its client has never got it: the server crashed before it was in the registry.
#[test]
fn a_survivor_without_a_row_is_destroyed() {
    let world = World::new();
    world.hypervisor.survive();
    let bed = Bed::serving(world.builder().containers_max(2));
    let (kept, lost) = (create(&mut bed.client()), create(&mut bed.client()));
    bed.stop();
    let names = vec![VmName::parse(&name(&lost)).expect("a name")];
    world.store.write(&Write::RemoveManaged { server: world.server_id(), names });
    let bed = Bed::serving(world.builder().containers_max(2));
    let running =
        || -> Vec<String> { world.hypervisor.containers().iter().map(ContainerId::to_string).collect() };
    wait_until("it is destroyed", DEADLINE, || running() == [name(&kept)]);
    wait_until("it does not count", DEADLINE, || bed.containers_available() == Some(1));
    assert_eq!(world.store.names(), [name(&kept)]);
}

#[test]
fn a_hypervisor_that_cannot_start_is_an_error_with_its_reason() {
    let world = World::new();
    world.hypervisor.fail("there is no /dev/kvm");
    let error = world.builder().bind().err().expect("an error");
    assert_eq!(error.to_string(), "the hypervisor can't be started: there is no /dev/kvm");
    assert_eq!((error.is_configuration, world.hypervisor.stops()), (false, 0));
    world.hypervisor.succeed();
    let server = world.builder().bind().expect("the directory and the port are free");
    let running = server.start().expect("a running server");
    world.hypervisor.fail("the image is gone");
    running.restart(GRACE).expect_err("it stops");
    let error = running.join().expect_err("it has ended with an error");
    assert_eq!(error.to_string(), "the hypervisor can't be started: the image is gone");
    assert_eq!(world.hypervisor.stops(), 1);
}

#[test]
fn a_server_with_a_hypervisor_keeps_its_id() {
    let world = World::new();
    let without = builder(&world.directory).bind().expect("a server");
    drop(without);
    assert!(!world.directory.path().join("id").exists());
    drop(world.builder().bind().expect("a server"));
    let (id, path) = (world.server_id(), world.directory.path().join("id"));
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(world.builder().bind().expect("a server"));
    assert_eq!(world.server_id(), id);
    std::fs::write(&path, "no id\n").expect("a file");
    let error = world.builder().bind().err().expect("an error");
    assert!(error.is_configuration && error.why.contains("32 hexadecimal digits"), "{error}");
}

//! The states of containers, and who may end them.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::super::container_entry::{NO_TOKEN, name_of};
use super::*;
use crate::embed::{ClientFactory, Hypervisor, Responder, TestHypervisor};
use crate::ids::ConnId;
use crate::model::{Container, HypervisorError, Peer, Principal, Secret, VmShape};

fn client() -> ClientKey {
    let conn = ConnId { index: 1, generation: 1 };
    ClientFactory::default().key(conn, Peer::Tcp(Ipv4Addr::LOCALHOST.into(), 1), Principal::Anonymous)
}

fn order(id: ContainerId) -> ContainerOrder {
    let (user_name, password) = ("user_00000".into(), Secret::new("password"));
    ContainerOrder { id, user_name, password, token_sha256: [0; 32], enrollment: None }
}

fn report(id: ContainerId, change: ContainerChange) -> ContainerReport {
    ContainerReport { id, client: Some(client()), change }
}

fn created() -> ContainerChange {
    let listen_port = 1.try_into().expect("not zero");
    let shape = VmShape { ram_mib: 128, cpus: 1 };
    ContainerChange::Created(Ok(Container {
        listen_port,
        iso_sha256: [0; 32],
        shape,
        disk_sizes_gib: Vec::new(),
    }))
}

fn credentials(id: ContainerId, token: &str) -> ContainerCredentials {
    ContainerCredentials { id, token: Secret::new(token) }
}

const FIRST: ContainerId = ContainerId([1; 16]);
const SECOND: ContainerId = ContainerId([2; 16]);

/// Containers with `FIRST`, which runs and has the token `right`.
fn containers(max: Option<u32>) -> Containers {
    let hypervisor = Arc::new(HypervisorHandle::new(Box::new(TestHypervisor::default()), || {}));
    let mut containers = Containers::new(Some(hypervisor), Some(ServerId([9; 16])), max, &[]);
    containers.create(order(FIRST), token::hash(&Secret::new("right")), client()).expect("there is room");
    containers.apply(&report(FIRST, created()));
    assert!(containers.begin_row(FIRST).is_some());
    containers.row_added(FIRST).expect("it runs");
    containers
}

/// The next step of the first container, if the server ends it.
fn step(containers: &mut Containers) -> Option<Step> {
    containers.next_step(FIRST).map(|(step, _)| step)
}

fn destroyed(result: Result<(), &str>) -> ContainerReport {
    report(FIRST, ContainerChange::Destroyed(result.map_err(|error| error.into())))
}

#[test]
fn a_wrong_id_and_a_wrong_token_take_the_same_path() {
    let mut containers = containers(None);
    for (id, token, is_found) in
        [(FIRST, "right", true), (FIRST, "wrong", false), (SECOND, "right", false), (SECOND, "wrong", false)]
    {
        let mut compared = Vec::new();
        let found = find(&mut containers.by_id, id, &token::hash(&Secret::new(token)), |one, other| {
            compared.push((*one, *other));
            is_equal(one, other)
        });
        assert_eq!(found.is_some(), is_found, "{id} {token}");
        let stored = if id == FIRST { token::hash(&Secret::new("right")) } else { NO_TOKEN };
        assert_eq!(compared, [(stored, token::hash(&Secret::new(token)))], "one comparison: {id} {token}");
    }
    // Even a hash equal to the stand-in finds nothing.
    assert!(find(&mut containers.by_id, SECOND, &NO_TOKEN, is_equal).is_none());
}

#[test]
fn a_container_counts_from_its_reservation_to_its_end() {
    let mut containers = containers(Some(2));
    let token = token::hash(&Secret::new("token"));
    assert_eq!(containers.available(), Some(1));
    containers.create(order(SECOND), token, client()).expect("there is room");
    assert_eq!(containers.available(), Some(0));
    let third = containers.create(order(ContainerId([3; 16])), token, client());
    assert_eq!(third.err(), Some(Failure::ContainerLimitReached));
    containers.apply(&report(SECOND, ContainerChange::Created(Err("no memory".into()))));
    assert_eq!(containers.available(), Some(1));
    containers.create(order(SECOND), token, client()).expect("there is room");
    containers.settle(SECOND, Step::Create, Outcome::NotDone);
    assert_eq!(containers.available(), Some(1), "its creation never ran");

    let begin = |containers: &mut Containers| containers.destroy(&credentials(FIRST, "right"));
    assert!(matches!(begin(&mut containers), Ok(Some(Work::Write(_)))), "the row is first");
    assert_eq!(begin(&mut containers).err(), Some(Failure::Busy));
    containers.settle(FIRST, Step::RemoveRow, Outcome::NotDone);
    assert!(begin(&mut containers).is_ok(), "the store was away: it can be tried again");
    assert!(containers.row_removed(FIRST, client()).is_some());
    containers.apply(&destroyed(Err("it hangs")));
    assert!(begin(&mut containers).is_ok(), "it can be tried again");
    assert!(containers.row_removed(FIRST, client()).is_some());
    containers.settle(FIRST, Step::Destroy, Outcome::NotDone);
    assert!(begin(&mut containers).is_ok(), "its destruction never ran");
    assert!(containers.row_removed(FIRST, client()).is_some());
    assert_eq!(containers.available(), Some(1));
    containers.apply(&destroyed(Ok(())));
    assert_eq!(containers.available(), Some(2));
    assert_eq!(begin(&mut containers).err(), Some(Failure::InvalidCredentials));
}

#[test]
fn a_container_that_is_undone_stays_so_until_row_and_guest_are_gone() {
    let mut containers = containers(Some(1));
    [SECOND, FIRST, FIRST].into_iter().for_each(|id| containers.undo(id));
    assert_eq!(containers.take_due(), (vec![FIRST], vec![]));
    assert_eq!(step(&mut containers), Some(Step::RemoveRow));
    assert_eq!(step(&mut containers), None, "one step at a time");
    containers.settle(FIRST, Step::RemoveRow, Outcome::NotDone);
    assert_eq!(containers.destroy(&credentials(FIRST, "right")).err(), Some(Failure::Busy));
    assert_eq!(step(&mut containers), Some(Step::RemoveRow));
    containers.settle(FIRST, Step::RemoveRow, Outcome::Done);
    assert_eq!(step(&mut containers), Some(Step::Destroy));
    containers.apply(&destroyed(Err("it hangs")));
    assert_eq!(step(&mut containers), Some(Step::Destroy), "it is tried again");
    containers.apply(&destroyed(Ok(())));
    assert_eq!((containers.available(), step(&mut containers)), (Some(1), None));
}

#[test]
fn a_step_that_has_failed_is_due_after_a_pause() {
    let mut containers = containers(None);
    containers.undo(FIRST);
    assert_eq!(containers.take_due(), (vec![FIRST], vec![]));
    step(&mut containers);
    containers.settle(FIRST, Step::RemoveRow, Outcome::NotDone);
    assert_eq!(containers.take_due(), (vec![], vec![FIRST]));
    step(&mut containers);
    containers.settle(FIRST, Step::RemoveRow, Outcome::Done);
    assert_eq!(containers.take_due(), (vec![FIRST], vec![]));
    step(&mut containers);
    containers.apply(&destroyed(Err("it hangs")));
    assert_eq!(containers.take_due(), (vec![], vec![FIRST]));
    step(&mut containers);
    containers.apply(&destroyed(Ok(())));
    assert!(!containers.has_due());
}

#[test]
fn a_row_whose_addition_is_abandoned_is_removed_when_its_fate_is_known() {
    for (outcome, needs_removal) in
        [(Outcome::Done, true), (Outcome::Unknown, true), (Outcome::NotDone, false)]
    {
        let mut containers = containers(Some(2));
        containers.get(FIRST).expect("it runs").row = Row::Adding;
        containers.abandon(FIRST, Step::AddRow);
        assert_eq!(step(&mut containers), Some(Step::Destroy), "the guest does not wait");
        containers.apply(&destroyed(Ok(())));
        assert_eq!((step(&mut containers), containers.available()), (None, Some(1)), "{outcome:?}");
        containers.settle(FIRST, Step::AddRow, outcome);
        if needs_removal {
            assert_eq!(step(&mut containers), Some(Step::RemoveRow), "{outcome:?}");
            containers.settle(FIRST, Step::RemoveRow, Outcome::Done);
        }
        assert_eq!((step(&mut containers), containers.available()), (None, Some(2)), "{outcome:?}");
    }
}

#[test]
fn a_destruction_that_has_begun_goes_on_without_its_client() {
    for (how, wanted) in [
        (None, Some(Step::RemoveRow)),
        (Some(Outcome::Unknown), Some(Step::RemoveRow)),
        (Some(Outcome::Done), Some(Step::Destroy)),
        (Some(Outcome::NotDone), None),
    ] {
        let mut containers = containers(None);
        containers.destroy(&credentials(FIRST, "right")).expect("it runs");
        match how {
            None => containers.abandon(FIRST, Step::RemoveRow),
            Some(outcome) => containers.settle(FIRST, Step::RemoveRow, outcome),
        }
        assert_eq!(step(&mut containers), wanted, "{how:?}");
    }
    // Its row is removed, and the hypervisor fails.
    let mut containers = containers(None);
    containers.destroy(&credentials(FIRST, "right")).expect("it runs");
    containers.row_removed(FIRST, client());
    containers.apply(&destroyed(Err("it hangs")));
    assert_eq!(containers.take_due(), (vec![], vec![FIRST]));
    // Its client tries again, and the store fails.
    containers.destroy(&credentials(FIRST, "right")).expect("it runs");
    assert_eq!(step(&mut containers), None);
    containers.settle(FIRST, Step::RemoveRow, Outcome::NotDone);
    assert_eq!(containers.take_due(), (vec![], vec![FIRST]));
    assert_eq!(step(&mut containers), Some(Step::Destroy));
}

#[test]
fn an_end_by_itself_is_told_once_and_destroys_the_rest() {
    let mut containers = containers(Some(2));
    containers.create(order(SECOND), token::hash(&Secret::new("token")), client()).expect("there is room");
    assert_eq!(containers.ended(SECOND), EndNews::TooEarly);
    assert_eq!(containers.ended(ContainerId([3; 16])), EndNews::Old);
    assert_eq!(containers.ended(FIRST), EndNews::Ended(Some(client())));
    assert_eq!((containers.ended(FIRST), containers.has_ended(FIRST)), (EndNews::Old, true));
    let destroy = containers.destroy(&credentials(FIRST, "right"));
    assert!(matches!(destroy, Ok(None)), "its client gets what it wants");
    assert_eq!(step(&mut containers), Some(Step::RemoveRow));
    containers.settle(FIRST, Step::RemoveRow, Outcome::Done);
    assert_eq!(step(&mut containers), Some(Step::Destroy));
    containers.apply(&destroyed(Ok(())));
    assert_eq!(containers.available(), Some(1));
}

#[test]
fn a_container_that_ends_while_its_row_is_added_is_not_given_to_its_client() {
    let mut containers = containers(None);
    containers.get(FIRST).expect("it runs").row = Row::Adding;
    assert!(matches!(containers.ended(FIRST), EndNews::Ended(_)));
    assert_eq!(step(&mut containers), None, "its request finds it out");
    assert_eq!(containers.row_added(FIRST), Err(Failure::Internal));
    assert_eq!(step(&mut containers), Some(Step::RemoveRow));
}

#[test]
fn containers_are_compared_with_the_registry() {
    let hypervisor = Arc::new(HypervisorHandle::new(Box::new(TestHypervisor::default()), || {}));
    let survivor = |id| RunningContainer { id, token_sha256: token::hash(&Secret::new("right")).0 };
    let running = [survivor(FIRST), survivor(SECOND)];
    let new = || Containers::new(Some(Arc::clone(&hypervisor)), Some(ServerId([9; 16])), None, &running);
    let stale = VmName::from_store("00000000-0000-4000-8000-000000000000");
    let mut containers = new();
    let dead = containers.reconcile(vec![stale.clone(), name_of(SECOND)], true);
    assert_eq!((dead, containers.take_due().0), (vec![stale.clone()], vec![FIRST]));
    assert_eq!(step(&mut containers), Some(Step::Destroy), "its client has never got it");
    let mut containers = new();
    let dead = containers.reconcile(vec![stale.clone(), name_of(SECOND)], false);
    assert_eq!((dead, containers.has_due()), (vec![stale], false), "its row may be among the others");
    assert!(containers.destroy(&credentials(FIRST, "right")).is_ok());
}

#[test]
fn a_call_that_was_made_before_a_stop_does_not_begin() {
    struct Untouched;
    impl Hypervisor for Untouched {
        fn create(&self, _: ContainerOrder, _: Responder<Result<Container, HypervisorError>>) {
            panic!("it is stopped");
        }
        fn destroy(&self, _: ContainerId, _: Responder<Result<(), HypervisorError>>) {
            panic!("it is stopped");
        }
        fn stop(&self, _: Duration) {}
    }
    let hypervisor = Arc::new(HypervisorHandle::new(Box::new(Untouched), || {}));
    let call = hypervisor.create(order(FIRST), client());
    hypervisor.stop(Duration::from_secs(1));
    let (sender, reports) = std::sync::mpsc::channel();
    assert_eq!(call.run(move |report| sender.send(report.change).expect("the test listens")), None);
    let change = reports.recv().expect("a report");
    assert_eq!(change.error(), Some("the hypervisor: the server stops"));
}

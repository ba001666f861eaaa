//! Containers whose clients do not get them are destroyed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use vmherd::{
    Container, ContainerId, ContainerOrder, EndReporter, Event, Hypervisor, HypervisorError, Responder,
    Response, RunningContainer, TestHypervisor,
};

use crate::common::{Client, DEADLINE, wait_until};
use crate::containers::{bed, create, create_unread, failure};
use crate::running::{Bed, verb};

/// Ends the connection with a reset: after an orderly close, the server would still send the answer.
fn reset(client: Client) {
    client.socket().set_linger(Some(Duration::ZERO)).expect("a socket option");
}

#[test]
fn a_container_whose_client_has_left_is_destroyed() {
    let events = Arc::<Mutex<Vec<&'static str>>>::default();
    let seen = Arc::clone(&events);
    let hypervisor = TestHypervisor::default();
    let bed = Bed::with(|builder| {
        builder.hypervisor(hypervisor.clone()).containers_max(1).on_event(move |event| {
            let name = match event {
                Event::ClientClosed { .. } => "closed",
                Event::CreatedEndpointShell { .. } => "shell",
                Event::CreatedContainer { .. } => "created",
                Event::DestroyedContainer { .. } => "destroyed",
                _ => return,
            };
            seen.lock().unwrap().push(name);
        })
    });
    hypervisor.hold();
    let mut gone = bed.client();
    gone.send(&verb("CREATE").to_string());
    wait_until("it is being created", DEADLINE, || {
        hypervisor.held() == 1 && *events.lock().unwrap() == ["shell"]
    });
    reset(gone);
    wait_until("the client has left", DEADLINE, || bed.counter("connections_open") == 0);
    assert_eq!(bed.containers_available(), Some(0), "it may still come into being");
    hypervisor.release();
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
    assert_eq!((bed.counter("results_late"), bed.counter("requests_in_flight")), (1, 0));
    wait_until("all events are reported", DEADLINE, || events.lock().unwrap().len() == 4);
    assert_eq!(*events.lock().unwrap(), ["shell", "closed", "created", "destroyed"]);
    create(&mut bed.client());
}

#[test]
fn a_container_whose_client_was_closed_by_the_program_is_destroyed() {
    let hypervisor = TestHypervisor::default();
    let bed = Bed::with(|builder| {
        builder.hypervisor(hypervisor.clone()).containers_max(1).handle(
            "BYE",
            |request: vmherd::HandlerRequest, responder: Responder| {
                request.client().close();
                responder.respond(Response::success(json!({})));
            },
        )
    });
    hypervisor.hold();
    let mut client = bed.client();
    client.send(&json!({"verb": "CREATE", "parameters": {}, "request_id": 1}).to_string());
    wait_until("it is being created", DEADLINE, || hypervisor.held() == 1);
    client.send(&json!({"verb": "BYE", "parameters": {}, "request_id": 2}).to_string());
    client.rest();
    hypervisor.release();
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
}

#[test]
fn a_container_whose_answer_is_not_sent_is_destroyed() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(hypervisor.clone(), 1);
    let mut client = bed.local_client();
    create_unread(&mut client);
    wait_until("it is created", DEADLINE, || hypervisor.containers().len() == 1);
    assert_eq!(bed.containers_available(), Some(0));
    drop(client);
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
    assert_eq!(bed.counter("results_late"), 0, "the answer was in time");
}

#[test]
fn a_container_that_is_created_after_its_deadline_is_destroyed() {
    let hypervisor = TestHypervisor::default();
    hypervisor.create_within(Duration::from_millis(50));
    let bed = Bed::with(|builder| builder.hypervisor(hypervisor.clone()).containers_max(1));
    hypervisor.hold();
    let mut client = bed.client();
    assert_eq!(client.call(verb("CREATE")), failure("Internal error (outcome unknown)"));
    assert_eq!(bed.containers_available(), Some(0), "it may still come into being");
    hypervisor.release();
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
    assert_eq!(bed.counter("results_late"), 1);
    create(&mut client);
}

/// Keeps the responders of the destructions.
#[derive(Clone, Default)]
struct KeepsOnDestroy(TestHypervisor, Arc<Mutex<Vec<DestroyResponder>>>);

type DestroyResponder = Responder<Result<(), HypervisorError>>;

impl Hypervisor for KeepsOnDestroy {
    fn start(&self, ends: EndReporter) -> Result<Vec<RunningContainer>, HypervisorError> {
        self.0.start(ends)
    }

    fn create(&self, order: ContainerOrder, responder: Responder<Result<Container, HypervisorError>>) {
        self.0.create(order, responder);
    }

    fn destroy(&self, _: ContainerId, responder: DestroyResponder) {
        self.1.lock().unwrap().push(responder);
    }

    fn stop(&self, time_max: Duration) {
        self.0.stop(time_max);
    }
}

#[test]
fn an_undelivered_container_that_is_not_destroyed_counts() {
    let hypervisor = KeepsOnDestroy::default();
    let bed = bed(hypervisor.clone(), 1);
    hypervisor.0.hold();
    let mut gone = bed.client();
    gone.send(&verb("CREATE").to_string());
    wait_until("it is being created", DEADLINE, || hypervisor.0.held() == 1);
    reset(gone);
    wait_until("the client has left", DEADLINE, || bed.counter("connections_open") == 0);
    hypervisor.0.release();
    // Sooner than an idle worker looks for jobs by itself: it is notified.
    let soon = DEADLINE / 3;
    wait_until("it is to be destroyed", soon, || hypervisor.1.lock().unwrap().len() == 1);
    let responder = hypervisor.1.lock().unwrap().pop().expect("it was kept");
    responder.respond(Err(HypervisorError::new("a failure that this test wants")));
    wait_until("the failure is counted", DEADLINE, || bed.counter("runtime_errors") == 1);
    assert_eq!(bed.containers_available(), Some(0));
}

#[test]
fn a_destruction_whose_client_has_left_takes_effect() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(hypervisor.clone(), 1);
    let credentials = create(&mut bed.client());
    for is_success in [false, true] {
        hypervisor.hold();
        let mut gone = bed.client();
        gone.send(&json!({"verb": "DESTROY", "parameters": credentials}).to_string());
        wait_until("it is being destroyed", DEADLINE, || hypervisor.held() == 1);
        reset(gone);
        wait_until("the client has left", DEADLINE, || bed.counter("connections_open") == 0);
        match is_success {
            true => hypervisor.succeed(),
            false => hypervisor.fail("a failure that this test wants"),
        }
        hypervisor.release();
        let late = 1 + u64::from(is_success);
        wait_until("the result is noted", DEADLINE, || bed.counter("results_late") == late);
        assert_eq!(bed.containers_available(), Some(u32::from(is_success)));
    }
}

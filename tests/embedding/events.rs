//! Events: their order in each course of a connection, callbacks that fail or hang, and the gate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use vmherd::{Event, EventKind, HandlerRequest, Responder, Response, ServerBuilder};

use crate::common::{Client, DEADLINE, TempDir, wait_until};
use crate::running::{Bed, LatchedThreads, verb};
use crate::{GRACE, builder, client};

/// The events of a server in short, in their order.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn record(&self, event: &Event) {
        let text = match event {
            Event::Request { name, .. } => format!("Request {name}"),
            Event::MalformedRequest { error, .. } => format!("MalformedRequest {error}"),
            Event::RuntimeError { thread, error, .. } => format!("RuntimeError {thread}: {error}"),
            event => format!("{:?}", event.kind()),
        };
        self.0.lock().unwrap().push(text);
    }

    fn of(&self, builder: ServerBuilder) -> ServerBuilder {
        let recorder = self.clone();
        builder.on_event(move |event| recorder.record(event))
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until `count` events of a kind have come.
    fn wait(&self, kind: &str, count: usize) {
        wait_until(kind, DEADLINE, || {
            self.all().iter().filter(|text| text.split(' ').next() == Some(kind)).count() >= count
        });
    }
}

/// The events between `Started` and `Stopped` of a server that `add` changes, while `act` runs with a new client.
fn events_of(add: impl FnOnce(ServerBuilder) -> ServerBuilder, act: impl FnOnce(Client)) -> Vec<String> {
    let recorder = Recorder::default();
    let bed = Bed::with(|builder| recorder.of(add(builder)));
    act(bed.client());
    wait_until("the client has left", DEADLINE, || bed.counter("connections_open") == 0);
    bed.stop();
    let mut all = recorder.all();
    assert_eq!(all.remove(0), "Started");
    assert_eq!(all.pop().as_deref(), Some("Stopped"), "{all:?}");
    all
}

#[test]
fn a_good_a_malformed_and_an_unknown_request() {
    let cases: [(&[&str], &[&str]); 8] = [
        (&[r#"{"command": "ping"}"#], &["Request ping"]),
        (
            &[
                r#"{"command": "ping"} {"command": "ping"} {"command": "nothing"} {"command": "ping"}"#,
                "",
                "",
                "",
            ],
            &["Request ping", "Request ping", "UnknownVerb", "Request ping"],
        ),
        (&[r#"{"verb": "STAT", "parameters": {}}"#], &["Request verb_stat"]),
        (
            &[r#"{"command": "ping"} {"command": "nothing"} {"verb": "STAT"}"#, "", ""],
            &["Request ping", "UnknownVerb", "MalformedRequest Malformed request"],
        ),
        (&[r#"{"verb": "NOTHING", "parameters": {}}"#], &["UnknownVerb"]),
        (
            &[r#"{"command": "register", "data": {}}"#],
            &["MalformedRequest missing fields: vm_id, ram, cpu, password, disks"],
        ),
        (
            &["x"],
            &[
                "MalformedRequest Invalid JSON: a request begins with '{', not with 'x'; skipped to the end of the line",
            ],
        ),
        (&[r#"{"command": "list", "data": {"list_type": "all_vms"}}"#], &["Request list"]),
    ];
    for (requests, wanted) in cases {
        let found = events_of(
            |builder| builder,
            |mut client| {
                // So that the framing is raw JSON.
                client.ping();
                requests.iter().filter(|text| !text.is_empty()).for_each(|text| client.send(text));
                requests.iter().for_each(|_| drop(client.reply()));
            },
        );
        let all = [&["Connection", "Client", "Request ping"], wanted, &["ClientClosed"]].concat();
        assert_eq!(found, all, "{requests:?}");
    }
}

#[test]
fn requests_without_an_answer_yet_come_before_the_end_of_their_client() {
    let kept: Arc<Mutex<Vec<Responder>>> = Arc::default();
    let keeping = Arc::clone(&kept);
    let found = events_of(
        |builder| {
            builder.handle("KEEP", move |_, responder: Responder| keeping.lock().unwrap().push(responder))
        },
        |mut client| {
            client.send(&verb("KEEP").to_string());
            wait_until("the handler is called", DEADLINE, || !kept.lock().unwrap().is_empty());
            client.socket().set_linger(Some(Duration::ZERO)).expect("a socket option");
        },
    );
    assert_eq!(found, ["Connection", "Client", "Request KEEP", "ClientClosed"]);
    kept.lock().unwrap().clear();
}

#[test]
fn a_client_that_sends_nothing_or_half_a_request() {
    let found = events_of(|builder| builder, drop);
    assert_eq!(found, ["Connection", "Client", "ClientClosed"]);
    let found = events_of(
        |builder| builder,
        |mut client| {
            client.send(r#"{"command": "#);
            client.half_close();
            client.rest();
        },
    );
    let wanted = "MalformedRequest Invalid JSON: the input ended inside a request";
    assert_eq!(found, ["Connection", "Client", wanted, "ClientClosed"]);
}

#[test]
fn a_failing_handler_is_a_runtime_error_of_its_client() {
    let found = events_of(
        |builder| builder.handle("PANIC", |_, _responder: Responder| panic!("a panic that this test wants")),
        |mut client| drop(client.call(verb("PANIC"))),
    );
    let error = "RuntimeError vmherd-handler: PANIC: the handler panicked: a panic that this test wants";
    assert_eq!(found, ["Connection", "Client", "Request PANIC", error, "ClientClosed"]);
}

#[test]
fn a_handler_that_closes_its_client() {
    let found = events_of(
        |builder| {
            builder.handle("BYE", |request: HandlerRequest, responder: Responder| {
                responder.respond(Response::success(json!({})));
                request.client().close();
            })
        },
        |mut client| {
            client.call(verb("BYE"));
            client.expect_closed();
        },
    );
    assert_eq!(found, ["Connection", "Client", "Request BYE", "ClientClosed"]);
}

#[test]
fn a_callback_that_closes_its_client_ends_the_session() {
    let found = events_of(
        |builder| builder.on(EventKind::Client, |event| event.client().expect("it has one").close()),
        |mut client| client.expect_closed(),
    );
    assert_eq!(found, ["Connection", "Client", "ClientClosed"]);
}

#[test]
fn a_gate_refuses_before_any_byte_is_decoded() {
    let found = events_of(
        |builder| builder.gate(|_| false),
        |mut client| {
            let _ = client.try_send(b"{\"command\": \"ping\"}");
            assert_eq!(client.try_line(), None);
        },
    );
    assert_eq!(found, ["Connection"]);
}

#[test]
fn a_gate_that_panics_refuses() {
    let found = events_of(
        |builder| builder.gate(|_| panic!("a panic that this test wants")),
        |mut client| assert_eq!(client.try_line(), None),
    );
    assert_eq!(found, ["Connection", "RuntimeError vmherd-gate: the gate panicked"]);
}

#[test]
fn a_gate_admits_by_address_and_holds_the_requests_until_then() {
    let threads = LatchedThreads::default();
    let held = threads.clone();
    let bed = Bed::with(|builder| {
        builder.gate(move |client| {
            held.wait();
            client.address().is_some_and(|address| address.ip().is_loopback())
        })
    });
    let mut client = bed.client();
    client.send(r#"{"command": "ping"}"#);
    wait_until("the gate is asked", DEADLINE, || threads.waiting() == 1);
    assert!(!client.has_input(Duration::from_millis(20)));
    threads.open();
    assert_eq!(client.reply()["message"], "PONG");
}

#[test]
fn a_client_that_leaves_at_the_gate_is_never_admitted() {
    let threads = LatchedThreads::default();
    let held = threads.clone();
    let found = events_of(
        |builder| {
            builder.gate(move |_| {
                held.wait();
                true
            })
        },
        |client| {
            wait_until("the gate is asked", DEADLINE, || threads.waiting() == 1);
            client.socket().set_linger(Some(Duration::ZERO)).expect("a socket option");
        },
    );
    threads.open();
    assert_eq!(found, ["Connection"]);
}

#[test]
fn a_gate_that_hangs_refuses_after_its_deadline_and_the_stop_does_not_wait() {
    let threads = LatchedThreads::default();
    let held = threads.clone();
    let recorder = Recorder::default();
    let bed = Bed::with(|builder| {
        recorder.of(builder.gate(move |_| {
            held.wait();
            true
        }))
    });
    let begun = Instant::now();
    bed.client().expect_closed();
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(bed.counter("connections_denied"), 1);
    let _waiting = bed.client();
    wait_until("the gate is asked again", DEADLINE, || threads.waiting() == 2);
    let begun = Instant::now();
    bed.stop();
    assert!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
    assert!(!recorder.all().iter().any(|event| event.starts_with("Client")), "{:?}", recorder.all());
    threads.open();
}

#[test]
fn callbacks_that_panic_are_counted_and_called_again() {
    let calls = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&calls);
    let recorder = Recorder::default();
    let bed = Bed::with(|builder| {
        recorder.of(builder.on(EventKind::Request, move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            panic!("a panic that this test wants");
        }))
    });
    let mut client = bed.client();
    (0..2).for_each(|_| client.ping());
    recorder.wait("RuntimeError", 2);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(bed.counter("runtime_errors"), 2);
    let error = "RuntimeError vmherd-events: a callback of Request panicked: a panic that this test wants";
    assert!(recorder.all().iter().any(|event| event == error), "{:?}", recorder.all());
}

#[test]
fn an_endless_callback_delays_no_client_and_its_lost_events_are_counted() {
    let threads = LatchedThreads::default();
    let held = threads.clone();
    let bed = Bed::with(|builder| builder.on(EventKind::Request, move |_| held.wait()));
    let mut client = bed.client();
    client.ping();
    wait_until("the callback is called", DEADLINE, || threads.waiting() == 1);
    // Requests for the same command would be one event in the queue.
    let requests = r#"{"command": "ping"} {"verb": "STAT", "parameters": {}}"#.repeat(500);
    let mut sent = 0;
    while bed.counter("events_lost") == 0 {
        client.send(&requests);
        (0..1000).for_each(|_| drop(client.reply()));
        sent += 1;
        assert!(sent < 1000, "the queue has no end");
    }
    let mut other = bed.client();
    let slowest = (0..100).map(|_| {
        let begun = Instant::now();
        other.ping();
        begun.elapsed()
    });
    let slowest = slowest.max().expect("there are some");
    assert!(
        slowest < Duration::from_millis(500),
        "{slowest:?}: ten times what is promised on an idle machine"
    );
    let begun = Instant::now();
    bed.stop();
    assert!(begun.elapsed() < GRACE + GRACE, "{:?}", begun.elapsed());
    threads.open();
}

#[test]
fn each_client_has_one_beginning_and_one_end_whatever_its_course() {
    let recorder = Recorder::default();
    let bed = Bed::with(|builder| recorder.of(builder));
    let clients: Vec<Client> = (0..50).map(|_| bed.client()).collect();
    for (index, mut client) in clients.into_iter().enumerate() {
        match index % 4 {
            0 => client.ping(),
            1 => client.send("{"),
            2 => client.socket().set_linger(Some(Duration::ZERO)).expect("a socket option"),
            _ => {}
        }
    }
    let _open: Vec<Client> = (0..10)
        .map(|_| {
            let mut client = bed.client();
            client.ping();
            client
        })
        .collect();
    bed.stop();
    let all = recorder.all();
    let count = |kind: &str| all.iter().filter(|event| *event == kind).count();
    assert_eq!([count("Connection"), count("Client"), count("ClientClosed")], [60; 3], "{all:?}");
    assert_eq!(
        (all.first().map(String::as_str), all.last().map(String::as_str)),
        (Some("Started"), Some("Stopped"))
    );
}

#[test]
fn a_restart_ends_all_clients_before_the_next_run_begins() {
    let recorder = Recorder::default();
    let bed = Bed::with(|builder| recorder.of(builder));
    let mut before = bed.client();
    before.ping();
    bed.restart();
    before.expect_closed();
    let mut after = bed.client();
    after.ping();
    drop(after);
    wait_until("the client has left", DEADLINE, || bed.counter("connections_open") == 0);
    bed.stop();
    let client = ["Connection", "Client", "Request ping", "ClientClosed"];
    let run = [&["Started"], &client[..], &["Stopped"]].concat();
    assert_eq!(recorder.all(), [&run[..], &run].concat());
}

#[test]
fn the_ids_of_clients_are_unique_and_those_of_their_requests() {
    let (sender, events): (_, Receiver<(EventKind, String)>) = channel();
    let directory = TempDir::new();
    let server = builder(&directory)
        .on_event(move |event| {
            if let Some(client) = event.client() {
                let _ = sender.send((event.kind(), client.id().to_string()));
            }
        })
        .bind()
        .expect("a server");
    let addresses = server.addresses().to_vec();
    let running = server.start().expect("a running server");
    for _ in 0..3 {
        client(&addresses).ping();
    }
    let mut ids = Vec::new();
    while ids.len() < 3 {
        let (kind, id) = events.recv_timeout(DEADLINE).expect("an event");
        match kind {
            EventKind::Connection => assert!(!ids.contains(&id), "{id} is used twice"),
            EventKind::ClientClosed => ids.push(id),
            _ => {}
        }
    }
    running.stop(GRACE).expect("no error");
}

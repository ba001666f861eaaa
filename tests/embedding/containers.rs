//! Containers: the verbs CREATE and DESTROY with a hypervisor.

use std::io::Write;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmherd::{
    Container, ContainerId, ContainerOrder, Event, Hypervisor, HypervisorError, LocalClient, Responder,
    Response, TestHypervisor, VmShape,
};

use crate::common::codec::{request_head, text_frame};
use crate::common::{Client, DEADLINE, wait_until};
use crate::running::{Bed, LatchedThreads, verb};
use crate::web::Web;

/// A server with this hypervisor and at most this many containers.
pub fn bed(hypervisor: impl Hypervisor + 'static, containers_max: u32) -> Bed {
    Bed::with(|builder| builder.hypervisor(hypervisor).containers_max(containers_max))
}

/// The error in the shape of a verb.
pub fn failure(message: &str) -> Value {
    json!({"success": false, "message": message, "data": {}})
}

/// Creates a container; returns its credentials.
#[track_caller]
pub fn create(client: &mut Client) -> Value {
    let reply = client.call(verb("CREATE"));
    assert_eq!(reply["success"], true, "{reply}");
    json!({"container_uuid": reply["data"]["container_uuid"], "client_token": reply["data"]["client_token"]})
}

pub fn destroy(client: &mut Client, credentials: &Value) -> Value {
    client.call(json!({"verb": "DESTROY", "parameters": credentials}))
}

#[test]
fn a_new_container_has_six_fields_and_is_destroyed_with_both_credentials() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(hypervisor.clone(), 2);
    let mut client = bed.client();
    let reply = client.call(verb("CREATE"));
    assert_eq!((&reply["success"], &reply["message"]), (&json!(true), &json!("OK")));
    let data = reply["data"].as_object().expect("data is an object");
    let names = [
        "client_token",
        "container_iso_sha256",
        "container_listen_port",
        "container_password",
        "container_username",
        "container_uuid",
    ];
    assert_eq!(data.keys().collect::<Vec<_>>(), names);
    let text = |name: &str| data[name].as_str().expect("a text");
    let has_form = |name: &str, length: usize, allowed: &dyn Fn(char) -> bool| {
        assert!(text(name).len() == length && text(name).chars().all(allowed), "{name}: {}", text(name));
    };
    has_form("client_token", 255, &|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    has_form("container_password", 120, &|c| c.is_ascii_alphanumeric());
    has_form("container_iso_sha256", 64, &|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    has_form("container_uuid", 36, &|c| c.is_ascii_digit() || ('a'..='f').contains(&c) || c == '-');
    assert_eq!(&text("container_uuid")[14..15], "4", "a random UUID");
    let digits = text("container_username").strip_prefix("user_").expect("a user name");
    assert!(digits.len() == 5 && digits.bytes().all(|digit| digit.is_ascii_digit()), "{digits}");
    assert!((1..=65_535).contains(&data["container_listen_port"].as_u64().expect("a port")));
    let running: Vec<_> = hypervisor.containers().iter().map(ContainerId::to_string).collect();
    assert_eq!(running, [text("container_uuid")]);

    let available = |client: &mut Client| client.call(verb("STAT"))["data"]["available"].clone();
    assert_eq!((available(&mut client), bed.containers_available()), (json!(1), Some(1)));
    let (uuid, token) = (text("container_uuid"), text("client_token"));
    let other = create(&mut bed.client());
    assert_eq!(
        client.call(verb("CREATE")),
        failure("Unavailable (Running containers maximum amount was reached)")
    );
    // A client that has both credentials may destroy it; one of them is not enough.
    let mut another = bed.client();
    let wrong = failure("Bad authentication");
    for (uuid, token) in [
        (uuid, &*"x".repeat(255)),
        ("01234567-89ab-4cde-bfed-0123456789ab", token),
        (uuid, other["client_token"].as_str().expect("a token")),
    ] {
        let credentials = json!({"container_uuid": uuid, "client_token": token});
        assert_eq!(destroy(&mut another, &credentials), wrong);
    }
    assert_eq!(another.call(verb("DESTROY")), wrong);
    assert_eq!(hypervisor.containers().len(), 2);
    let credentials = json!({"container_uuid": uuid, "client_token": token, "more": 1});
    assert_eq!(destroy(&mut another, &credentials), json!({"success": true, "message": "OK", "data": {}}));
    assert_eq!((hypervisor.containers().len(), bed.containers_available()), (1, Some(1)));
    assert_eq!(destroy(&mut another, &credentials), wrong, "it is gone");
    assert_eq!([bed.counter("requests_verb_create_ok"), bed.counter("requests_verb_create_failed")], [2, 1]);
    assert_eq!(
        [bed.counter("requests_verb_destroy_ok"), bed.counter("requests_verb_destroy_failed")],
        [1, 5]
    );
    assert_eq!(bed.counter("runtime_errors"), 0);
}

#[test]
fn without_a_maximum_there_is_no_limit_to_be_seen() {
    let bed = Bed::with(|builder| builder.hypervisor(TestHypervisor::default()));
    let mut client = bed.client();
    (0..20).for_each(|_| drop(create(&mut client)));
    assert_eq!(client.call(verb("STAT"))["data"]["available"], "nolimit");
    assert_eq!(bed.containers_available(), None);
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    RawJson,
    Http,
    WebSocket,
}

/// Sends CREATE in one of the framings; returns the reply.
fn create_over(framing: Framing, bed: &Bed) -> Value {
    let text = match framing {
        Framing::RawJson => return bed.client().call(verb("CREATE")),
        Framing::Http => {
            let mut web = Web::connect(bed.address());
            web.send(request_head("POST", "/create", &[("Host", "localhost"), ("Content-Length", "0")]));
            let reply = web.reply();
            assert_eq!(reply.status, 200);
            reply.body
        }
        Framing::WebSocket => {
            let mut web = Web::websocket(bed.address());
            web.send(text_frame(&verb("CREATE").to_string()));
            web.message()
        }
    };
    serde_json::from_str(&text).expect("a reply is JSON")
}

#[test]
fn the_maximum_is_exact_however_many_create_at_once_over_any_framing() {
    let framings = [
        (Framing::RawJson, true),
        (Framing::Http, cfg!(feature = "http")),
        (Framing::WebSocket, cfg!(feature = "websocket")),
    ];
    for (framing, _) in framings.into_iter().filter(|(_, is_built)| *is_built) {
        let hypervisor = TestHypervisor::default();
        let bed = bed(hypervisor.clone(), 10);
        hypervisor.hold();
        let replies: Vec<Value> = thread::scope(|scope| {
            let threads: Vec<_> = (0..32).map(|_| scope.spawn(|| create_over(framing, &bed))).collect();
            // A reservation counts before the container exists.
            wait_until("ten are being created", DEADLINE, || hypervisor.held() == 10);
            assert_eq!(bed.containers_available(), Some(0));
            hypervisor.release();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let created = replies.iter().filter(|reply| reply["success"] == true).count();
        let full = failure("Unavailable (Running containers maximum amount was reached)");
        let refused = replies.iter().filter(|reply| **reply == full).count();
        assert_eq!((created, refused, hypervisor.containers().len()), (10, 22, 10), "{framing:?}");
    }
}

/// A hypervisor that does something else with each order.
struct Faulty(AtomicU32);

impl Hypervisor for Faulty {
    fn create(&self, _: ContainerOrder, responder: Responder<Result<Container, HypervisorError>>) {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("a panic that this test wants"),
            1 => drop(responder),
            2 => responder.respond(Err(HypervisorError::new("no memory for a guest"))),
            _ => responder.respond(Ok(Container {
                listen_port: NonZeroU16::MAX,
                iso_sha256: [0; 32],
                shape: VmShape { ram_mib: 128, cpus: 1 },
                disk_sizes_gib: Vec::new(),
            })),
        }
    }

    fn destroy(&self, _: ContainerId, responder: Responder<Result<(), HypervisorError>>) {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            4 => panic!("a panic that this test wants"),
            5 => responder.respond(Err(HypervisorError::new("the guest does not end"))),
            _ => responder.respond(Ok(())),
        }
    }

    fn stop(&self, _: Duration) {}
}

#[test]
fn an_operation_that_fails_changes_nothing_and_can_be_tried_again() {
    let errors = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&errors);
    let bed = Bed::with(|builder| {
        builder.hypervisor(Faulty(AtomicU32::new(0))).containers_max(1).on_event(move |event| {
            if let Event::RuntimeError { error, .. } = event {
                seen.lock().unwrap().push(error.clone());
            }
        })
    });
    let mut client = bed.client();
    for number in 1..=3 {
        assert_eq!(client.call(verb("CREATE")), failure("Internal error"), "{number}");
        assert_eq!((bed.containers_available(), bed.counter("runtime_errors")), (Some(1), number));
    }
    let credentials = create(&mut client);
    for number in 4..=5 {
        assert_eq!(destroy(&mut client, &credentials), failure("Internal error"), "{number}");
        assert_eq!((bed.containers_available(), bed.counter("runtime_errors")), (Some(0), number));
    }
    assert_eq!(destroy(&mut client, &credentials)["success"], true);
    assert_eq!(bed.containers_available(), Some(1));
    let wanted = [
        "verb_create: the hypervisor panicked: a panic that this test wants",
        "verb_create: the hypervisor dropped the responder",
        "verb_create: the hypervisor: no memory for a guest",
        "verb_destroy: the hypervisor panicked: a panic that this test wants",
        "verb_destroy: the hypervisor: the guest does not end",
    ];
    wait_until("all errors are reported", DEADLINE, || errors.lock().unwrap().len() == wanted.len());
    assert_eq!(*errors.lock().unwrap(), wanted);
}

#[test]
fn another_destroy_waits_for_the_one_before() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(hypervisor.clone(), 1);
    let mut client = bed.client();
    let credentials = create(&mut client);
    hypervisor.hold();
    client.send(&json!({"verb": "DESTROY", "parameters": credentials}).to_string());
    wait_until("it is being destroyed", DEADLINE, || hypervisor.held() == 1);
    assert_eq!(destroy(&mut bed.client(), &credentials), failure("Unavailable (busy)"));
    hypervisor.release();
    assert_eq!(client.reply()["success"], true);
    assert_eq!(bed.containers_available(), Some(1));
}

#[test]
fn no_thread_is_held_while_containers_boot() {
    let hypervisor = TestHypervisor::default();
    let bed = Bed::with(|builder| {
        builder
            .hypervisor(hypervisor.clone())
            .handle("WORK", |_, responder: Responder| responder.respond(Response::success(json!({}))))
            .handler_threads(1)
    });
    hypervisor.hold();
    let mut clients: Vec<Client> = (0..20).map(|_| bed.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&verb("CREATE").to_string()));
    wait_until("all are being created", DEADLINE, || hypervisor.held() == 20);
    assert_eq!(bed.client().call(verb("WORK"))["success"], true);
    hypervisor.release();
    clients.iter_mut().for_each(|client| assert_eq!(client.reply()["success"], true));
}

#[test]
fn a_stop_and_a_restart_end_all_containers() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(hypervisor.clone(), 2);
    let credentials = create(&mut bed.client());
    bed.restart();
    assert_eq!((hypervisor.stops(), hypervisor.containers().len()), (1, 0));
    assert_eq!(bed.containers_available(), Some(2));
    let mut client = bed.client();
    assert_eq!(destroy(&mut client, &credentials), failure("Bad authentication"), "it has ended");
    create(&mut client);
    assert_eq!(hypervisor.containers().len(), 1);
    drop(client);
    bed.stop();
    assert_eq!((hypervisor.stops(), hypervisor.containers().len()), (2, 0));
}

/// A hypervisor whose operations and whose stop hang.
struct Hanging(LatchedThreads);

impl Hypervisor for Hanging {
    fn create(&self, _: ContainerOrder, _responder: Responder<Result<Container, HypervisorError>>) {
        self.0.wait();
    }

    fn destroy(&self, _: ContainerId, _responder: Responder<Result<(), HypervisorError>>) {
        self.0.wait();
    }

    fn stop(&self, _: Duration) {
        self.0.wait();
    }
}

#[test]
fn a_stop_does_not_wait_for_a_hypervisor_that_hangs() {
    let latch = LatchedThreads::default();
    let bed = bed(Hanging(latch.clone()), 2);
    let mut client = bed.client();
    client.send(&verb("CREATE").to_string());
    wait_until("it hangs", DEADLINE, || latch.waiting() == 1);
    let begun = Instant::now();
    bed.stop();
    assert!(begun.elapsed() < crate::GRACE + Duration::from_secs(5), "{:?}", begun.elapsed());
    latch.open();
}

#[test]
fn a_handler_replaces_create() {
    let hypervisor = TestHypervisor::default();
    let bed = Bed::with(|builder| {
        builder.hypervisor(hypervisor.clone()).handle("CREATE", |_, responder: Responder| {
            responder.respond(Response::failure("Refused request"));
        })
    });
    assert_eq!(bed.client().call(verb("CREATE")), failure("Refused request"));
    assert!(hypervisor.containers().is_empty());
}

/// Sends CREATE on a client that does not read: the pipe to it fills, and the last answers stay in the server's output.
pub fn create_unread(client: &mut LocalClient) {
    let ping = json!({"request_id": "x".repeat(200), "command": "ping"});
    let reply_length = client.call(&ping).expect("a reply").to_string().len();
    let count = vmherd::internals::limits::LOCAL_PIPE_BYTES / reply_length + 10;
    client.write_all(ping.to_string().repeat(count).as_bytes()).expect("the server reads");
    let create = json!({"request_id": 1, "verb": "CREATE", "parameters": {}});
    client.write_all(create.to_string().as_bytes()).expect("the server reads");
}

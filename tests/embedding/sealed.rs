//! Sealed listeners: containers of their clients, and the verbs of a program.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vmherd::{Config, HandlerRequest, Responder, Response, RsaKeyPair, TestHypervisor};

use crate::common::{DEADLINE, Drops, is_in_a_namespace, run_in_a_namespace, wait_until};
use crate::containers::{destroy, failure};
use crate::programs::{Dialogue, ask_sealed, python, succeed};
use crate::running::Bed;

const GENERATIONS: [u32; 3] = [1, 2, 3];
const CREATE: &str = r#"{"verb": "CREATE", "parameters": {}}"#;

/// A server with a second listener, which is sealed, and a hypervisor. Its short key is made soon.
fn bed(hypervisor: &TestHypervisor, change: impl FnOnce(&mut Config)) -> Bed {
    Bed::with_config(
        |config| {
            config.listen.push("sealed://127.0.0.1:0".parse().expect("a listener"));
            change(config);
        },
        |builder| {
            let key_pair = RsaKeyPair::generate(2048).expect("a key pair");
            let builder = builder.key_pair(Arc::new(key_pair)).hypervisor(hypervisor.clone());
            builder.containers_max(10).handle("ECHO", |request: HandlerRequest, responder: Responder| {
                responder.respond(Response::success(json!({"parameters": request.parameters()})));
            })
        },
    )
}

/// Sends one request; the answer.
#[track_caller]
fn ask(bed: &Bed, generation: u32, request: &Value) -> Value {
    ask_sealed(bed.sealed_address(), generation, &[&request.to_string()]).remove(0)
}

#[test]
fn containers_are_created_and_destroyed_in_each_generation() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(&hypervisor, |_| {});
    for generation in GENERATIONS {
        let created = ask_sealed(bed.sealed_address(), generation, &[CREATE, CREATE]);
        let credentials: Vec<Value> = created
            .iter()
            .map(|answer| {
                assert_eq!(
                    (&answer["success"], &answer["message"]),
                    (&json!(true), &json!("OK")),
                    "{answer}"
                );
                let data = answer["data"].as_object().expect("an object");
                assert_eq!(data.len(), 6, "{answer}");
                json!({"container_uuid": data["container_uuid"], "client_token": data["client_token"]})
            })
            .collect();
        // Their client has left, with the answers.
        wait_until("it has left", DEADLINE, || bed.counter("connections_open") == 0);
        assert_eq!((hypervisor.containers().len(), bed.containers_available()), (2, Some(8)));
        let other = json!({"verb": "DESTROY", "parameters": {
            "container_uuid": credentials[0]["container_uuid"], "client_token": credentials[1]["client_token"],
        }});
        assert_eq!(ask(&bed, generation, &other), failure("Bad authentication"));
        let own = json!({"verb": "DESTROY", "parameters": credentials[0]});
        assert_eq!(ask(&bed, generation, &own), json!({"success": true, "message": "OK", "data": {}}));
        assert_eq!(destroy(&mut bed.client(), &credentials[1])["success"], true, "by another framing");
        assert_eq!((hypervisor.containers().len(), bed.containers_available()), (0, Some(10)));
    }
}

#[test]
fn a_verb_of_the_program_is_answered_in_each_generation() {
    let bed = bed(&TestHypervisor::default(), |_| {});
    for generation in GENERATIONS {
        for length in [0, 1, 15, 16, 17, 30_000] {
            let parameters = json!({"text": "ж".repeat(length)});
            let answer = ask(&bed, generation, &json!({"verb": "ECHO", "parameters": parameters}));
            let wanted = json!({"success": true, "message": "OK", "data": {"parameters": parameters}});
            assert!(answer == wanted, "{generation}, {length}: {answer}");
        }
    }
}

#[test]
fn a_recorded_creation_creates_nothing_again() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(&hypervisor, |_| {});
    let address = bed.sealed_address().to_string();
    let said = succeed(python("sealed.py").args(["replays", &address, CREATE])).stdout;
    assert_eq!(said.matches("\"success\":true").count(), GENERATIONS.len(), "{said}");
    assert_eq!(hypervisor.containers().len(), GENERATIONS.len());
    assert_eq!([bed.counter("requests_verb_create_ok"), bed.counter("requests_verb_create_failed")], [3, 0]);
}

/// A client that asks for a container and has the length of the answer, and what it does next.
fn leaving(bed: &Bed, generation: u32, next: &str) -> Dialogue {
    let mut client = python("sealed.py");
    client.args(["leaves", &bed.sealed_address().to_string(), &generation.to_string(), next]);
    let mut client = Dialogue::start(&mut client);
    assert_eq!(client.line(), "the length has come");
    client
}

#[test]
fn a_container_whose_client_leaves_before_the_answer_is_destroyed() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(&hypervisor, |_| {});
    let ways = GENERATIONS.into_iter().flat_map(|generation| [(generation, "close"), (generation, "refuse")]);
    for (generation, way) in ways {
        let mut client = leaving(&bed, generation, way);
        assert_eq!(hypervisor.containers().len(), 1);
        client.feed("\n");
        client.end();
        wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(10));
        assert!(hypervisor.containers().is_empty());
        wait_until("the connection is closed", DEADLINE, || bed.counter("connections_open") == 0);
    }
}

#[test]
fn a_container_whose_client_asks_for_no_answer_is_destroyed_after_the_request_timeout() {
    let hypervisor = TestHypervisor::default();
    // Each step of the key exchange has this time as well.
    let bed = bed(&hypervisor, |config| config.timeouts.request = Duration::from_secs(2));
    for generation in GENERATIONS {
        let client = leaving(&bed, generation, "stall");
        client.end();
        wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(10));
        assert!(hypervisor.containers().is_empty());
    }
}

/// Has a client acknowledge the length; the answer gets lost on the way, as long as the result lives.
#[track_caller]
fn lose_answer(bed: &Bed, client: &mut Dialogue) -> Drops {
    let drops = Drops::begin(&[&format!("tcp sport {}", bed.sealed_address().port())]);
    client.feed("\n");
    assert_eq!(client.line(), "acknowledged");
    wait_until("the server has closed", DEADLINE, || bed.counter("connections_open") == 0);
    drops
}

#[test]
fn a_container_is_destroyed_when_the_answer_finds_no_client() {
    if !is_in_a_namespace() {
        return run_in_a_namespace("sealed::a_container_is_destroyed_when_the_answer_finds_no_client");
    }
    let hypervisor = TestHypervisor::default();
    let bed = bed(&hypervisor, |config| config.timeouts.write = 10 * DEADLINE);
    for generation in GENERATIONS {
        let mut client = leaving(&bed, generation, "acknowledge");
        let drops = lose_answer(&bed, &mut client);
        client.end();
        assert_eq!(hypervisor.containers().len(), 1, "its client may get it");
        drop(drops);
        wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(10));
        assert!(hypervisor.containers().is_empty());
    }
}

#[test]
fn a_container_is_destroyed_if_no_answer_comes_through_within_the_write_timeout() {
    let name = "sealed::a_container_is_destroyed_if_no_answer_comes_through_within_the_write_timeout";
    if !is_in_a_namespace() {
        return run_in_a_namespace(name);
    }
    let hypervisor = TestHypervisor::default();
    let bed = bed(&hypervisor, |config| config.timeouts.write = Duration::from_secs(1));
    let mut client = leaving(&bed, 3, "acknowledge");
    let _drops = lose_answer(&bed, &mut client);
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(10));
    assert!(hypervisor.containers().is_empty());
}

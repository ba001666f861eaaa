//! Handlers of verbs and commands: who may call them, what they see, and what becomes of those that fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmherd::{Access, HandlerRequest, Responder, Response, ServerBuilder};

use crate::common::{DEADLINE, TempDir, wait_until};
use crate::running::{Bed, LatchedThreads, verb};
use crate::{GRACE, builder};

/// The error in the shape of a verb.
fn failure(message: &str) -> Value {
    json!({"success": false, "message": message, "data": {}})
}

/// A responder's slot, in which a handler leaves it.
type Kept = Arc<Mutex<Option<Responder>>>;

/// A handler that keeps its responder.
fn keep(kept: &Kept) -> impl Fn(HandlerRequest, Responder) + Send + Sync + use<> {
    let kept = Arc::clone(kept);
    move |_, responder| *kept.lock().unwrap() = Some(responder)
}

/// Takes the responder that a handler has kept.
fn take(kept: &Kept) -> Responder {
    let mut taken = None;
    wait_until("the handler is called", DEADLINE, || {
        taken = kept.lock().unwrap().take();
        taken.is_some()
    });
    taken.expect("it was kept")
}

#[test]
fn a_verb_gets_its_parameters_and_its_client_and_answers_in_its_own_shape() {
    let bed = Bed::with(|builder| {
        builder.handle("ECHO", |request: HandlerRequest, responder: Responder| {
            let client = request.client();
            let seen = json!({
                "name": request.name(),
                "parameters": request.parameters(),
                "is_loopback": client.address().is_some_and(|address| address.ip().is_loopback()),
                "vm": client.vm().map(|name| name.as_str().to_owned()),
                "is_operator": client.is_operator(),
            });
            responder.respond(Response::success(seen));
        })
    });
    let mut client = bed.client();
    let data = json!({
        "name": "ECHO", "parameters": {"a": [1, {"b": null}]}, "is_loopback": true, "vm": null, "is_operator": false,
    });
    let request = json!({"verb": "ECHO", "parameters": {"a": [1, {"b": null}]}, "request_id": 7});
    assert_eq!(
        client.call(request),
        json!({"request_id": 7, "success": true, "message": "OK", "data": data})
    );
    client.register("vm-1", &[1]);
    client.authenticate("vm-1");
    assert_eq!(client.call(verb("ECHO"))["data"]["vm"], "vm-1");
    assert_eq!(client.call(verb("OTHER")), failure("Bad request (Unknown verb)"));
    assert_eq!([bed.counter("requests_verb_ECHO"), bed.counter("requests_verb_ECHO_ok")], [2, 2]);
}

#[test]
fn a_verb_of_the_server_can_be_replaced() {
    let bed = Bed::with(|builder| {
        builder.handle("STAT", |_, responder: Responder| {
            responder.respond(Response::success(json!({"uptime": "long"})).with_message("as ever"));
        })
    });
    let wanted = json!({"success": true, "message": "as ever", "data": {"uptime": "long"}});
    assert_eq!(bed.client().call(verb("STAT")), wanted);
}

#[test]
fn a_command_has_the_rights_of_its_access_rule_and_never_sees_a_token() {
    let bed = Bed::with(|builder| {
        let echo = |request: HandlerRequest, responder: Responder| {
            responder.respond(Response::success(json!({"data": request.parameters()})));
        };
        builder.command("open_one", Access::Public, echo).command("vms_only", Access::Vm, echo).command(
            "operators_only",
            Access::Operator,
            echo,
        )
    });
    let mut client = bed.client();
    let call = |name: &str, data: Value| json!({"command": name, "data": data});
    assert_eq!(
        client.call(call("open_one", json!({"x": 1}))),
        json!({"status": "success", "message": null, "data": {"data": {"x": 1}}})
    );
    let refused = client.call(call("vms_only", json!({})));
    assert_eq!(refused["message"], "You have to authenticate to run this operation");
    assert_eq!(client.call(call("operators_only", json!({})))["message"], "Unknown command");
    assert_eq!(client.call(call("no_command", json!({})))["message"], "Unknown command");
    client.register("vm-1", &[1]);
    let token = client.authenticate("vm-1");
    let reply = bed.client().call(call("vms_only", json!({"token": token, "y": 2})));
    assert_eq!(reply["data"], json!({"data": {"y": 2}}));
    let bad = bed.client().call(call("vms_only", json!({"token": "wrong"})));
    assert_eq!(bad["status"], "error");
}

/// The program adds readers to the store that it shares with the server; a command may be for them.
#[cfg(feature = "sqlite")]
#[test]
fn a_handler_sees_the_reader_that_asks() {
    use vmherd::{Registry, Server, VmName};

    let directory = TempDir::new();
    let store = format!("sqlite:{}", directory.path().join("store").display());
    let config = crate::config(&directory).store(store.parse().expect("a store"));
    let who = |request: HandlerRequest, responder: Responder| {
        let client = request.client();
        let name = |name: Option<&VmName>| name.map(|name| name.as_str().to_owned());
        let seen = json!({"reader": name(client.reader()), "vm": name(client.vm())});
        responder.respond(Response::success(seen));
    };
    let builder = Server::builder(config.clone()).command("who", Access::Reader, who);
    let server = builder.command("vms_only", Access::Vm, who).bind().expect("a server");
    let addresses = server.addresses().to_vec();
    let running = server.start().expect("a thread");
    let mut registry = Registry::open(&config).expect("the store");
    let name = VmName::parse_new("grafana").expect("a name");
    let (id, token) = registry.add_reader_token(&name, true).expect("room for a token");
    let call = |name: &str| json!({"command": name, "data": {"token": token.expose()}});
    let mut client = crate::client(&addresses);
    assert_eq!(client.call(call("who"))["data"], json!({"reader": "grafana", "vm": null}));
    assert_eq!(client.fail(call("vms_only")), "You have to authenticate to run this operation");
    assert_eq!(client.fail(json!({"command": "who"})), "You have to authenticate to run this operation");
    registry.enable_access_token(id, false).expect("it is there");
    assert!(client.fail(call("who")).starts_with("Invalid access token"));
    running.stop(GRACE).expect("no error");
}

#[test]
fn a_responder_answers_later_from_another_thread_and_others_do_not_wait() {
    let kept = Kept::default();
    let bed = Bed::with(|builder| builder.handle("LATER", keep(&kept)));
    let mut client = bed.client();
    client.send(&json!({"verb": "LATER", "parameters": {}, "request_id": 1}).to_string());
    let responder = take(&kept);
    client.send(&json!({"command": "ping", "request_id": 2}).to_string());
    assert_eq!(client.reply()["request_id"], 2, "a request with an id overtakes it");
    thread::spawn(move || responder.respond(Response::failure("Refused request"))).join().unwrap();
    let reply = client.reply();
    assert_eq!((&reply["request_id"], &reply["message"]), (&json!(1), &json!("Refused request")));
    let counters = ["", "_ok", "_failed"].map(|suffix| bed.counter(&format!("requests_verb_LATER{suffix}")));
    assert_eq!(counters, [1, 0, 1]);
}

#[test]
fn failed_handlers_are_answered_counted_and_do_no_harm() {
    let bed = Bed::with(|builder| {
        builder
            .handle("PANIC", |_, _responder: Responder| panic!("a panic that this test wants"))
            .handle("DROP", |_, responder: Responder| drop(responder))
            .handle("HUGE", |_, responder: Responder| {
                responder.respond(Response::success(json!({"text": "x".repeat(2 << 20)})));
            })
            .handle("LATE", |_, responder: Responder| {
                responder.respond(Response::success(json!({})));
                panic!("a panic after the answer that this test wants");
            })
    });
    let mut client = bed.client();
    for (name, errors) in [("PANIC", 1), ("DROP", 2), ("HUGE", 3)] {
        assert_eq!(client.call(verb(name)), failure("Internal error"), "{name}");
        assert_eq!(bed.counter("runtime_errors"), errors, "{name}");
    }
    assert_eq!(client.call(verb("LATE"))["success"], true);
    for (name, done) in [("PANIC", 0), ("DROP", 0), ("HUGE", 0), ("LATE", 1)] {
        let counters =
            ["", "_ok", "_failed"].map(|suffix| bed.counter(&format!("requests_verb_{name}{suffix}")));
        assert_eq!(counters, [1, done, 1 - done], "{name}");
    }
    wait_until("the panic is counted", DEADLINE, || bed.counter("runtime_errors") == 4);
    client.ping();
}

#[test]
fn a_handler_that_never_answers_runs_into_its_deadline() {
    let kept = Kept::default();
    let bed =
        Bed::with(|builder| builder.handle("NEVER", keep(&kept)).handler_deadline(Duration::from_millis(50)));
    let mut client = bed.client();
    assert_eq!(client.call(verb("NEVER")), failure("Internal error (outcome unknown)"));
    take(&kept).respond(Response::success(json!({})));
    wait_until("the late answer is counted", DEADLINE, || bed.counter("results_late") == 1);
    client.ping();
}

#[test]
fn threads_that_hang_are_replaced_up_to_a_limit_and_a_stop_does_not_wait_for_them() {
    let threads = LatchedThreads::default();
    let held = threads.clone();
    let bed = Bed::with(|builder| {
        builder
            .handle("HANG", move |_, _responder: Responder| held.wait())
            .handle("WORK", |_, responder: Responder| responder.respond(Response::success(json!({}))))
            .handler_threads(1)
            .handler_deadline(Duration::from_millis(50))
    });
    let mut client = bed.client();
    for _ in 0..2 {
        assert_eq!(client.call(verb("HANG")), failure("Internal error (outcome unknown)"));
        assert_eq!(client.call(verb("WORK"))["success"], true, "another thread took its place");
    }
    assert_eq!(bed.counter("handler_threads_stuck"), 2);
    assert_eq!(client.call(verb("HANG")), failure("Internal error (outcome unknown)"));
    assert_eq!(client.call(verb("WORK")), failure("Unavailable (busy)"), "no further thread is started");
    client.ping();
    let begun = Instant::now();
    drop(client);
    bed.stop();
    assert!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
    threads.open();
}

/// So that the answers that a client does not read are limited.
#[test]
fn a_connection_has_a_limited_number_of_calls_at_a_time() {
    let kept: Arc<Mutex<Vec<Responder>>> = Arc::default();
    let keeping = Arc::clone(&kept);
    let bed = Bed::with(|builder| {
        builder.handle("KEEP", move |_, responder: Responder| keeping.lock().unwrap().push(responder))
    });
    let mut client = bed.client();
    for id in 0..40 {
        client.send(&json!({"verb": "KEEP", "parameters": {}, "request_id": id}).to_string());
    }
    wait_until("as many as may be are called", DEADLINE, || kept.lock().unwrap().len() == 16);
    let mut other = bed.client();
    (0..10).for_each(|_| other.ping());
    assert_eq!(bed.counter("requests_verb_KEEP"), 16, "the others wait in the input");
    for _ in 0..40 {
        let mut next = None;
        wait_until("one more is called", DEADLINE, || {
            next = kept.lock().unwrap().pop();
            next.is_some()
        });
        next.expect("it was kept").respond(Response::success(json!({})));
        assert_eq!(client.reply()["success"], true);
    }
}

#[test]
fn a_handler_closes_its_client_after_the_answer() {
    let bed = Bed::with(|builder| {
        builder.handle("BYE", |request: HandlerRequest, responder: Responder| {
            responder.respond(Response::success(json!({})));
            request.client().close();
        })
    });
    let mut client = bed.client();
    let mut other = bed.client();
    assert_eq!(client.call(verb("BYE"))["success"], true);
    client.expect_closed();
    other.ping();
}

#[test]
fn answers_that_came_before_a_close_are_sent() {
    let kept = Arc::<Mutex<Vec<(HandlerRequest, Responder)>>>::default();
    let all = Arc::clone(&kept);
    let bed = Bed::with(|builder| {
        builder.handle("KEEP", move |request: HandlerRequest, responder: Responder| {
            all.lock().unwrap().push((request, responder));
        })
    });
    let mut client = bed.client();
    // Together more than the reactor processes at once.
    let count = 8;
    for id in 0..count {
        client.send(&json!({"verb": "KEEP", "parameters": {}, "request_id": id}).to_string());
    }
    wait_until("all handlers are called", DEADLINE, || kept.lock().unwrap().len() == count);
    let calls = std::mem::take(&mut *kept.lock().unwrap());
    let leaving = calls[0].0.client().clone();
    let response = Response::success(json!({"text": "x".repeat(200 << 10)}));
    let answers: Vec<_> = calls.into_iter().map(|(_, responder)| (responder, response.clone())).collect();
    answers.into_iter().for_each(|(responder, response)| responder.respond(response));
    leaving.close();
    for _ in 0..count {
        assert_eq!(client.reply()["success"], true);
    }
    client.expect_closed();
}

#[test]
fn an_answer_for_a_client_that_has_left_reaches_no_other() {
    let (sender, kept) = channel();
    let sender: Mutex<Sender<Responder>> = Mutex::new(sender);
    let bed = Bed::with(|builder| {
        builder.handle("KEEP", move |_, responder: Responder| {
            sender.lock().unwrap().send(responder).expect("the test listens");
        })
    });
    let mut gone = bed.client();
    gone.send(&verb("KEEP").to_string());
    let responder = kept.recv_timeout(DEADLINE).expect("the handler is called");
    // A reset: after an orderly close, the server would still send the answer.
    gone.socket().set_linger(Some(Duration::ZERO)).expect("a socket option");
    drop(gone);
    wait_until("the client has left", DEADLINE, || bed.counter("connections_open") == 0);
    let mut next = bed.client();
    next.ping();
    responder.respond(Response::success(json!({"secret": true})));
    wait_until("the answer is dropped", DEADLINE, || bed.counter("results_late") == 1);
    next.ping();
}

#[test]
fn wrong_names_are_errors_of_bind() {
    let ignore = |_: HandlerRequest, _: Responder| {};
    let cases: [(&str, &dyn Fn(ServerBuilder) -> ServerBuilder); 6] = [
        ("the verb \"Reboot\" must have capital letters", &|builder| builder.handle("Reboot", ignore)),
        ("the verb \"METRICS\" is a reserved path", &|builder| builder.handle("METRICS", ignore)),
        ("the verb \"X\" is given twice", &|builder| builder.handle("X", ignore).handle("X", ignore)),
        ("the command \"ping\" is a command of the server", &|builder| {
            builder.command("ping", Access::Public, ignore)
        }),
        ("the command \"Ping\" must have lower-case letters", &|builder| {
            builder.command("Ping", Access::Public, ignore)
        }),
        ("0 threads for handlers are not allowed; there may be 1 to 64", &|builder| {
            builder.handler_threads(0)
        }),
    ];
    for (wanted, add) in cases {
        let directory = TempDir::new();
        let error = add(builder(&directory)).bind().err().expect(wanted).to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn a_slow_handler_does_not_delay_other_clients() {
    let is_over = Arc::<AtomicBool>::default();
    let over = Arc::clone(&is_over);
    let bed = Bed::with(|builder| {
        builder.handle("SPIN", move |_, responder: Responder| {
            while !over.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            responder.respond(Response::success(json!({})));
        })
    });
    let mut slow = bed.client();
    slow.send(&verb("SPIN").to_string());
    let mut client = bed.client();
    (0..100).for_each(|_| client.ping());
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(slow.reply()["success"], true);
}

//! Each call gets one result, whatever the handler does.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::json;

use super::*;
use crate::embed::{ClientFactory, HandlerFailure, panic_message};
use crate::ids::ConnId;
use crate::limits;
use crate::model::{Access, AccessGroup, Peer, Principal, Response};

/// The results of a call, and the responder that sends them.
fn responder() -> (Responder, Receiver<Result<Response, HandlerFailure>>) {
    let (sender, results) = channel();
    (Responder::new(move |result| sender.send(result).expect("the test waits")), results)
}

/// Runs `handler` as the one of a verb or a command; the result, which has to be the only one, and what
/// [`HandlerCall::run`] returns.
fn run_as(
    kind: CustomKind,
    parameters: &str,
    handler: impl RequestHandler + 'static,
) -> (Result<Response, HandlerFailure>, Option<String>) {
    let mut commands = CustomCommands::default();
    let name = if kind == CustomKind::Verb { "TEST" } else { "test" };
    let id = commands.add(kind, name, Access::OpenOrAnyVm(AccessGroup::Verb)).expect("a name");
    let handlers =
        Handlers { commands: Arc::new(commands), by_id: vec![Arc::new(handler)], ..Handlers::default() };
    let conn = ConnId { index: 0, generation: 0 };
    let client = ClientFactory::default().client(conn, Peer::Unix { uid: None }, Principal::Anonymous);
    let (responder, results) = responder();
    let returned = handlers.call(id, LongText::new(parameters.as_bytes()), client).run(responder);
    let result = results.recv().expect("a result");
    assert!(results.recv().is_err(), "there is one result only");
    (result, returned)
}

fn run(handler: impl RequestHandler + 'static) -> (Result<Response, HandlerFailure>, Option<String>) {
    run_as(CustomKind::Verb, "{}", handler)
}

fn ok() -> Response {
    Response::success(json!({"a": 1}))
}

fn panicked() -> Result<Response, HandlerFailure> {
    Err(HandlerFailure::Panicked("a panic that this test wants".into()))
}

#[test]
fn an_answer_is_the_result_before_and_after_the_handler_returns() {
    assert_eq!(run(|_, responder: Responder| responder.respond(ok())), (Ok(ok()), None));
    let late = run(|_, responder: Responder| drop(thread::spawn(move || responder.respond(ok()))));
    assert_eq!(late, (Ok(ok()), None));
}

#[test]
fn a_responder_without_an_answer_is_a_failure() {
    let dropped = (Err(HandlerFailure::Dropped), None);
    assert_eq!(run(|_, responder: Responder| drop(responder)), dropped);
    assert_eq!(run(|_, _: Responder| {}), dropped);
    assert_eq!(run(|_, responder: Responder| drop(thread::spawn(move || drop(responder)))), dropped);
}

#[test]
fn a_panic_is_the_result_with_its_message_until_there_is_another() {
    assert_eq!(run(|_, _responder: Responder| panic!("a panic that this test wants")), (panicked(), None));
    let kept = Arc::<Mutex<Option<Responder>>>::default();
    let keeping = Arc::clone(&kept);
    let moved = run(move |_, responder: Responder| {
        *keeping.lock().unwrap() = Some(responder);
        panic!("a panic that this test wants");
    });
    assert_eq!(moved, (panicked(), None), "though the responder still exists");
    kept.lock().unwrap().take().expect("it was kept").respond(ok());
    let after = run(|_, responder: Responder| {
        responder.respond(ok());
        panic!("a panic that this test wants");
    });
    assert_eq!(after, (Ok(ok()), Some("a panic that this test wants".into())));
    let after = run(|_, responder: Responder| {
        drop(responder);
        panic!("a panic that this test wants");
    });
    assert_eq!(after, (Err(HandlerFailure::Dropped), Some("a panic that this test wants".into())));
}

#[test]
fn a_panic_of_another_thread_that_has_the_responder_is_a_dropped_one() {
    let result = run(|_, responder: Responder| {
        let thread = thread::spawn(move || {
            let _responder = responder;
            panic!("a panic that this test wants");
        });
        assert!(thread.join().is_err());
    });
    assert_eq!(result, (Err(HandlerFailure::Dropped), None));
}

#[test]
fn an_answer_that_is_too_large_is_a_failure() {
    let text = |bytes: usize| Response::success(json!({"a": "x".repeat(bytes)}));
    let bytes_around = text(0).data().len();
    let largest = text(limits::HANDLER_RESPONSE_BYTES_MAX - bytes_around);
    let too_large = text(limits::HANDLER_RESPONSE_BYTES_MAX - bytes_around + 1);
    for (response, wanted) in [(largest.clone(), Ok(largest)), (too_large, Err(HandlerFailure::TooLarge))] {
        let (responder, results) = responder();
        responder.respond(response);
        assert!(results.recv() == Ok(wanted), "another result");
        assert!(results.recv().is_err(), "there is one result only");
    }
}

#[test]
fn a_handler_is_not_called_with_parameters_that_are_no_object_that_can_be_read() {
    for parameters in ["", "[]", "{", "{\"a\": 1e999}"] {
        let (result, returned) = run_as(CustomKind::Verb, parameters, |_, _: Responder| panic!("called"));
        assert!(matches!(result, Err(HandlerFailure::BadParameters(_))), "{parameters}: {result:?}");
        assert_eq!(returned, None);
    }
}

#[test]
fn the_token_is_not_a_parameter_of_a_command() {
    let parameters = r#"{"token": "t", "a": 1}"#;
    for (kind, wanted) in
        [(CustomKind::Command, json!({"a": 1})), (CustomKind::Verb, json!({"token": "t", "a": 1}))]
    {
        let echo = |request: HandlerRequest, responder: Responder| {
            responder.respond(Response::success(Value::Object(request.parameters().clone())));
        };
        assert_eq!(run_as(kind, parameters, echo), (Ok(Response::success(wanted)), None));
    }
}

#[test]
fn the_message_of_a_panic_is_its_text_up_to_a_limit() {
    assert_eq!(panic_message(&"text"), "text");
    assert_eq!(panic_message(&"é".repeat(5000)), "é".repeat(limits::PANIC_MESSAGE_CHARS_MAX));
    assert_eq!(panic_message(&17), "without a message");
}

//! Requests as they are, in any JSON dialect.

use clap::{Arg, ArgMatches};
use serde_json::{Deserializer, Value};

use crate::arguments::positional;
use crate::failure::{Class, Failure};
use crate::input::read_input;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::session::Session;

pub static REPLIES: Schema =
    Schema { name: "replies", shape: Shape::Rows, columns: &[Column::new("reply", "REPLY", Kind::Json)] };

pub fn arguments() -> Vec<Arg> {
    vec![positional("request", "JSON", "Requests; without any: standard input").num_args(0..)]
}

pub fn raw(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let given: Vec<&str> =
        matches.get_many::<String>("request").unwrap_or_default().map(String::as_str).collect();
    let text = if given.is_empty() { read_input("requests")? } else { given.join("\n") };
    let requests: Result<Vec<Value>, _> = Deserializer::from_str(&text).into_iter().collect();
    // The parser's message has no text of the request, which may hold a password.
    let requests =
        requests.map_err(|error| Failure::usage(format!("a request is not valid JSON: {error}")))?;
    let (mut replies, mut failures) = (Vec::new(), Vec::new());
    for request in requests {
        match send(session, request) {
            Ok(reply) => {
                failures.extend(error_of(&reply).map(Failure::of_message));
                replies.push(reply);
            }
            Err(failure) => {
                failures.push(failure);
                break;
            }
        }
    }
    let (count, failed) = (replies.len(), failures.len());
    let lines = replies.iter().map(Value::to_string).collect();
    let output = Output::rows(&REPLIES, replies.into_iter().map(|reply| vec![reply]).collect()).lines(lines);
    match failures.into_iter().next() {
        None => Ok(output),
        Some(failure) if count == 0 => Err(failure),
        Some(failure) if failed >= count => Err(failure.with_output(output)),
        Some(failure) => {
            let class = if failure.class == Class::NoConnection { failure.class } else { Class::Partial };
            Err(Failure { class, ..failure }.with_output(output))
        }
    }
}

/// Sends a request. A command gets the token of the session, unless it has one.
fn send(session: &mut Session, mut request: Value) -> Result<Value, Failure> {
    if let Some(token) = session.token()
        && request.get("command").is_some()
        && let Some(request) = request.as_object_mut()
        && let Some(data) =
            request.entry("data").or_insert_with(|| Value::Object(Default::default())).as_object_mut()
    {
        data.entry("token").or_insert_with(|| token.expose().into());
    }
    session.call(|client| client.request(&request))
}

/// The message of a reply that says that its request failed, in any dialect.
fn error_of(reply: &Value) -> Option<&str> {
    let message = reply["message"].as_str().unwrap_or("the request failed");
    match (&reply["status"], &reply["success"], reply["error"].as_str()) {
        (_, _, Some(error)) => Some(error),
        (Value::String(status), ..) if status == "error" => Some(message),
        (_, Value::Bool(false), _) => Some(message),
        _ => None,
    }
}

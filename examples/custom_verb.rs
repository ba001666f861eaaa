//! A server with a verb of its own, and one of the server's verbs replaced. `cargo run --example custom_verb`, then:
//!
//! `echo '{"verb": "GREET", "parameters": {"name": "Ada"}}' | nc -N 127.0.0.1 8888`
//!
//! `curl -d '{"name": "Ada"}' http://127.0.0.1:8888/greet`

use std::error::Error;
use std::time::Duration;
use std::{env, fs, io, process};

use serde_json::json;
use vmherd::{Config, HandlerRequest, Responder, Response, Server, verbs};

/// Answers `GREET`. Runs on a handler thread, so that it may take its time.
fn greet(request: HandlerRequest, responder: Responder) {
    let name = request.parameters().get("name").and_then(|name| name.as_str());
    responder.respond(match name {
        Some(name) => Response::success(json!({"greeting": format!("Hello, {name}")})),
        None => Response::failure(format!("{} (name is required)", verbs::BAD_REQUEST)),
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = env::args().nth(1).unwrap_or("tcp://127.0.0.1:8888".into());
    let directory = env::temp_dir().join(format!("vmherd-custom-verb-{}", process::id()));
    let config = Config::default().state_dir(&directory).store("memory:".parse()?).listen(listener.parse()?);
    let server = Server::builder(config)
        .handle("GREET", greet)
        .handle(verbs::STAT, |_: HandlerRequest, responder: Responder| {
            responder.respond(Response::success(json!({"mood": "good"})));
        })
        .bind()?;
    println!("listening on {}; Enter stops the server", server.addresses()[0]);
    let running = server.start()?;
    io::stdin().read_line(&mut String::new())?;
    running.stop(Duration::from_secs(5))?;
    Ok(fs::remove_dir_all(directory)?)
}

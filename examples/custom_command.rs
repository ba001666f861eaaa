//! A server with a command of its own, for authenticated VMs, that answers later from another thread.
//! `cargo run --example custom_command`, then, after `register` and `authenticate` on the same connection:
//!
//! `{"command": "snapshot", "data": {"disk": 1}}`

use std::error::Error;
use std::time::Duration;
use std::{env, fs, io, process, thread};

use serde_json::json;
use vmherd::{Access, Config, HandlerRequest, Responder, Response, Server};

/// Answers `snapshot` when the snapshot is made; other requests of the client with an id do not wait for it.
fn snapshot(request: HandlerRequest, responder: Responder) {
    thread::spawn(move || {
        let vm = request.client().vm().map(|name| name.as_str());
        let disk = request.parameters().get("disk").and_then(|disk| disk.as_u64());
        responder.respond(match (vm, disk) {
            (Some(vm), Some(disk)) => Response::success(json!({"snapshot": format!("{vm}-{disk}")})),
            _ => Response::failure("disk: a number is required"),
        });
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = env::args().nth(1).unwrap_or("tcp://127.0.0.1:8888".into());
    let directory = env::temp_dir().join(format!("vmherd-custom-command-{}", process::id()));
    let config = Config::default().state_dir(&directory).store("memory:".parse()?).listen(listener.parse()?);
    let server = Server::builder(config)
        .command("snapshot", Access::Vm, snapshot)
        .handler_deadline(Duration::from_secs(60))
        .bind()?;
    println!("listening on {}; Enter stops the server", server.addresses()[0]);
    let running = server.start()?;
    io::stdin().read_line(&mut String::new())?;
    running.stop(Duration::from_secs(5))?;
    Ok(fs::remove_dir_all(directory)?)
}

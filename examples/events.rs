//! A server that reports what happens in it, and its counters at the end. `cargo run --example events`, then connect
//! with `nc 127.0.0.1 8888` and send something.

use std::error::Error;
use std::time::Duration;
use std::{env, fs, io, process};

use vmherd::{Config, Event, EventKind, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let listener = env::args().nth(1).unwrap_or("tcp://127.0.0.1:8888".into());
    let directory = env::temp_dir().join(format!("vmherd-events-{}", process::id()));
    let config = Config::default().state_dir(&directory).store("memory:".parse()?).listen(listener.parse()?);
    let server = Server::builder(config)
        .on_event(|event| match event {
            Event::Request { client, name } => println!("{} requests {name}", client.id()),
            Event::MalformedRequest { client, error } => println!("{} sends nonsense: {error}", client.id()),
            Event::RuntimeError { thread, error, .. } => println!("error on {thread}: {error}"),
            event => match event.client() {
                Some(client) => println!("{:?} {}", event.kind(), client.id()),
                None => println!("{:?}", event.kind()),
            },
        })
        .on(EventKind::UnknownVerb, |event| {
            // A client that guesses has to connect again.
            if let Some(client) = event.client() {
                client.close();
            }
        })
        .bind()?;
    println!("listening on {}; Enter stops the server", server.addresses()[0]);
    let running = server.start()?;
    io::stdin().read_line(&mut String::new())?;
    let statistics = running.statistics()?;
    println!("ran {} s, {} runtime errors", statistics.uptime.as_secs(), statistics.runtime_errors);
    running.stop(Duration::from_secs(5))?;
    Ok(fs::remove_dir_all(directory)?)
}

//! A server that admits each address a limited number of times. `cargo run --example gate`; the fourth
//! `echo '{"command": "ping"}' | nc -N 127.0.0.1 8888` gets no answer.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;
use std::{env, fs, io, process};

use vmherd::{Config, Server};

const CONNECTIONS_PER_ADDRESS: u32 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let listener = env::args().nth(1).unwrap_or("tcp://127.0.0.1:8888".into());
    let directory = env::temp_dir().join(format!("vmherd-gate-{}", process::id()));
    let config = Config::default().state_dir(&directory).store("memory:".parse()?).listen(listener.parse()?);
    let admitted = Mutex::new(HashMap::new());
    let server = Server::builder(config)
        .gate(move |client| {
            // Clients of the socket in the state directory have no address: root and this user.
            let Some(address) = client.address() else { return true };
            let mut admitted = admitted.lock().expect("no panic");
            let count: &mut u32 = admitted.entry(address.ip()).or_default();
            *count += 1;
            *count <= CONNECTIONS_PER_ADDRESS
        })
        .bind()?;
    println!("listening on {}; Enter stops the server", server.addresses()[0]);
    let running = server.start()?;
    io::stdin().read_line(&mut String::new())?;
    running.stop(Duration::from_secs(5))?;
    Ok(fs::remove_dir_all(directory)?)
}

//! The smallest server. `cargo run --example minimal`, then:
//!
//! `echo '{"command": "ping"}' | nc -N 127.0.0.1 8888`

use std::error::Error;
use std::time::Duration;
use std::{env, fs, io, process};

use vmherd::{Config, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let listener = env::args().nth(1).unwrap_or("tcp://127.0.0.1:8888".into());
    let directory = env::temp_dir().join(format!("vmherd-minimal-{}", process::id()));
    let config = Config::default().state_dir(&directory).store("memory:".parse()?).listen(listener.parse()?);
    let server = Server::bind(config)?;
    println!("listening on {}; Enter stops the server", server.addresses()[0]);
    let running = server.start()?;
    io::stdin().read_line(&mut String::new())?;
    running.stop(Duration::from_secs(5))?;
    Ok(fs::remove_dir_all(directory)?)
}

//! Several servers in one process: each has its state directory, store and listener.
//! `cargo run --example several_servers`; each address that it prints is a server of its own.

use std::error::Error;
use std::time::Duration;
use std::{env, fs, io, process};

use vmherd::{Config, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::temp_dir().join(format!("vmherd-several-servers-{}", process::id()));
    let mut servers = Vec::new();
    for name in ["north", "south", "west"] {
        let config = Config::default()
            .state_dir(directory.join(name))
            .store("memory:".parse()?)
            .listen("tcp://127.0.0.1:0".parse()?);
        let server = Server::bind(config)?;
        println!("{name} is listening on {}", server.addresses()[0]);
        servers.push(server.start()?);
    }
    println!("Enter stops the servers");
    io::stdin().read_line(&mut String::new())?;
    for server in servers {
        server.stop(Duration::from_secs(5))?;
    }
    Ok(fs::remove_dir_all(directory)?)
}

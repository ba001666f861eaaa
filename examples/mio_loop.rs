//! A server inside the mio loop of a program that has a socket of its own: one thread serves both.
//! `cargo run --example mio_loop`, then send `echo '{"command": "ping"}' | nc -N 127.0.0.1 8888` to the server, and a
//! line to the other port, which the program echoes. The line `stop` there stops it.

use std::error::Error;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use std::{env, fs, process};

use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use vmherd::{Config, LoopState, Server};

const SERVER: Token = Token(0);
const OWN: Token = Token(1);

fn main() -> Result<(), Box<dyn Error>> {
    let listener = env::args().nth(1).unwrap_or("tcp://127.0.0.1:8888".into());
    let directory = env::temp_dir().join(format!("vmherd-mio-loop-{}", process::id()));
    let config = Config::default().state_dir(&directory).store("memory:".parse()?).listen(listener.parse()?);
    let server = Server::bind(config)?;
    println!("listening on {}", server.addresses()[0]);
    let stop = server.stop_handle();
    let mut server = server.into_loop();

    let mut socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    println!("echoing on udp://{}; the line stop ends the program", socket.local_addr()?);
    let mut poll = Poll::new()?;
    let descriptor = server.as_fd().as_raw_fd();
    poll.registry().register(&mut SourceFd(&descriptor), SERVER, Interest::READABLE)?;
    poll.registry().register(&mut socket, OWN, Interest::READABLE)?;
    let mut events = Events::with_capacity(16);
    // The first turn begins to serve. A turn that does not wait follows each event and each end of the waiting time.
    while server.turn(Some(Duration::ZERO))? == LoopState::Running {
        match poll.poll(&mut events, server.wait_time()) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        if events.iter().any(|event| event.token() == OWN) {
            let mut line = [0; 512];
            while let Ok((count, from)) = socket.recv_from(&mut line) {
                socket.send_to(&line[..count], from)?;
                if line[..count].trim_ascii() == b"stop" {
                    stop.stop(Duration::from_secs(5));
                }
            }
        }
    }
    Ok(fs::remove_dir_all(directory)?)
}

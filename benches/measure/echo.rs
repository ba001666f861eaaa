//! The limit: what this machine's sockets give through mio when nothing is done with the bytes.
//!
//! Waits, reads and writes as the daemon does: edge-triggered, registered once for both directions, with
//! chunks of the same size, and as many events at once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use vmherd::limits;

/// Serves at `address` until it is killed.
pub fn serve(address: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(limits::EVENTS_PER_TURN_MAX);
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut chunk = vec![0; limits::READ_CHUNK_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let place = &mut connections[event.token().0];
            let Some(connection) = place else { continue };
            if event.is_readable() && !echo(connection, &mut chunk) {
                *place = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Option<TcpStream>>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(connections.len()), both)?;
                connections.push(Some(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Sends back what has come; false where the connection is over.
fn echo(connection: &mut TcpStream, chunk: &mut [u8]) -> bool {
    loop {
        match connection.read(chunk) {
            Ok(0) => return false,
            // The generator never has more on its way than a socket's buffer takes.
            Ok(count) if connection.write(&chunk[..count]).is_ok_and(|written| written == count) => {}
            Ok(_) => return false,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

const LISTENER: Token = Token(usize::MAX);

//! The limit: the rate of this machine's sockets through mio, without any work on the bytes.
//!
//! Waits, reads and writes as the daemon does: edge-triggered, registered once for both directions, with
//! chunks of the same size, and as many events at once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use vmherd::internals::limits;

/// Serves at `address` until it is killed. Echoes its input, or answers each line with a line of so many bytes.
pub fn serve(address: SocketAddr, answer_bytes: Option<usize>) -> io::Result<()> {
    let answers = answer_bytes.map(Answers::new);
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(limits::EVENTS_PER_TICK_MAX);
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut chunk = vec![0; limits::READ_CHUNK_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let slot = &mut connections[event.token().0];
            let Some(connection) = slot else { continue };
            if event.is_readable() && !serve_one(connection, &mut chunk, answers.as_ref()) {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Option<TcpStream>>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                // Long answers fit as well.
                socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(connections.len()), both)?;
                connections.push(Some(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Answers all input; false at the end of the connection.
fn serve_one(connection: &mut TcpStream, chunk: &mut [u8], answers: Option<&Answers>) -> bool {
    loop {
        // The generator never has more in flight than a socket's buffer takes.
        let is_sent = match (connection.read(chunk), answers) {
            (Ok(0), _) => return false,
            (Ok(count), None) => is_written(connection, &chunk[..count]),
            (Ok(count), Some(answers)) => {
                let lines = chunk[..count].iter().filter(|&&byte| byte == b'\n').count();
                answers.are_written(connection, lines)
            }
            (Err(error), _) => return error.kind() == ErrorKind::WouldBlock,
        };
        if !is_sent {
            return false;
        }
    }
}

/// Answers for one write.
struct Answers {
    text: Vec<u8>,
    answer_bytes: usize,
}

impl Answers {
    fn new(answer_bytes: usize) -> Answers {
        let answer = [&vec![b'x'; answer_bytes - 1][..], b"\n"].concat();
        Answers { text: answer.repeat((WRITTEN_AT_ONCE / answer_bytes).max(1)), answer_bytes }
    }

    fn are_written(&self, connection: &mut TcpStream, mut count: usize) -> bool {
        while count > 0 {
            let at_once = count.min(self.text.len() / self.answer_bytes);
            if !is_written(connection, &self.text[..at_once * self.answer_bytes]) {
                return false;
            }
            count -= at_once;
        }
        true
    }
}

fn is_written(connection: &mut TcpStream, bytes: &[u8]) -> bool {
    connection.write(bytes).is_ok_and(|written| written == bytes.len())
}

const LISTENER: Token = Token(usize::MAX);
const WRITTEN_AT_ONCE: usize = 64 << 10;
const SEND_BUFFER_BYTES: usize = 1 << 20;

//! A socket to a daemon, with the decoder of what the daemon sends. Each wait has a deadline.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use socket2::Socket;

use super::DEADLINE;
use super::codec::{Decoded, Decoder};

/// A connection.
pub struct Connection {
    socket: Socket,
    decoder: Decoder,
}

impl Connection {
    pub fn new(socket: impl Into<Socket>) -> Connection {
        let socket = socket.into();
        socket.set_write_timeout(Some(DEADLINE)).expect("a socket option");
        Connection { socket, decoder: Decoder::default() }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// What the daemon has sent.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Sends `bytes`, or as many of them as the daemon takes before it closes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The next reply as `decode` takes it; none if the connection ends before it is whole.
    #[track_caller]
    pub fn next<T>(&mut self, decode: impl Fn(&mut Decoder) -> Decoded<T>) -> io::Result<Option<T>> {
        let (deadline, mut is_ended) = (Instant::now() + DEADLINE, false);
        loop {
            match decode(&mut self.decoder) {
                Ok(Some(reply)) => return Ok(Some(reply)),
                Ok(None) if is_ended => return Ok(None),
                Ok(None) => {}
                Err(error) => panic!("{error}: {}", self.undecoded()),
            }
            is_ended = self.receive(deadline)? == 0;
        }
    }

    /// The next reply as `decode` takes it, which must come.
    #[track_caller]
    pub fn expect<T>(&mut self, decode: impl Fn(&mut Decoder) -> Decoded<T>) -> T {
        match self.next(decode) {
            Ok(Some(reply)) => reply,
            Ok(None) => panic!("closed instead of a reply; before: {}", self.undecoded()),
            Err(error) => panic!("no reply ({error}); so far: {}", self.undecoded()),
        }
    }

    /// Everything that comes until the daemon closes, in good order.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        while self.receive(deadline).unwrap_or_else(|error| panic!("not closed: {error}")) > 0 {}
        self.decoder.take_rest()
    }

    /// Everything that comes until the daemon closes, also by a reset.
    #[track_caller]
    pub fn rest_before_any_end(&mut self, what: &str) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.receive(deadline) {
                Ok(0) => break,
                Err(error) if is_reset(&error) => break,
                received => received.unwrap_or_else(|error| panic!("{what}: not closed: {error}")),
            };
        }
        self.decoder.take_rest()
    }

    /// Receives more bytes until `deadline`; 0 at the end.
    pub fn receive(&mut self, deadline: Instant) -> io::Result<usize> {
        let mut chunk = [0; 64 << 10];
        let length = loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.read(&mut chunk) {
                // A suspended machine interrupts reads with a timeout.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        match length {
            0 => self.decoder.end_input(),
            _ => self.decoder.push(&chunk[..length]),
        }
        Ok(length)
    }

    /// The start of what was received and not decoded.
    pub fn undecoded(&self) -> String {
        let rest = self.decoder.rest();
        rest[..rest.len().min(300)].escape_ascii().to_string()
    }
}

/// Whether the other end has closed without reading all input.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

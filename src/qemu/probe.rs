//! Waits until a guest greets at its SSH port. That the host accepts a connection proves nothing: QEMU does so at once.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::clock::Instant;
use crate::limits;

/// Connections to the port of one VM. A new one is made from time to time, since the guest may not have seen those before;
/// but these stay open for a while, since a busy guest greets late.
pub(super) struct Probe {
    address: SocketAddr,
    begun: Instant,
    /// When the next connection is made.
    next_at: Instant,
    connections: [Option<Connection>; limits::SSH_PROBES_MAX],
}

/// A connection that waits for the greeting.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    begun: Instant,
}

impl Probe {
    /// Begins with a connection to `port`. `address` is where the host listens.
    pub(super) fn new(address: Ipv4Addr, port: u16, now: Instant) -> Probe {
        let reached = if address.is_unspecified() { Ipv4Addr::LOCALHOST } else { address };
        Probe { address: (reached, port).into(), begun: now, next_at: now, connections: Default::default() }
    }

    /// When [`Probe::advance`] is due, if nothing arrives before.
    pub(super) fn deadline(&self) -> Instant {
        self.next_at
    }

    /// Reads, closes and connects as it is due; returns whether the guest has greeted. The connections have the tokens
    /// from `first_token` on.
    pub(super) fn advance(&mut self, registry: &Registry, first_token: Token, now: Instant) -> bool {
        for slot in &mut self.connections {
            match slot.as_mut().map(|connection| read_greeting(&mut connection.stream, &mut connection.read))
            {
                Some(Ok(true)) => return true,
                Some(Ok(false)) | None => {}
                Some(Err(_)) => *slot = None,
            }
        }
        if now < self.next_at {
            return false;
        }
        let interval = limits::SSH_PROBE_INTERVAL + now.since(self.begun) / limits::SSH_PROBE_INTERVAL_SHARE;
        self.next_at = now + interval;
        // The one that has waited longest makes room.
        let begun = |slot: &Option<Connection>| slot.as_ref().map(|connection| connection.begun);
        let oldest =
            (0..self.connections.len()).min_by_key(|index| begun(&self.connections[*index])).unwrap_or(0);
        let token = Token(first_token.0 + oldest);
        self.connections[oldest] = None;
        self.connections[oldest] = connect(self.address, registry, token)
            .map(|stream| Connection { stream, read: Vec::new(), begun: now })
            .ok();
        false
    }
}

fn connect(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    registry.register(&mut stream, token, Interest::READABLE)?;
    Ok(stream)
}

/// Reads what has arrived; whether it is a greeting (RFC 4253, 4.2). An error: it is none, or nothing more comes.
fn read_greeting(stream: &mut impl Read, read: &mut Vec<u8>) -> io::Result<bool> {
    let mut bytes = [0; GREETING.len()];
    while read.len() < GREETING.len() {
        match stream.read(&mut bytes[read.len()..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => read.extend_from_slice(&bytes[read.len()..][..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    if read == GREETING { Ok(true) } else { Err(io::ErrorKind::InvalidData.into()) }
}

const GREETING: &[u8] = b"SSH-";

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, and `WouldBlock` between them.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            match (self.1, self.0) {
                (true, _) => Err(io::ErrorKind::WouldBlock.into()),
                (false, []) => Ok(0),
                (false, [first, rest @ ..]) => {
                    buffer[0] = *first;
                    self.0 = rest;
                    Ok(1)
                }
            }
        }
    }

    #[test]
    fn a_greeting_is_known_by_its_beginning() {
        for (text, wanted) in
            [("SSH-2.0-x", Ok(true)), ("SSH", Err(())), ("HTTP/1.1", Err(())), ("", Err(()))]
        {
            let (mut slow, mut read) = (Slow(text.as_bytes(), false), Vec::new());
            let result = loop {
                match read_greeting(&mut slow, &mut read) {
                    Ok(false) => {}
                    other => break other.map_err(drop),
                }
            };
            assert_eq!(result, wanted, "{text:?}");
            assert_eq!(read_greeting(&mut text.as_bytes(), &mut Vec::new()).map_err(drop), wanted);
        }
    }
}

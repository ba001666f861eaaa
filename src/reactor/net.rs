//! The network as the reactor uses it; tests simulate it.

use std::io;
use std::time::Duration;

use crate::ids::ConnId;
use crate::model::Peer;

/// Sockets and their readiness. Edge-triggered: after a `WouldBlock`, or a read that drains the socket, one event
/// comes when the socket is ready again. The end of input causes an event of its own. No other events are
/// guaranteed.
pub trait Net {
    /// One connection; dropping it closes it.
    type Socket;

    /// Waits for events, for `timeout` at most (forever without), and appends them. An interrupted wait is not an
    /// error.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// The number of listeners; their indices start at zero.
    fn listener_count(&self) -> usize;

    /// Accepts a connection from a listener; `WouldBlock` if none waits.
    fn accept(&mut self, listener: usize) -> io::Result<(Self::Socket, Peer)>;

    /// Registers the socket for events in both directions, once.
    fn register(&mut self, socket: &mut Self::Socket, id: ConnId) -> io::Result<()>;

    /// Reads into `bytes`; `WouldBlock` if there is no input.
    fn read(&mut self, socket: &mut Self::Socket, bytes: &mut [u8]) -> io::Result<Received>;

    /// Writes some of `bytes` and returns how many; `WouldBlock` if the socket takes none.
    fn write(&mut self, socket: &mut Self::Socket, bytes: &[u8]) -> io::Result<usize>;

    /// Shuts down the socket for writing.
    fn shutdown_write(&mut self, socket: &mut Self::Socket) -> io::Result<()>;

    /// What the peer's system has received.
    fn receipt(&self, socket: &Self::Socket) -> Receipt;

    /// Closes every listener.
    fn close_listeners(&mut self);
}

/// An event of the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Connections wait at this listener.
    Acceptable(usize),
    /// A connection can be read from or written to, or is broken.
    Ready {
        /// The connection.
        id: ConnId,
        /// Whether to try to read.
        readable: Readable,
        /// Whether to try to write.
        writable: bool,
        /// The connection has failed in both directions.
        broken: bool,
    },
    /// Another thread has woken the reactor.
    Woken,
}

/// Whether to try to read, and until when. The greater of two values applies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Readable {
    /// Do not read.
    No,
    /// Until a read drains the socket or returns `WouldBlock`.
    UntilDrained,
    /// Until a read returns `WouldBlock`: a mark (urgent data, the end of input) may be among or after the bytes, and a
    /// read that stops at it looks as if it had drained the socket.
    UntilRefused,
}

/// What the system of a socket's peer has received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// How much of what was written it has not received as far as is known, in bytes. The end of the output counts as a
    /// byte. Zero where what is written is received at once.
    pub missing: u64,
    /// The connection has failed or has ended: nothing more will be received.
    pub is_last: bool,
}

/// The result of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// The number of bytes; zero is the end of input.
    pub count: usize,
    /// No more bytes wait, unless the socket is readable [`Readable::UntilRefused`].
    pub is_drained: bool,
}

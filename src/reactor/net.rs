//! The seam to the network: what the reactor needs of it, and nothing more.

use std::io;
use std::time::Duration;

use crate::ids::ConnId;
use crate::model::Peer;

/// Sockets and their readiness. Edge-triggered: after a `WouldBlock`, or a read that has drained the socket,
/// one event comes when the socket is ready again. The end of input makes an event of its own. No others are
/// promised.
pub trait Net {
    /// One connection; dropped to close it.
    type Socket;

    /// Waits for events, for `timeout` at most (forever without), and appends them. An interrupted wait
    /// is no error.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// How many listeners there are; they are numbered from zero.
    fn listener_count(&self) -> usize;

    /// Takes a connection that waits at a listener.
    fn accept(&mut self, listener: usize) -> io::Result<(Self::Socket, Peer)>;

    /// Asks for events of the socket, in both directions, once and for all.
    fn register(&mut self, socket: &mut Self::Socket, id: ConnId) -> io::Result<()>;

    /// Reads into `bytes`.
    fn read(&mut self, socket: &mut Self::Socket, bytes: &mut [u8]) -> io::Result<Received>;

    /// Writes some of `bytes`.
    fn write(&mut self, socket: &mut Self::Socket, bytes: &[u8]) -> io::Result<usize>;

    /// Says that nothing more will be written.
    fn shutdown_write(&mut self, socket: &mut Self::Socket) -> io::Result<()>;

    /// Closes every listener.
    fn close_listeners(&mut self);
}

/// Something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Connections wait at this listener.
    Acceptable(usize),
    /// A connection can be read from or written to, or is broken.
    Ready {
        /// Which.
        id: ConnId,
        /// Reading is worth a try.
        readable: Readable,
        /// Writing is worth a try.
        writable: bool,
        /// Nothing will come or go any more.
        broken: bool,
    },
    /// Somebody wants the reactor to look around.
    Woken,
}

/// Whether reading is worth a try, and what shows that it is no more. Of two, the greater one holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Readable {
    /// It is not.
    No,
    /// Until the socket is drained, or a read is refused.
    UntilDrained,
    /// Until a read is refused: what is no byte (the end of input) stands among the bytes or behind them, and
    /// reads stop short of it as if they had drained the socket.
    UntilRefused,
}

/// What a read has brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// So many bytes; zero is the end of the client's input.
    pub count: usize,
    /// There were no more, unless the socket is readable [`Readable::UntilRefused`].
    pub is_drained: bool,
}

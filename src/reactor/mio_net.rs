//! The real network: mio over TCP and unix sockets, and clients of this process.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};

use super::local::{LocalListener, LocalPort, LocalSocket};
use super::net::{Event, Net, Readable, Receipt, Received};
use crate::ids::ConnId;
use crate::limits;
use crate::model::Peer;
use crate::sys;

pub use mio::Waker;

/// mio's poll, the listeners, and a waker for other threads.
pub struct MioNet {
    poll: Poll,
    events: Events,
    /// That of the port is last.
    listeners: Vec<Listener>,
    waker: Arc<Waker>,
    port: Arc<LocalPort>,
    port_index: usize,
}

/// A listening, nonblocking socket.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
    Local(LocalListener),
}

/// One client's socket.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Socket {
    Tcp(TcpSocket),
    Unix(UnixStream),
    Local(LocalSocket),
}

/// The socket of a TCP connection.
#[derive(Debug)]
pub struct TcpSocket {
    stream: TcpStream,
    /// A read or a write has returned that the peer has reset the connection.
    was_reset: bool,
}

impl From<std::net::TcpListener> for Listener {
    /// The listener must be nonblocking.
    fn from(listener: std::net::TcpListener) -> Listener {
        Listener::Tcp(TcpListener::from_std(listener))
    }
}

impl From<std::os::unix::net::UnixListener> for Listener {
    /// The listener must be nonblocking.
    fn from(listener: std::os::unix::net::UnixListener) -> Listener {
        Listener::Unix(UnixListener::from_std(listener))
    }
}

impl MioNet {
    /// Registers `listeners`; their indices stay the same. The next index is that of clients of this process.
    pub fn new(mut listeners: Vec<Listener>) -> io::Result<MioNet> {
        let poll = Poll::new()?;
        for (index, listener) in listeners.iter_mut().enumerate() {
            let token = Token(FIRST_LISTENER + index);
            match listener {
                Listener::Tcp(tcp) => poll.registry().register(tcp, token, Interest::READABLE)?,
                Listener::Unix(unix) => poll.registry().register(unix, token, Interest::READABLE)?,
                Listener::Local(_) => {}
            }
        }
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let events = Events::with_capacity(limits::EVENTS_PER_TICK_MAX);
        let port_waker = Arc::clone(&waker);
        let port = Arc::new(LocalPort::new(move || wake(&port_waker)));
        let port_index = listeners.len();
        listeners.push(Listener::Local(port.listener()));
        Ok(MioNet { poll, events, listeners, waker, port, port_index })
    }

    /// Ends the wait in [`Net::poll`] from any thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Where clients of this process connect.
    pub fn port(&self) -> Arc<LocalPort> {
        Arc::clone(&self.port)
    }

    /// A duplicate of the poll's descriptor, which is readable while an event waits.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        sys::epoll::descriptor(&self.poll).try_clone_to_owned()
    }
}

impl Net for MioNet {
    type Socket = Socket;

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        events.extend(self.events.iter().map(|event| match event.token() {
            WAKER => Event::Woken,
            Token(token) if token >= FIRST_LISTENER => Event::Acceptable(token - FIRST_LISTENER),
            token => Event::Ready {
                id: conn_id(token),
                readable: readable(event),
                writable: event.is_writable() || event.is_write_closed(),
                broken: event.is_error(),
            },
        }));
        let is_woken = self.events.iter().any(|event| event.token() == WAKER);
        let has_more = is_woken && self.port.take_events(self.port_index, events);
        if has_more || self.events.iter().count() == self.events.capacity() {
            // More may wait. A host that watches the descriptor for edges gets one.
            self.waker.wake()?;
        }
        Ok(())
    }

    fn listener_count(&self) -> usize {
        self.listeners.len()
    }

    fn accept(&mut self, listener: usize) -> io::Result<(Socket, Peer)> {
        match &self.listeners[listener] {
            Listener::Tcp(tcp) => {
                let (stream, address) = tcp.accept()?;
                set_options(&stream);
                Ok((Socket::Tcp(TcpSocket { stream, was_reset: false }), Peer::from(address)))
            }
            Listener::Unix(unix) => {
                let (stream, _) = unix.accept()?;
                let uid = sys::socket::peer_uid(stream.as_fd()).ok();
                Ok((Socket::Unix(stream), Peer::Unix { uid }))
            }
            Listener::Local(local) => {
                let uid = Some(sys::process::effective_uid());
                Ok((Socket::Local(local.accept()?), Peer::Unix { uid }))
            }
        }
    }

    fn register(&mut self, socket: &mut Socket, id: ConnId) -> io::Result<()> {
        // With priority, an event reports urgent bytes, which cut reads short.
        let (token, all) = (token(id), Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY);
        match socket {
            Socket::Tcp(tcp) => self.poll.registry().register(&mut tcp.stream, token, all),
            Socket::Unix(stream) => self.poll.registry().register(stream, token, all),
            Socket::Local(local) => {
                local.register(id);
                Ok(())
            }
        }
    }

    fn read(&mut self, socket: &mut Socket, bytes: &mut [u8]) -> io::Result<Received> {
        match socket {
            Socket::Tcp(tcp) => {
                let read = tcp.stream.read(bytes);
                tcp.was_reset |= is_reset(&read);
                let count = read?;
                // A short read has drained a stream (epoll(7)); the event reports the other causes.
                Ok(Received { count, is_drained: count < bytes.len() })
            }
            // Passed descriptors cut a read short, and no event reports them.
            Socket::Unix(stream) => Ok(Received { count: stream.read(bytes)?, is_drained: false }),
            Socket::Local(local) => local.read(bytes),
        }
    }

    fn write(&mut self, socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
        match socket {
            Socket::Tcp(tcp) => {
                let written = tcp.stream.write(bytes);
                tcp.was_reset |= is_reset(&written);
                written
            }
            Socket::Unix(stream) => stream.write(bytes),
            Socket::Local(local) => local.write(bytes),
        }
    }

    fn shutdown_write(&mut self, socket: &mut Socket) -> io::Result<()> {
        match socket {
            Socket::Tcp(tcp) => tcp.stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
            Socket::Local(local) => {
                local.shutdown_write();
                Ok(())
            }
        }
    }

    fn receipt(&self, socket: &Socket) -> Receipt {
        match socket {
            Socket::Tcp(tcp) => tcp.receipt().unwrap_or_else(|error| {
                log::debug!("the system does not tell what a client has received: {error}");
                RECEIVED
            }),
            Socket::Unix(_) | Socket::Local(_) => RECEIVED,
        }
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
    }
}

/// Ends the wait of a poll.
pub fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        log::error!("the reactor can't be woken: {error}");
    }
}

fn readable(event: &mio::event::Event) -> Readable {
    if event.is_read_closed() || event.is_priority() {
        Readable::UntilRefused
    } else if event.is_readable() {
        Readable::UntilDrained
    } else {
        Readable::No
    }
}

/// Sets the options of a TCP connection: small replies leave at once, keep-alive detects lost peers, and a limit of
/// unsent bytes makes the progress of slow readers visible. The connection works without them.
fn set_options(stream: &TcpStream) {
    let keep_alive = socket2::TcpKeepalive::new()
        .with_time(limits::KEEPALIVE_IDLE)
        .with_interval(limits::KEEPALIVE_INTERVAL)
        .with_retries(limits::KEEPALIVE_PROBES);
    let socket = socket2::SockRef::from(stream);
    let done = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keep_alive))
        .and_then(|()| socket.set_tcp_notsent_lowat(limits::UNSENT_BYTES_MAX));
    if let Err(error) = done {
        log::debug!("setting the options of a connection failed: {error}");
    }
}

impl TcpSocket {
    fn receipt(&self) -> io::Result<Receipt> {
        let socket = self.stream.as_fd();
        // Before the others: the end may come between the calls.
        let is_last = sys::socket::is_closed(socket)?;
        // After the end of its output, a peer that resets the connection has closed, and refuses what comes. Another one may
        // have received what it has not acknowledged yet: systems delay that, and the reset says nothing.
        let may_have_all = is_last && (self.was_reset || is_reset(&self.stream.peek(&mut [0])));
        let missing = match may_have_all {
            true => sys::socket::untransmitted(socket)?,
            false => sys::socket::unacknowledged(socket)?,
        };
        Ok(Receipt { missing: missing.into(), is_last })
    }
}

/// Whether the peer has reset the connection, before it has ended its output.
fn is_reset(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// What is sent to a process of this system is received at once, or refused.
const RECEIVED: Receipt = Receipt { missing: 0, is_last: false };

/// A token is the generation in the upper half and the index in the lower. The tokens of listeners and of the
/// waker have the generation `u32::MAX`, which takes 2^32 connections in one slot to reach.
fn token(id: ConnId) -> Token {
    Token((id.generation as usize) << u32::BITS | id.index as usize)
}

fn conn_id(Token(token): Token) -> ConnId {
    ConnId { index: token as u32, generation: (token >> u32::BITS) as u32 }
}

const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX - limits::LISTENERS_MAX;

const _: () = assert!(usize::BITS == 64, "a token holds an index and a generation of 32 bits each");
const _: () = assert!(limits::LISTENERS_MAX < 1 << 8);

#[cfg(test)]
#[path = "mio_net_tests.rs"]
mod tests;

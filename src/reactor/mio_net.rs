//! The network for real: mio over TCP and unix sockets.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};

use super::net::{Event, Net};
use crate::ids::ConnId;
use crate::limits;
use crate::model::Peer;
use crate::sys;

pub use mio::Waker;

/// mio's poll, the listeners, and a waker for other threads.
pub struct MioNet {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    waker: Arc<Waker>,
}

/// Where connections come from; already listening and nonblocking.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// One client's socket.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<std::net::TcpListener> for Listener {
    /// The listener has to be nonblocking.
    fn from(listener: std::net::TcpListener) -> Listener {
        Listener::Tcp(TcpListener::from_std(listener))
    }
}

impl From<std::os::unix::net::UnixListener> for Listener {
    /// The listener has to be nonblocking.
    fn from(listener: std::os::unix::net::UnixListener) -> Listener {
        Listener::Unix(UnixListener::from_std(listener))
    }
}

impl MioNet {
    /// Registers `listeners`, which keep their order.
    pub fn new(mut listeners: Vec<Listener>) -> io::Result<MioNet> {
        let poll = Poll::new()?;
        for (index, listener) in listeners.iter_mut().enumerate() {
            let token = Token(FIRST_LISTENER + index);
            match listener {
                Listener::Tcp(tcp) => poll.registry().register(tcp, token, Interest::READABLE)?,
                Listener::Unix(unix) => poll.registry().register(unix, token, Interest::READABLE)?,
            }
        }
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let events = Events::with_capacity(limits::EVENTS_PER_TURN_MAX);
        Ok(MioNet { poll, events, listeners, waker })
    }

    /// Ends the wait in [`Net::poll`] from any thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
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
                readable: event.is_readable() || event.is_read_closed(),
                writable: event.is_writable() || event.is_write_closed(),
                broken: event.is_error(),
            },
        }));
        Ok(())
    }

    fn listener_count(&self) -> usize {
        self.listeners.len()
    }

    fn accept(&mut self, listener: usize) -> io::Result<(Socket, Peer)> {
        match &self.listeners[listener] {
            Listener::Tcp(tcp) => {
                let (stream, address) = tcp.accept()?;
                keep_alive(&stream);
                Ok((Socket::Tcp(stream), Peer::from(address)))
            }
            Listener::Unix(unix) => {
                let (stream, _) = unix.accept()?;
                let uid = sys::socket::peer_uid(stream.as_fd()).ok();
                Ok((Socket::Unix(stream), Peer::Unix { uid }))
            }
        }
    }

    fn register(&mut self, socket: &mut Socket, id: ConnId) -> io::Result<()> {
        let (token, both) = (token(id), Interest::READABLE | Interest::WRITABLE);
        match socket {
            Socket::Tcp(stream) => self.poll.registry().register(stream, token, both),
            Socket::Unix(stream) => self.poll.registry().register(stream, token, both),
        }
    }

    fn read(&mut self, socket: &mut Socket, bytes: &mut [u8]) -> io::Result<usize> {
        match socket {
            Socket::Tcp(stream) => stream.read(bytes),
            Socket::Unix(stream) => stream.read(bytes),
        }
    }

    fn write(&mut self, socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
        match socket {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn shutdown_write(&mut self, socket: &mut Socket) -> io::Result<()> {
        match socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
    }
}

/// Replies are small and awaited; peers that vanish are to be noticed. A socket that refuses either
/// still works.
fn keep_alive(stream: &TcpStream) {
    let keep_alive = socket2::TcpKeepalive::new()
        .with_time(limits::KEEPALIVE_IDLE)
        .with_interval(limits::KEEPALIVE_INTERVAL)
        .with_retries(limits::KEEPALIVE_PROBES);
    let socket = socket2::SockRef::from(stream);
    let done = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keep_alive));
    if let Err(error) = done {
        log::debug!("a connection without keep-alive: {error}");
    }
}

/// A token is the generation above the index; listeners and the waker stand above all indices of
/// generation `u32::MAX`, which takes four thousand million connections in one place to reach.
fn token(id: ConnId) -> Token {
    Token((id.generation as usize) << u32::BITS | id.index as usize)
}

fn conn_id(Token(token): Token) -> ConnId {
    ConnId { index: token as u32, generation: (token >> u32::BITS) as u32 }
}

const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX - limits::LISTENERS_MAX;

const _: () = assert!(usize::BITS == 64, "a token holds an index and a generation of 32 bits each");
const _: () = assert!(limits::LISTENERS_MAX < 1 << 16);

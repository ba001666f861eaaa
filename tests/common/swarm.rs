//! Thousands of connections, served by one thread.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub)]

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockRef, Socket, Type};

/// How many connections this process can hold, at most `wanted`. Prints a warning if that is less.
pub fn connections_that_fit(wanted: usize) -> usize {
    let limit =
        vmherd::internals::sys::process::raise_descriptor_limit().expect("a process may have files open");
    let fitting = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(200).min(wanted);
    assert!(fitting >= 500, "with {limit} open files (ulimit -Hn) there is nothing to see here");
    if fitting < wanted {
        eprintln!(
            "!!! ONLY {fitting} CONNECTIONS INSTEAD OF {wanted}: this process may have {limit} open files \
             (ulimit -Hn) !!!"
        );
    }
    fitting
}

/// Many connections, all served by one thread.
pub struct Swarm {
    poll: Poll,
    events: Events,
    pub members: Vec<Member>,
    /// How many are not ended.
    pub open: usize,
}

/// One of many connections.
pub struct Member {
    socket: Option<TcpStream>,
    unsent: Vec<u8>,
    pub received: Vec<u8>,
    /// When the daemon closed it, and how: in good order or by a reset.
    pub ended: Option<(Instant, io::Result<()>)>,
}

impl Swarm {
    pub fn new() -> Swarm {
        let poll = Poll::new().expect("epoll");
        Swarm { poll, events: Events::with_capacity(4096), members: Vec::new(), open: 0 }
    }

    /// Begins one more connection and sends `bytes` on it; its index.
    #[track_caller]
    pub fn connect(&mut self, address: SocketAddr, bytes: &[u8]) -> usize {
        let socket = TcpStream::connect(address).expect("a connection can be begun");
        self.add(socket, bytes)
    }

    /// The same from `source`, an address of this host.
    #[track_caller]
    pub fn connect_from(&mut self, source: IpAddr, address: SocketAddr, bytes: &[u8]) -> usize {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(source, 0).into()).expect("an address of this host");
        socket.connect(&address.into()).expect("the daemon accepts");
        socket.set_nonblocking(true).expect("a socket option");
        self.add(TcpStream::from_std(socket.into()), bytes)
    }

    #[track_caller]
    fn add(&mut self, mut socket: TcpStream, bytes: &[u8]) -> usize {
        let index = self.members.len();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(index), both).expect("epoll takes it");
        let (socket, unsent) = (Some(socket), Vec::new());
        self.members.push(Member { socket, unsent, received: Vec::new(), ended: None });
        self.open += 1;
        self.send(index, bytes);
        index
    }

    /// Sends `bytes` to the daemon, now or as soon as possible.
    pub fn send(&mut self, index: usize, bytes: &[u8]) {
        let member = &mut self.members[index];
        member.unsent.extend_from_slice(bytes);
        self.open -= usize::from(!member.flush());
    }

    /// Closes the connection from this side.
    pub fn close(&mut self, index: usize) {
        let member = &mut self.members[index];
        self.open -= usize::from(member.socket.take().is_some());
    }

    /// Resets all of them, so that the daemon does not take them for half-closed.
    pub fn reset(self) {
        for socket in self.members.iter().filter_map(|member| member.socket.as_ref()) {
            SockRef::from(socket).set_linger(Some(Duration::ZERO)).expect("a socket option");
        }
    }

    /// Receives for `time`.
    pub fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left, |_| {});
        }
    }

    /// Waits for events for at most `timeout` and receives; calls `came` with the index of each member.
    pub fn turn(&mut self, timeout: Duration, mut came: impl FnMut(usize)) {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            polled => polled.expect("epoll works"),
        }
        for event in &self.events {
            let Token(index) = event.token();
            let member = &mut self.members[index];
            if member.socket.is_some() {
                let is_open = member.flush() && member.receive();
                self.open -= usize::from(!is_open);
                came(index);
            }
        }
    }
}

impl Member {
    /// Whether the connection is open.
    pub fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether all bytes are sent, or cannot be sent any more.
    pub fn is_done_sending(&self) -> bool {
        self.socket.is_none() || self.unsent.is_empty()
    }

    /// The lines that have come.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.received.split_inclusive(|&byte| byte == b'\n').map(|line| {
            let line = line.strip_suffix(b"\n").expect("whole lines only");
            std::str::from_utf8(line).expect("replies are UTF-8")
        })
    }

    /// False at the end of the connection.
    fn flush(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return true };
        while !self.unsent.is_empty() {
            match socket.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return true,
                Err(error) => return self.end(Err(error)),
            }
        }
        // Thousands of members must not keep the memory of long requests.
        self.unsent = Vec::new();
        true
    }

    /// False at the end of the connection.
    fn receive(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        loop {
            let Some(socket) = &mut self.socket else { return false };
            match socket.read(&mut chunk) {
                Ok(0) => return self.end(Ok(())),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return true,
                Err(error) => return self.end(Err(error)),
            }
        }
    }

    fn end(&mut self, how: io::Result<()>) -> bool {
        (self.socket, self.unsent) = (None, Vec::new());
        self.ended = Some((Instant::now(), how));
        false
    }
}

//! A socket to a server: requests as lines, and the lines of the replies. Each call has a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::address::ServerAddress;
use super::error::ClientError;
use super::input::Input;
use crate::clock::{Instant, monotonic_now};
use crate::limits;

/// A connection; closed after an error that leaves requests without replies.
pub(super) struct Connection {
    stream: Option<Stream>,
    input: Input,
    pub(super) reply_bytes_max: usize,
}

/// When a call ends without a result; `None`: never.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Deadline {
    pub(super) fn after(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.map(|timeout| monotonic_now() + timeout))
    }

    /// The time left.
    fn left(self) -> io::Result<Option<Duration>> {
        let left = self.0.map(|deadline| deadline.since(monotonic_now()));
        match left {
            Some(Duration::ZERO) => Err(ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl Connection {
    pub(super) fn open(address: &ServerAddress, deadline: Deadline) -> Result<Connection, ClientError> {
        let stream = match address {
            ServerAddress::Tcp(host_and_port) => connect_tcp(host_and_port, deadline).map(Stream::Tcp),
            ServerAddress::Unix(path) => connect_unix(path, deadline).map(Stream::Unix),
        };
        let stream = stream.map_err(|error| ClientError::Connect {
            address: address.to_string(),
            source: if is_timeout(&error) { ErrorKind::TimedOut.into() } else { error },
        })?;
        let (stream, input) = (Some(stream), Input::default());
        Ok(Connection { stream, input, reply_bytes_max: limits::CLIENT_REPLY_BYTES_MAX })
    }

    pub(super) fn close(&mut self) {
        (self.stream, self.input) = (None, Input::default());
    }

    /// Sends a request. If the server has closed meanwhile, that is for [`Connection::receive`] to report: the server
    /// may have sent why.
    pub(super) fn send(&mut self, request: &[u8], deadline: Deadline) -> Result<(), ClientError> {
        let stream = self.stream.as_mut().ok_or(ClientError::Closed)?;
        match stream.send(request, deadline) {
            Err(error) if is_closed(&error) => Ok(()),
            Err(error) => Err(self.fail(error)),
            Ok(()) => Ok(()),
        }
    }

    /// The next line of the server, without its newline.
    pub(super) fn receive(&mut self, deadline: Deadline) -> Result<String, ClientError> {
        loop {
            match self.input.line() {
                Ok(Some(line)) => return Ok(line),
                Ok(None) if self.input.rest().len() > self.reply_bytes_max => {
                    self.close();
                    let most = self.reply_bytes_max;
                    return Err(ClientError::bad_reply(format_args!("it has more than {most} bytes")));
                }
                Ok(None) => self.read(deadline)?,
                Err(malformed) => {
                    self.close();
                    return Err(malformed.into());
                }
            }
        }
    }

    /// Fails if the connection is closed, or the server has sent more than the replies to all requests.
    pub(super) fn check_ready(&mut self) -> Result<(), ClientError> {
        if self.input.rest().is_empty() {
            return self.stream.as_ref().map(|_| ()).ok_or(ClientError::Closed);
        }
        self.close();
        Err(ClientError::bad_reply("it follows the reply to the last request"))
    }

    /// An error if the server has closed the connection, or has sent something between two requests.
    pub(super) fn check_open(&mut self) -> Result<(), ClientError> {
        let stream = self.stream.as_mut().ok_or(ClientError::Closed)?;
        match stream.has_input() {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.fail(ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn read(&mut self, deadline: Deadline) -> Result<(), ClientError> {
        let stream = self.stream.as_mut().ok_or(ClientError::Closed)?;
        let mut chunk = [0; limits::CLIENT_READ_BYTES];
        match stream.receive(&mut chunk, deadline) {
            Ok(0) => Err(self.fail(ErrorKind::UnexpectedEof.into())),
            Ok(length) => {
                self.input.push(&chunk[..length]);
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Closes the connection because of `error`.
    fn fail(&mut self, error: io::Error) -> ClientError {
        self.close();
        match error {
            error if is_timeout(&error) => ClientError::Timeout,
            error if is_closed(&error) => ClientError::Closed,
            error => ClientError::Io(error),
        }
    }
}

impl Stream {
    fn send(&mut self, mut bytes: &[u8], deadline: Deadline) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = deadline.left()?;
            let sent = match self {
                Stream::Tcp(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(bytes)),
                Stream::Unix(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(bytes)),
            };
            match sent {
                Ok(0) => return Err(ErrorKind::BrokenPipe.into()),
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether there is something to read, or the end. What is there is lost.
    fn has_input(&mut self) -> io::Result<bool> {
        let received = match self {
            Stream::Tcp(stream) => receive_now(stream, TcpStream::set_nonblocking),
            Stream::Unix(stream) => receive_now(stream, UnixStream::set_nonblocking),
        };
        match received {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            received => received.map(|()| true),
        }
    }

    /// Reads some bytes; 0 at the end.
    fn receive(&mut self, chunk: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        loop {
            let left = deadline.left()?;
            let received = match self {
                Stream::Tcp(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(chunk)),
                Stream::Unix(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(chunk)),
            };
            match received {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }
}

/// Reads one byte, or the end, without waiting.
fn receive_now<S: Read>(stream: &mut S, set_nonblocking: fn(&S, bool) -> io::Result<()>) -> io::Result<()> {
    set_nonblocking(stream, true)?;
    let received = stream.read(&mut [0]);
    set_nonblocking(stream, false)?;
    received.map(drop)
}

/// Connects to the first address of a host that accepts. Each gets an equal part of the time left; the name is resolved
/// by the system, in a time of its own.
fn connect_tcp(host_and_port: &str, deadline: Deadline) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = host_and_port.to_socket_addrs()?.collect();
    let mut result = Err(io::Error::new(ErrorKind::NotFound, "the host has no address"));
    for (address, untried) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
        result = match deadline.left()? {
            Some(left) => TcpStream::connect_timeout(address, (left / untried).max(TIME_MIN)),
            None => TcpStream::connect(address),
        };
        if result.is_ok() {
            break;
        }
    }
    let stream = result?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to a unix socket. A server that accepts too slowly makes this wait, as long as a write would.
fn connect_unix(path: &Path, deadline: Deadline) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(deadline.left()?)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::UnexpectedEof
    )
}

/// The shortest time that the system takes as one.
const TIME_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A connection, and the server's end of it.
    fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ServerAddress::Tcp(listener.local_addr().unwrap().to_string());
        let connection = Connection::open(&address, Deadline::after(None)).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    /// Waits for `stream` to have input, or its end.
    fn wait_for_input(connection: &Connection) {
        let Some(Stream::Tcp(stream)) = &connection.stream else { panic!("it is closed") };
        stream.peek(&mut [0]).unwrap();
    }

    #[test]
    fn idle_connections_are_open_until_the_server_closes_them() {
        let (mut connection, mut server) = connected();
        let deadline = Deadline::after(Some(Duration::from_secs(10)));
        for _ in 0..2 {
            connection.check_open().unwrap();
            server.write_all(b"{}\n").unwrap();
            assert_eq!(connection.receive(deadline).unwrap(), "{}", "calls wait as before");
        }
        drop(server);
        wait_for_input(&connection);
        for _ in 0..2 {
            assert!(matches!(connection.check_open(), Err(ClientError::Closed)));
        }
    }

    #[test]
    fn connections_with_something_unasked_are_closed() {
        let (mut connection, mut server) = connected();
        server.write_all(b"{}\n").unwrap();
        wait_for_input(&connection);
        assert!(matches!(connection.check_open(), Err(ClientError::Closed)));
        assert!(matches!(connection.receive(Deadline::after(None)), Err(ClientError::Closed)));
    }
}

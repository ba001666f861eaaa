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
        Ok(Connection { stream: Some(stream), input: Input::default() })
    }

    pub(super) fn close(&mut self) {
        (self.stream, self.input) = (None, Input::default());
    }

    /// Sends a request. If the server has closed meanwhile, that is for [`Connection::receive`] to report: the server may
    /// have sent why.
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
                Ok(None) if self.input.rest().len() > limits::CLIENT_REPLY_BYTES_MAX => {
                    self.close();
                    let most = limits::CLIENT_REPLY_BYTES_MAX >> 20;
                    return Err(ClientError::bad_reply(format_args!("it has more than {most} MiB")));
                }
                Ok(None) => self.read(deadline)?,
                Err(malformed) => {
                    self.close();
                    return Err(malformed.into());
                }
            }
        }
    }

    /// Fails if the server has sent more than the replies to all requests.
    pub(super) fn check_answered(&mut self) -> Result<(), ClientError> {
        if self.input.rest().is_empty() {
            return Ok(());
        }
        self.close();
        Err(ClientError::bad_reply("it follows the reply to the last request"))
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

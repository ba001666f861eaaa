//! A socket of a VM: QEMU's monitor, the serial port, or a console.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

/// A nonblocking stream, with the output that it has not taken yet.
pub(super) struct Link {
    stream: UnixStream,
    output: Vec<u8>,
    /// It may have input: cleared when there is none.
    is_readable: bool,
}

impl Link {
    /// Connects to the socket at `path`; an error of the kinds of [`is_not_there_yet`] means that nothing listens yet.
    pub(super) fn connect(path: &Path, registry: &Registry, token: Token) -> io::Result<Link> {
        Link::new(UnixStream::connect(path)?, registry, token)
    }

    /// Takes over `stream`.
    pub(super) fn new(mut stream: UnixStream, registry: &Registry, token: Token) -> io::Result<Link> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Link { stream, output: Vec::new(), is_readable: true })
    }

    /// Notes an event of the stream.
    pub(super) fn set_ready(&mut self) {
        self.is_readable = true;
    }

    /// Whether it may have more input.
    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Bytes that wait to be taken.
    pub(super) fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Sends `bytes` after what waits.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what waits, as far as the stream takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            if sent == self.output.len() {
                break Ok(());
            }
            match self.stream.write(&self.output[sent..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.output.drain(..sent);
        result
    }

    /// Reads into `buffer`; zero bytes: there are none now. The end of the stream is an error.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    return Ok(0);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a connection failed because QEMU has not made its socket yet.
pub(super) fn is_not_there_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::WouldBlock)
}

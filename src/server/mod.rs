//! The server as a value: bind it, start it, stop it. What the daemon's `main` and other programs use.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::config::{Config, ListenAddress};

/// A server whose listeners are bound and whose store is open, not yet serving.
pub struct Server {
    addresses: Vec<ListenAddress>,
}

/// A server that serves on threads of its own.
pub struct Running {}

/// Why a server can't start; the text says what to do.
#[derive(Debug)]
pub struct StartError(pub String);

impl Server {
    /// Binds every listener, the state directory's socket included, and opens the store.
    pub fn bind(_config: &Config) -> Result<Server, StartError> {
        todo!()
    }

    /// The addresses bound, in the order of the configuration, with real ports; the state directory's
    /// socket last.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Starts serving on a thread of its own.
    pub fn start(self) -> io::Result<Running> {
        todo!()
    }
}

impl Running {
    /// Stops accepting, finishes what is in flight for at most `grace`, then closes. Returns at once;
    /// [`Running::ended`] tells when it is done. Zero: cut everything.
    pub fn stop(&self, _grace: Duration) {
        todo!()
    }

    /// A descriptor that becomes readable when the server has ended, whatever ended it.
    pub fn ended(&self) -> BorrowedFd<'_> {
        todo!()
    }

    /// Waits for the end. An error is what ended it other than [`Running::stop`].
    pub fn join(self) -> io::Result<()> {
        todo!()
    }
}

impl AsFd for Running {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

//! The serial port of one VM: its log, and the consoles that are connected to it.

use std::fs;
use std::io;
use std::path::Path;

use mio::net::UnixListener;
use mio::{Interest, Registry, Token};

use super::link::Link;
use super::serial_log::SerialLog;
use crate::limits;

/// The serial port of a VM.
pub(super) struct Serial {
    /// The connection to QEMU, once there is one.
    link: Option<Link>,
    log: SerialLog,
    /// Where consoles connect. Only this user and root reach it, because of its directory.
    listener: Option<UnixListener>,
    consoles: [Option<Link>; limits::CONSOLES_PER_VM_MAX],
}

/// The tokens of its sockets.
#[derive(Clone, Copy)]
pub(super) struct SerialTokens {
    pub(super) link: Token,
    pub(super) listener: Token,
    /// The first of the consoles'.
    pub(super) consoles: Token,
}

impl Serial {
    /// The serial port before QEMU has made its socket.
    pub(super) fn new(log: SerialLog) -> Serial {
        Serial { link: None, log, listener: None, consoles: Default::default() }
    }

    /// The log.
    pub(super) fn log(&self) -> &SerialLog {
        &self.log
    }

    /// Whether it is connected to QEMU.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Connects to QEMU's socket.
    pub(super) fn connect(
        &mut self,
        path: &Path,
        registry: &Registry,
        tokens: SerialTokens,
    ) -> io::Result<()> {
        self.link = Some(Link::connect(path, registry, tokens.link)?);
        Ok(())
    }

    /// Lets consoles connect at `path`.
    pub(super) fn listen(
        &mut self,
        path: &Path,
        registry: &Registry,
        tokens: SerialTokens,
    ) -> io::Result<()> {
        // Of an earlier server.
        let _ = fs::remove_file(path);
        let mut listener = UnixListener::bind(path)?;
        registry.register(&mut listener, tokens.listener, Interest::READABLE)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Notes an event of QEMU's socket.
    pub(super) fn set_link_ready(&mut self) {
        if let Some(link) = &mut self.link {
            link.set_ready();
        }
    }

    /// Notes an event of a console's socket.
    pub(super) fn set_console_ready(&mut self, index: usize) {
        if let Some(Some(console)) = self.consoles.get_mut(index) {
            console.set_ready();
        }
    }

    /// Accepts the consoles that wait; too many are closed.
    pub(super) fn accept(&mut self, registry: &Registry, tokens: SerialTokens) {
        let Some(listener) = &self.listener else { return };
        while let Ok((stream, _)) = listener.accept() {
            let Some(index) = self.consoles.iter().position(Option::is_none) else { continue };
            let token = Token(tokens.consoles.0 + index);
            match Link::new(stream, registry, token) {
                Ok(console) => self.consoles[index] = Some(console),
                Err(error) => log::warn!("a console can't be served: {error}"),
            }
        }
    }

    /// Moves bytes both ways, at most one `buffer` from each side; returns whether there may be more.
    pub(super) fn advance(&mut self, buffer: &mut [u8]) -> bool {
        let mut has_more = self.read_link(buffer);
        let Some(link) = &mut self.link else { return false };
        // What the guest has taken makes room for more.
        if link.flush().is_err() {
            self.link = None;
            return false;
        }
        for slot in &mut self.consoles {
            let Some(console) = slot else { continue };
            let room = limits::CONSOLE_INPUT_BYTES_MAX.saturating_sub(link.unsent()).min(buffer.len());
            let is_open = console.flush().and_then(|()| {
                if room == 0 || !console.is_readable() {
                    return Ok(());
                }
                let count = console.read(&mut buffer[..room])?;
                has_more |= console.is_readable();
                link.send(&buffer[..count])
            });
            if is_open.is_err() {
                *slot = None;
            }
        }
        has_more
    }

    /// Reads all that QEMU has written, at its end.
    pub(super) fn drain(&mut self, buffer: &mut [u8]) {
        self.set_link_ready();
        let mut left = limits::SERIAL_LOG_BYTES as usize / buffer.len();
        while left > 0 && self.read_link(buffer) {
            left -= 1;
        }
    }

    /// Reads from QEMU once; returns whether there may be more.
    fn read_link(&mut self, buffer: &mut [u8]) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.is_readable()) else { return false };
        let Ok(count) = link.read(buffer) else {
            self.link = None;
            return false;
        };
        let has_more = link.is_readable();
        self.log.append(&buffer[..count]);
        for slot in &mut self.consoles {
            // One that does not read is closed.
            let is_slow = |console: &mut Link| console.unsent() + count > limits::CONSOLE_OUTPUT_BYTES_MAX;
            slot.take_if(|console| is_slow(console) || console.send(&buffer[..count]).is_err());
        }
        has_more
    }
}

//! A connection to the monitor of one QEMU: commands in order, and their replies.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use mio::{Registry, Token};
use serde_json::Value;

use super::link::Link;
use super::qmp::{self, QmpDecoder, QmpMessage};

/// A connection to a monitor.
pub(super) struct Monitor {
    link: Link,
    decoder: QmpDecoder,
    /// Commands whose replies are still to come, in order.
    pending: VecDeque<Request>,
}

/// What a command asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request {
    /// To accept commands.
    Negotiate,
    /// To forward this port of the host to the guest.
    Forward(u16),
    /// The list of connections.
    Connections,
    /// The guest's power button is pressed.
    PowerOff,
    /// QEMU ends.
    Quit,
}

/// What the monitor says.
#[derive(PartialEq, Debug)]
pub(super) enum Reply {
    /// The result of a command.
    To(Request, Result<Value, String>),
    /// Something has happened.
    Event { name: String, data: Value },
}

/// Why a connection to a monitor is of no more use.
#[derive(Debug)]
pub(super) enum MonitorError {
    /// QEMU has closed it, most likely because it ends.
    Closed(io::Error),
    /// It does not speak QMP.
    Invalid(String),
}

impl Monitor {
    /// Connects to the socket at `path`.
    pub(super) fn connect(path: &Path, registry: &Registry, token: Token) -> io::Result<Monitor> {
        let link = Link::connect(path, registry, token)?;
        Ok(Monitor { link, decoder: QmpDecoder::default(), pending: VecDeque::new() })
    }

    /// Notes an event of the socket.
    pub(super) fn set_ready(&mut self) {
        self.link.set_ready();
    }

    /// Whether it may have more to read.
    pub(super) fn is_readable(&self) -> bool {
        self.link.is_readable()
    }

    /// Sends a command.
    pub(super) fn send(&mut self, request: Request, command: &[u8]) -> io::Result<()> {
        self.pending.push_back(request);
        self.link.send(command)
    }

    /// Reads at most one `buffer`. After an error the connection is of no more use.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Vec<Reply>, MonitorError> {
        let read = self.link.flush().and_then(|()| self.link.read(buffer));
        let count = read.map_err(MonitorError::Closed)?;
        let mut replies = Vec::new();
        for message in self.decoder.decode(&buffer[..count]).map_err(MonitorError::Invalid)? {
            match message {
                QmpMessage::Greeting => {
                    let accept = qmp::command("qmp_capabilities");
                    self.send(Request::Negotiate, &accept).map_err(MonitorError::Closed)?;
                }
                QmpMessage::Event { name, data } => replies.push(Reply::Event { name, data }),
                QmpMessage::Reply(result) => {
                    let stray = || MonitorError::Invalid("a reply to no command".to_owned());
                    let request = self.pending.pop_front().ok_or_else(stray)?;
                    replies.push(Reply::To(request, result));
                }
            }
        }
        Ok(replies)
    }
}

//! The network of a simulated world: its connections, and the listeners' queues.

use std::collections::VecDeque;
use std::time::Duration;

use super::connection::Connection;
use super::fake_handlers::ActRecord;
use super::fault_config::FaultConfig;
use super::verification::Verification;
use vmherd::internals::clock::Instant;
use vmherd::internals::ids::ConnId;
use vmherd::internals::limits;

/// All connections, and the listeners.
pub(super) struct Network {
    pub(super) connections: Vec<Connection>,
    pub(super) listeners: [Listener; LISTENERS],
    is_listening: bool,
    /// Ids of closed connections.
    pub(super) closed_ids: Vec<ConnId>,
}

/// One listener of the server.
#[derive(Default)]
pub(super) struct Listener {
    /// The indexes of the connections that are not accepted.
    pub(super) backlog: VecDeque<usize>,
    /// The last accept found the backlog empty: the next connection makes an event.
    pub(super) was_empty: bool,
    pub(super) event_is_due: bool,
}

impl Network {
    pub(super) fn new() -> Network {
        Network {
            connections: Vec::new(),
            listeners: Default::default(),
            is_listening: true,
            closed_ids: Vec::new(),
        }
    }

    /// Connects a client; returns the index of its connection.
    pub(super) fn connect(&mut self, client: usize, listener: usize, config: &FaultConfig) -> usize {
        let index = self.connections.len();
        let (address, port) = (address_of(client, listener), FIRST_PORT + index as u16);
        self.connections.push(Connection::new(client, address, port, config));
        if self.is_listening {
            let listener = &mut self.listeners[listener];
            listener.backlog.push_back(index);
            listener.event_is_due |= std::mem::take(&mut listener.was_empty);
        } else {
            self.connections[index].fail();
        }
        index
    }

    /// Stops listening; returns the connections that were not accepted, which fail.
    pub(super) fn close_listeners(&mut self) -> Vec<usize> {
        self.is_listening = false;
        let refused: Vec<usize> =
            self.listeners.iter_mut().flat_map(|listener| std::mem::take(&mut listener.backlog)).collect();
        refused.iter().for_each(|index| self.connections[*index].fail());
        refused
    }

    /// The client whose connection has this port.
    pub(super) fn client_of_port(&self, port: u64) -> Option<usize> {
        let index = usize::try_from(port).ok()?.checked_sub(usize::from(FIRST_PORT))?;
        self.connections.get(index).map(|connection| connection.client)
    }

    /// A handler has closed a client, which may have left before.
    pub(super) fn note_closed_by_handler(&mut self, record: ActRecord, now: Instant) {
        let connection = &mut self.connections[usize::from(record.port - FIRST_PORT)];
        if connection.is_open_at_server() {
            connection.closed_by_handler.get_or_insert((now, record.number));
        }
    }

    /// The open connection with this id.
    pub(super) fn open_connection(&self, id: ConnId) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.id == Some(id) && connection.closed.is_none())
    }

    /// The number of connections that are open at the server.
    pub(super) fn open_count(&self) -> usize {
        self.connections.iter().filter(|connection| connection.is_open_at_server()).count()
    }

    /// Does what is due by `now`.
    pub(super) fn advance(&mut self, now: Instant) {
        self.connections.iter_mut().for_each(|connection| connection.advance(now));
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.connections.iter().filter_map(Connection::next_due).min()
    }

    /// Whether no connection is kept open for too long.
    pub(super) fn check_deadlines(&self, now: Instant) -> Verification {
        for (index, connection) in self.connections.iter().enumerate() {
            if connection.closed.is_some() || connection.broken || connection.client_has_reset() {
                continue;
            }
            let exceeds =
                |since: Option<Instant>, limit| since.is_some_and(|since| now > since + limit + SLACK);
            // A socket is kept while a client may still get its container.
            let kept = if connection.has_receipts() { limits::WRITE_TIMEOUT } else { Duration::ZERO };
            let lingers = exceeds(connection.shut_down, kept + limits::LINGER_TIMEOUT);
            if lingers || exceeds(connection.stalled_since, kept + limits::WRITE_TIMEOUT) {
                return Err(format!("connection {index} is kept too long, lingers: {lingers}"));
            }
        }
        Ok(())
    }
}

/// The address of a client. Those of the sealed listener have few, which share the workers.
fn address_of(client: usize, listener: usize) -> [u8; 4] {
    if listener <= CLOSED_LISTENER { [127, 0, 0, 1] } else { [127, 0, 1, client as u8 % 3] }
}

/// The number of listeners.
pub(super) const LISTENERS: usize = 2 + cfg!(feature = "sealed") as usize;
/// The listener with closed registration, whose clients need a login for everything.
pub(super) const CLOSED_LISTENER: usize = 1;
/// The listener whose clients speak the sealed framing.
#[cfg(feature = "sealed")]
pub(super) const SEALED_LISTENER: usize = 2;
/// How far deadlines may be exceeded, since iterations take time.
pub(super) const SLACK: Duration = Duration::from_secs(1);
const FIRST_PORT: u16 = 10_000;

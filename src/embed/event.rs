//! What happens in a server, for the embedding program.

use std::borrow::Cow;
use std::sync::Arc;

use super::client::{Client, ClientKey, Disconnector};
use crate::model::{CommandName, CustomCommands};

/// An event. A callback receives the events of its kinds, one at a time, in the order in which they happen:
///
/// | state | events that may follow | next state |
/// | --- | --- | --- |
/// | server stopped | `Started` | server running |
/// | server running | `Stopped`, after all connections are closed | server stopped |
/// | no connection | `Connection` | at the gate |
/// | at the gate | `Client`, if there is no gate or it admits the client | open |
/// | | none, if the gate refuses or the client leaves | no connection |
/// | open | `MalformedRequest`, `UnknownVerb` | open |
/// | | `Request` | open, with one more request |
/// | | `CreatedEndpointShell`, `CreatedContainer`, `DestroyedContainer`, `RuntimeError`: of its requests | open |
/// | | `ClientClosed` | no connection |
///
/// `Connection` comes first and `ClientClosed` last for each client; `ClientClosed` follows each `Client` exactly once,
/// however the connection ends. `CreatedEndpointShell` precedes `CreatedContainer` of the same container,
/// `DestroyedContainer` follows it. A handler that ends after its client has left still causes a `RuntimeError`, and a
/// container that is created then is destroyed: `CreatedContainer` and `DestroyedContainer` follow `ClientClosed`. So does
/// `DestroyedContainer` of a container that outlives its client's connection.
///
/// A callback that is too slow loses events: those that find the queue full. The counter `events_lost` counts them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server serves: the first event.
    Started,
    /// The server has stopped: the last event, unless it is restarted.
    Stopped,
    /// A client has connected. If there is a gate, it decides next.
    Connection {
        /// The client.
        client: Client,
    },
    /// A client is admitted, and its requests are read from now on.
    Client {
        /// The client.
        client: Client,
    },
    /// The connection of a client is closed.
    ClientClosed {
        /// The client.
        client: Client,
    },
    /// A well-formed request has arrived. It may still be refused: for lack of rights, or because a queue is full.
    Request {
        /// The client.
        client: Client,
        /// The name of the command or verb. A run of `put` lines is one request.
        name: Cow<'static, str>,
    },
    /// A message that is no request, or one with invalid data, has arrived.
    MalformedRequest {
        /// The client.
        client: Client,
        /// What is wrong. Holds no secret.
        error: String,
    },
    /// A request for a command or verb that does not exist has arrived.
    UnknownVerb {
        /// The client.
        client: Client,
    },
    /// A container was created.
    CreatedContainer {
        /// The client that asked for it.
        client: Client,
        /// Its uuid.
        container: Box<str>,
    },
    /// The hypervisor has opened a shell in a container, to set it up.
    CreatedEndpointShell {
        /// The client that asked for the container.
        client: Client,
        /// Its uuid.
        container: Box<str>,
    },
    /// A container was destroyed, or has ended by itself.
    DestroyedContainer {
        /// The client that asked for its end; if none did, the client that has created it. `None`: the server does not
        /// know that client, because the container has survived a restart.
        client: Option<Client>,
        /// Its uuid.
        container: Box<str>,
    },
    /// The server, a handler, a callback or the gate has failed. The log has such errors too, but not all if there are many.
    RuntimeError {
        /// The name of the thread.
        thread: &'static str,
        /// What has failed, and the message of a panic.
        error: String,
        /// The client whose request failed, if it was one.
        client: Option<Client>,
    },
}

/// The kind of an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EventKind {
    /// Of [`Event::Client`].
    Client,
    /// Of [`Event::ClientClosed`].
    ClientClosed,
    /// Of [`Event::Connection`].
    Connection,
    /// Of [`Event::CreatedContainer`].
    CreatedContainer,
    /// Of [`Event::CreatedEndpointShell`].
    CreatedEndpointShell,
    /// Of [`Event::DestroyedContainer`].
    DestroyedContainer,
    /// Of [`Event::MalformedRequest`].
    MalformedRequest,
    /// Of [`Event::Request`].
    Request,
    /// Of [`Event::RuntimeError`].
    RuntimeError,
    /// Of [`Event::Started`].
    Started,
    /// Of [`Event::Stopped`].
    Stopped,
    /// Of [`Event::UnknownVerb`].
    UnknownVerb,
}

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventKinds(u16);

/// An event in the queue, or several that are equal: cheap to make, since there is one for each request.
#[derive(Debug)]
pub struct QueuedEvent {
    /// Its kind.
    pub kind: EventKind,
    /// The client.
    pub client: Option<ClientKey>,
    /// What else it has.
    pub detail: EventDetail,
}

/// The fields of an event besides its client.
#[derive(Debug)]
pub enum EventDetail {
    /// None.
    None,
    /// Requests for one command in a row: as one, since a pipelining client sends many in a tick.
    Requests {
        /// The command.
        command: CommandName,
        /// How many.
        count: u32,
    },
    /// The error in a malformed request, or the uuid of a container.
    Text(Box<str>),
    /// A runtime error.
    Error {
        /// The name of the thread.
        thread: &'static str,
        /// The message.
        error: String,
    },
}

impl Event {
    /// Its kind.
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Started => EventKind::Started,
            Event::Stopped => EventKind::Stopped,
            Event::Connection { .. } => EventKind::Connection,
            Event::Client { .. } => EventKind::Client,
            Event::ClientClosed { .. } => EventKind::ClientClosed,
            Event::Request { .. } => EventKind::Request,
            Event::MalformedRequest { .. } => EventKind::MalformedRequest,
            Event::UnknownVerb { .. } => EventKind::UnknownVerb,
            Event::CreatedContainer { .. } => EventKind::CreatedContainer,
            Event::CreatedEndpointShell { .. } => EventKind::CreatedEndpointShell,
            Event::DestroyedContainer { .. } => EventKind::DestroyedContainer,
            Event::RuntimeError { .. } => EventKind::RuntimeError,
        }
    }

    /// The client that it concerns, if any.
    pub fn client(&self) -> Option<&Client> {
        match self {
            Event::Started | Event::Stopped => None,
            Event::Connection { client }
            | Event::Client { client }
            | Event::ClientClosed { client }
            | Event::Request { client, .. }
            | Event::MalformedRequest { client, .. }
            | Event::UnknownVerb { client }
            | Event::CreatedContainer { client, .. }
            | Event::CreatedEndpointShell { client, .. } => Some(client),
            Event::DestroyedContainer { client, .. } | Event::RuntimeError { client, .. } => client.as_ref(),
        }
    }
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 12] = [
        EventKind::Client,
        EventKind::ClientClosed,
        EventKind::Connection,
        EventKind::CreatedContainer,
        EventKind::CreatedEndpointShell,
        EventKind::DestroyedContainer,
        EventKind::MalformedRequest,
        EventKind::Request,
        EventKind::RuntimeError,
        EventKind::Started,
        EventKind::Stopped,
        EventKind::UnknownVerb,
    ];
}

impl EventKinds {
    /// Every kind.
    pub const ALL: EventKinds = EventKinds((1 << EventKind::ALL.len()) - 1);

    /// Whether it contains `kind`.
    pub fn contains(self, kind: EventKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }

    /// Adds the kinds of `other`.
    pub fn extend(&mut self, other: EventKinds) {
        self.0 |= other.0;
    }
}

impl From<EventKind> for EventKinds {
    fn from(kind: EventKind) -> EventKinds {
        EventKinds(1 << kind as u16)
    }
}

impl QueuedEvent {
    /// An event of the server itself, without details.
    pub fn of_server(kind: EventKind) -> QueuedEvent {
        QueuedEvent { kind, client: None, detail: EventDetail::None }
    }

    /// A request of `client` for `command`.
    pub fn of_request(client: ClientKey, command: CommandName) -> QueuedEvent {
        let detail = EventDetail::Requests { command, count: 1 };
        QueuedEvent { kind: EventKind::Request, client: Some(client), detail }
    }

    /// Adds a request of `client` for `command`, if this is such a request; returns whether it is.
    pub fn add_request(&mut self, client: &ClientKey, command: CommandName) -> bool {
        match &mut self.detail {
            EventDetail::Requests { command: own, count }
                if *own == command && self.client.as_ref() == Some(client) =>
            {
                *count += 1;
                true
            }
            _ => false,
        }
    }

    /// The number of events that it is for callbacks.
    pub fn count(&self) -> u32 {
        match self.detail {
            EventDetail::Requests { count, .. } => count,
            _ => 1,
        }
    }

    /// The event for callbacks; `None` if it lacks a field of its kind.
    pub fn into_event(self, customs: &CustomCommands, disconnector: &Arc<Disconnector>) -> Option<Event> {
        let QueuedEvent { kind, client, detail } = self;
        let client = client.map(|key| Client::new(key, Arc::clone(disconnector)));
        Some(match (kind, detail) {
            (EventKind::Started, _) => Event::Started,
            (EventKind::Stopped, _) => Event::Stopped,
            (EventKind::Connection, _) => Event::Connection { client: client? },
            (EventKind::Client, _) => Event::Client { client: client? },
            (EventKind::ClientClosed, _) => Event::ClientClosed { client: client? },
            (EventKind::UnknownVerb, _) => Event::UnknownVerb { client: client? },
            (EventKind::Request, EventDetail::Requests { command, .. }) => {
                let name = match command {
                    CommandName::Custom(_) => Cow::from(customs.name(command).to_owned()),
                    command => Cow::from(command.as_str()),
                };
                Event::Request { client: client?, name }
            }
            (EventKind::MalformedRequest, EventDetail::Text(error)) => {
                Event::MalformedRequest { client: client?, error: error.into() }
            }
            (EventKind::CreatedContainer, EventDetail::Text(container)) => {
                Event::CreatedContainer { client: client?, container }
            }
            (EventKind::CreatedEndpointShell, EventDetail::Text(container)) => {
                Event::CreatedEndpointShell { client: client?, container }
            }
            (EventKind::DestroyedContainer, EventDetail::Text(container)) => {
                Event::DestroyedContainer { client, container }
            }
            (EventKind::RuntimeError, EventDetail::Error { thread, error }) => {
                Event::RuntimeError { thread, error, client }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::ClientFactory;
    use crate::ids::{ConnId, VmId};
    use crate::model::{Login, Peer, Principal, VmName};

    fn client(index: u32, vm: Option<&str>) -> ClientKey {
        let login = |name: &str| Login { id: VmId(1), epoch: 0, name: VmName::from_store(name) };
        let principal = vm.map_or(Principal::Anonymous, |name| Principal::Vm(login(name)));
        ClientFactory::default().key(ConnId { index, generation: 0 }, Peer::Unix { uid: None }, principal)
    }

    #[test]
    fn requests_in_a_row_are_one_queued_event_if_client_and_command_are_the_same() {
        let (ping, list) = (CommandName::Ping, CommandName::List);
        let cases = [
            (client(1, Some("a")), ping, true),
            (client(1, Some("a")), list, false),
            (client(2, Some("a")), ping, false),
            (client(1, Some("b")), ping, false),
            (client(1, None), ping, false),
        ];
        for (other, command, is_added) in cases {
            let mut queued = QueuedEvent::of_request(client(1, Some("a")), ping);
            assert_eq!(queued.add_request(&other, command), is_added, "{other:?} {command:?}");
            assert_eq!(queued.count(), 1 + u32::from(is_added));
        }
        let mut started = QueuedEvent::of_server(EventKind::Started);
        assert!(!started.add_request(&client(1, None), ping));
        assert_eq!(started.count(), 1);
    }

    #[test]
    fn sets_of_kinds_contain_what_was_added() {
        for kind in EventKind::ALL {
            assert!(EventKinds::ALL.contains(kind));
            let mut set = EventKinds::default();
            assert!(!set.contains(kind));
            set.extend(kind.into());
            let found: Vec<_> = EventKind::ALL.into_iter().filter(|kind| set.contains(*kind)).collect();
            assert_eq!(found, [kind]);
        }
    }
}

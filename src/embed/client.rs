//! The client of a request or an event, as the embedding program sees it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::ConnId;
use crate::model::{Peer, Principal, VmName};

/// Identifies a client of a server; never reused while the server lives, not even after a restart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId {
    /// How often the server was restarted before.
    pub(crate) run: u32,
    pub(crate) conn: ConnId,
}

/// A client of the server: one connection.
#[derive(Clone)]
pub struct Client {
    key: ClientKey,
    disconnector: Arc<Disconnector>,
}

/// What identifies a client: as data, cheaper to make than a [`Client`].
#[derive(Clone, PartialEq, Debug)]
pub struct ClientKey {
    id: ClientId,
    peer: Peer,
    principal: Principal,
}

/// Makes the clients of one run of a server.
#[derive(Clone, Debug, Default)]
pub struct ClientFactory {
    /// How often the server was restarted before.
    pub run: u32,
    /// Closes their connections.
    pub disconnector: Arc<Disconnector>,
}

/// Passes requests to close connections from any thread to the reactor.
pub struct Disconnector {
    /// A set, so that its size is limited by the number of clients that the program knows.
    clients: Mutex<BTreeSet<ClientId>>,
    /// Wakes the reactor; must not block.
    wake: Box<dyn Fn() + Send + Sync>,
}

impl ClientFactory {
    /// The client of the connection `conn`, which acts as `principal`.
    pub fn client(&self, conn: ConnId, peer: Peer, principal: Principal) -> Client {
        Client::new(self.key(conn, peer, principal), Arc::clone(&self.disconnector))
    }

    /// The key of that client.
    pub fn key(&self, conn: ConnId, peer: Peer, principal: Principal) -> ClientKey {
        ClientKey { id: ClientId { run: self.run, conn }, peer, principal }
    }

    /// Takes the connections to close. Those of an earlier run are closed already.
    pub fn take_disconnected(&self) -> impl Iterator<Item = ConnId> + use<> {
        let run = self.run;
        self.disconnector.take().into_iter().filter(move |id| id.run == run).map(|id| id.conn)
    }
}

impl Client {
    /// The client of `key`, which `disconnector` can close.
    #[doc(hidden)]
    pub fn new(key: ClientKey, disconnector: Arc<Disconnector>) -> Client {
        Client { key, disconnector }
    }

    /// Its id.
    pub fn id(&self) -> ClientId {
        self.key.id
    }

    /// Its address; `None` for a client of a unix socket or of this process.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.key.peer {
            Peer::Tcp(address, port) => Some((address, port).into()),
            Peer::Unix { .. } => None,
        }
    }

    /// The user that runs the client, for a client of a unix socket.
    pub fn uid(&self) -> Option<u32> {
        match self.key.peer {
            Peer::Tcp(..) => None,
            Peer::Unix { uid } => uid,
        }
    }

    /// The name of the VM that it has authenticated as.
    pub fn vm(&self) -> Option<&VmName> {
        match &self.key.principal {
            Principal::Vm(login) => Some(&login.name),
            Principal::Anonymous | Principal::Reader(_) | Principal::Operator => None,
        }
    }

    /// The name of the reader whose token the request has.
    pub fn reader(&self) -> Option<&VmName> {
        match &self.key.principal {
            Principal::Reader(reader) => Some(&reader.name),
            Principal::Anonymous | Principal::Vm(_) | Principal::Operator => None,
        }
    }

    /// Whether it is an operator: root or the server's own user, on the socket in the state directory.
    pub fn is_operator(&self) -> bool {
        self.key.principal == Principal::Operator
    }

    /// Closes its connection soon, without waiting; requests that are not answered yet are cancelled. Does nothing if
    /// the client has left.
    pub fn close(&self) {
        self.disconnector.close(self.key.id);
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.run, self.conn)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientKey { id, peer, principal } = &self.key;
        f.debug_struct("Client").field("id", id).field("peer", peer).field("principal", principal).finish()
    }
}

impl Disconnector {
    /// A disconnector that calls `wake`, which must not block, after each request.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Disconnector {
        Disconnector { clients: Mutex::default(), wake: Box::new(wake) }
    }

    /// Takes the clients to disconnect.
    pub fn take(&self) -> BTreeSet<ClientId> {
        std::mem::take(&mut self.lock())
    }

    fn close(&self, id: ClientId) {
        if self.lock().insert(id) {
            (self.wake)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ClientId>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Disconnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disconnector")
    }
}

impl Default for Disconnector {
    fn default() -> Disconnector {
        Disconnector::new(|| {})
    }
}

//! A running server, and threads of it that a test holds.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use vmherd::{Config, ListenAddress, LocalClient, Running, Server, ServerBuilder, ServerId};

use crate::common::{Client, TempDir};
use crate::{GRACE, client, config, tcp_address};

/// A running server and its directory.
pub struct Bed {
    running: Running,
    addresses: Vec<ListenAddress>,
    /// Removed after the server has ended, if it is the server's own.
    directory: Option<TempDir>,
}

impl Bed {
    /// A server that `add` changes before it is bound.
    pub fn with(add: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Bed {
        Bed::with_config(|_| {}, add)
    }

    /// A server whose settings and parts are changed before it is bound.
    pub fn with_config(
        change: impl FnOnce(&mut Config),
        add: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Bed {
        let directory = TempDir::new();
        let mut config = config(&directory);
        change(&mut config);
        let bed = Bed::serving(add(Server::builder(config)));
        Bed { directory: Some(directory), ..bed }
    }

    /// The server of `builder`, whose directory outlasts it.
    pub fn serving(builder: ServerBuilder) -> Bed {
        let server = builder.bind().expect("a server");
        let addresses = server.addresses().to_vec();
        Bed { running: server.start().expect("a running server"), addresses, directory: None }
    }

    /// A new client.
    pub fn client(&self) -> Client {
        client(&self.addresses)
    }

    /// A new client in the server's process.
    pub fn local_client(&self) -> LocalClient {
        self.running.client().expect("it accepts")
    }

    /// A new client on the server's own socket.
    pub fn operator(&self) -> Client {
        match self.addresses.last() {
            Some(ListenAddress::Unix(path)) => Client::connect_unix(path),
            other => panic!("no socket: {other:?}"),
        }
    }

    /// The server's id in the store.
    pub fn server_id(&self) -> ServerId {
        let directory = self.directory.as_ref().expect("a directory of its own");
        let text = std::fs::read_to_string(directory.path().join("id")).expect("a file");
        ServerId::parse(text.trim_end()).expect("an id")
    }

    /// The address of its listener.
    pub fn address(&self) -> SocketAddr {
        tcp_address(&self.addresses)
    }

    /// The address of its sealed listener.
    #[cfg(feature = "sealed")]
    pub fn sealed_address(&self) -> SocketAddr {
        let find = |address: &ListenAddress| match address {
            ListenAddress::Sealed(address) => Some(*address),
            _ => None,
        };
        self.addresses.iter().find_map(find).expect("a sealed listener")
    }

    /// The number of containers that may still be created.
    pub fn containers_available(&self) -> Option<u32> {
        self.running.statistics().expect("it answers").containers_available
    }

    /// The value of a counter.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        let statistics = self.running.statistics().expect("it answers");
        statistics.counter(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// Restarts the server.
    pub fn restart(&self) {
        self.running.restart(GRACE).expect("no error");
    }

    /// Stops the server.
    pub fn stop(self) {
        self.running.stop(GRACE).expect("no error");
    }
}

/// The request for a verb without parameters.
pub fn verb(name: &str) -> Value {
    json!({"verb": name, "parameters": {}})
}

/// A latch at which threads wait until it is opened.
#[derive(Clone, Default)]
pub struct LatchedThreads(Arc<Latch>);

#[derive(Default)]
struct Latch {
    state: Mutex<LatchState>,
    opened: Condvar,
}

#[derive(Default)]
struct LatchState {
    is_open: bool,
    arrived: usize,
}

impl LatchedThreads {
    /// Waits until the latch is open.
    pub fn wait(&self) {
        let mut state = self.0.state.lock().expect("no panic");
        state.arrived += 1;
        drop(self.0.opened.wait_while(state, |state| !state.is_open).expect("no panic"));
    }

    /// How many threads have come.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().expect("no panic").arrived
    }

    /// Lets all threads go.
    pub fn open(&self) {
        self.0.state.lock().expect("no panic").is_open = true;
        self.0.opened.notify_all();
    }
}

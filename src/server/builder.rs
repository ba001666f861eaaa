//! Builds a server: opens its store and binds its listeners.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::bind::{self, BoundListeners, InheritedListener, PlannedListener, StateDir};
use super::control::ReactorControl;
use super::event_thread::Callbacks;
use super::handler_set::HandlerSet;
use super::managed_rows::remove_dead;
use super::open_listeners::describe_open_listeners;
use super::reactor_factory::ReactorFactory;
use super::running::Server;
#[cfg(feature = "sealed")]
use super::sealed_keys::sealed_keys;
use super::server_id::server_id;
use super::server_loop::Serving;
use super::start_error::StartError;
use crate::clock::SystemClock;
use crate::config::{Config, Durability, ListenerSpec};
#[cfg(feature = "sealed")]
use crate::embed::KeyPair;
use crate::embed::{
    Client, ClientFactory, Disconnector, Embedding, Event, EventKind, EventKinds, EventQueue, Gate,
    Hypervisor, HypervisorHandle, ProgramCounter, RequestHandler,
};
use crate::ids::ContainerId;
use crate::limits;
use crate::model::{Access, AccessGroup, CustomKind};
use crate::reactor::mio_net::MioNet;
use crate::store::{self, Location, OpenFailure, StoreFactory, WriteHealth};
use crate::worker::Maintenance;

/// A server before it is bound.
pub struct ServerBuilder {
    config: Config,
    inherited: Vec<InheritedListener>,
    handlers: HandlerSet,
    handler_threads: usize,
    callbacks: Callbacks,
    gate: Option<Gate>,
    counters: Vec<ProgramCounter>,
    own_store: Option<Arc<dyn StoreFactory>>,
    hypervisor: Option<Box<dyn Hypervisor>>,
    #[cfg(feature = "sealed")]
    key_pair: Option<Arc<dyn KeyPair>>,
    containers_max: Option<u32>,
}

impl Server {
    /// Binds every listener, including the socket in the state directory, and opens the store. If the store is not
    /// reachable yet, the running server keeps trying.
    pub fn bind(config: Config) -> Result<Server, StartError> {
        Server::builder(config).bind()
    }

    /// A server of `config`, to which more can be added before it is bound.
    pub fn builder(config: Config) -> ServerBuilder {
        ServerBuilder {
            config,
            inherited: Vec::new(),
            handlers: HandlerSet::default(),
            handler_threads: limits::HANDLER_THREADS,
            callbacks: Callbacks::default(),
            gate: None,
            counters: Vec::new(),
            own_store: None,
            hypervisor: None,
            #[cfg(feature = "sealed")]
            key_pair: None,
            containers_max: None,
        }
    }
}

impl ServerBuilder {
    /// Adds listening sockets. Each replaces the configured listener with the same address; if no listener is
    /// configured, they replace the default.
    pub fn inherit(mut self, listeners: impl IntoIterator<Item = InheritedListener>) -> ServerBuilder {
        self.inherited.extend(listeners);
        self
    }

    /// Uses a store of the program's own instead of [`Config::store`]; see [`custom_store`](crate::custom_store).
    pub fn store(mut self, factory: Arc<dyn StoreFactory>) -> ServerBuilder {
        self.own_store = Some(factory);
        self
    }

    /// Answers the requests for `verb` with `handler`. The verb is new, or one of the server's own (`STAT`, `CREATE`,
    /// `DESTROY`), which it replaces; its name has 1 to 64 capital letters. Clients may use it where the listener opens
    /// the group `verb` (`?open=verb`), and authenticated VMs everywhere. Over HTTP it has the path of its name, in any
    /// case; `EVENTS`, `HEALTHZ`, `METRICS` and `SD` are reserved. Its counters are `requests_verb_NAME`, with `_ok` and
    /// `_failed`.
    pub fn handle(mut self, verb: &str, handler: impl RequestHandler + 'static) -> ServerBuilder {
        self.handlers.add(CustomKind::Verb, verb, Access::OpenOrAnyVm(AccessGroup::Verb), Arc::new(handler));
        self
    }

    /// Answers the requests `{"command": NAME, "data": {…}}` with `handler`, from the clients that `access` admits. The
    /// command is new; its name has 1 to 64 lower-case letters, digits and underscores. The server checks a `token` in the
    /// data and removes it. Its counters are `requests_command_NAME`, with `_ok` and `_failed`.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use vmherd::{Access, Config, HandlerRequest, Responder, Response, Server};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("vmherd-command-{}", std::process::id()));
    /// # let config = Config::default().state_dir(&directory).store("memory:".parse()?);
    /// # let config = config.listen("tcp://127.0.0.1:0".parse()?);
    /// let who = |request: HandlerRequest, responder: Responder| {
    ///     let name = request.client().vm().map(|name| name.as_str());
    ///     responder.respond(Response::success(json!({"name": name})));
    /// };
    /// let running = Server::builder(config).command("who", Access::Vm, who).bind()?.start()?;
    /// let mut client = running.client()?;
    /// let vm = json!({"vm_id": "db-1", "password": "securePass123", "ram": 512, "cpu": 1, "disks": [{"disk_size": 9}]});
    /// client.call(json!({"command": "register", "data": vm}))?;
    /// let login = json!({"vm_id": "db-1", "password": "securePass123"});
    /// client.call(json!({"command": "authenticate", "data": login}))?;
    /// assert_eq!(client.call(json!({"command": "who"}))?["data"]["name"], "db-1");
    /// # running.stop(std::time::Duration::ZERO)?;
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn command(
        mut self,
        name: &str,
        access: Access,
        handler: impl RequestHandler + 'static,
    ) -> ServerBuilder {
        self.handlers.add(CustomKind::Command, name, access, Arc::new(handler));
        self
    }

    /// The number of threads that run handlers; the default is 4.
    pub fn handler_threads(mut self, threads: usize) -> ServerBuilder {
        self.handler_threads = threads;
        self
    }

    /// The time that a handler has to answer, from the arrival of the request; the default is 30 seconds. After it the
    /// client gets `outcome unknown`, or `busy` if the handler was not called yet.
    pub fn handler_deadline(mut self, deadline: Duration) -> ServerBuilder {
        self.handlers.deadline = deadline;
        self
    }

    /// Has `hypervisor` create and destroy the containers of the verbs `CREATE` and `DESTROY`. Without one, no container
    /// is created.
    pub fn hypervisor(mut self, hypervisor: impl Hypervisor + 'static) -> ServerBuilder {
        self.hypervisor = Some(Box::new(hypervisor));
        self
    }

    /// Uses `key_pair` for the sealed listeners, instead of the one in the state directory.
    #[cfg(feature = "sealed")]
    pub fn key_pair(mut self, key_pair: Arc<dyn KeyPair>) -> ServerBuilder {
        self.key_pair = Some(key_pair);
        self
    }

    /// The maximum number of containers, with those that are being created or destroyed. Without this setting clients see
    /// no maximum; there are never more than 65 535.
    pub fn containers_max(mut self, containers: u32) -> ServerBuilder {
        self.containers_max = Some(containers.min(limits::CONTAINERS_MAX));
        self
    }

    /// Calls `callback` with each event of `kind`, on the thread of the callbacks, one event at a time and some time after
    /// it has happened; see [`Event`]. A slow callback delays other callbacks, and nothing else. A kind may have several.
    pub fn on(mut self, kind: EventKind, callback: impl FnMut(&Event) + Send + 'static) -> ServerBuilder {
        self.callbacks.add(kind.into(), callback);
        self
    }

    /// As [`ServerBuilder::on`], for the events of all kinds.
    pub fn on_event(mut self, callback: impl FnMut(&Event) + Send + 'static) -> ServerBuilder {
        self.callbacks.add(EventKinds::ALL, callback);
        self
    }

    /// Asks `admit` about each new connection, on a thread of its own. If it returns false, the connection is closed
    /// before any byte of it is decoded. A connection is refused, too, if `admit` panics or has not decided within 5
    /// seconds, or if 1024 others wait.
    ///
    /// This includes the server's own socket in the state directory, which the operator uses, and each
    /// [`LocalClient`](crate::LocalClient): their clients have no address.
    ///
    /// ```
    /// # let builder = vmherd::Server::builder(vmherd::Config::default());
    /// builder.gate(|client| client.address().is_none_or(|address| address.ip().is_loopback()));
    /// ```
    pub fn gate(mut self, admit: impl Fn(&Client) -> bool + Send + Sync + 'static) -> ServerBuilder {
        self.gate = Some(Gate::new(admit));
        self
    }

    /// Adds a counter of the program to the statistics, after the server's own. `value`, which must not block, returns
    /// its value.
    pub fn counter(
        mut self,
        name: &'static str,
        value: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> ServerBuilder {
        self.counters.push(ProgramCounter::new(name, value));
        self
    }

    /// As [`Server::bind`]. The name of a command or verb that is malformed, reserved or given twice is an error.
    pub fn bind(self) -> Result<Server, StartError> {
        let ServerBuilder {
            config,
            inherited,
            handlers,
            handler_threads,
            callbacks,
            gate,
            counters,
            own_store,
            hypervisor,
            #[cfg(feature = "sealed")]
            key_pair,
            containers_max,
        } = self;
        let handlers = handlers.build()?;
        if !(1..=limits::HANDLER_THREADS_MAX).contains(&handler_threads) {
            let max = limits::HANDLER_THREADS_MAX;
            let why =
                format!("{handler_threads} threads for handlers are not allowed; there may be 1 to {max}");
            return Err(StartError::of_configuration(why));
        }
        config.check("listen").map_err(|error| StartError::of_configuration(error.to_string()))?;
        let is_in_memory = own_store.is_none() && config.store == Location::Memory;
        let state_dir = StateDir::open(&config.state_dir)?;
        let clock = state_dir.clock;
        if is_in_memory {
            log::warn!(
                "the store memory: is not persistent: all VMs and points are lost when this process ends"
            );
        }
        let store_name = match &own_store {
            Some(_) => "of this program".to_owned(),
            None => config.store.to_string(),
        };
        let not_open = |error| StartError::of_store(&store_name, &error);
        let factory = match own_store {
            Some(factory) => factory,
            None => store::open_for_server(&config.store, config.store_connections).map_err(not_open)?,
        };
        let unopened = match factory.open() {
            Ok(()) => None,
            Err(OpenFailure { error, is_transient: true }) => {
                log::warn!(
                    "the store {store_name} is not available yet; retrying, and serving requests that need no \
                     store: {error}"
                );
                Some((Arc::clone(&factory), store_name.clone()))
            }
            Err(OpenFailure { error, .. }) => return Err(not_open(error)),
        };
        let health = Arc::<WriteHealth>::default();
        let factory = store::with_write_health(factory, Arc::clone(&health));
        let mut planned = bind::merge_inherited(&config, inherited)?;
        planned.push(PlannedListener { spec: state_dir.own_listener(), inherited: None });
        if planned.len() > limits::LISTENERS_MAX {
            let (count, count_max) = (planned.len() - 1, limits::LISTENERS_MAX - 1);
            return Err(StartError::of_configuration(format!(
                "there are {count} listeners; at most {count_max}"
            )));
        }
        let listen: Vec<ListenerSpec> = planned.iter().map(|listener| listener.spec.clone()).collect();
        #[cfg(feature = "sealed")]
        let sealed = sealed_keys(&config, &listen, key_pair)?;
        let BoundListeners { listeners, addresses, sockets } = bind::bind_listeners(planned, &state_dir)?;
        let (store, maintenance) = open_points(&config, factory, is_in_memory, clock)
            .map_err(|error| StartError::of_system(error.to_string()))?;
        let no_poll = |error| StartError::of_system(format!("no poll: {error}"));
        let net = MioNet::new(listeners).map_err(no_poll)?;
        let descriptor = net.descriptor().map_err(no_poll)?;
        let control = Arc::new(ReactorControl::new(net.waker()));
        let closing = Arc::clone(&control);
        let disconnector = Arc::new(Disconnector::new(move || closing.wake()));
        let clients = ClientFactory { run: 0, disconnector };
        let events = Arc::new(EventQueue::new(callbacks.kinds()));
        let server = server_id(&config.state_dir, hypervisor.is_some())?;
        let ends = Arc::clone(&control);
        let hypervisor =
            hypervisor.map(|hypervisor| Arc::new(HypervisorHandle::new(hypervisor, move || ends.wake())));
        let embedding = Embedding {
            handlers,
            clients,
            events,
            gate,
            counters,
            hypervisor,
            server,
            running: Vec::new(),
            containers_max,
        };
        let mut factory = ReactorFactory {
            config,
            listen,
            #[cfg(feature = "sealed")]
            sealed,
            embedding,
            handler_threads,
            store,
            health,
            maintenance,
            clock,
            control,
            port: net.port(),
            watchdog: None,
        };
        let running = factory.start_hypervisor()?;
        if let Some(server) = server.filter(|_| unopened.is_none()) {
            let ids: Vec<ContainerId> = running.iter().map(|container| container.id).collect();
            if let Err(error) = remove_dead(&*factory.store, server, &ids, || true) {
                // The running server tries it again.
                log::warn!("VMs whose containers do not run may still be in the registry: {error}");
            }
        }
        factory.embedding.running = running;
        let (reactor, queues) = factory.make(net);
        let settings = factory.reactor_settings();
        // The last listener, the socket in the state directory, is private to its owner.
        let policies = settings.listeners.iter().map(|listener| listener.policy);
        let others = addresses.iter().zip(policies).take(addresses.len() - 1);
        Ok(Server {
            open_listeners_warning: describe_open_listeners(others),
            addresses,
            serving: Serving {
                reactor,
                queues,
                factory,
                files: (sockets, state_dir),
                opener: None,
                events: None,
            },
            callbacks,
            descriptor,
            is_store_open: Arc::new(AtomicBool::new(unopened.is_none())),
            unopened,
            on_store_open: Box::new(|| {}),
        })
    }
}

/// Starts maintenance of the store, and adds write-behind if points are acknowledged from memory.
fn open_points(
    config: &Config,
    factory: Arc<dyn StoreFactory>,
    is_in_memory: bool,
    clock: SystemClock,
) -> io::Result<(Arc<dyn StoreFactory>, Arc<Maintenance>)> {
    // A store in memory needs no write-behind.
    let is_behind = config.metrics_durability == Durability::Memory && !is_in_memory;
    let (factory, buffer) = match is_behind {
        true => {
            let (factory, buffer) = store::with_write_behind(factory);
            (factory, Some(buffer))
        }
        false => (factory, None),
    };
    let maintenance = Maintenance::start(Arc::clone(&factory), buffer, config.metrics_retention, clock)?;
    if is_behind {
        log::warn!(
            "--metrics-durability memory: points are acknowledged before they are on disk; up to one second of points is \
             lost if this process or its host crashes"
        );
    }
    Ok((factory, Arc::new(maintenance)))
}

//! The server as a value: bind, start, stop. Used by the daemon's `main` and by programs that embed it.

mod bind;
mod builder;
mod control;
mod open_listeners;
mod store_opener;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::app;
use crate::app::presence::ListenerPolicy;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ListenAddress, ListenerSpec};
#[cfg(feature = "http")]
use crate::framing::http::HttpRules;
use crate::limits;
use crate::reactor::mio_net::MioNet;
use crate::reactor::{self, ListenerSettings, Reactor};
use crate::session::Rules;
use crate::store::{DeferredOpen, StoreError};
use crate::sys;
use crate::worker::{LaneSettings, Maintenance, Pool, PoolControl, PoolSettings};
use bind::StateDir;
use control::ReactorControl;
use store_opener::{StoreOpener, StoreStatus};

pub use builder::ServerBuilder;

/// A server with bound listeners, not yet serving. If its store is not open yet, it is opened in the background.
pub struct Server {
    addresses: Vec<ListenAddress>,
    open_listeners_warning: Option<String>,
    reactor: Reactor<MioNet, Pool, SystemClock>,
    control: Arc<ReactorControl>,
    reload_state: ReloadState,
    file_guards: FileGuards,
    /// The store that still has to be opened, and its name for messages.
    unopened: Option<(Arc<dyn DeferredOpen>, String)>,
    store_status: Arc<StoreStatus>,
    on_store_open: Box<dyn FnOnce() + Send>,
}

/// A listening socket inherited from the parent process, such as from systemd's socket activation.
#[derive(Debug)]
pub struct InheritedListener {
    /// The listening socket.
    pub socket: OwnedFd,
    /// Its name, for messages.
    pub name: String,
}

/// A running server, on threads of its own.
pub struct Running {
    control: Arc<ReactorControl>,
    keeper: Arc<Maintenance>,
    thread: thread::JoinHandle<io::Result<()>>,
    /// The reactor thread holds the other end, which closes when the thread ends.
    ended: UnixStream,
    gate: Arc<StoreStatus>,
    _opener: Option<StoreOpener>,
}

/// The reason a server can't start.
#[derive(Debug)]
pub struct StartError {
    /// What is wrong, and how to fix it.
    pub why: String,
    /// Whether the cause is the configuration, so that a restart does not help.
    pub is_configuration: bool,
}

/// The parts of the server that a reload changes.
struct ReloadState {
    /// Every listener, the state directory's last.
    listen: Vec<ListenerSpec>,
    queues: PoolControl,
    /// Threads of the write lane.
    writers: usize,
    keeper: Arc<Maintenance>,
}

/// Files that exist while the server runs. Fields drop in this order: the lock last.
struct FileGuards {
    _sockets: Vec<bind::SocketFile>,
    _state_dir: StateDir,
}

impl Server {
    /// Binds every listener, including the socket in the state directory, and opens the store. If the store is not
    /// reachable yet, the running server keeps trying.
    pub fn bind(config: Config) -> Result<Server, StartError> {
        Server::builder(config).bind()
    }

    /// A server of `config`, to which more can be added before it is bound.
    pub fn builder(config: Config) -> ServerBuilder {
        ServerBuilder::new(config)
    }

    /// Has `beat`, which must not block, called every `interval` while the server is well: the reactor
    /// turns and workers get on.
    pub fn set_watchdog(&mut self, interval: Duration, beat: impl FnMut() + Send + 'static) {
        self.reactor.set_watchdog(interval, Box::new(beat));
    }

    /// Has `tell` called when the store is open, if it is not yet.
    pub fn set_on_store_open(&mut self, tell: impl FnOnce() + Send + 'static) {
        self.on_store_open = Box::new(tell);
    }

    /// The addresses bound, in the order of the configuration, with real ports; the state directory's
    /// socket last.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// What clients may do that have not authenticated, and which; nothing where they may do nothing.
    pub fn openings(&self) -> Option<&str> {
        self.open_listeners_warning.as_deref()
    }

    /// Starts serving on a thread of its own.
    pub fn start(self) -> io::Result<Running> {
        let Server {
            reactor,
            control,
            reload_state: base,
            file_guards: files,
            unopened,
            store_status: gate,
            on_store_open: when_open,
            ..
        } = self;
        let keeper = Arc::clone(&base.keeper);
        let (ended, ends) = UnixStream::pair()?;
        let reactor_control = Arc::clone(&control);
        let thread = thread::Builder::new().name("vmherd-reactor".into()).spawn(move || {
            // In this order they end: the files last, after the last points are written.
            let (_ends, _files, mut reactor, base) = (ends, files, reactor, base);
            let mut clock = SystemClock::new();
            let mut cut = None;
            let served = catch_unwind(AssertUnwindSafe(|| {
                while !reactor.is_finished() {
                    reactor.tick()?;
                    if let Some(grace) = apply_requests(&mut reactor, &base, &reactor_control)? {
                        cut = Some(clock.now() + grace);
                    }
                }
                Ok(())
            }));
            drop(reactor);
            // After a failure the workers get the same time as after a stop.
            let mut left = |of_failure| cut.map_or(of_failure, |cut| cut - clock.now());
            // Waiting points are written meanwhile; after this no new ones arrive.
            base.queues.shut_down(left(Duration::ZERO).max(limits::WORKER_SHUTDOWN_WAIT));
            match (base.keeper.shut_down(left(limits::STOP_GRACE).max(limits::WRITE_BEHIND_STOP_MIN)), served)
            {
                (_, Err(panic)) => resume_unwind(panic),
                (0, Ok(served)) => served,
                (lost, Ok(served)) => Err(io::Error::other(match served {
                    Ok(()) => lost_points_message(lost),
                    Err(error) => format!("{error}; {}", lost_points_message(lost)),
                })),
            }
        })?;
        let opener = unopened.map(|(opening, store)| {
            let control = Arc::clone(&control);
            StoreOpener::start(opening, Arc::clone(&gate), move |opened| match opened {
                Ok(()) => {
                    log::info!("the store {store} is open");
                    when_open();
                }
                Err(error) => control.fail(StartError::of_store(&store, &error)),
            })
        });
        Ok(Running { control, keeper, thread, ended, gate, _opener: opener.transpose()? })
    }
}

/// Carries out pending control requests on the reactor's thread. Returns the grace period if the server is to stop;
/// an error ends it.
fn apply_requests(
    reactor: &mut Reactor<MioNet, Pool, SystemClock>,
    base: &ReloadState,
    control: &ReactorControl,
) -> io::Result<Option<Duration>> {
    let mut orders = control.take();
    if let Some(config) = orders.reload.take() {
        base.keeper.set_retention(config.metrics_retention);
        base.queues.resize(&pool_settings(&config, base.writers));
        reactor.reload(base.reactor_settings(&config), app_settings(&config));
        control.mark_reloaded(&orders);
    }
    if orders.wants_statistics {
        log::info!("{}", reactor.statistics());
    }
    if let Some(failure) = orders.failure {
        return Err(io::Error::other(failure));
    }
    if let Some(grace) = orders.stop {
        reactor.begin_stop(grace);
    }
    Ok(orders.stop)
}

/// The message about points that were acknowledged and then lost.
fn lost_points_message(count: u64) -> String {
    format!("points that were acknowledged could not be written to the store and are lost: {count}")
}

impl Running {
    /// Stops accepting, finishes requests in flight for at most `grace`, then closes all connections. Returns at
    /// once; [`Running::ended`] signals completion. With zero, closes at once.
    pub fn stop(&self, grace: Duration) {
        self.control.stop(grace);
    }

    /// Applies the settings of `config` that can change at run time: timeouts, limits, queues, registration and the
    /// lifetime of new tokens. Returns when they are in effect; false if the server did not apply them in time.
    pub fn reload(&self, config: Config) -> bool {
        self.control.reload(config, limits::RELOAD_WAIT)
    }

    /// Logs the counters as one event.
    pub fn log_statistics(&self) {
        self.control.log_statistics();
    }

    /// Whether the store is open; if not, the server keeps trying to open it.
    pub fn is_store_open(&self) -> bool {
        self.gate.is_open()
    }

    /// A descriptor that becomes readable when the server has ended for any reason.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// A message about the data that is lost if the process ends now; `None`: no data.
    pub fn data_loss(&self) -> Option<String> {
        Some(self.keeper.unwritten()).filter(|count| *count > 0).map(lost_points_message)
    }

    /// Waits for the end. An error is a cause other than [`Running::stop`], or reports lost data.
    pub fn join(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the reactor's thread has panicked")))
    }
}

impl ReloadState {
    fn reactor_settings(&self, config: &Config) -> reactor::Settings {
        let own_socket = self.listen.len() - 1;
        let listeners = self.listen.iter().enumerate();
        #[cfg(feature = "http")]
        let http = Arc::new(config.http.clone());
        reactor::Settings {
            connections_max: config.connections_max,
            requests_max: config.requests_max,
            buffers_bytes_max: config.buffers_bytes_max,
            bounds: reactor::Bounds::default(),
            own_uid: sys::process::effective_uid(),
            listeners: listeners
                .map(|(at, listen)| {
                    listener_settings(
                        config,
                        listen,
                        at == own_socket,
                        #[cfg(feature = "http")]
                        &http,
                    )
                })
                .collect(),
        }
    }
}

impl StartError {
    /// An error in the configuration.
    pub(crate) fn of_configuration(why: String) -> StartError {
        StartError { why, is_configuration: true }
    }

    /// An error on opening `store`.
    fn of_store(store: &str, error: &StoreError) -> StartError {
        let is_configuration = matches!(error, StoreError::Refused(_));
        StartError { why: format!("the store {store} can't be opened: {error}"), is_configuration }
    }

    /// An error of the system, which may be temporary.
    pub(crate) fn of_system(why: String) -> StartError {
        StartError { why, is_configuration: false }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for StartError {}

fn app_settings(config: &Config) -> app::Settings {
    app::Settings {
        vms_max: config.vms_max,
        token_lifetime: config.token_lifetime,
        logins: config.logins,
        conversion_delay: config.conversion_delay.clone(),
        inline_bytes_max: limits::INLINE_BYTES_MAX,
    }
}

fn pool_settings(config: &Config, writers: usize) -> PoolSettings {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    PoolSettings {
        auth: LaneSettings { queue: config.auth_queue, threads: config.auth_workers },
        compute: LaneSettings {
            queue: limits::COMPUTE_QUEUE,
            threads: cores.min(limits::COMPUTE_WORKERS_MAX),
        },
        read: LaneSettings { queue: config.read_queue, threads: cores * limits::READ_WORKERS_PER_CORE },
        write: LaneSettings { queue: config.write_queue, threads: writers },
        cost: config.argon2,
    }
}

fn listener_settings(
    config: &Config,
    listen: &ListenerSpec,
    is_own_socket: bool,
    #[cfg(feature = "http")] http: &Arc<HttpRules>,
) -> ListenerSettings {
    let is_local = listen.address.is_local();
    let anonymous_access = listen.anonymous_access;
    let timeouts = config.timeouts;
    ListenerSettings {
        rules: Rules {
            inline_bytes_max: limits::INLINE_BYTES_MAX,
            first_request_timeout: timeouts.first_request,
            request_timeout: timeouts.request,
            idle_timeout_anonymous: timeouts.idle_anonymous,
            idle_timeout_authenticated: timeouts.idle_authenticated,
            idle_timeout_http: timeouts.idle_http,
            write_timeout: timeouts.write,
            request_bytes_max_anonymous: match anonymous_access.is_empty() {
                true => limits::REQUEST_BYTES_MAX_ANONYMOUS,
                false => limits::REQUEST_BYTES_MAX,
            },
            request_bytes_max_forwarded: match anonymous_access.is_empty() || is_local {
                true => limits::REQUEST_BYTES_MAX_ANONYMOUS,
                false => limits::REQUEST_BYTES_MAX,
            },
            requests_max: config.requests_per_connection,
            #[cfg(feature = "http")]
            http: Arc::clone(http),
        },
        policy: ListenerPolicy {
            open_registration: config.registration.unwrap_or(is_local),
            anonymous_access,
            has_operators: is_own_socket,
            is_local,
        },
        has_reserved_slots: is_own_socket,
    }
}

//! The server as a value: bind it, start it, stop it. What the daemon's `main` and other programs use.

mod bind;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::app::presence::Admission;
use crate::app::token::SystemRandom;
use crate::app::{self, App};
use crate::clock::SystemClock;
use crate::config::{Config, Listen, ListenAddress};
use crate::limits;
use crate::reactor::mio_net::{MioNet, Waker};
use crate::reactor::{self, ListenerSettings, Reactor};
use crate::session::Rules;
use crate::store::{self, Location};
use crate::sys;
use crate::worker::{LaneSettings, Pool, PoolSettings};
use bind::{Bound, StateDir};

/// A server whose listeners are bound and whose store is open, not yet serving.
pub struct Server {
    addresses: Vec<ListenAddress>,
    reactor: Reactor<MioNet, Pool, SystemClock>,
    control: Arc<Control>,
    files: Files,
}

/// A server that serves on threads of its own.
pub struct Running {
    control: Arc<Control>,
    thread: thread::JoinHandle<io::Result<()>>,
    /// Its other end is the reactor thread's, and closes with it.
    ended: UnixStream,
}

/// Why a server can't start; the text says what to do.
#[derive(Debug)]
pub struct StartError(pub String);

/// What others may tell the reactor's thread.
struct Control {
    stop: Mutex<Option<Duration>>,
    waker: Arc<Waker>,
}

/// What stands in the file system as long as the server runs. Fields drop in this order: the lock last.
struct Files {
    _sockets: Vec<bind::SocketFile>,
    _state_dir: StateDir,
}

impl Server {
    /// Binds every listener, the state directory's socket included, and opens the store.
    pub fn bind(config: &Config) -> Result<Server, StartError> {
        let state_dir = StateDir::open(&config.state_dir)?;
        if config.store == Location::Memory {
            log::warn!("the store memory: keeps nothing: when this process ends, every VM is forgotten");
        }
        let factory = store::open(&config.store)
            .map_err(|error| StartError(format!("the store {} can't be opened: {error}", config.store)))?;
        let mut listen = config.listen.clone();
        listen.push(state_dir.listen());
        if listen.len() > limits::LISTENERS_MAX {
            let max = limits::LISTENERS_MAX - 1;
            return Err(StartError(format!("--listen is given {} times; at most {max}", listen.len() - 1)));
        }
        let Bound { listeners, addresses, sockets } = bind::bind(&listen, &state_dir)?;
        let net = MioNet::new(listeners).map_err(|error| StartError(format!("no poll: {error}")))?;
        let waker = net.waker();
        let pool_waker = Arc::clone(&waker);
        let wake = move || {
            if let Err(error) = pool_waker.wake() {
                log::error!("the reactor can't be woken: {error}");
            }
        };
        let pool = Pool::new(&pool_settings(config, factory.writers_max()), factory, Box::new(wake));
        let settings = app::Settings { vms_max: config.vms_max, token_lifetime: config.token_lifetime };
        let app = App::new(settings, Box::new(SystemRandom));
        let own_socket = addresses.len() - 1;
        let listeners = listen.iter().enumerate();
        let reactor_settings = reactor::Settings {
            connections_max: config.connections_max,
            requests_max: config.requests_max,
            own_uid: sys::process::effective_uid(),
            listeners: listeners
                .map(|(at, listen)| listener_settings(config, listen, at == own_socket))
                .collect(),
        };
        let reactor = Reactor::new(net, pool, SystemClock::new(), app, reactor_settings);
        let control = Arc::new(Control { stop: Mutex::default(), waker });
        Ok(Server { addresses, reactor, control, files: Files { _sockets: sockets, _state_dir: state_dir } })
    }

    /// The addresses bound, in the order of the configuration, with real ports; the state directory's
    /// socket last.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Starts serving on a thread of its own.
    pub fn start(self) -> io::Result<Running> {
        let Server { mut reactor, control, files, .. } = self;
        let (ended, ends) = UnixStream::pair()?;
        let reactor_control = Arc::clone(&control);
        let thread = thread::Builder::new().name("vmherd-reactor".into()).spawn(move || {
            let (_ends, _files) = (ends, files);
            while !reactor.is_finished() {
                reactor.turn()?;
                if let Some(grace) = reactor_control.take_stop() {
                    reactor.begin_stop(grace);
                }
            }
            Ok(())
        })?;
        Ok(Running { control, thread, ended })
    }
}

impl Running {
    /// Stops accepting, finishes what is in flight for at most `grace`, then closes. Returns at once;
    /// [`Running::ended`] tells when it is done. Zero: cut everything.
    pub fn stop(&self, grace: Duration) {
        *self.control.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(grace);
        if let Err(error) = self.control.waker.wake() {
            log::error!("the reactor can't be woken: {error}");
        }
    }

    /// A descriptor that becomes readable when the server has ended, whatever ended it.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Waits for the end. An error is what ended it other than [`Running::stop`].
    pub fn join(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the reactor's thread has panicked")))
    }
}

impl Control {
    fn take_stop(&self) -> Option<Duration> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

fn pool_settings(config: &Config, writers: usize) -> PoolSettings {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    PoolSettings {
        auth: LaneSettings { queue: config.auth_queue, threads: config.auth_workers },
        read: LaneSettings { queue: config.read_queue, threads: cores * limits::READ_WORKERS_PER_CORE },
        write: LaneSettings { queue: config.write_queue, threads: writers },
        cost: config.argon2,
    }
}

fn listener_settings(config: &Config, listen: &Listen, is_own_socket: bool) -> ListenerSettings {
    let is_local = listen.address.is_local();
    let opens = listen.opens;
    let opens_any = opens.action || opens.metrics || opens.convert || opens.verb;
    let timeouts = config.timeouts;
    ListenerSettings {
        rules: Rules {
            first_request_timeout: timeouts.first_request,
            request_timeout: timeouts.request,
            idle_timeout_anonymous: timeouts.idle_anonymous,
            idle_timeout_authenticated: timeouts.idle_authenticated,
            write_timeout: timeouts.write,
            request_bytes_max_anonymous: match opens_any {
                true => limits::REQUEST_BYTES_MAX,
                false => limits::REQUEST_BYTES_MAX_ANONYMOUS,
            },
            requests_max: config.requests_per_connection,
        },
        admission: Admission {
            registers: config.registration.unwrap_or(is_local),
            has_operators: is_own_socket,
        },
    }
}

//! A bound server, and a running one.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::control::ReactorControl;
use super::event_thread::Callbacks;
use super::reactor_factory::Watchdog;
use super::server_loop::{ServerLoop, Serving, data_loss};
use super::start_error::StartError;
use super::store_opener::open_in_background;
use crate::config::{Config, ListenAddress};
use crate::embed::{Embedding, EventKind};
use crate::limits;
use crate::model::Statistics;
use crate::reactor::local::{LocalClient, LocalPort};
use crate::store::StoreFactory;
use crate::worker::Maintenance;

/// A server with bound listeners, not yet serving. If its store is not open yet, it is opened in the background.
pub struct Server {
    pub(super) addresses: Vec<ListenAddress>,
    pub(super) open_listeners_warning: Option<String>,
    pub(super) serving: Serving,
    /// A duplicate of the poll's.
    pub(super) descriptor: OwnedFd,
    pub(super) is_store_open: Arc<AtomicBool>,
    /// The store that still has to be opened, and its name for messages.
    pub(super) unopened: Option<(Arc<dyn StoreFactory>, String)>,
    pub(super) on_store_open: Box<dyn FnOnce() + Send>,
    pub(super) callbacks: Callbacks,
}

/// A running server, on threads of its own. Dropping it stops the server at once, without waiting for its end.
pub struct Running {
    control: Arc<ReactorControl>,
    maintenance: Arc<Maintenance>,
    port: Arc<LocalPort>,
    /// Present until it is joined.
    thread: Option<thread::JoinHandle<io::Result<()>>>,
    /// The reactor thread holds the other end, which closes when the thread ends.
    ended: UnixStream,
    is_store_open: Arc<AtomicBool>,
}

/// Stops a server, from any thread. The server need not run yet.
#[derive(Clone)]
pub struct StopHandle {
    control: Arc<ReactorControl>,
}

impl StopHandle {
    /// As [`Running::stop`], without waiting. A server that is not running yet stops as soon as it runs.
    pub fn stop(&self, grace: Duration) {
        self.control.request(|requests| requests.stop = Some(grace));
    }
}

impl Server {
    /// Has `beat`, which must not block, called every `interval` while the server is healthy: the reactor and the
    /// workers make progress.
    pub fn set_watchdog(&mut self, interval: Duration, beat: impl FnMut() + Send + 'static) {
        let watchdog = Watchdog::new(interval, beat);
        watchdog.attach(&mut self.serving.reactor);
        self.serving.factory.watchdog = Some(watchdog);
    }

    /// Has `notify` called when the store is open, if it is not open yet.
    pub fn set_on_store_open(&mut self, notify: impl FnOnce() + Send + 'static) {
        self.on_store_open = Box::new(notify);
    }

    /// The bound addresses, in the order of the configuration, with actual ports; the state directory's socket is last.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// A warning that lists what clients may do without a password, by listener; `None`: nothing.
    pub fn open_listeners_warning(&self) -> Option<&str> {
        self.open_listeners_warning.as_deref()
    }

    /// A handle that stops the server.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { control: Arc::clone(&self.serving.factory.control) }
    }

    /// A client in this process, as [`Running::client`], which is served as soon as the server runs.
    pub fn client(&self) -> io::Result<LocalClient> {
        self.serving.factory.port.connect()
    }

    /// Serves on this thread until a [`StopHandle`] stops the server or an error ends it, as [`Running::join`] does.
    pub fn run(self) -> io::Result<()> {
        self.into_loop().run()
    }

    /// Starts serving on a thread of its own.
    pub fn start(self) -> io::Result<Running> {
        let factory = &self.serving.factory;
        let (control, maintenance) = (Arc::clone(&factory.control), Arc::clone(&factory.maintenance));
        let (port, is_store_open) = (Arc::clone(&factory.port), Arc::clone(&self.is_store_open));
        let (ended, ends) = UnixStream::pair()?;
        let server_loop = self.into_loop();
        let thread = thread::Builder::new().name("vmherd-reactor".into()).spawn(move || {
            // Closes after the loop has ended and is dropped.
            let _ends = ends;
            server_loop.run()
        })?;
        Ok(Running { control, maintenance, port, thread: Some(thread), ended, is_store_open })
    }

    /// The server as part of a loop of the host program. Nothing is served before its first turn.
    pub fn into_loop(mut self) -> ServerLoop {
        let control = Arc::clone(&self.serving.factory.control);
        if let Some((factory, store)) = self.unopened {
            let (failing, is_open) = (Arc::clone(&control), self.is_store_open);
            let opener = open_in_background(factory, move |opened| match opened {
                Ok(()) => {
                    is_open.store(true, Ordering::Release);
                    log::info!("the store {store} is open");
                    (self.on_store_open)();
                }
                Err(error) => failing.fail(StartError::of_store(&store, &error)),
            });
            match opener {
                Ok(opener) => self.serving.opener = Some(opener),
                Err(error) => control.fail(StartError::of_system(format!("no thread: {error}"))),
            }
        }
        let Embedding { handlers, clients, events, .. } = self.serving.factory.embedding.clone();
        events.push_of_server(EventKind::Started);
        match self.callbacks.start(events, handlers.commands, clients.disconnector) {
            Ok(events) => self.serving.events = events,
            Err(error) => control.fail(StartError::of_system(format!("no thread: {error}"))),
        }
        ServerLoop::new(self.serving, control, self.descriptor)
    }
}

impl Running {
    /// Stops the server and waits for its end, for at most `grace`. It stops accepting, finishes the requests in flight
    /// and closes the connections, all of them 0.7 s before the end of `grace`: workers and last points need that time.
    /// With a shorter `grace` it closes them at once, and the stop still takes up to 0.7 s.
    ///
    /// An error is as that of [`Running::join`], or of the kind [`io::ErrorKind::TimedOut`]: the server has not ended
    /// in time, and its threads are left behind.
    pub fn stop(mut self, grace: Duration) -> io::Result<()> {
        self.stop_handle().stop(grace);
        self.ended.set_read_timeout(Some(grace.max(limits::STOP_RESERVE)))?;
        match self.ended.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.thread = None;
                let loss = self.data_loss().map(|loss| format!("; {loss}")).unwrap_or_default();
                let message = format!("the server has not stopped within its grace period{loss}");
                Err(io::Error::new(io::ErrorKind::TimedOut, message))
            }
            _ => self.join(),
        }
    }

    /// A handle that stops the server.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { control: Arc::clone(&self.control) }
    }

    /// A client in this process, without a socket. An error means that the server stops or has ended
    /// ([`io::ErrorKind::ConnectionRefused`]), or that thousands of clients wait to be accepted.
    pub fn client(&self) -> io::Result<LocalClient> {
        self.port.connect()
    }

    /// Stops the server as [`Running::stop`] does and starts it again, with new workers, sessions, counters and uptime, on
    /// the same thread. It keeps the listeners, where new connections wait meanwhile, the state directory, the store
    /// (`memory:` keeps its VMs) and points not written yet. The settings are those of the last [`Running::reload`], also
    /// the numbers of workers and the cost of passwords, which a reload does not change by itself. All handles stay valid.
    /// A worker that hangs is left behind.
    ///
    /// Returns when the server is started again. An error means that it stops or has ended: a stop during a restart wins;
    /// or that it is not back within two seconds more than `grace` ([`io::ErrorKind::TimedOut`]), and may be later.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("vmherd-restart-{}", std::process::id()));
    /// # let config = vmherd::Config::default().state_dir(&directory).store("memory:".parse()?);
    /// # let config = config.listen("tcp://127.0.0.1:0".parse()?);
    /// let mut changed = config.clone();
    /// let running = vmherd::Server::bind(config)?.start()?;
    /// changed.auth_workers = 1;
    /// assert!(running.reload(changed));
    /// running.restart(Duration::from_secs(5))?;
    /// # running.stop(Duration::from_secs(5))?;
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn restart(&self, grace: Duration) -> io::Result<()> {
        self.control.restart(grace, grace.max(limits::STOP_RESERVE) + limits::CONTROL_WAIT)
    }

    /// The state of the server and its counters; after its end, the last ones. An error means that the server does not
    /// answer within two seconds.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("vmherd-statistics-{}", std::process::id()));
    /// # let config = vmherd::Config::default().state_dir(&directory).store("memory:".parse()?);
    /// # let config = config.listen("tcp://127.0.0.1:0".parse()?);
    /// let running = vmherd::Server::bind(config)?.start()?;
    /// let statistics = running.statistics()?;
    /// assert!(statistics.is_running && statistics.runtime_errors == 0);
    /// for (name, value) in &statistics.counters {
    ///     println!("{name} {value}");
    /// }
    /// # running.stop(std::time::Duration::ZERO)?;
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn statistics(&self) -> io::Result<Statistics> {
        self.control.statistics(limits::CONTROL_WAIT)
    }

    /// Applies the settings of `config` that can change at run time: timeouts, limits, queues, registration, the lifetime
    /// of new tokens, and the lists of addresses, for new connections. Returns when they are in effect; false if the
    /// server did not apply them in time.
    pub fn reload(&self, config: Config) -> bool {
        self.control.reload(config, limits::CONTROL_WAIT)
    }

    /// Logs the counters as one event.
    pub fn log_statistics(&self) {
        self.control.request(|requests| requests.wants_statistics = true);
    }

    /// Whether the store is open; if not, the server keeps trying to open it.
    pub fn is_store_open(&self) -> bool {
        self.is_store_open.load(Ordering::Acquire)
    }

    /// A descriptor that becomes readable when the server has ended for any reason.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// A message about the data that is lost if the process ends now; `None`: no data.
    pub fn data_loss(&self) -> Option<String> {
        data_loss(&self.maintenance)
    }

    /// Waits for the end. An error is a cause other than a stop, or reports lost data.
    pub fn join(mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the reactor's thread has panicked")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop_handle().stop(Duration::ZERO);
        }
    }
}

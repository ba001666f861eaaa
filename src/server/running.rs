//! A bound server, and a running one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::bind::{SocketFile, StateDir};
use super::control::ReactorControl;
use super::reload::{ReloadState, ServerReactor};
use super::start_error::StartError;
use super::store_opener::open_in_background;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ListenAddress};
use crate::limits;
use crate::model::Statistics;
use crate::store::StoreFactory;
use crate::worker::Maintenance;

/// A server with bound listeners, not yet serving. If its store is not open yet, it is opened in the background.
pub struct Server {
    pub(super) addresses: Vec<ListenAddress>,
    pub(super) open_listeners_warning: Option<String>,
    pub(super) reactor: ServerReactor,
    pub(super) control: Arc<ReactorControl>,
    pub(super) reload_state: ReloadState,
    /// Files that exist while the server runs, in the order of their removal: the lock is last.
    pub(super) files: (Vec<SocketFile>, StateDir),
    /// The store that still has to be opened, and its name for messages.
    pub(super) unopened: Option<(Arc<dyn StoreFactory>, String)>,
    pub(super) on_store_open: Box<dyn FnOnce() + Send>,
}

/// A running server, on threads of its own. Dropping it stops the server at once, without waiting for its end.
pub struct Running {
    control: Arc<ReactorControl>,
    maintenance: Arc<Maintenance>,
    /// Present until it is joined.
    thread: Option<thread::JoinHandle<io::Result<()>>>,
    /// The reactor thread holds the other end, which closes when the thread ends.
    ended: UnixStream,
    is_store_open: Arc<AtomicBool>,
    /// Dropping it ends the attempts to open the store.
    _opener: Option<Sender<()>>,
}

/// Stops a server from any thread, also one that is not running yet.
#[derive(Clone)]
pub struct StopHandle {
    control: Arc<ReactorControl>,
}

impl StopHandle {
    /// As [`Running::stop`]. A server that is not running yet stops as soon as it runs.
    pub fn stop(&self, grace: Duration) {
        self.control.request(|requests| requests.stop = Some(grace));
    }
}

impl Server {
    /// Has `beat`, which must not block, called every `interval` while the server is healthy: the reactor and the
    /// workers make progress.
    pub fn set_watchdog(&mut self, interval: Duration, beat: impl FnMut() + Send + 'static) {
        self.reactor.set_watchdog(interval, Box::new(beat));
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
        StopHandle { control: Arc::clone(&self.control) }
    }

    /// Serves until a [`StopHandle`] stops the server or an error ends it, as [`Running::join`] does.
    pub fn run(self) -> io::Result<()> {
        self.start()?.join()
    }

    /// Starts serving on a thread of its own.
    pub fn start(self) -> io::Result<Running> {
        let (control, maintenance) = (self.control, Arc::clone(&self.reload_state.maintenance));
        let (ended, ends) = UnixStream::pair()?;
        let reactor_control = Arc::clone(&control);
        let thread = thread::Builder::new().name("vmherd-reactor".into()).spawn(move || {
            // Dropped in reverse order: the files after the last points are written, then `ends` signals the end.
            let (_ends, _files, reload_state) = (ends, self.files, self.reload_state);
            serve(self.reactor, &reload_state, &reactor_control)
        })?;
        let is_store_open = Arc::new(AtomicBool::new(self.unopened.is_none()));
        let opener = self.unopened.map(|(factory, store)| {
            let (control, is_open) = (Arc::clone(&control), Arc::clone(&is_store_open));
            open_in_background(factory, move |opened| match opened {
                Ok(()) => {
                    is_open.store(true, Ordering::Release);
                    log::info!("the store {store} is open");
                    (self.on_store_open)();
                }
                Err(error) => control.request(|requests| {
                    requests.failure = Some(StartError::of_store(&store, &error));
                }),
            })
        });
        let (thread, _opener) = (Some(thread), opener.transpose()?);
        Ok(Running { control, maintenance, thread, ended, is_store_open, _opener })
    }
}

/// Runs the reactor until it stops or fails, then ends the workers and writes the last points.
fn serve(mut reactor: ServerReactor, reload_state: &ReloadState, control: &ReactorControl) -> io::Result<()> {
    let mut clock = SystemClock::new();
    let mut cut = None;
    let served = catch_unwind(AssertUnwindSafe(|| {
        while !reactor.is_finished() {
            reactor.tick()?;
            if let Some(grace) = apply_requests(&mut reactor, reload_state, control)? {
                cut = Some(clock.now() + grace);
            }
        }
        Ok(())
    }));
    drop(reactor);
    // After a failure the workers get the same time as after a stop.
    let mut left = |of_failure| cut.map_or(of_failure, |cut| cut - clock.now());
    // Waiting points are written meanwhile; after this no new ones arrive.
    reload_state.queues.shut_down(left(Duration::ZERO).max(limits::WORKER_SHUTDOWN_WAIT));
    let last_points = left(limits::STOP_GRACE).max(limits::WRITE_BEHIND_STOP_MIN);
    match (reload_state.maintenance.shut_down(last_points), served) {
        (_, Err(panic)) => resume_unwind(panic),
        (0, Ok(served)) => served,
        (lost, Ok(Ok(()))) => Err(io::Error::other(lost_points_message(lost))),
        (lost, Ok(Err(error))) => Err(io::Error::other(format!("{error}; {}", lost_points_message(lost)))),
    }
}

/// Carries out pending control requests on the reactor's thread. Returns the grace period if the server is to stop;
/// an error ends it.
fn apply_requests(
    reactor: &mut ServerReactor,
    reload_state: &ReloadState,
    control: &ReactorControl,
) -> io::Result<Option<Duration>> {
    let requests = control.take();
    if let Some(config) = &requests.reload {
        reload_state.apply(config, reactor);
        requests.mark_reloaded();
    }
    requests.give_statistics(|| reactor.statistics());
    if requests.wants_statistics {
        log::info!("{}", reactor.statistics());
    }
    if let Some(failure) = requests.failure {
        return Err(io::Error::other(failure));
    }
    if let Some(grace) = requests.stop {
        reactor.begin_stop(grace);
    }
    Ok(requests.stop)
}

/// The message about points that were acknowledged and then lost.
fn lost_points_message(count: u64) -> String {
    format!("points that were acknowledged could not be written to the store and are lost: {count}")
}

impl Running {
    /// Stops accepting, finishes requests in flight for at most `grace`, then closes all connections. Returns at
    /// once; [`Running::ended`] signals completion. With zero, closes at once.
    pub fn stop(&self, grace: Duration) {
        self.stop_handle().stop(grace);
    }

    /// A handle that stops the server.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { control: Arc::clone(&self.control) }
    }

    /// The server's counters, as the command `stats` has them. `None` if the server has ended, or does not answer within
    /// two seconds.
    pub fn statistics(&self) -> Option<Statistics> {
        let is_running = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        is_running.then(|| self.control.statistics(limits::CONTROL_WAIT)).flatten()
    }

    /// Applies the settings of `config` that can change at run time: timeouts, limits, queues, registration and the
    /// lifetime of new tokens. Returns when they are in effect; false if the server did not apply them in time.
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
        Some(self.maintenance.unwritten()).filter(|count| *count > 0).map(lost_points_message)
    }

    /// Waits for the end. An error is a cause other than [`Running::stop`], or reports lost data.
    pub fn join(mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the reactor's thread has panicked")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop(Duration::ZERO);
        }
    }
}

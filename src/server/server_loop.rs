//! The loop of a server: its reactor, the requests of other threads, and the end.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::bind::{SocketFile, StateDir};
use super::control::ReactorControl;
use super::event_thread::EventThread;
use super::hypervisor_stop::HypervisorStop;
use super::reactor_factory::{ReactorFactory, ServerReactor};
use crate::clock::{Clock, Instant, SystemClock};
use crate::embed::EventKind;
use crate::limits;
use crate::model::Statistics;
use crate::worker::{Maintenance, PoolControl};

/// A server that runs in a loop of the host program, on the thread that calls [`ServerLoop::turn`].
///
/// The host watches the loop's descriptor ([`AsFd`]), which stays the same, and calls [`ServerLoop::turn`] when it is
/// readable or [`ServerLoop::wait_time`] is over. A [`StopHandle`](crate::StopHandle) stops the server; dropping the
/// loop ends it at once, and waits for workers and last points as the last turn does.
///
/// ```
/// # use std::time::Duration;
/// # use vmherd::{Config, LoopState, Server};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = std::env::temp_dir().join(format!("vmherd-loop-{}", std::process::id()));
/// # let config = Config::default()
/// #     .state_dir(&directory)
/// #     .store("memory:".parse()?)
/// #     .listen("tcp://127.0.0.1:0".parse()?);
/// let server = Server::bind(config)?;
/// let stop = server.stop_handle();
/// let mut server = server.into_loop();
/// for _ in 0..3 {
///     // The host's own work, then a turn that does not wait:
///     assert_eq!(server.turn(Some(Duration::ZERO))?, LoopState::Running);
/// }
/// stop.stop(Duration::from_secs(5));
/// while server.turn(None)? == LoopState::Running {}
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(())
/// # }
/// ```
pub struct ServerLoop {
    /// `None` after the end.
    serving: Option<Serving>,
    control: Arc<ReactorControl>,
    clock: SystemClock,
    phase: Phase,
    /// The hypervisor ends its containers, because of the phase.
    hypervisor_stop: Option<HypervisorStop>,
    descriptor: OwnedFd,
}

/// Whether a server goes on after a turn of its loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoopState {
    /// It serves, or finishes the requests in flight.
    Running,
    /// It has ended; further turns do nothing.
    Ended,
}

enum Phase {
    Serving,
    /// Draining for a restart that these threads wait for.
    Restarting(Vec<Sender<()>>),
    /// Draining for a stop that must be complete then.
    Stopping(Instant),
}

/// What a server holds until its end.
pub(super) struct Serving {
    pub(super) reactor: ServerReactor,
    /// Of the reactor's pool.
    pub(super) queues: Arc<PoolControl>,
    pub(super) factory: ReactorFactory,
    /// Files that exist while the server runs, in the order of their removal: the lock is last.
    pub(super) files: (Vec<SocketFile>, StateDir),
    /// Dropping it ends the attempts to open the store.
    pub(super) opener: Option<Sender<()>>,
    /// The thread of the callbacks.
    pub(super) events: Option<EventThread>,
}

impl ServerLoop {
    pub(super) fn new(serving: Serving, control: Arc<ReactorControl>, descriptor: OwnedFd) -> ServerLoop {
        let (serving, clock) = (Some(serving), SystemClock::new());
        ServerLoop { serving, control, clock, phase: Phase::Serving, hypervisor_stop: None, descriptor }
    }

    /// Waits for events, at most `wait_max` (`None`: as long as there is nothing to do), then does a bounded amount of
    /// work. An error has ended the server, or reports data lost at its end.
    ///
    /// The turn that ends the server also waits for its workers and last points: for at most the rest of the grace
    /// period, and usually some milliseconds.
    pub fn turn(&mut self, wait_max: Option<Duration>) -> io::Result<LoopState> {
        let Some(serving) = &mut self.serving else { return Ok(LoopState::Ended) };
        let served = serving.reactor.tick(wait_max).and_then(|()| self.apply_requests());
        match served {
            Ok(LoopState::Running) => served,
            Ok(LoopState::Ended) => self.end(Ok(())).map(|()| LoopState::Ended),
            Err(error) => self.end(Err(error)).map(|()| LoopState::Ended),
        }
    }

    /// The longest time that the host may wait for the descriptor before the next turn; `None`: until it is readable.
    pub fn wait_time(&mut self) -> Option<Duration> {
        self.serving.as_mut()?.reactor.wait_time()
    }

    /// The state of the server and its counters; `None` after the end.
    pub fn statistics(&mut self) -> Option<Statistics> {
        Some(self.serving.as_mut()?.reactor.statistics())
    }

    /// Has the coming turns restart the server, as [`Running::restart`](crate::Running::restart) does.
    pub fn restart(&mut self, grace: Duration) {
        self.control.request(|requests| requests.restart = Some(grace));
    }

    /// Runs until the end.
    pub(super) fn run(mut self) -> io::Result<()> {
        while self.turn(None)? == LoopState::Running {}
        Ok(())
    }

    /// Carries out pending requests of other threads. An error ends the server.
    fn apply_requests(&mut self) -> io::Result<LoopState> {
        let Some(Serving { reactor, queues, factory, .. }) = &mut self.serving else {
            return Ok(LoopState::Ended);
        };
        let mut requests = self.control.take();
        if let Some(config) = requests.reload.take() {
            factory.reload(*config, reactor, queues);
            requests.mark_reloaded();
        }
        requests.give_statistics(|| reactor.statistics());
        if requests.wants_statistics {
            log::info!("{}", reactor.statistics());
        }
        if let Some(failure) = requests.failure {
            return Err(io::Error::other(failure));
        }
        let connections_grace = |grace: Duration| grace.saturating_sub(limits::STOP_RESERVE);
        // At once, since a request may wait for a container that boots, and containers may take all the time.
        if let (true, None, Some(grace)) =
            (matches!(self.phase, Phase::Serving), &self.hypervisor_stop, requests.stop.or(requests.restart))
        {
            let time_max = grace.saturating_sub(limits::CALLBACKS_STOP_MIN).max(limits::HYPERVISOR_STOP_MIN);
            self.hypervisor_stop = factory.stop_hypervisor(time_max);
        }
        match (requests.stop, requests.restart, &mut self.phase) {
            (Some(grace), _, phase) => {
                // Waiters of a restart are dropped.
                *phase = Phase::Stopping(self.clock.now() + grace);
                reactor.begin_stop(connections_grace(grace));
            }
            (None, Some(grace), phase @ Phase::Serving) => {
                *phase = Phase::Restarting(requests.restart_waiters);
                reactor.begin_drain(connections_grace(grace));
            }
            (None, Some(_), Phase::Restarting(waiters)) => waiters.append(&mut requests.restart_waiters),
            _ => {}
        }
        match (reactor.is_finished(), &self.phase) {
            (true, Phase::Restarting(_)) => self.start_again()?,
            (true, _) => return Ok(LoopState::Ended),
            (false, _) => {}
        }
        Ok(LoopState::Running)
    }

    /// Replaces the reactor, which is drained, and its workers. An error ends the server.
    fn start_again(&mut self) -> io::Result<()> {
        let Some(Serving { reactor, queues, mut factory, files, opener, events }) = self.serving.take()
        else {
            return Ok(());
        };
        let net = reactor.into_net();
        let mut stopping = self.hypervisor_stop.take();
        queues.shut_down(limits::WORKER_SHUTDOWN_WAIT);
        stopping.iter_mut().for_each(HypervisorStop::workers_ended);
        if let Some(stopping) = stopping {
            stopping.wait();
        }
        let (running, error) = match factory.start_hypervisor() {
            Ok(running) => (running, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        if error.is_none() {
            factory.embedding.events.push_of_server(EventKind::Stopped);
        }
        let (reactor, queues) = factory.make_next(net, running);
        if error.is_none() {
            factory.embedding.events.push_of_server(EventKind::Started);
        }
        self.serving = Some(Serving { reactor, queues, factory, files, opener, events });
        if let Some(error) = error {
            return Err(io::Error::other(error));
        }
        if let Phase::Restarting(waiters) = mem::replace(&mut self.phase, Phase::Serving) {
            for waiter in waiters {
                // An error means that the thread no longer waits.
                let _ = waiter.send(());
            }
        }
        Ok(())
    }

    /// Closes all connections, ends the workers, writes the last points and removes the files, in this order. `served`
    /// is how the loop has ended.
    fn end(&mut self, served: io::Result<()>) -> io::Result<()> {
        let Some(Serving { mut reactor, queues, factory, files, opener, events }) = self.serving.take()
        else {
            return served;
        };
        let last = Statistics { is_running: false, ..reactor.statistics() };
        drop((opener, reactor));
        self.control.end(last);
        let mut left = |reserve: Duration| match self.phase {
            Phase::Stopping(deadline) => Some((deadline - self.clock.now()).saturating_sub(reserve)),
            _ => None,
        };
        // The workers end and the last points are written meanwhile.
        let stopping = self.hypervisor_stop.take();
        let mut stopping = stopping.or_else(|| factory.stop_hypervisor(limits::STOP_GRACE));
        // Waiting points are written meanwhile; after this no new ones arrive.
        let workers = left(limits::STOP_RESERVE - limits::WORKER_SHUTDOWN_WAIT).unwrap_or_default();
        queues.shut_down(workers.max(limits::WORKER_SHUTDOWN_WAIT));
        stopping.iter_mut().for_each(HypervisorStop::workers_ended);
        // After a failure they get the same time as after a stop.
        let last_points = left(limits::WORKER_SHUTDOWN_WAIT).unwrap_or(limits::STOP_GRACE);
        let lost = factory.maintenance.shut_down(last_points.max(limits::WRITE_BEHIND_STOP_MIN));
        if let Some(stopping) = stopping {
            stopping.wait();
        }
        drop((queues, factory));
        drop(files);
        // A callback that does not return is left behind.
        if let Some(events) = events {
            let callbacks = left(limits::CALLBACKS_STOP_MIN).unwrap_or_default();
            let is_over = events.end(callbacks.max(limits::CALLBACKS_STOP_MIN));
            if !is_over {
                log::warn!("callbacks have not taken all events; not waiting for them any longer");
            }
        }
        match (lost, served) {
            (0, served) => served,
            (lost, Ok(())) => Err(io::Error::other(lost_points_message(lost))),
            (lost, Err(error)) => Err(io::Error::other(format!("{error}; {}", lost_points_message(lost)))),
        }
    }
}

impl AsFd for ServerLoop {
    /// Readable while an event waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for ServerLoop {
    fn drop(&mut self) {
        if let Err(error) = self.end(Ok(())) {
            log::error!("{error}");
        }
    }
}

/// A message about the data of `maintenance` that is lost if the process ends now; `None`: no data.
pub(super) fn data_loss(maintenance: &Maintenance) -> Option<String> {
    Some(maintenance.unwritten()).filter(|count| *count > 0).map(lost_points_message)
}

/// The message about points that were acknowledged and then lost.
fn lost_points_message(count: u64) -> String {
    format!("points that were acknowledged could not be written to the store and are lost: {count}")
}

//! The environment that clients act in: time, the network, the workers and the store, and what is known and observed.

use std::collections::HashMap;
use std::sync::Arc;

use super::fake_handlers::{ActKind, ActRecord};
use super::fake_workers::FakeWorkers;
use super::fault_config::FaultConfig;
use super::maintenance::Maintenance;
use super::network::Network;
use super::point_model::PointModel;
use super::random::Random;
use super::reference_model::ReferenceModel;
#[cfg(feature = "sealed")]
use super::sealed_script::Generation;
use super::trace::Trace;
use super::wall_clock::WallClock;
use super::watch_oracle::WatchLog;
use vmherd::internals::clock::Instant;
use vmherd::internals::store::StoreFactory;

/// The state of a simulation outside the server, apart from the clients themselves.
pub(super) struct Environment {
    pub(super) now: Instant,
    /// When the server is started.
    pub(super) start: Instant,
    pub(super) wall_clock: WallClock,
    pub(super) random: Random,
    pub(super) config: FaultConfig,
    pub(super) network: Network,
    pub(super) workers: FakeWorkers,
    /// The store itself, without the write-behind buffer.
    pub(super) store: Arc<dyn StoreFactory>,
    pub(super) maintenance: Maintenance,
    pub(super) knowledge: Knowledge,
    pub(super) shutdown: Shutdown,
    pub(super) observations: Observations,
}

/// What the clients know together.
pub(super) struct Knowledge {
    pub(super) model: ReferenceModel,
    pub(super) points: PointModel,
    pub(super) watch: WatchLog,
    /// When conversions are due, by their unique marks.
    pub(super) conversions_due: HashMap<u64, Instant>,
    /// What sealed clients have sent that got an answer.
    #[cfg(feature = "sealed")]
    pub(super) recordings: Vec<(Generation, Vec<u8>)>,
}

/// The server's end.
pub(super) struct Shutdown {
    /// When the server is to be stopped.
    pub(super) scheduled: Option<Instant>,
    /// When it was stopped.
    pub(super) stopped: Option<Instant>,
    /// It has ended.
    pub(super) is_over: bool,
}

/// What the server did, and what went wrong.
pub(super) struct Observations {
    pub(super) trace: Trace,
    /// The first failed check.
    pub(super) failure: Option<String>,
    /// Operations of the server on its environment.
    pub(super) operations: u64,
    /// Bytes that the server has read since the last check.
    pub(super) bytes_read: usize,
    /// Instants at which a poll has looked for events.
    pub(super) polls: usize,
    /// No further event is scheduled.
    pub(super) nothing_is_scheduled: bool,
}

impl Environment {
    /// Adds a line to the trace.
    pub(super) fn log(&mut self, line: impl FnOnce() -> String) {
        self.observations.trace.add(self.now, line);
    }

    /// Records a failed check. The first one is reported.
    pub(super) fn fail(&mut self, why: String) {
        self.log(|| format!("FAILED: {why}"));
        self.observations.failure.get_or_insert(why);
    }

    /// Records what handlers have done since the last call.
    pub(super) fn note_handlers(&mut self) {
        for record in self.workers.handlers.take_records() {
            let ActRecord { mark, port, kind, .. } = record;
            self.log(|| format!("the handler of {mark}, from port {port}: {kind:?}"));
            if kind == ActKind::Closed {
                self.network.note_closed_by_handler(record, self.now);
            }
        }
    }

    /// Connects a client; returns the index of its connection.
    pub(super) fn connect(&mut self, client: usize, listener: usize) -> usize {
        let connection = self.network.connect(client, listener, &self.config);
        self.log(|| format!("client {client} opens connection {connection} to listener {listener}"));
        connection
    }
}

impl Shutdown {
    /// When the server is to be stopped, unless it was.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.scheduled.filter(|_| self.stopped.is_none())
    }

    /// Whether the server is to be stopped now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_due().is_some_and(|at| at <= now)
    }
}

impl Observations {
    pub(super) fn new(is_traced: bool) -> Observations {
        Observations {
            trace: Trace::new(is_traced),
            failure: None,
            operations: 0,
            bytes_read: 0,
            polls: 0,
            nothing_is_scheduled: false,
        }
    }
}

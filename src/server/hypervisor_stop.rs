//! The stop of the hypervisor when its server ends or restarts, and the end of the rows of its containers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::managed_rows::remove_dead;
use crate::clock::{Clock, Instant, SystemClock};
use crate::embed::HypervisorHandle;
use crate::ids::ServerId;
use crate::store::StoreFactory;

/// The thread that stops a hypervisor; dropping it leaves the thread behind.
pub(super) struct HypervisorStop {
    /// Dropped when the workers of the server have ended: they add no more rows.
    workers: Option<Sender<()>>,
    /// Disconnected when the thread ends.
    ended: Receiver<()>,
    deadline: Instant,
    /// The clock of the deadline.
    clock: SystemClock,
    /// The thread is left behind.
    is_over: Arc<AtomicBool>,
}

impl HypervisorStop {
    /// Begins to end all containers within `time_max`, and then to remove the rows of `server`'s that do not survive.
    pub(super) fn begin(
        hypervisor: &Arc<HypervisorHandle>,
        server: Option<ServerId>,
        store: &Arc<dyn StoreFactory>,
        time_max: Duration,
    ) -> HypervisorStop {
        // A thread that is left behind must not hold the store.
        let (hypervisor, store) = (Arc::clone(hypervisor), Arc::downgrade(store));
        let (ends, ended) = channel::<()>();
        let (workers, workers_end) = channel::<()>();
        let mut clock = SystemClock::new();
        let deadline = clock.now() + time_max;
        let is_over = Arc::<AtomicBool>::default();
        let left_behind = Arc::clone(&is_over);
        let thread = thread::Builder::new().name("vmherd-stop".into()).spawn(move || {
            let _ends = ends;
            hypervisor.stop(time_max);
            let waited = workers_end.recv_timeout(deadline.since(clock.now()));
            if waited == Err(RecvTimeoutError::Disconnected)
                && let Some(server) = server
            {
                remove_rows(&hypervisor, server, &store, &left_behind);
            }
        });
        if let Err(error) = thread {
            log::error!("no thread to stop the hypervisor: {error}");
        }
        HypervisorStop { workers: Some(workers), ended, deadline, clock, is_over }
    }

    /// Notes that the workers of the server have ended.
    pub(super) fn workers_ended(&mut self) {
        self.workers = None;
    }

    /// Waits for the end, no longer than the hypervisor may take.
    pub(super) fn wait(mut self) {
        if self.ended.recv_timeout(self.deadline.since(self.clock.now()))
            != Err(RecvTimeoutError::Disconnected)
        {
            self.is_over.store(true, Ordering::Release);
            log::warn!("the hypervisor has not ended all containers; not waiting for it any longer");
        }
    }
}

/// The next start removes what stays.
fn remove_rows(
    hypervisor: &HypervisorHandle,
    server: ServerId,
    store: &Weak<dyn StoreFactory>,
    is_over: &AtomicBool,
) {
    let survivors = hypervisor.survivors();
    let Some(store) = store.upgrade() else { return };
    let may_write = || !is_over.load(Ordering::Acquire);
    if let Err(error) = remove_dead(&*store, server, &survivors, may_write) {
        log::warn!(
            "the VMs of containers that have ended stay in the registry until the next start: {error}"
        );
    }
}

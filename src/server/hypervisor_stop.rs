//! The stop of the hypervisor when its server ends or restarts.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, Instant, SystemClock};
use crate::embed::HypervisorHandle;

/// The thread that stops a hypervisor; dropping it leaves the thread behind.
pub(super) struct HypervisorStop {
    /// Disconnected when the thread ends.
    ended: Receiver<()>,
    deadline: Instant,
    /// The clock of the deadline.
    clock: SystemClock,
}

impl HypervisorStop {
    /// Begins to end all containers within `time_max`.
    pub(super) fn begin(hypervisor: &Arc<HypervisorHandle>, time_max: Duration) -> HypervisorStop {
        let hypervisor = Arc::clone(hypervisor);
        let (ends, ended) = channel::<()>();
        let mut clock = SystemClock::new();
        let deadline = clock.now() + time_max;
        let thread = thread::Builder::new().name("vmherd-stop".into()).spawn(move || {
            let _ends = ends;
            hypervisor.stop(time_max);
        });
        if let Err(error) = thread {
            log::error!("no thread to stop the hypervisor: {error}");
        }
        HypervisorStop { ended, deadline, clock }
    }

    /// Waits for the end, no longer than the hypervisor may take.
    pub(super) fn wait(mut self) {
        if self.ended.recv_timeout(self.deadline.since(self.clock.now()))
            != Err(RecvTimeoutError::Disconnected)
        {
            log::warn!("the hypervisor has not ended all containers; not waiting for it any longer");
        }
    }
}

//! What the server must have counted of the results that it gets.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use vmherd::internals::embed::ContainerChange;
use vmherd::internals::ids::ConnId;
use vmherd::internals::work::{WorkError, WorkResult};
use vmherd::internals::worker::{Completion, Job, JobKey, JobState};

/// The results that were delivered.
#[derive(Default)]
pub(super) struct Delivery {
    /// The states of all jobs.
    states: HashMap<JobKey, Arc<JobState>>,
    /// The jobs with a result.
    done: HashSet<JobKey>,
    pub(super) counts: DeliveryCounts,
}

/// Their numbers.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct DeliveryCounts {
    /// Failures of handlers.
    pub(super) failures: u64,
    /// Results of requests that were answered or cancelled before.
    pub(super) late: u64,
    /// Some results may have become late before the reactor used them.
    pub(super) is_uncertain: bool,
}

impl Delivery {
    /// `job` has been submitted.
    pub(super) fn add(&mut self, job: &Job) {
        self.states.insert(job.key, Arc::clone(&job.state));
    }

    /// `completion` is delivered; `is_open` tells which connections are open.
    pub(super) fn deliver(&mut self, completion: &Completion, is_open: impl Fn(ConnId) -> bool) {
        if !is_final(completion) {
            return;
        }
        let Completion { key, result } = completion;
        let is_abandoned = self.states.get(key).is_some_and(|state| state.is_abandoned());
        let is_first = self.done.insert(*key);
        let is_internal = key.request_key.conn == ConnId::INTERNAL;
        let is_late = is_abandoned || !is_first || !is_open(key.request_key.conn);
        self.counts.late += u64::from(is_late && !is_internal);
        let is_failure = match result {
            Err(WorkError::Handler(_)) => true,
            // A client that may try again later is told so, and nothing has failed.
            Ok(WorkResult::Container(report)) => match &report.change {
                ContainerChange::Created(Err(error)) | ContainerChange::Destroyed(Err(error)) => {
                    is_late || !error.is_unavailable
                }
                _ => false,
            },
            _ => false,
        };
        self.counts.failures += u64::from(is_failure);
    }
}

/// Whether a result is the last of its job. Others report progress.
pub(super) fn is_final(completion: &Completion) -> bool {
    !matches!(&completion.result, Ok(WorkResult::Container(report)) if !report.change.is_final())
}

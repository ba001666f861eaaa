//! What the threads of simulated workers do.

use std::sync::Arc;

use vmherd::internals::clock::Instant;
use vmherd::internals::embed::{HandlerCall, HypervisorCall};
use vmherd::internals::work::{Lane, Work};
use vmherd::internals::worker::{Completion, JobKey, JobState, RunId};

/// A thread at work.
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) lane: Lane,
    /// `None`: never.
    pub(super) ends: Option<Instant>,
    pub(super) completions: Vec<Completion>,
    /// Writes that it does at its end: until then no later one of the same connection may be done.
    pub(super) writes: Vec<(JobKey, Arc<JobState>, Work)>,
    /// A handler or the hypervisor is called at its end.
    pub(super) call: Option<(JobKey, Instant, Call)>,
    /// It was replaced, and no longer counts as a thread of the lane.
    pub(super) is_replaced: bool,
}

/// A call of the embedding program.
pub(super) enum Call {
    Handler(HandlerCall),
    Hypervisor(HypervisorCall),
}

//! Runs blocking work away from the reactor: a bounded queue and a few threads per lane, and one list of
//! completions.
//!
//! The reactor submits [`Job`]s and collects [`Completion`]s; it never waits. Threads start on demand and exit
//! when idle.

mod backlog;
mod fair_queue;
mod job;
mod lane;
mod maintenance;
mod pool;
mod thread_group;

#[cfg(feature = "internals")]
pub use backlog::{Backlog, BatchPolicy};
pub use fair_queue::{Account, Accounts};
#[cfg(any(test, feature = "internals"))]
pub use job::LaneStatus;
pub use job::{Abandoned, Completion, Job, JobKey, JobState, Jobs, Priority, QueueFull, RunId};
pub use maintenance::Maintenance;
pub use pool::{LaneSettings, Pool, PoolControl, PoolSettings};

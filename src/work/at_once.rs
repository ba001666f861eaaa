//! Which work is short enough for the thread that serves the clients, if the store answers at once, and its run there.

use super::{Read, Work, WorkError, WorkResult, WorkerContext};
use crate::limits;
use crate::store::{Write, write_one};

impl Work {
    /// What it costs at most on the thread that serves the clients, in stored points, with a store that answers at once;
    /// `None` if that has no bound, or if a worker does it with any store.
    pub fn cost_at_once(&self) -> Option<usize> {
        match self {
            Work::Write(
                Write::Put { .. }
                | Write::AddVm { .. }
                | Write::Register { .. }
                | Write::Update { .. }
                | Write::Connect { .. }
                | Write::IssueToken { .. }
                | Write::RevokeTokens { .. },
            ) => Some(self.weight()),
            Work::Read(Read::FindToken { .. } | Read::FindAccessToken { .. }) => Some(self.weight()),
            Work::Read(Read::ListPage { page, .. }) if page.is_read_directly() => {
                Some(limits::AT_ONCE_PAGE_COST)
            }
            _ => None,
        }
    }
}

impl WorkerContext {
    /// Runs one piece of work.
    pub fn run_one(&mut self, work: &Work) -> Result<WorkResult, WorkError> {
        match work {
            // Shorter than a batch of one.
            Work::Write(write) => {
                let written = self.store().and_then(|store| write_one(store, write));
                written.map(WorkResult::Written).map_err(WorkError::Store)
            }
            other => self.run([other]).pop().unwrap_or(Err(WorkError::Internal)),
        }
    }
}

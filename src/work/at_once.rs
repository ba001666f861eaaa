//! Which work is short enough for the thread that serves the clients, if the store answers at once.

use super::{Read, Work};
use crate::limits;
use crate::store::Write;

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

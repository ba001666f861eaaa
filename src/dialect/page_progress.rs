//! How far a paged answer has been written.

use crate::ids::SeriesId;

/// How far a paged answer has been written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageProgress {
    /// The head has been written.
    pub has_head: bool,
    /// An item has been written: the next one needs a comma.
    pub has_items: bool,
    /// The series that is being written, in dialects that write a head and a tail for each.
    pub series: Option<SeriesId>,
}

impl PageProgress {
    /// Notes that the head is written; returns whether this is the first page.
    pub(super) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.has_head, true)
    }
}

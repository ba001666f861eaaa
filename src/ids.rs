//! Identifiers that outlive a borrow. Each has a generation or is never reused, so a stale one matches nothing.

use std::fmt;

/// A client connection: its index in the reactor's table and the generation of that entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId {
    /// Index in the table.
    pub index: u32,
    /// Number of earlier connections with this index.
    pub generation: u32,
}

/// Sequence number of a request on its connection; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestSeq(pub u64);

/// A request: its connection and its sequence number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestKey {
    /// The connection.
    pub conn: ConnId,
    /// The sequence number of the request on that connection.
    pub seq: RequestSeq,
}

/// The store's id of a VM; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VmId(pub i64);

/// The store's id of a disk; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DiskId(pub i64);

/// The store's id of a metric series; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeriesId(pub i64);

/// An added command or verb: its index in the table of the server that has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CustomId(pub u16);

impl CustomId {
    /// The index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

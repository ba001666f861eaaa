//! Names for things that outlive a borrow. Each carries what makes a stale one find nothing.

use std::fmt;

/// One client connection: its place in the reactor's table and how often that place has been used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId {
    /// The place in the table.
    pub index: u32,
    /// Counts the connections that have had this place.
    pub generation: u32,
}

/// One request of one connection; never used twice on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestSeq(pub u64);

/// One request of one connection, as the reactor and the workers name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestKey {
    /// The connection that asked.
    pub conn: ConnId,
    /// Which of its requests.
    pub seq: RequestSeq,
}

/// The integer that the store gave a VM; never given twice by one store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VmId(pub i64);

/// The integer that the store gave a disk; never given twice by one store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DiskId(pub i64);

/// The integer that the store gave a series of metrics; never given twice by one store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeriesId(pub i64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

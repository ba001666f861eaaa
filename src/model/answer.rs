//! Answers to requests, independent of the dialect that writes them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::command::Listing;
use super::container::NewContainer;
use super::failure::Failure;
use super::name::VmName;
use super::peer::{Peer, PeerIp};
use super::response::Response;
use super::secret::Secret;
use super::series::Series;
use super::vm::{DiskOfVm, Vm};
use super::watch::Revision;
use super::web::VmState;
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, SeriesId, VmId};
use crate::sys::process::ProcessUsage;

/// A complete answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// To `ping`: the client's address.
    Pong(Peer),
    /// To `register`.
    Registered(VmName),
    /// To `add`: the VM and its id.
    Added(VmName, VmId),
    /// To `remove`.
    Removed(VmName),
    /// To `passwd`.
    PasswordChanged(VmName),
    /// To `end_sessions`: the VM, and the number of connections that were closed.
    SessionsEnded(VmName, usize),
    /// To `authenticate`: a new token. It appears nowhere else.
    Authenticated(Secret),
    /// To `update`.
    Updated,
    /// To `logout`.
    LoggedOut(VmName),
    /// To `stats`.
    Statistics(Statistics),
    /// To a request of the dialect `action` that has no answer in common with other dialects.
    Action(ActionAnswer),
    /// To `STAT`.
    Status(ServerStatus),
    /// To `CREATE`.
    Created(Box<NewContainer>),
    /// To `DESTROY` and `stop`.
    Destroyed,
    /// To a command or verb of the embedding program.
    Custom(Response),
    /// To a conversion: its entities, as a JSON object.
    Converted(String),
    /// To a health check.
    Healthy,
    /// To `put`: all points were stored except the refused ones, whose keys exceed the key limit.
    Put {
        /// Indexes of the refused points in the request, ascending.
        refused: Vec<usize>,
    },
    /// To `watch`, when the client resumes from this revision.
    Resumed(Revision),
    /// To `unwatch`.
    Unwatched,
    /// To any request that failed.
    Failed(Failure),
}

/// The result of an action on a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ActionAnswer {
    Added(VmId),
    Authorized,
    Connected,
    LoggedOut,
}

/// One page of a long answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// The listing that the page belongs to.
    pub listing: Listing,
    /// The entries.
    pub items: Items,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

/// The entries of one page.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Items {
    Vms(Vec<Vm>),
    Disks(Vec<DiskOfVm>),
    Peers(Vec<PeerEntry>),
    Points(Vec<Series>),
    /// As `Vms`, for an operator or a reader.
    ObservedVms(Vec<(Vm, VmPresence)>),
    /// As `Peers`, for an operator or a reader.
    ObservedPeers(Vec<(PeerEntry, VmPresence)>),
    Metrics(Box<Metrics>),
}

/// The connections of a VM.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VmPresence {
    /// When the oldest of the connections that are authenticated as the VM was; `None` if there is none.
    pub connected_since: Option<UnixSeconds>,
    /// When the VM last sent a request or ended its last connection; `None`: never.
    pub last_seen: Option<UnixSeconds>,
    /// From where it was last seen.
    pub last_address: Option<PeerIp>,
    /// The clients of these connections, at most [`crate::limits::OBSERVED_ADDRESSES_MAX`].
    pub peers: Vec<Peer>,
}

impl VmPresence {
    /// Whether there is one.
    pub fn state(&self) -> VmState {
        if self.connected_since.is_some() { VmState::Online } else { VmState::Offline }
    }
}

/// An open connection and the VM that is authenticated on it.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerEntry {
    /// The client's end.
    pub peer: Peer,
    /// When the connection was opened.
    pub connected_since: UnixSeconds,
    /// The VM, if any.
    pub vm: Option<Vm>,
}

/// What a server measures of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metrics {
    /// The number of registered VMs.
    pub vms: u64,
    /// The number of VMs with an authenticated connection.
    pub vms_online: u64,
    /// The process.
    pub process: ProcessUsage,
    /// The counters.
    pub statistics: Statistics,
}

/// Position in a paged answer: the last entry that was sent, or the next to examine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Cursor {
    AfterVm(VmId),
    AfterDisk(DiskId),
    /// The next index in the table of connections.
    FromPeer(u32),
    /// The position of the next authorized or connected VM.
    FromMember(u64),
    /// The last point that was sent, if any.
    AfterPoint(Option<PointPosition>),
    /// What precedes the points.
    BeforePoints,
}

/// The position of a point in the order of all points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PointPosition {
    /// Its series.
    pub series: SeriesId,
    /// Its time, in seconds since 1970.
    pub timestamp: i64,
}

/// The status of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerStatus {
    /// The time since it was started.
    pub uptime: Duration,
    /// The number of containers that clients may still create; `None`: there is no maximum.
    pub containers_available: Option<u32>,
}

/// The state of a server and its counters; after its end, those of the moment when its last connection was closed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Whether the server has not ended.
    pub is_running: bool,
    /// Internal errors, and errors of handlers, of callbacks and of the gate.
    pub runtime_errors: u64,
    /// The time since the server was started.
    pub uptime: Duration,
    /// The number of containers that clients may still create; `None`: there is no maximum.
    pub containers_available: Option<u32>,
    /// Names and values of all counters, in the order of the command `stats`. They count from the start of the server
    /// unless documented otherwise.
    pub counters: Vec<(Cow<'static, str>, u64)>,
}

impl Statistics {
    /// The value of a counter; `None` if there is none of this name.
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.counters.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("statistics:")?;
        self.counters.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

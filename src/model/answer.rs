//! What can be answered, whichever dialect says it.

use std::fmt;

use super::command::Listing;
use super::failure::Failure;
use super::name::VmName;
use super::peer::Peer;
use super::secret::Secret;
use super::series::Series;
use super::vm::{DiskOfVm, Vm};
use crate::ids::{DiskId, SeriesId, VmId};

/// An answer that is whole.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// To `ping`: who the client is to us.
    Pong(Peer),
    /// To `register`.
    Registered(VmName),
    /// To `authenticate`: a token for next time, the only place where it ever appears.
    Authenticated(Secret),
    /// To `update`.
    Updated,
    /// To `logout`.
    LoggedOut(VmName),
    /// To `stats`.
    Statistics(Statistics),
    /// To a request of the dialect `action`, where no other answer says it.
    Action(ActionAnswer),
    /// To a conversion: its entities, as a JSON object.
    Converted(String),
    /// To the question whether the server is well.
    Healthy,
    /// To points that were to be kept: those that are, but for these, whose key would be one too many.
    Put {
        /// By their place among the points of the request, ascending.
        refused: Vec<usize>,
    },
    /// To anything: it was not done.
    Failed(Failure),
}

/// What has been done about a VM without its saying so itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ActionAnswer {
    Added(VmId),
    Authorized,
    Connected,
    LoggedOut,
}

/// A part of an answer that may be long.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// What it is a page of.
    pub listing: Listing,
    /// What is on it.
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
}

/// An open connection and the VM that has authenticated on it.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerEntry {
    /// The client's end.
    pub peer: Peer,
    /// The VM, if any.
    pub vm: Option<Vm>,
}

/// How far a paged answer has come: the last entry that was shown, or looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Cursor {
    AfterVm(VmId),
    AfterDisk(DiskId),
    /// The place in the table of connections to go on at.
    FromPeer(u32),
    /// The last looked at of the VMs that are authorized or connected, by its place in their order.
    AfterMember(u64),
    /// The last point shown.
    AfterPoint {
        series: SeriesId,
        timestamp: i64,
    },
}

/// What the server counts. Plain numbers, since its start unless said otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Name and value of each, in the order to show them.
    pub values: Vec<(&'static str, u64)>,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("statistics:")?;
        self.values.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

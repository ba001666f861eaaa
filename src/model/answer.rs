//! What can be answered, whichever dialect says it.

use std::fmt;

use super::command::{BadField, Listing};
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

/// Why something was not done. Each dialect has its own words for these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Not JSON: why not, and where.
    InvalidJson(String),
    /// The memory for requests is full, and this client holds most of it.
    RequestMemoryFull,
    /// JSON, but nothing that can be run: why not.
    NotARequest(String),
    /// A field of the request breaks a rule.
    BadField(BadField),
    /// There is no such command, or not for this client.
    UnknownCommand,
    /// There is no such list.
    UnknownList,
    /// An update that says nothing.
    EmptyUpdate,
    /// Only for those who have authenticated.
    AuthenticationRequired,
    /// Unknown name, wrong password or no password to compare with: never told apart.
    InvalidCredentials,
    /// No such token, or not any more.
    InvalidToken,
    /// A token of another VM than the one authenticated on the connection.
    TokenOfAnotherVm,
    /// The name is taken.
    AlreadyRegistered,
    /// This listener registers nobody.
    RegistrationClosed,
    /// The store holds as many VMs as it may.
    VmLimitReached,
    /// There are as many keys of metrics as there may be; the place of the first point with another, where several
    /// were to be kept all or none.
    KeyLimitReached(Option<usize>),
    /// The VM has no disk of that id.
    UnknownDisk(DiskId),
    /// No number of a VM where there has to be one.
    MissingVmId,
    /// No VM has that number.
    UnknownVm,
    /// Nobody has authorized that VM, or not whoever asks.
    NotAuthorized,
    /// What a VM is to be made of is missing or breaks a rule; not told how.
    InvalidVmShape,
    /// A limit on what waits was reached; nothing was done.
    Busy,
    /// The store did not answer; nothing was done.
    StoreUnavailable,
    /// The store did not say whether it was done.
    OutcomeUnknown,
    /// A fault of ours.
    Internal,
    /// The request has more bytes than it may; the number says how many.
    TooLarge(usize),
    /// The request's last byte did not come in time.
    TimedOut,
    /// The input ended inside a request.
    UnexpectedEnd,
    /// A line of text that is no command.
    UnknownTextCommand,
    /// The same, of one that begins as JSON does.
    JsonLine,
    /// A line of text that puts a point at a time that none may have.
    TimeOutOfRange,
    /// A line of text has more bytes than it may.
    LineTooLong,
    /// A line of text that is none: control characters, or not UTF-8.
    BadText,
}

impl Failure {
    /// What every dialect says of [`Failure::RequestMemoryFull`].
    pub const REQUEST_MEMORY_FULL: &str = "busy: clients have filled the memory that there is for requests";
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

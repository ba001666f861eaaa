//! Commands, independent of the dialect that carries them.

use super::Reader;
use super::command_table::CommandName;
use super::container::ContainerCredentials;
use super::name::VmName;
use super::principal::Login;
use super::secret::{LongText, Secret};
use super::series::{NewPoint, PointFilter};
use super::vm::{DiskChange, VmChange, VmShape};
use super::watch::{Revision, Watch};
use super::web::VmTable;
use crate::ids::{CustomId, VmId};

/// A command with its validated data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Report the client's own address.
    Ping,
    /// Register a VM.
    Register {
        /// Its name.
        name: VmName,
        /// Memory and processors.
        shape: VmShape,
        /// Disk sizes in GiB.
        disk_sizes_gib: Vec<u64>,
        /// Its password.
        password: Secret,
    },
    /// Authenticate as a VM.
    Authenticate {
        /// The VM's name.
        name: VmName,
        /// Its password.
        password: Secret,
    },
    /// Return a list.
    List(List),
    /// Change the VM that sends the request.
    Update(VmChange),
    /// End the VM's login.
    Logout,
    /// Register a VM, for an operator.
    Add {
        /// Its name.
        name: VmName,
        /// Memory and processors.
        shape: VmShape,
        /// Disk sizes in GiB.
        disk_sizes_gib: Vec<u64>,
        /// Its password, if it gets one.
        password: Option<Secret>,
    },
    /// Act on a VM, for an operator.
    OfVm {
        /// The VM.
        name: VmName,
        /// What to do.
        operation: VmOperation,
    },
    /// Return the server's counters.
    Stats,
    /// End a VM that the server runs.
    Stop(VmName),
    /// Register a VM without a password; its name is its id.
    AddVm {
        /// Memory and processors.
        shape: VmShape,
        /// Disk sizes in GiB; at least one.
        disk_sizes_gib: Vec<u64>,
    },
    /// Return a list in the dialect `action`.
    ActionList(List),
    /// Authorize a VM: for all clients if it has no password, otherwise for the client that sends its password.
    AuthorizeVm {
        /// The VM.
        vm: VmId,
        /// The password, if the request has one of valid length.
        password: Option<Secret>,
    },
    /// Authorize a VM and mark it as connected.
    ConnectVm {
        /// The VM.
        vm: VmId,
        /// The password, if the request has one of valid length.
        password: Option<Secret>,
    },
    /// Revoke the authorization and the connected mark of a VM.
    LogoutVm(VmId),
    /// Change an authorized VM.
    UpdateVm {
        /// The VM.
        vm: VmId,
        /// The change. `None` if it is empty or invalid; that is an error only after the VM is found to be
        /// authorized.
        change: Option<VmChange>,
    },
    /// Return the server's status, in the dialect `verb`.
    VerbStat,
    /// Create a container, in the dialect `verb`.
    VerbCreate,
    /// Destroy the container with these credentials, in the dialect `verb`. Without credentials it fails like with
    /// wrong ones.
    VerbDestroy(Option<ContainerCredentials>),
    /// Have a handler of the embedding program answer.
    Custom {
        /// The command or verb.
        id: CustomId,
        /// Its parameters: a JSON object, which may hold a password or a token.
        parameters: LongText,
    },
    /// Convert a text into entities, after a delay.
    Convert {
        /// The text.
        data: Box<str>,
    },
    /// Health check, sent by monitoring over HTTP; belongs to no dialect.
    Health,
    /// Store points.
    Put(Put),
    /// Return the points that match.
    Get(PointFilter),
    /// Tell the client about changes from now on.
    Watch(Watch),
    /// Tell it no more.
    Unwatch,
    /// Return what a browser or monitoring asks for.
    Web {
        /// What.
        query: Query,
        /// Whether one page suffices: the client wants the head only.
        is_head: bool,
    },
}

impl Command {
    /// Number of points or disks in the command.
    pub fn rows(&self) -> usize {
        match self {
            Command::Register { disk_sizes_gib, .. }
            | Command::Add { disk_sizes_gib, .. }
            | Command::AddVm { disk_sizes_gib, .. } => disk_sizes_gib.len(),
            Command::Update(change)
            | Command::UpdateVm { change: Some(change), .. }
            | Command::OfVm { operation: VmOperation::Update(change), .. } => change.rows(),
            Command::Put(put) => put.points.len(),
            _ => 0,
        }
    }

    /// Approximate heap size in bytes of the parts whose length the client controls.
    pub fn held_bytes(&self) -> usize {
        match self {
            Command::Register { disk_sizes_gib, .. }
            | Command::Add { disk_sizes_gib, .. }
            | Command::AddVm { disk_sizes_gib, .. } => size_of_val(disk_sizes_gib.as_slice()),
            Command::Update(change)
            | Command::UpdateVm { change: Some(change), .. }
            | Command::OfVm { operation: VmOperation::Update(change), .. } => match &change.disks {
                Some(DiskChange::Replace(sizes)) => size_of_val(sizes.as_slice()),
                Some(DiskChange::Resize(sizes)) => size_of_val(sizes.as_slice()),
                None => 0,
            },
            Command::Put(put) => put.points.iter().map(NewPoint::held_bytes).sum(),
            Command::Convert { data } => data.len(),
            Command::Custom { parameters, .. } => parameters.as_slice().len(),
            Command::Watch(watch) => watch.filter.held_bytes(),
            _ => 0,
        }
    }
}

/// What an operator does with a VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VmOperation {
    /// Change it.
    Update(VmChange),
    /// Make its connections anonymous, and revoke its tokens.
    LogOut,
    /// Close its connections, and revoke its tokens.
    EndSessions,
    /// Change its password, make its connections anonymous, and revoke its tokens.
    ChangePassword(Secret),
    /// Remove it with its disks and tokens, and log its connections out.
    Remove,
}

/// Which list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum List {
    /// Every open connection.
    ActiveVms,
    /// Every connection that a VM has authenticated on.
    AuthenticatedVms,
    /// Every VM ever registered.
    AllVms,
    /// Every disk.
    AllDisks,
    /// Every authorized VM, in order of authorization.
    AuthorizedVms,
    /// Every connected VM, in order of connection.
    ConnectedVms,
    /// Every VM that has ever been connected.
    EverConnectedVms,
}

/// A query whose answer comes in pages, with the fields that each of its pages needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// The command.
    pub command: CommandName,
    /// What it lists.
    pub query: Query,
    /// Who asks.
    pub caller: Caller,
}

/// What a listing lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// A list.
    List(List),
    /// Points.
    Points(PointFilter),
    /// A part of the table of VMs.
    VmTable(VmTable),
    /// The VMs for a client that watches, as of this revision or later.
    Snapshot(Revision),
    /// The server's own metrics, and the latest points if the server is set so.
    Metrics,
    /// The VMs as targets of Prometheus.
    Targets {
        /// The port of each.
        port: u16,
    },
}

impl Query {
    /// Whether each page of the answer is a message of its own.
    pub fn has_whole_pages(&self) -> bool {
        matches!(self, Query::Snapshot(_))
    }
}

/// The client of one request, as far as it differs from its connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Caller {
    /// The login that the request's token proves for this request only.
    pub login: Option<Login>,
    /// The reader whose token the request has.
    pub reader: Option<Reader>,
    /// The request came through a proxy.
    pub is_forwarded: bool,
}

/// Points to store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// In order: a later point replaces an earlier one of the same key and timestamp.
    pub points: Vec<NewPoint>,
    /// Indexes of the points without a timestamp; they get the time at which the request runs.
    pub undated: Vec<usize>,
    /// Whether all points are stored or none. Otherwise each came in a request of its own: it is stored or refused by
    /// itself, and has a reply.
    pub is_atomic: bool,
}

/// The message about an invalid field: its name, the value and what is allowed. Never contains a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadField(pub String);

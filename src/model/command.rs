//! What can be asked, whichever dialect asks it.

use super::name::VmName;
use super::secret::Secret;
use super::series::{NewPoint, PointFilter};
use super::vm::{DiskChange, VmChange, VmShape};
use crate::ids::VmId;
use std::fmt;

/// A request's command with its data, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Are you there, and who am I to you?
    Ping,
    /// Make a VM known.
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
    /// Prove to be a VM.
    Authenticate {
        /// The VM's name.
        name: VmName,
        /// Its password.
        password: Secret,
    },
    /// Show a list.
    List(List),
    /// Change the VM that asks.
    Update(VmChange),
    /// End the VM's login.
    Logout,
    /// Show the server's counters.
    Stats,
    /// Make a VM known that has no password and whose name is its number.
    AddVm {
        /// Memory and processors.
        shape: VmShape,
        /// Disk sizes in GiB; one at least.
        disk_sizes_gib: Vec<u64>,
    },
    /// Show a list of the dialect `action`.
    ActionList(List),
    /// Make a VM authorized: for everybody, or, where it has a password, for whoever gives that.
    AuthorizeVm {
        /// The VM.
        vm: VmId,
        /// Its password, if the request has one that may be one.
        password: Option<Secret>,
    },
    /// The same, and the VM is connected from now on.
    ConnectVm {
        /// The VM.
        vm: VmId,
        /// Its password, if the request has one that may be one.
        password: Option<Secret>,
    },
    /// End what the two before have begun.
    LogoutVm(VmId),
    /// Change a VM that is authorized.
    UpdateVm {
        /// The VM.
        vm: VmId,
        /// What to change of it. `None`: nothing, or something breaks a rule, which is told only of a VM
        /// that may be changed.
        change: Option<VmChange>,
    },
    /// Make entities of a text, after a while.
    Convert {
        /// The text.
        data: Box<str>,
    },
    /// Is the server well? Asked by what watches over it, in no dialect.
    Health,
    /// Keep points.
    Put(Put),
    /// Tell the points that are meant.
    Get(PointFilter),
}

impl Command {
    /// How many points or disks it names.
    pub fn rows(&self) -> usize {
        match self {
            Command::Register { disk_sizes_gib, .. } | Command::AddVm { disk_sizes_gib, .. } => {
                disk_sizes_gib.len()
            }
            Command::Update(change) | Command::UpdateVm { change: Some(change), .. } => change.rows(),
            Command::Put(put) => put.points.len(),
            _ => 0,
        }
    }
}

/// A [`Command`] without its data: what the right to run it hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum CommandName {
    Ping,
    Register,
    Authenticate,
    List,
    Update,
    Logout,
    Stats,
    AddVm,
    ActionList,
    AuthorizeVm,
    ConnectVm,
    LogoutVm,
    UpdateVm,
    Convert,
    Health,
    Put,
    Get,
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
    /// Every VM, for the dialect `action`: its lists have rules of their own.
    ManagedVms,
    /// Every disk, for the dialect `action`.
    ManagedDisks,
    /// Every VM that is authorized, in the order in which they became so.
    AuthorizedVms,
    /// Every VM that is connected, in the order in which they became so.
    ConnectedVms,
    /// Every VM that was connected at any time.
    EverConnectedVms,
}

impl Command {
    /// Bytes of memory that it takes beside itself, about: of what a client can make long.
    pub fn held_bytes(&self) -> usize {
        let disks = |sizes: &[u64]| size_of_val(sizes);
        let change = |change: &VmChange| match &change.disks {
            Some(DiskChange::Replace(sizes)) => disks(sizes),
            Some(DiskChange::Resize(sizes)) => size_of_val(sizes.as_slice()),
            None => 0,
        };
        match self {
            Command::Register { disk_sizes_gib, .. } | Command::AddVm { disk_sizes_gib, .. } => {
                disks(disk_sizes_gib)
            }
            Command::Update(all) | Command::UpdateVm { change: Some(all), .. } => change(all),
            Command::Put(put) => put.points.iter().map(NewPoint::held_bytes).sum(),
            Command::Convert { data } => data.len(),
            _ => 0,
        }
    }
}

/// What comes in pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listing {
    /// A list.
    List(List),
    /// Points.
    Points(PointFilter),
}

/// Points to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// In the order in which they take each other's place.
    pub points: Vec<NewPoint>,
    /// The places of those that came without a time: theirs is when the request is run.
    pub undated: Vec<usize>,
    /// Whether none is kept unless all are; else each is kept or refused by itself.
    pub is_atomic: bool,
}

/// A field of a request that breaks a rule: the text names the field, what it was and what is
/// allowed, and never holds a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadField(pub String);

impl CommandName {
    /// All of them.
    pub const ALL: [CommandName; 17] = [
        CommandName::Ping,
        CommandName::Register,
        CommandName::Authenticate,
        CommandName::List,
        CommandName::Update,
        CommandName::Logout,
        CommandName::Stats,
        CommandName::AddVm,
        CommandName::ActionList,
        CommandName::AuthorizeVm,
        CommandName::ConnectVm,
        CommandName::LogoutVm,
        CommandName::UpdateVm,
        CommandName::Convert,
        CommandName::Health,
        CommandName::Put,
        CommandName::Get,
    ];

    /// A word for it in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            CommandName::Ping => "ping",
            CommandName::Register => "register",
            CommandName::Authenticate => "authenticate",
            CommandName::List => "list",
            CommandName::Update => "update",
            CommandName::Logout => "logout",
            CommandName::Stats => "stats",
            CommandName::AddVm => "add_vm",
            CommandName::ActionList => "action_list",
            CommandName::AuthorizeVm => "authorize_vm",
            CommandName::ConnectVm => "connect_vm",
            CommandName::LogoutVm => "logout_vm",
            CommandName::UpdateVm => "update_vm",
            CommandName::Convert => "convert",
            CommandName::Health => "health",
            CommandName::Put => "put",
            CommandName::Get => "get",
        }
    }

    /// Whether nothing that follows on the same connection may be looked at before this is done:
    /// what follows may depend on who asks from then on.
    pub fn is_barrier(self) -> bool {
        use CommandName::{AddVm, Authenticate, AuthorizeVm, ConnectVm, Logout, LogoutVm, Register};
        matches!(self, Register | Authenticate | Logout | AddVm | AuthorizeVm | ConnectVm | LogoutVm)
    }

    /// Whether the answer may come in pages.
    pub fn is_paged(self) -> bool {
        matches!(self, CommandName::List | CommandName::ActionList | CommandName::Get)
    }

    /// Whether it never waits for anything, but for what comes with it.
    pub fn is_inline(self) -> bool {
        matches!(self, CommandName::Ping | CommandName::Stats)
    }

    /// Whether a token that came with the request is left unread.
    pub fn ignores_token(self) -> bool {
        matches!(self, CommandName::Ping | CommandName::Register | CommandName::Authenticate)
    }
}

impl List {
    /// The command that shows it.
    pub fn command(self) -> CommandName {
        match self {
            List::ActiveVms | List::AuthenticatedVms | List::AllVms | List::AllDisks => CommandName::List,
            List::ManagedVms
            | List::ManagedDisks
            | List::AuthorizedVms
            | List::ConnectedVms
            | List::EverConnectedVms => CommandName::ActionList,
        }
    }
}

impl Listing {
    /// The command that shows it.
    pub fn command(&self) -> CommandName {
        match self {
            Listing::List(list) => list.command(),
            Listing::Points(_) => CommandName::Get,
        }
    }
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

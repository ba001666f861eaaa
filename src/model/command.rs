//! What can be asked, whichever dialect asks it.

use super::name::VmName;
use super::secret::Secret;
use super::vm::{VmChange, VmShape};
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
    /// Make entities of a text, after a while.
    Convert {
        /// The text.
        data: Box<str>,
    },
    /// Is the server well? Asked by what watches over it, in no dialect.
    Health,
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
    Convert,
    Health,
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
}

/// A field of a request that breaks a rule: the text names the field, what it was and what is
/// allowed, and never holds a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadField(pub String);

impl CommandName {
    /// All of them.
    pub const ALL: [CommandName; 9] = [
        CommandName::Ping,
        CommandName::Register,
        CommandName::Authenticate,
        CommandName::List,
        CommandName::Update,
        CommandName::Logout,
        CommandName::Stats,
        CommandName::Convert,
        CommandName::Health,
    ];

    /// Whether nothing that follows on the same connection may be looked at before this is done:
    /// what follows may depend on who asks from then on.
    pub fn is_barrier(self) -> bool {
        matches!(self, CommandName::Register | CommandName::Authenticate | CommandName::Logout)
    }

    /// Whether the answer may come in pages.
    pub fn is_paged(self) -> bool {
        self == CommandName::List
    }

    /// Whether a token that came with the request is left unread.
    pub fn ignores_token(self) -> bool {
        matches!(self, CommandName::Ping | CommandName::Register | CommandName::Authenticate)
    }
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

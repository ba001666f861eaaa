//! Changes of the registry by other processes, for clients that watch it.

use crate::clock::UnixSeconds;
use crate::ids::{AccessTokenId, VmId};
use crate::model::VmName;

/// How far a reader has read the changes. Only the store that made it can use it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangesPosition {
    /// The number of the last change that was read.
    pub(super) seq: i64,
    /// PostgreSQL: when it was made, by the database's clock.
    pub(super) at: UnixSeconds,
    /// PostgreSQL: the snapshot whose changes are all read.
    pub(super) seen: String,
    /// PostgreSQL: the later snapshot whose changes are read up to `seq`, if there are more.
    pub(super) until: Option<String>,
}

/// Changes by other processes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangesPage {
    /// The changes of VMs; those of one VM are in the order in which they were made.
    pub changes: Vec<StoredChange>,
    /// Access tokens that were disabled or removed.
    pub ended_tokens: Vec<AccessTokenId>,
    /// Where the next page begins.
    pub position: ChangesPosition,
    /// Whether the next page has changes that exist already.
    pub has_more: bool,
    /// Whether changes after the position that was given are lost: the page is empty, and the next has later ones.
    pub has_gap: bool,
}

/// A change of a VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredChange {
    /// What was done.
    pub kind: ChangeKind,
    /// The VM.
    pub vm: VmId,
    /// Its name.
    pub name: VmName,
}

/// What was done with a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// It was added.
    Registered,
    /// Its memory, processors or disks were changed.
    Updated,
    /// It was removed.
    Removed,
    /// Its logins are no longer valid: its password was changed, or its sessions were ended.
    LoginsEnded,
}

impl ChangesPage {
    /// Adds the change of a row; ignores a kind of which this program does not know.
    pub(super) fn add(&mut self, kind: &str, subject: i64, name: Option<&str>) {
        let kind = match kind {
            "registered" => ChangeKind::Registered,
            "updated" => ChangeKind::Updated,
            "removed" => ChangeKind::Removed,
            "logins ended" => ChangeKind::LoginsEnded,
            "token ended" => return self.ended_tokens.push(AccessTokenId(subject)),
            _ => return,
        };
        let name = VmName::from_store(name.unwrap_or_default());
        self.changes.push(StoredChange { kind, vm: VmId(subject), name });
    }
}

/// A random number for a process, which finds its own changes by it.
pub(super) fn random_origin() -> i64 {
    let mut bytes = i64::from(std::process::id()).to_ne_bytes();
    // Without random numbers the process id is the best there is.
    let _ = getrandom::fill(&mut bytes);
    i64::from_ne_bytes(bytes)
}

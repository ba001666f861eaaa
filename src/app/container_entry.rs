//! What is known of one container: its guest, its row in the registry, and who ends it.

use std::collections::BTreeMap;

use ctutils::CtEq;
use sha2::{Digest, Sha256};

use crate::embed::ClientKey;
use crate::ids::{ContainerId, ServerId};
use crate::model::{Failure, TokenHash, VmName};
use crate::store::Write;
use crate::work::Work;

/// The SHA-256 of a container's id. It can't be chosen, so the time of a look-up tells nothing about other ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IdHash([u8; 32]);

pub(super) struct Entry {
    pub(super) id: ContainerId,
    pub(super) token: TokenHash,
    /// The client that asked for the container; `None` if it has survived a restart.
    pub(super) client: Option<ClientKey>,
    pub(super) guest: Guest,
    pub(super) row: Row,
    /// What it was when a client last asked for the end.
    pub(super) row_before: Row,
    pub(super) end: End,
    /// The guest has ended by itself.
    pub(super) has_ended: bool,
}

/// What the hypervisor has of a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Guest {
    Creating,
    /// Created, and neither destroyed nor being destroyed. It may have ended by itself.
    Running,
    Destroying,
    Gone,
}

/// What the store has of a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Row {
    None,
    Adding,
    /// It is there, or may be.
    Present,
    /// It was there before a restart.
    Expected,
    Removing,
}

/// Who ends a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    None,
    /// A client waits for each step.
    Client,
    /// No client waits.
    Server,
}

impl Entry {
    pub(super) fn new(id: ContainerId, token: TokenHash, client: Option<ClientKey>) -> Entry {
        let (guest, row, end) = (Guest::Creating, Row::None, End::None);
        Entry { id, token, client, guest, row, row_before: row, end, has_ended: false }
    }

    /// Begins to end it for a client: its row goes first. `None`: it has ended by itself.
    pub(super) fn begin_end(&mut self, server: Option<ServerId>) -> Result<Option<Work>, Failure> {
        match (self.guest, self.row, self.end) {
            _ if self.has_ended => Ok(None),
            (Guest::Running, Row::None | Row::Present | Row::Expected, End::None) => {
                let server = server.ok_or(Failure::Internal)?;
                self.row_before = self.row;
                (self.row, self.end) = (Row::Removing, End::Client);
                Ok(Some(remove_row(server, self.id)))
            }
            _ => Err(Failure::Busy),
        }
    }
}

/// The work that removes the row of a container.
pub(super) fn remove_row(server: ServerId, id: ContainerId) -> Work {
    Work::Write(Write::RemoveManaged { server, names: vec![name_of(id)] })
}

/// The name of a container's VM.
pub(super) fn name_of(id: ContainerId) -> VmName {
    VmName::from_store(&id.to_string())
}

impl IdHash {
    pub(super) fn of(id: ContainerId) -> IdHash {
        IdHash(Sha256::digest(id.0).into())
    }
}

/// The container `id`, if `token` is its token. Does the same, and calls `is_equal` once, whether or not it exists.
pub(super) fn find<'a>(
    by_id: &'a mut BTreeMap<IdHash, Entry>,
    id: ContainerId,
    token: &TokenHash,
    is_equal: impl FnOnce(&TokenHash, &TokenHash) -> bool,
) -> Option<&'a mut Entry> {
    let entry = by_id.get_mut(&IdHash::of(id));
    let stored = entry.as_ref().map_or(NO_TOKEN, |entry| entry.token);
    let is_equal = is_equal(&stored, token);
    entry.filter(|_| is_equal)
}

/// Compares in a time that does not depend on the hashes.
pub(super) fn is_equal(one: &TokenHash, other: &TokenHash) -> bool {
    one.0.ct_eq(&other.0).into()
}

/// Stands in for the token of a container that does not exist. No known text has this hash.
pub(super) const NO_TOKEN: TokenHash = TokenHash([0; 32]);

//! VMs that were added by `add_vm` and are known by their numbers, and on which lists each must be.
//!
//! The lists are the whole server's, so a client is sure only of what no other client can have undone.

use super::ram_history::{RamHistory, SentBy};
use vmherd::internals::clock::Instant;

/// The lists of the dialect `action`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ActionList {
    AllVms,
    AllDisks,
    Authorized,
    Connected,
    EverConnected,
}

/// A VM that was added.
pub(super) struct ManagedVm {
    pub(super) id: i64,
    /// When a client first learned of it.
    pub(super) since: Instant,
    /// The request that added it.
    added: SentBy,
    pub(super) rams: RamHistory,
    /// A client has requested that it be authorized or connected.
    pub(super) may_be_authorized: bool,
    pub(super) may_be_connected: bool,
    /// A client has requested the end of that.
    may_be_released: bool,
    /// Since when it is known to be.
    authorized_since: Option<Instant>,
    pub(super) connected_since: Option<Instant>,
}

impl ActionList {
    pub(super) const ALL: [ActionList; 5] = [
        ActionList::AllVms,
        ActionList::AllDisks,
        ActionList::Authorized,
        ActionList::Connected,
        ActionList::EverConnected,
    ];

    /// Its names in a request and in a reply.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            ActionList::AllVms => ("list_all_vms", "all_vms"),
            ActionList::AllDisks => ("list_all_disks", "all_disks"),
            ActionList::Authorized => ("list_authorized_vms", "authorized_vms"),
            ActionList::Connected => ("list_connected_vms", "connected_vms"),
            ActionList::EverConnected => ("list_ever_connected", "all_connected_vms"),
        }
    }
}

impl ManagedVm {
    /// A VM of which the client that `added` it learned `now`.
    pub(super) fn new(id: i64, ram: u32, added: SentBy, now: Instant) -> ManagedVm {
        ManagedVm {
            id,
            since: now,
            added,
            rams: RamHistory::new(ram),
            may_be_authorized: false,
            may_be_connected: false,
            may_be_released: false,
            authorized_since: None,
            connected_since: None,
        }
    }

    /// A client has learned that it is authorized.
    pub(super) fn note_authorized(&mut self, now: Instant) {
        if !self.may_be_released {
            self.authorized_since.get_or_insert(now);
        }
    }

    /// A client has requested that it be logged out.
    pub(super) fn note_logout(&mut self) {
        (self.may_be_released, self.authorized_since) = (true, None);
    }

    /// Whether the request `by`, sent at `then`, must find it on `list`; `None` if either is possible.
    pub(super) fn must_be_on(&self, list: ActionList, by: SentBy, then: Instant) -> Option<bool> {
        if list == ActionList::AllVms && self.added.is_before(by) {
            return Some(true);
        }
        let (since, may_be) = match list {
            ActionList::AllVms => (Some(self.since), true),
            ActionList::Authorized => (self.authorized_since, self.may_be_authorized),
            // It is connected as long as it is authorized.
            ActionList::Connected => (self.authorized_since.and(self.connected_since), self.may_be_connected),
            ActionList::EverConnected => (self.connected_since, self.may_be_connected),
            ActionList::AllDisks => return None,
        };
        match since {
            Some(since) if since <= then => Some(true),
            _ => (!may_be).then_some(false),
        }
    }
}

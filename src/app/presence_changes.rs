//! VMs that go online and offline, for clients that watch.

use crate::ids::{ConnId, VmId};
use crate::model::{OfflineReason, VmName, VmPresence};

/// A VM goes online or offline, or one that is online has another login.
#[derive(Clone, PartialEq, Debug)]
pub struct PresenceChange {
    /// The VM.
    pub vm: VmId,
    /// Its name.
    pub name: VmName,
    /// Its connections after the change.
    pub presence: VmPresence,
    /// Why it is offline; `None`: it is online.
    pub offline: Option<OfflineReason>,
    /// It is online, and was before.
    pub was_online: bool,
}

/// The changes that are not taken yet.
#[derive(Default)]
pub(super) struct PresenceChanges {
    pub(super) changes: Vec<PresenceChange>,
    /// VMs whose last login ended as another began on the same connection. What they are depends on its result.
    suspended: Vec<(ConnId, VmId, VmName)>,
}

/// How a login ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LoginEnd {
    /// For this reason.
    For(OfflineReason),
    /// Another login begins on the connection.
    ByLogin,
}

impl PresenceChanges {
    /// Notes that the last login of a VM has ended.
    pub(super) fn ended(
        &mut self,
        conn: ConnId,
        vm: VmId,
        name: VmName,
        presence: VmPresence,
        end: LoginEnd,
    ) {
        match end {
            LoginEnd::For(reason) => {
                let (offline, was_online) = (Some(reason), true);
                self.changes.push(PresenceChange { vm, name, presence, offline, was_online });
            }
            LoginEnd::ByLogin => self.suspended.push((conn, vm, name)),
        }
    }

    /// Whether the last login of `vm` has ended, but not for the clients that watch; from now on it has a login again.
    pub(super) fn resumes(&mut self, vm: VmId) -> bool {
        let before = self.suspended.len();
        self.suspended.retain(|(_, of, _)| *of != vm);
        self.suspended.len() < before
    }

    /// Takes a VM whose last login the one on `conn` has ended.
    pub(super) fn take_suspended(&mut self, conn: ConnId) -> Option<(VmId, VmName)> {
        let index = self.suspended.iter().position(|(of, ..)| *of == conn)?;
        let (_, vm, name) = self.suspended.swap_remove(index);
        Some((vm, name))
    }
}

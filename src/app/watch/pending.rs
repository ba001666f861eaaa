//! The changes that wait until their VMs have been read from the store, and those after them: the order is kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ring::ChangeLog;
use crate::dialect;
use crate::ids::VmId;
use crate::limits;
use crate::model::{Change, Vm, VmChangeKind, VmPresence};

/// A queue of changes, oldest first.
#[derive(Default)]
pub(super) struct Pending {
    queue: VecDeque<Entry>,
    bytes: usize,
    /// How many entries a read is under way for; none of them is taken before it ends.
    under_read: Option<usize>,
}

enum Entry {
    Ready(Change),
    /// Its VM is to be read. `presence`: the VM's connections when it changed.
    Unread {
        kind: VmChangeKind,
        vm: VmId,
        presence: VmPresence,
    },
}

/// More changes wait than may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

impl Pending {
    /// Adds a change; if nothing waits it goes to `log` at once.
    pub(super) fn push(&mut self, change: Change, log: &mut ChangeLog) -> Result<(), Full> {
        if self.queue.is_empty() {
            log.push(change);
            return Ok(());
        }
        self.add(Entry::Ready(change))
    }

    /// Adds a change of a VM that has to be read.
    pub(super) fn push_unread(
        &mut self,
        kind: VmChangeKind,
        vm: VmId,
        presence: VmPresence,
    ) -> Result<(), Full> {
        self.add(Entry::Unread { kind, vm, presence })
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a read is to begin.
    pub(super) fn wants_read(&self) -> bool {
        self.under_read.is_none() && !self.queue.is_empty()
    }

    /// Begins a read, if one is to begin: the VMs of the oldest entries.
    pub(super) fn begin_read(&mut self) -> Option<Vec<VmId>> {
        if !self.wants_read() {
            return None;
        }
        let mut vms = BTreeSet::new();
        let mut count = 0;
        for entry in &self.queue {
            if let Entry::Unread { vm, .. } = entry {
                if vms.len() >= limits::WATCH_READ_VMS_MAX && !vms.contains(vm) {
                    break;
                }
                vms.insert(*vm);
            }
            count += 1;
        }
        self.under_read = Some(count);
        Some(vms.into_iter().collect())
    }

    /// Drops all entries. A read that is under way was for them, and is for none of those that follow.
    pub(super) fn clear(&mut self) {
        *self = Pending { under_read: self.under_read.map(|_| 0), ..Pending::default() };
    }

    /// Ends a read that has failed: it is to begin again.
    pub(super) fn read_failed(&mut self) {
        self.under_read = None;
    }

    /// Ends a read: moves the entries that it was for, and those after them that wait for no other, to `log`. A VM that
    /// was removed meanwhile has no entry there: its removal follows.
    pub(super) fn end_read(&mut self, vms: Vec<Vm>, log: &mut ChangeLog) {
        let vms: BTreeMap<VmId, Vm> = vms.into_iter().map(|vm| (vm.id, vm)).collect();
        let mut left = self.under_read.take().unwrap_or(0);
        while let Some(entry) = self.queue.front() {
            let is_ready = matches!(entry, Entry::Ready(_));
            if left == 0 && !is_ready {
                return;
            }
            left = left.saturating_sub(1);
            let Some(entry) = self.queue.pop_front() else { return };
            self.bytes -= entry.held_bytes();
            match entry {
                Entry::Ready(change) => log.push(change),
                Entry::Unread { kind, vm, mut presence } => {
                    let Some(vm) = vms.get(&vm) else { continue };
                    presence.last_seen = presence.last_seen.max(vm.last_seen);
                    log.push(dialect::vm_changed(kind, vm, &presence));
                }
            }
        }
    }

    fn add(&mut self, entry: Entry) -> Result<(), Full> {
        let bytes = self.bytes + entry.held_bytes();
        if self.queue.len() >= limits::WATCH_PENDING_MAX || bytes > limits::WATCH_CHANGES_BYTES_MAX {
            return Err(Full);
        }
        self.bytes = bytes;
        self.queue.push_back(entry);
        Ok(())
    }
}

impl Entry {
    fn held_bytes(&self) -> usize {
        match self {
            Entry::Ready(change) => size_of::<Entry>() + change.held_bytes(),
            Entry::Unread { presence, .. } => size_of::<Entry>() + size_of_val(&presence.peers[..]),
        }
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;

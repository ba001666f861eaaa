//! When VMs were last seen and from where, until the store has it. Owned by the reactor's thread.
//!
//! A VM has an entry from the first time that it is seen until a minute after its last write. An entry is written when
//! it is due: a minute after the first time or the last write, or when the VM's last session ends. At most one write is
//! under way, and the entries that become due meanwhile share the next.

use std::collections::{BTreeSet, HashMap, hash_map};

use crate::clock::{Instant, UnixSeconds};
use crate::ids::VmId;
use crate::limits;
use crate::model::SeenVm;

/// The VMs that were seen.
#[derive(Default)]
pub struct LastSeen {
    entries: HashMap<VmId, Entry>,
    /// The entries that are not under way, by when they are due.
    due: BTreeSet<(Instant, VmId)>,
    under_way: Vec<SeenVm>,
    /// No write begins before.
    next: Instant,
    /// All entries are due, at once.
    is_stopping: bool,
}

struct Entry {
    seen: SeenVm,
    /// The last that was written.
    written: Option<SeenVm>,
    /// Its key in `due`; `None` while it is under way.
    due: Option<Instant>,
}

impl LastSeen {
    /// Notes that a VM was seen. It is to be written by `due` at the latest.
    pub fn note(&mut self, seen: SeenVm, due: Instant) {
        let vm = seen.vm;
        let is_full = self.entries.len() >= limits::SEEN_VMS_MAX;
        let entry = match self.entries.entry(vm) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(_) if is_full => return,
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Entry { seen, written: None, due: Some(due) });
                self.due.insert((due, vm));
                return;
            }
        };
        entry.seen.at = entry.seen.at.max(seen.at);
        entry.seen.address = seen.address.or(entry.seen.address);
        if let Some(before) = entry.due.filter(|before| *before > due) {
            entry.due = Some(due);
            self.due.remove(&(before, vm));
            self.due.insert((due, vm));
        }
    }

    /// Notes that the last session of `vm` ended at `at`, which is to be written at once.
    pub fn note_end(&mut self, vm: VmId, at: UnixSeconds, now: Instant) {
        self.note(SeenVm { vm, at, address: None }, now);
        if self.entries.get(&vm).is_some_and(|entry| entry.due.is_none()) {
            self.schedule(vm, now);
        }
    }

    /// When `vm` was last seen and from where, if it was in the last minute.
    pub fn of(&self, vm: VmId) -> Option<SeenVm> {
        self.entries.get(&vm).map(|entry| entry.seen)
    }

    /// When the next write begins; `None` if nothing waits, or one is under way.
    pub fn next_write(&self) -> Option<Instant> {
        let (due, _) = self.due.first().filter(|_| self.under_way.is_empty())?;
        Some(if self.is_stopping { Instant::ORIGIN } else { (*due).max(self.next) })
    }

    /// Begins a write: the entries that are due, at most [`limits::SEEN_BATCH_MAX`].
    pub fn take_batch(&mut self, now: Instant) -> Option<Vec<SeenVm>> {
        self.next_write().filter(|next| *next <= now)?;
        self.next = now;
        for _ in 0..limits::SEEN_BATCH_MAX {
            let Some(&(due, vm)) = self.due.first().filter(|(due, _)| self.is_stopping || *due <= now) else {
                self.next = now + limits::SEEN_PAUSE;
                break;
            };
            self.due.remove(&(due, vm));
            let Some(entry) = self.entries.get_mut(&vm) else { continue };
            entry.due = None;
            if entry.written == Some(entry.seen) {
                self.entries.remove(&vm);
            } else {
                self.under_way.push(entry.seen);
            }
        }
        (!self.under_way.is_empty()).then(|| self.under_way.clone())
    }

    /// The write has succeeded. Its entries stay for a minute: a list that was read before it does not have them.
    pub fn written(&mut self, now: Instant) {
        for seen in std::mem::take(&mut self.under_way) {
            let Some(entry) = self.entries.get_mut(&seen.vm) else { continue };
            entry.written = Some(seen);
            if entry.due.is_none() {
                self.schedule(seen.vm, now + limits::SEEN_INTERVAL);
            }
        }
    }

    /// The write has failed, and is tried again later; returns how many VMs it had. During a stop none is.
    pub fn failed(&mut self, now: Instant) -> usize {
        let failed = std::mem::take(&mut self.under_way);
        if self.is_stopping {
            self.give_up();
        }
        self.next = now + limits::SEEN_RETRY;
        for &SeenVm { vm, .. } in &failed {
            if self.entries.get(&vm).is_some_and(|entry| entry.due.is_none()) {
                self.schedule(vm, self.next);
            }
        }
        failed.len()
    }

    /// Has all entries written at once, and those of sessions that end from now on.
    pub fn begin_stop(&mut self) {
        self.is_stopping = true;
    }

    /// Forgets the entries that are not written.
    pub fn give_up(&mut self) {
        *self = LastSeen { is_stopping: self.is_stopping, ..LastSeen::default() };
    }

    /// Whether all is written.
    pub fn is_settled(&self) -> bool {
        self.due.is_empty() && self.under_way.is_empty()
    }

    fn schedule(&mut self, vm: VmId, due: Instant) {
        if let Some(entry) = self.entries.get_mut(&vm) {
            entry.due = Some(due);
            self.due.insert((due, vm));
        }
    }
}

#[cfg(test)]
#[path = "last_seen_tests.rs"]
mod tests;

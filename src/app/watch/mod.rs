//! Live changes: what changes in the registry is recorded, and told to the clients that watch. Owned by the reactor's
//! thread.
//!
//! A change of a VM waits until the VM has been read from the store, and those after it wait for it. Then it has a number
//! and is in the log, from which each client takes those that it wants at its own pace. A client whose next change is not
//! kept any more lists again. Nothing is recorded, and nothing allocated, before the first client watches, and from some
//! minutes after the last one.

mod others;
mod pending;
mod prefixes;
mod ring;
mod watchers;

use std::io;
use std::sync::Arc;

use super::presence::PresenceChange;
use super::token::Random;
use crate::clock::Instant;
use crate::dialect;
use crate::ids::{ConnId, VmId};
use crate::limits;
use crate::model::{
    Change, Failure, NewPoint, Principal, Revision, Vm, VmChangeKind, VmName, VmPresence, Watch, WatchFilter,
};
use crate::store::ChangesPosition;

use others::Others;
use pending::Pending;
use prefixes::Prefixes;
use ring::ChangeLog;
pub use watchers::{Due, Watching};
use watchers::{Watcher, Watchers};

/// The recorded changes and the clients that watch.
#[derive(Default)]
pub struct Watches {
    live: Option<Box<Live>>,
    /// `None` before the first client watches.
    epoch: Option<u64>,
    /// The number of the last change that clients get; while none are recorded, one that no client has seen.
    last: u64,
    counters: WatchCounters,
}

/// What there is only while changes are recorded.
struct Live {
    log: ChangeLog,
    pending: Pending,
    prefixes: Prefixes,
    watchers: Watchers,
    others: Others,
    /// When the last client ended; `None` while any watches.
    unwatched_since: Option<Instant>,
    /// The next read of the store begins then at the earliest.
    next_read: Instant,
}

/// Counters since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WatchCounters {
    /// Changes recorded.
    pub changes: u64,
    /// Changes sent, to any client.
    pub sent: u64,
    /// Watches that ended since their client was too far behind.
    pub too_far_behind: u64,
}

/// A change that a write makes, when it succeeds.
#[derive(Clone, Debug)]
pub enum Noted {
    /// It adds a VM.
    Registered,
    /// It changes this VM.
    Updated(VmId),
    /// It removes these VMs.
    Removed(Arc<[VmName]>),
    /// It stores points, which this VM puts, if one does.
    Points(Option<VmName>, Arc<Vec<NewPoint>>),
}

impl Watches {
    /// Whether changes are recorded.
    pub fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Counters since the start, and the number of clients that watch.
    pub fn counters(&self) -> (WatchCounters, usize) {
        (self.counters, self.live.as_ref().map_or(0, |live| live.watchers.count()))
    }

    /// Records changes from now on. All changes by other processes up to `position` are known to clients that begin later.
    pub fn go_live(&mut self, position: ChangesPosition, now: Instant) {
        let last = self.last;
        self.live.get_or_insert_with(|| Box::new(Live::after(last, position, now)));
    }

    /// Begins the watch of a client, instead of the one that it has; returns the revision from which on it gets changes. It
    /// gets a snapshot first, unless it resumes. Fails unless changes are recorded.
    pub fn begin(
        &mut self,
        conn: ConnId,
        watch: Watch,
        client: Watching,
        random: &mut dyn Random,
        now: Instant,
    ) -> Result<Revision, Failure> {
        let Watch { from, filter } = watch;
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => *self.epoch.insert(random_epoch(random).map_err(|error| {
                log::error!("getting random bytes for revisions failed: {error}");
                Failure::Internal
            })?),
        };
        let is_there =
            |from: Revision| from.epoch == epoch && self.is_recorded_after(conn, from.number, &filter);
        if !from.is_none_or(is_there) {
            return Err(Failure::TooFarBehind);
        }
        let live = self.live.as_mut().ok_or(Failure::TooFarBehind)?;
        let last = live.log.last();
        let added = live.prefixes.add(filter.prefixes(), last);
        added.map_err(|prefixes::Full| Failure::Busy)?;
        let number = from.map_or(last, |from| from.number);
        let before = live.watchers.begin(conn, filter, client, number, from.is_none());
        live.forget(before, now);
        live.unwatched_since = None;
        Ok(Revision { epoch, number })
    }

    /// Notes that a client has its snapshot.
    pub fn snapshot_sent(&mut self, conn: ConnId) {
        if let Some(live) = &mut self.live {
            live.watchers.activate(conn);
        }
    }

    /// Ends the watch of a client that waits for its snapshot.
    pub fn snapshot_failed(&mut self, conn: ConnId, now: Instant) {
        if self.live.as_ref().is_some_and(|live| live.watchers.awaits_snapshot(conn)) {
            self.end(conn, now);
        }
    }

    /// Ends the watch of a client, if it has one.
    pub fn end(&mut self, conn: ConnId, now: Instant) {
        if let Some(live) = &mut self.live {
            let ended = live.watchers.remove(conn);
            live.forget(ended, now);
        }
    }

    /// Ends the watch of a client with an error.
    pub fn end_with(&mut self, conn: ConnId, failure: Failure) {
        if let Some(live) = &mut self.live {
            live.watchers.end(conn, failure);
        }
    }

    /// Ends the watches of the clients for which `is_theirs` holds, since they may no longer watch.
    pub fn end_of(&mut self, is_theirs: impl Fn(&Watching) -> bool) {
        if let Some(live) = &mut self.live {
            live.watchers.end_of(is_theirs);
        }
    }

    /// Bytes that the watch of a connection holds.
    pub fn held_bytes(&self, conn: ConnId) -> usize {
        let watcher = self.live.as_ref().and_then(|live| live.watchers.get(conn));
        watcher.map_or(0, |watcher| size_of::<Watcher>() + watcher.filter.held_bytes())
    }

    /// Who watches on a connection.
    pub fn client(&self, conn: ConnId) -> Option<&Watching> {
        let watcher = self.live.as_ref()?.watchers.get(conn)?;
        Some(&watcher.client)
    }

    /// Replaces the identity of a client.
    pub fn set_principal(&mut self, conn: ConnId, principal: Principal) {
        if let Some(live) = &mut self.live {
            live.watchers.set_principal(conn, principal);
        }
    }

    /// Records that a VM was added or changed, and has these connections.
    pub fn note_vm(&mut self, kind: VmChangeKind, vm: VmId, presence: VmPresence) {
        self.record(|live| live.pending.push_unread(kind, vm, presence));
    }

    /// Records that a VM was removed; `vm`: its id, if another process has done so.
    pub fn note_removed(&mut self, name: &VmName, vm: Option<VmId>) {
        self.record(|live| live.pending.push(dialect::vm_removed(name, vm), &mut live.log));
    }

    /// Records that VMs went online or offline.
    pub fn note_presence(&mut self, changes: Vec<PresenceChange>) {
        for change in changes {
            self.record(|live| live.pending.push(change.into(), &mut live.log));
        }
    }

    /// Records points that `vm` has put, without those `refused`, as far as clients watch their keys.
    pub fn note_points(&mut self, vm: Option<&VmName>, points: &[NewPoint], refused: &[usize]) {
        self.record(|live| {
            let is_recorded = |(index, new): &(usize, &NewPoint)| {
                refused.binary_search(index).is_err() && live.prefixes.covers(new.key.as_str())
            };
            let points = points.iter().enumerate().filter(is_recorded).map(|(_, new)| new.clone());
            let points: Box<[NewPoint]> = points.collect();
            match points.is_empty() {
                true => Ok(()),
                false => live.pending.push(dialect::points_put(vm, points), &mut live.log),
            }
        });
    }

    /// Notes that a change may have been lost: all clients list again.
    pub fn note_unknown(&mut self) {
        self.record(|_| Err(pending::Full));
    }

    /// Begins a read of the VMs that have changed, if one is due.
    pub fn begin_read(&mut self, now: Instant) -> Option<Vec<VmId>> {
        let live = self.live.as_mut().filter(|live| live.next_read <= now)?;
        live.pending.begin_read()
    }

    /// Ends that read.
    pub fn end_read(&mut self, vms: Vec<Vm>) {
        if let Some(live) = &mut self.live {
            live.pending.end_read(vms, &mut live.log);
        }
    }

    /// Begins a read of the changes by other processes, if one is due.
    pub fn begin_read_of_others(&mut self, now: Instant) -> Option<ChangesPosition> {
        self.live.as_mut()?.others.begin_read(now)
    }

    /// Ends that read: the changes up to `position` are recorded. `has_more`: the next begins at once.
    pub fn end_read_of_others(&mut self, position: ChangesPosition, has_more: bool, now: Instant) {
        if let Some(live) = &mut self.live {
            live.others.end_read(position, has_more, now);
        }
    }

    /// Notes that it has failed.
    pub fn read_of_others_failed(&mut self, now: Instant) {
        if let Some(live) = &mut self.live {
            live.others.read_failed(now);
        }
    }

    /// Notes that the read of changed VMs has failed, and is tried again after a pause.
    pub fn read_failed(&mut self, now: Instant) {
        if let Some(live) = &mut self.live {
            live.pending.read_failed();
            live.next_read = now + limits::WATCH_RETRY;
        }
    }

    /// Records nothing more if no client has watched for [`limits::WATCH_RESUME_TIME`]; forgets prefixes.
    pub fn expire(&mut self, now: Instant) {
        let Some(live) = &mut self.live else { return };
        live.prefixes.sweep(now);
        if live.unwatched_since.is_some_and(|since| since + limits::WATCH_RESUME_TIME <= now) {
            self.last = live.log.last() + 1;
            self.live = None;
        }
    }

    /// Has the clients get the changes since the last call.
    pub fn publish(&mut self) {
        let Some(live) = &mut self.live else { return };
        let last = live.log.last();
        self.counters.changes += last - self.last;
        self.last = last;
        live.watchers.note_changes(last);
    }

    /// Whether [`Watches::publish`] has any.
    pub fn has_unpublished(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.log.last() != live.watchers.noted())
    }

    /// When something is to be done that no event causes.
    pub fn next_timer(&self) -> Option<Instant> {
        let live = self.live.as_ref()?;
        let read = Some(live.next_read).filter(|_| live.pending.wants_read());
        let end = live.unwatched_since.map(|since| since + limits::WATCH_RESUME_TIME);
        let others = live.others.next_read();
        read.into_iter().chain(end).chain(live.prefixes.next_sweep()).chain(others).min()
    }

    /// Notes that a client may take more.
    pub fn touch(&mut self, conn: ConnId) {
        if let Some(live) = &mut self.live {
            live.watchers.touch(conn);
        }
    }

    /// Whether [`Watches::next_due`] has a client.
    pub fn has_due(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.watchers.has_due())
    }

    /// Takes the client whose turn it is.
    pub fn next_due(&mut self) -> Option<ConnId> {
        self.live.as_mut()?.watchers.next_due()
    }

    /// Takes what a client gets next; `None`: nothing for now. `searches_left`: how many changes and points may still be
    /// compared with what clients want in this tick.
    pub fn take(&mut self, conn: ConnId, searches_left: &mut usize) -> Option<Due<'_>> {
        let (live, epoch) = (self.live.as_mut()?, self.epoch?);
        let due = live.watchers.take(conn, &live.log, epoch, searches_left)?;
        match &due {
            Due::Change(..) => self.counters.sent += 1,
            Due::End(Failure::TooFarBehind) => self.counters.too_far_behind += 1,
            Due::End(_) | Due::Later => {}
        }
        Some(due)
    }

    /// Whether a client has all changes, and none waits.
    pub fn has_all(&self, conn: ConnId) -> bool {
        self.live
            .as_ref()
            .is_none_or(|live| live.pending.is_empty() && live.watchers.has_all(conn, live.log.last()))
    }

    /// Whether all changes after `number` that `filter` wants are there, or will be. A client that watches already gets
    /// the points of prefixes that it adds from now on.
    fn is_recorded_after(&self, conn: ConnId, number: u64, filter: &WatchFilter) -> bool {
        let Some(live) = &self.live else { return false };
        let before = live.watchers.get(conn).map(|watcher| watcher.filter.prefixes());
        let is_recorded = |prefix: &str| {
            before.is_some_and(|before| before.binary_search_by(|known| (**known).cmp(prefix)).is_err())
                || live.prefixes.recorded_since(prefix).is_some_and(|since| since <= number)
        };
        live.log.is_complete_after(number) && filter.prefixes().iter().all(|prefix| is_recorded(prefix))
    }

    fn record(&mut self, add: impl FnOnce(&mut Live) -> Result<(), pending::Full>) {
        let Some(live) = &mut self.live else { return };
        if add(live).is_err() {
            if live.watchers.count() > 0 && !(live.log.is_empty() && live.pending.is_empty()) {
                log::warn!("changes for clients that watch were dropped: these clients list again");
            }
            // No client has seen this number.
            self.last = live.log.last() + 1;
            live.log = ChangeLog::after(self.last);
            live.pending.clear();
        }
    }
}

impl Live {
    fn after(last: u64, position: ChangesPosition, now: Instant) -> Live {
        Live {
            log: ChangeLog::after(last),
            pending: Pending::default(),
            prefixes: Prefixes::default(),
            watchers: Watchers::default(),
            others: Others::after(position, now),
            unwatched_since: Some(now),
            next_read: now,
        }
    }

    /// Releases what a client has held that watches no more.
    fn forget(&mut self, watcher: Option<Watcher>, now: Instant) {
        if let Some(watcher) = watcher {
            self.prefixes.remove(watcher.filter.prefixes(), now);
            self.unwatched_since = Some(now).filter(|_| self.watchers.count() == 0);
        }
    }
}

impl From<PresenceChange> for Change {
    fn from(change: PresenceChange) -> Change {
        let PresenceChange { vm, name, presence, offline, was_online } = change;
        match offline {
            Some(reason) => dialect::vm_offline(vm, &name, &presence, reason),
            None => dialect::vm_online(vm, &name, &presence, was_online),
        }
    }
}

fn random_epoch(random: &mut dyn Random) -> io::Result<u64> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

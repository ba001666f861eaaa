//! Live changes: reads the VMs that have changed, in jobs that belong to no request, and writes changes to the clients
//! that watch.

use super::in_flight::{InternalJob, Owner};
use super::timers::Timer;
use super::{Client, Dispatcher, Now};
use crate::app::watch::Due;
use crate::clock::Instant;
use crate::ids::ConnId;
use crate::limits;
use crate::work::{Read, Work, WorkError, WorkResult};
use crate::worker::{Abandoned, JobKey, Jobs};

/// What is left to write to a client that watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// Nothing, or a reply is to be written first.
    Nothing,
    /// There may be more, for which the client's output has no room.
    Some,
    /// There may be more, for the next tick.
    Later,
}

/// What may still be done for clients that watch in this tick.
pub(crate) struct Share {
    /// Bytes to write.
    pub(crate) bytes: usize,
    /// Changes and points to compare with what clients want.
    pub(crate) searches: usize,
}

impl<J: Jobs> Dispatcher<J> {
    /// Passes the changes of this tick on, begins the next read if one is due, and arms the timer of the one after.
    pub(crate) fn publish_changes(&mut self, now: Now) {
        if !self.app.watches().is_live() {
            return;
        }
        self.app.publish_changes(now.instant);
        if self.is_stopping && !self.has_watchers() {
            return self.abandon_watch_reads();
        }
        if let Some(ids) = self.app.watches_mut().begin_read(now.instant) {
            self.submit_internal(Work::Read(Read::Vms { ids }), InternalJob::ReadChanged, now.instant);
        }
        if let Some(after) = self.app.watches_mut().begin_read_of_others(now.instant) {
            let work = Work::Read(Read::Changes { after: Some(after) });
            self.submit_internal(work, InternalJob::ReadOthers, now.instant);
        }
        // A timer of the past has fired, and is armed again if more is to do at once.
        self.watch_armed = self.watch_armed.filter(|at| *at > now.instant);
        let next = self.app.watches().next_timer();
        if next != self.watch_armed {
            self.watch_armed.into_iter().for_each(|at| self.timers.disarm(at, Timer::Watch));
            next.into_iter().for_each(|at| self.timers.arm(at, Timer::Watch));
            self.watch_armed = next;
        }
    }

    /// Abandons the reads for clients that watch.
    pub(super) fn abandon_watch_reads(&mut self) {
        self.abandon_internal(|job| matches!(job, InternalJob::ReadChanged));
        self.abandon_internal(|job| matches!(job, InternalJob::ReadOthers));
    }

    /// Whether a client that watches may have something to get, or changes are not passed on yet.
    pub(crate) fn has_changes(&self) -> bool {
        let watches = self.app.watches();
        watches.is_live() && (watches.has_due() || self.app.has_changes())
    }

    /// Whether any client watches.
    pub(crate) fn has_watchers(&self) -> bool {
        self.app.watches().counters().1 > 0
    }

    /// Notes that a client that watches may take more, or may have another identity.
    pub(crate) fn touch_watch(&mut self, conn: ConnId) {
        self.app.watches_mut().touch(conn);
    }

    /// Takes the client whose turn it is to get changes.
    pub(crate) fn next_watch(&mut self) -> Option<ConnId> {
        let conn = self.app.watches_mut().next_due()?;
        self.app.check_watch(conn);
        Some(conn)
    }

    /// Writes the changes that a client is due, as far as its output and `share` allow.
    pub(crate) fn write_changes(&mut self, share: &mut Share, client: &mut Client<'_>) -> Left {
        let before = client.output.len();
        let left = self.write_changes_up_to(before + share.bytes, &mut share.searches, client);
        share.bytes = share.bytes.saturating_sub(client.output.len().saturating_sub(before));
        left
    }

    fn write_changes_up_to(
        &mut self,
        bytes_max: usize,
        searches_left: &mut usize,
        client: &mut Client<'_>,
    ) -> Left {
        loop {
            if !client.session.may_write_change() {
                return Left::Nothing;
            }
            if client.output.len() >= bytes_max.min(limits::WATCH_OUTPUT_BYTES) {
                return Left::Some;
            }
            match self.app.watches_mut().take(client.conn, searches_left) {
                None => return Left::Nothing,
                Some(Due::Later) => return Left::Later,
                Some(Due::Change(revision, change, filter)) => {
                    client.session.write_change(revision, change, filter, client.output);
                }
                Some(Due::End(failure)) => {
                    client.session.fail_watch(failure, client.output, &self.date);
                    self.app.watches_mut().end(client.conn, client.now.instant);
                }
            }
        }
    }

    /// Whether a client that watches has got all changes, and none waits.
    pub(crate) fn has_all_changes(&self, conn: ConnId) -> bool {
        !self.app.has_changes() && self.app.watches().has_all(conn)
    }

    pub(super) fn changed_read_failed(&mut self, error: &WorkError, now: Instant) {
        self.app.watches_mut().read_failed(now);
        let unix = self.app.presence().now();
        if let Some(suppressed) = self.watch_log_limiter.allow(limits::ERROR_LOG_INTERVAL_S, unix) {
            let error = match error {
                WorkError::Store(error) => error.to_string(),
                _ => "too many reads wait".to_owned(),
            };
            log::warn!(
                "clients that watch do not get changes yet; {suppressed} reads failed before: {error}"
            );
        }
    }

    /// Keeps the change that an abandoned write makes, if it runs: its result is still to come.
    pub(super) fn note_abandoned(&mut self, key: JobKey, owner: &Owner, abandoned: Abandoned) {
        let (Owner::App { stage, .. }, Abandoned::Running(_)) = (owner, abandoned) else { return };
        // A container has steps of its own, which are noted.
        if stage.info().container().is_some() {
            return;
        }
        let Some(noted) = stage.info().noted() else { return };
        if self.late_writes.len() >= limits::WATCH_LATE_WRITES_MAX {
            self.late_writes.clear();
            return self.app.watches_mut().note_unknown();
        }
        self.late_writes.insert(key, noted);
    }

    /// Records the change of a write whose result no client waits for. `owner`: of its job, if that was still in flight.
    pub(super) fn note_late(
        &mut self,
        key: JobKey,
        owner: Option<&Owner>,
        result: &Result<WorkResult, WorkError>,
    ) {
        let noted = match owner {
            Some(Owner::App { stage, .. }) if self.app.watches().is_live() => {
                stage.info().noted().filter(|_| stage.info().container().is_none())
            }
            _ => self.late_writes.remove(&key),
        };
        if let Some(noted) = noted {
            self.app.note_result(noted, result);
        }
    }
}

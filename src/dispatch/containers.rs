//! Containers: their events, and the end of those that no client waits for.
//!
//! A container that is created when its client has left, or has an answer already, is ended by jobs that belong to no
//! request and no connection. So is one whose answer is not sent when the connection ends, one that has ended by itself,
//! and one whose client leaves while it is destroyed. At the start, such jobs compare the containers with the registry.

use super::in_flight::{InFlight, InternalJob, Origin, Owner};
use super::timers::Timer;
use super::{Dispatcher, Now};
use crate::app::containers::{EndNews, Outcome, Step};
use crate::clock::Instant;
use crate::embed::{ClientKey, ContainerChange, ContainerReport, EventDetail, EventKind, QueuedEvent};
use crate::escape::Escaped;
use crate::ids::{ConnId, ContainerId, RequestKey, RequestSeq};
use crate::limits;
use crate::store::Write;
use crate::work::{Read, Work, WorkError, WorkResult};
use crate::worker::{Abandoned, JobKey, Jobs, Priority};

impl<J: Jobs> Dispatcher<J> {
    /// Notes the answer to the creation of a container. If it `is_written`, it may still be unsent.
    pub(super) fn container_answered(&mut self, conn: ConnId, id: ContainerId, is_written: bool) {
        match is_written {
            true => drop(self.unsent.insert((conn, id))),
            false => self.undo(id),
        }
    }

    /// Ends the containers whose clients did not get the whole answer before their connection ended.
    pub(super) fn undo_unsent(&mut self, conn: ConnId) {
        while let Some(id) = self.pop_unsent(conn) {
            self.undo(id);
        }
    }

    /// Whether [`Dispatcher::advance_containers`] has work.
    pub(crate) fn has_due_containers(&self) -> bool {
        self.app.containers().has_due()
    }

    /// Notes the containers that have ended by themselves, and submits the next step of each that the server ends.
    pub(crate) fn advance_containers(&mut self, now: Now) {
        for (id, reason) in self.app.containers().take_ends() {
            match self.app.containers_mut().ended(id) {
                EndNews::Ended(client) => {
                    log::info!("the container {id} has ended: {}", Escaped(&reason));
                    self.emit_of_container(EventKind::DestroyedContainer, client, id);
                }
                EndNews::TooEarly => self.app.containers().keep_end(id, reason),
                EndNews::Old => {}
            }
        }
        let (due, paused) = self.app.containers_mut().take_due();
        for id in due {
            self.advance(id, now.instant);
        }
        for id in paused {
            self.timers.arm(now.instant + limits::DESTROY_RETRY, Timer::Container(id));
        }
    }

    /// Goes on with the end of a container after a pause.
    pub(crate) fn retry_container(&mut self, id: ContainerId, now: Now) {
        self.advance(id, now.instant);
    }

    /// Reads the rows of this server's containers, to compare them.
    pub(crate) fn reconcile(&mut self, now: Now) {
        if let Some(server) = self.app.containers().server() {
            let work = Work::Read(Read::ManagedVms { server });
            self.submit_internal(work, InternalJob::ReadRows(server), now.instant);
        }
    }

    /// Handles the deadline of a job that belongs to no connection.
    pub(crate) fn expire_internal(&mut self, key: JobKey, now: Now) {
        let Some(in_flight) = self.release(key) else { return };
        let InFlight { lane, owner: Owner::Internal(job), state, .. } = *in_flight else { return };
        self.counters.jobs_given_up += 1;
        let is_running = match state.abandon() {
            Abandoned::Queued => false,
            Abandoned::Running(run) => {
                self.jobs.replace_worker(lane, run);
                true
            }
        };
        // The result of a destruction is still to come; a row may be removed twice.
        if !(is_running && matches!(job, InternalJob::Step(_, Step::Destroy))) {
            self.internal_failed(job, &WorkError::NoRoom, now.instant);
        }
    }

    /// Notes that a job of `owner` was abandoned: before it ran, or while it runs as the job of `key`.
    pub(super) fn abandoned(&mut self, key: JobKey, owner: &Owner, abandoned: Abandoned) {
        self.note_abandoned(key, owner, abandoned);
        let Owner::App { stage, .. } = owner else { return };
        let Some((id, step)) = stage.info().container() else { return };
        match abandoned {
            Abandoned::Queued => self.app.containers_mut().settle(id, step, Outcome::NotDone),
            Abandoned::Running(_) => {
                if step == Step::AddRow {
                    self.adding.insert(key, id);
                }
                self.app.containers_mut().abandon(id, step);
            }
        }
    }

    /// Applies a result that no client waits for. `owner`: of the job, if it was still in flight.
    pub(super) fn settle_container(
        &mut self,
        key: JobKey,
        result: Result<WorkResult, WorkError>,
        owner: Option<Owner>,
        now: Now,
    ) {
        if let Some(id) = self.adding.remove(&key) {
            return self.settle_step(id, Step::AddRow, &result);
        }
        match (result, owner) {
            (Ok(WorkResult::Container(report)), _) => {
                self.app.containers_mut().apply(&report);
                if let ContainerChange::Created(Ok(_)) = report.change {
                    self.undo(report.id);
                }
            }
            (Ok(WorkResult::ManagedVms(names)), Some(Owner::Internal(InternalJob::ReadRows(server)))) => {
                let is_all = names.len() < limits::MANAGED_VMS_READ_MAX;
                let names = self.app.containers_mut().reconcile(names, is_all);
                if !names.is_empty() {
                    log::info!("removing {} VMs from the registry whose containers do not run", names.len());
                    let job = InternalJob::RemoveRows { names: names.as_slice().into(), is_all };
                    let work = Work::Write(Write::RemoveManaged { server, names });
                    self.submit_internal(work, job, now.instant);
                }
            }
            (Ok(_), Some(Owner::Internal(InternalJob::RemoveRows { names, is_all }))) => {
                self.app.note_removed(&names);
                if !is_all {
                    self.reconcile(now);
                }
            }
            (Ok(WorkResult::Vms(vms)), Some(Owner::Internal(InternalJob::ReadChanged))) => {
                self.app.watches_mut().end_read(vms);
            }
            (Ok(WorkResult::Changes(page)), Some(Owner::Internal(InternalJob::ReadOthers))) => {
                self.app.note_others(*page);
                self.collect_ended();
            }
            (Ok(_), Some(Owner::Internal(InternalJob::WriteSeen))) => self.seen_written(now),
            (Err(error), Some(Owner::Internal(job))) => self.internal_failed(job, &error, now.instant),
            (result, Some(Owner::Internal(InternalJob::Step(id, step)))) => {
                self.settle_step(id, step, &result);
            }
            (result, Some(Owner::App { stage, .. })) => {
                if let Some((id, step)) = stage.info().container() {
                    self.settle_step(id, step, &result);
                }
            }
            _ => {}
        }
    }

    /// Reports what has happened to a container. Events precede the answer.
    pub(super) fn emit_container(&mut self, report: &ContainerReport) {
        let kind = match report.change {
            ContainerChange::ShellOpened => EventKind::CreatedEndpointShell,
            ContainerChange::Created(Ok(_)) => EventKind::CreatedContainer,
            // Its end was reported when it ended by itself.
            ContainerChange::Destroyed(Ok(())) if !self.app.containers().has_ended(report.id) => {
                EventKind::DestroyedContainer
            }
            _ => return,
        };
        self.emit_of_container(kind, report.client.clone(), report.id);
    }

    fn emit_of_container(&mut self, kind: EventKind, client: Option<ClientKey>, id: ContainerId) {
        if self.events.wants(kind) {
            self.events.push(QueuedEvent { kind, client, detail: EventDetail::Text(id.to_string().into()) });
        }
    }

    fn settle_step(&mut self, id: ContainerId, step: Step, result: &Result<WorkResult, WorkError>) {
        self.app.note_step(id, step, result);
        let outcome = result.as_ref().map_or_else(Outcome::of, |_| Outcome::Done);
        self.app.containers_mut().settle(id, step, outcome);
    }

    /// Has a container ended whose client did not get it.
    pub(crate) fn undo(&mut self, id: ContainerId) {
        self.app.containers_mut().undo(id);
    }

    fn advance(&mut self, id: ContainerId, now: Instant) {
        if let Some((step, work)) = self.app.containers_mut().next_step(id) {
            self.submit_internal(work, InternalJob::Step(id, step), now);
        }
    }

    pub(super) fn submit_internal(&mut self, work: Work, job: InternalJob, now: Instant) {
        let request_key = RequestKey { conn: ConnId::INTERNAL, seq: RequestSeq(self.next_job) };
        let origin = Origin { priority: Priority::Reserved, ..Origin::new(request_key) };
        if self.submit_job(origin, work, Owner::Internal(job.clone()), now).is_err() {
            self.internal_failed(job, &WorkError::NoRoom, now);
        }
    }

    /// Tries a job again later.
    fn internal_failed(&mut self, job: InternalJob, error: &WorkError, now: Instant) {
        match job {
            InternalJob::Step(id, step) => {
                if let WorkError::Store(error) = error {
                    log::warn!("the VM of the container {id} can't be removed; it is tried again: {error}");
                }
                self.app.containers_mut().settle(id, step, Outcome::of(error));
            }
            InternalJob::WriteSeen => self.seen_failed(error, now),
            InternalJob::ReadChanged => self.changed_read_failed(error, now),
            InternalJob::ReadOthers => self.app.watches_mut().read_of_others_failed(now),
            InternalJob::ReadRows(_) | InternalJob::RemoveRows { .. } => {
                log::debug!("the containers are not compared with the registry yet: {error:?}");
                self.timers.arm(now + limits::RECONCILE_PAUSE, Timer::Reconcile);
            }
        }
    }

    /// Whether there are new containers whose answers may be unsent.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes a container from those of a connection whose answers may be unsent.
    pub(crate) fn pop_unsent(&mut self, conn: ConnId) -> Option<ContainerId> {
        let first = (conn, ContainerId::MIN);
        let entry = *self.unsent.range(first..).next().filter(|(of, _)| *of == conn)?;
        self.unsent.remove(&entry);
        Some(entry.1)
    }
}

#[cfg(test)]
#[path = "containers_tests.rs"]
mod tests;

//! Containers: their events, and the end of those whose clients do not get them.
//!
//! A container that is created when its client has left, or has an answer already, is destroyed by a job that belongs
//! to no request and no connection. So is one whose answer is not sent when the connection ends.

use super::in_flight::{InFlight, Origin, Owner};
use super::timers::Timer;
use super::{Dispatcher, Now};
use crate::clock::Instant;
use crate::embed::{ContainerChange, ContainerReport, EventDetail, EventKind, QueuedEvent};
use crate::ids::{ConnId, ContainerId, RequestKey, RequestSeq};
use crate::limits;
use crate::work::{WorkError, WorkResult};
use crate::worker::{Abandoned, JobKey, Jobs, Priority};

impl<J: Jobs> Dispatcher<J> {
    /// Notes the answer to the creation of a container. If it `is_written`, it may still be unsent.
    pub(super) fn container_answered(&mut self, conn: ConnId, id: ContainerId, is_written: bool) {
        match is_written {
            true => drop(self.unsent.insert((conn, id))),
            false => self.undo_soon(id),
        }
    }

    /// Notes that all output of a connection was sent.
    pub(crate) fn output_sent(&mut self, conn: ConnId) {
        while self.pop_unsent(conn).is_some() {}
    }

    /// Destroys the containers whose clients did not get the whole answer before their connection ended.
    pub(super) fn undo_unsent(&mut self, conn: ConnId) {
        while let Some(id) = self.pop_unsent(conn) {
            self.undo_soon(id);
        }
    }

    /// Destroys a container whose client did not get it, unless that is being done.
    pub(crate) fn undo(&mut self, id: ContainerId, now: Now) {
        let Some(work) = self.app.containers_mut().undo(id) else { return };
        let request_key = RequestKey { conn: ConnId::INTERNAL, seq: RequestSeq(self.next_job) };
        let origin = Origin { priority: Priority::Reserved, ..Origin::new(request_key) };
        if self.submit_job(origin, work, Owner::Undo(id), now.instant).is_err() {
            self.retry_undo(id, now.instant);
        }
    }

    /// Handles the deadline of a job that belongs to no connection.
    pub(crate) fn expire_undo(&mut self, key: JobKey, now: Now) {
        let Some(InFlight { lane, owner: Owner::Undo(id), state, .. }) = self.release(key) else { return };
        self.counters.jobs_given_up += 1;
        match state.abandon() {
            Abandoned::Queued => self.retry_undo(id, now.instant),
            // Its result is still to come.
            Abandoned::Running(run) => self.jobs.replace_worker(lane, run),
        }
    }

    /// Notes a job of `owner` that was abandoned before it ran.
    pub(super) fn never_ran(&mut self, owner: &Owner) {
        if let Owner::App { stage, .. } = owner
            && let Some(id) = stage.info().container()
        {
            self.app.containers_mut().never_ran(id);
        }
    }

    /// Applies a result that no client waits for. `owner`: of the job, if it was still in flight.
    pub(super) fn settle_container(
        &mut self,
        result: Result<WorkResult, WorkError>,
        owner: Option<Owner>,
        now: Now,
    ) {
        match (result, owner) {
            (Ok(WorkResult::Container(report)), _) => {
                self.app.containers_mut().apply(&report);
                match report.change {
                    ContainerChange::Created(Ok(_)) => self.undo_soon(report.id),
                    ContainerChange::Destroyed(Err(_)) if self.app.containers().is_undone(report.id) => {
                        self.retry_undo(report.id, now.instant);
                    }
                    _ => {}
                }
            }
            (Err(_), Some(Owner::Undo(id))) => self.retry_undo(id, now.instant),
            (Err(_), Some(owner)) => self.never_ran(&owner),
            _ => {}
        }
    }

    /// Reports what has happened to a container. Events precede the answer.
    pub(super) fn emit_container(&mut self, report: &ContainerReport) {
        let kind = match report.change {
            ContainerChange::ShellOpened => EventKind::CreatedEndpointShell,
            ContainerChange::Created(Ok(_)) => EventKind::CreatedContainer,
            ContainerChange::Destroyed(Ok(())) => EventKind::DestroyedContainer,
            ContainerChange::Created(Err(_)) | ContainerChange::Destroyed(Err(_)) => return,
        };
        if self.events.wants(kind) {
            let (client, detail) = (report.client.clone(), EventDetail::Text(report.id.to_string().into()));
            self.events.push(QueuedEvent { kind, client: Some(client), detail });
        }
    }

    fn undo_soon(&mut self, id: ContainerId) {
        log::info!("a client did not get the container {id}: destroying it");
        self.timers.arm(Instant::ORIGIN, Timer::Undo(id));
    }

    fn retry_undo(&mut self, id: ContainerId, now: Instant) {
        self.timers.arm(now + limits::DESTROY_RETRY, Timer::Undo(id));
    }

    fn pop_unsent(&mut self, conn: ConnId) -> Option<ContainerId> {
        let first = (conn, ContainerId::MIN);
        let entry = *self.unsent.range(first..).next().filter(|(of, _)| *of == conn)?;
        self.unsent.remove(&entry);
        Some(entry.1)
    }
}

//! Work that needs no worker: a store in memory answers at once.

use super::failed_jobs::error_detail;
use super::{Client, Dispatcher, Effect};
use crate::app::commands::{Next, Stage};
use crate::model::CommandName;
use crate::work::{Work, WorkError, WorkResult};
use crate::worker::Jobs;

impl<J: Jobs> Dispatcher<J> {
    /// Has the app continue a request with the result of its work.
    pub(super) fn resume_app(
        &mut self,
        command: CommandName,
        stage: Stage,
        result: Result<WorkResult, WorkError>,
        client: &Client<'_>,
    ) -> Next {
        self.error_detail = error_detail(&result);
        if let Some(failed) = self.app.record_login(client.conn, &stage, &result, client.now.instant) {
            self.withdraw_over_limit(failed, client.now.instant);
        }
        let next = self.app.resume(client.conn, command, stage, result, client.now.unix);
        self.collect_ended();
        next
    }

    /// Does the work of a request without a worker while a store that answers at once allows it; `next` is then what comes
    /// after it. What other jobs do to the store comes first: clients that watch are told of changes in the store's order.
    pub(super) fn work_at_once(&mut self, command: CommandName, next: &mut Next, client: &Client<'_>) {
        while let Next::Work { work, .. } = next
            && let Some(result) = self.run_at_once(work)
            && let Next::Work { stage, .. } = std::mem::replace(next, Next::Status)
        {
            *next = self.resume_app(command, stage, result, client);
        }
    }

    fn run_at_once(&mut self, work: &Work) -> Option<Result<WorkResult, WorkError>> {
        let is_first = self.store_jobs == 0 && self.late_writes.is_empty();
        let cost = work.cost_at_once().filter(|cost| is_first && *cost <= self.at_once_left)?;
        let result = self.jobs.run_at_once(work)?;
        self.at_once_left -= cost;
        Some(result)
    }

    /// Has the reactor learn which connections' logins have ended.
    pub(super) fn collect_ended(&mut self) {
        for (conn, end) in self.app.presence_mut().take_ended() {
            self.outbox.push(Effect::EndSession(conn, end));
        }
    }
}

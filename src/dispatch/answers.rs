//! Answers: what is counted and logged of them, before a session writes them.

use super::failed_jobs::{HANDLER_THREAD, REACTOR_THREAD};
use super::{Client, Dispatcher, Now};
use crate::ids::{ConnId, RequestSeq};
use crate::limits;
use crate::model::{Answer, CommandName, Failure, OfflineReason};
use crate::session::RequestHead;
use crate::worker::Jobs;

impl<J: Jobs> Dispatcher<J> {
    /// Answers a `ping` without an id, which is allowed to every client.
    pub(crate) fn ping(&mut self, client: &mut Client<'_>) {
        self.counters.count_requests(CommandName::Ping, 1);
        self.emit_request(client.conn, CommandName::Ping);
        #[cfg(feature = "internals")]
        self.trace(super::trace::TraceEvent::Begun(client.conn));
        let answer = self.app.ping(client.conn);
        self.counters.count_outcomes(CommandName::Ping, None, 1);
        client.session.pong(&answer, client.output, &self.date);
    }

    /// Answers a request that is not open.
    pub(super) fn answer_at_once(
        &mut self,
        head: RequestHead,
        command: CommandName,
        answer: &Answer,
        client: &mut Client<'_>,
    ) {
        self.note_answer(command, answer, Some(&head), client.conn, client.now);
        client.session.answer(head, answer, client.output, &self.date);
        self.update_session(command, client);
    }

    /// Answers the open request `seq`.
    pub(crate) fn answer(
        &mut self,
        seq: RequestSeq,
        command: CommandName,
        answer: Answer,
        client: &mut Client<'_>,
    ) {
        self.note_answer(command, &answer, client.session.open_request(seq), client.conn, client.now);
        let was_cut = client.session.has_broken_off();
        let is_written = client.session.complete(seq, &answer, client.output, &self.date);
        if let Answer::Created(new) = &answer {
            self.container_answered(client.conn, new.credentials.id, is_written);
        }
        if client.session.has_broken_off() && !was_cut {
            self.counters.answers_cut += 1;
            if let Some(suppressed) =
                self.cut_log_limiter.allow(limits::ERROR_LOG_INTERVAL_S, client.now.unix)
            {
                log::warn!("cut {} answers ({command:?}) in the middle: {answer:?}", 1 + suppressed);
            }
        }
    }

    /// Counts an answer, and notes what follows from it. `open`: its request, if that is open.
    fn note_answer(
        &mut self,
        command: CommandName,
        answer: &Answer,
        open: Option<&RequestHead>,
        conn: ConnId,
        now: Now,
    ) {
        let failure = match answer {
            Answer::Failed(failure) => Some(failure),
            _ => None,
        };
        // One that is malformed has begun nothing: another may wait for its snapshot.
        if command == CommandName::Watch && failure.is_some() && open.is_some_and(RequestHead::is_paged) {
            self.app.watches_mut().snapshot_failed(conn, now.instant);
        }
        if matches!(command, CommandName::Authenticate | CommandName::AuthorizeVm | CommandName::ConnectVm) {
            self.app.presence_mut().settle_login(conn, OfflineReason::Logout);
        }
        let count = open.map_or(1, RequestHead::count);
        match answer {
            Answer::Custom(response) if !response.is_success() => {
                self.counters.count_failed_by_handler(command);
            }
            Answer::Put { refused } if open.is_some_and(RequestHead::has_outcomes) => {
                let failure = Failure::KeyLimitReached(None);
                self.counters.count_outcomes(command, Some(&failure), refused.len());
                self.counters.count_outcomes(command, None, count.saturating_sub(refused.len()));
            }
            _ => self.counters.count_outcomes(command, failure, count),
        }
        let error_detail = self.error_detail.take();
        if let Some(Failure::Internal) = failure {
            let thread = if error_detail.is_some() { HANDLER_THREAD } else { REACTOR_THREAD };
            let error = error_detail.as_deref().unwrap_or("internal error");
            let error = format!("{}: {error}", self.app.customs().name(command));
            self.record_runtime_error(conn, thread, error, now.unix);
        }
    }

    /// Tells the session what a request may have changed.
    pub(super) fn update_session(&mut self, command: CommandName, client: &mut Client<'_>) {
        client.session.set_authenticated(self.app.presence().is_authenticated(client.conn));
        if command == CommandName::Watch {
            client.session.charge_watch(self.app.watches().held_bytes(client.conn));
        }
    }
}

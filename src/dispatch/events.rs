//! Events for the embedding program, and its gate.

use std::sync::Arc;

use super::in_flight::{Origin, Owner};
use super::{Client, Dispatcher, Effect};
use crate::embed::{EventDetail, EventKind, EventQueue, QueuedEvent};
use crate::ids::{ConnId, RequestSeq};
use crate::model::{CommandName, Failure};
use crate::work::Work;
use crate::worker::Jobs;

/// The events of this tick, and the queue that they go to.
pub(super) struct EventOutbox {
    queue: Arc<EventQueue>,
    pending: Vec<QueuedEvent>,
}

impl EventOutbox {
    pub(super) fn new(queue: Arc<EventQueue>) -> EventOutbox {
        EventOutbox { queue, pending: Vec::new() }
    }

    /// Whether events of `kind` have a callback.
    pub(super) fn wants(&self, kind: EventKind) -> bool {
        self.queue.wants(kind)
    }

    /// Adds an event.
    pub(super) fn push(&mut self, event: QueuedEvent) {
        self.pending.push(event);
    }

    /// Events that were lost, and callbacks that have failed.
    pub(super) fn counters(&self) -> [u64; 2] {
        [self.queue.lost(), self.queue.failed()]
    }
}

impl<J: Jobs> Dispatcher<J> {
    /// Whether a message that is refused is reported: see [`Dispatcher::refused`].
    pub(crate) fn wants_refusals(&self) -> bool {
        let queue = &self.events.queue;
        queue.wants(EventKind::MalformedRequest) || queue.wants(EventKind::UnknownVerb)
    }

    /// Passes the events of this tick to the callbacks.
    pub(crate) fn flush_events(&mut self) {
        self.events.queue.push_all(&mut self.events.pending);
    }

    /// Starts to ask the gate whether to admit a new client, if there is a gate; returns whether there is. The answer
    /// is an [`Effect`].
    pub(crate) fn begin_admission(&mut self, client: &mut Client<'_>) -> bool {
        let conn = client.conn;
        let Some(call) = self.app.gate_call(conn) else {
            self.admitted(conn);
            return false;
        };
        let origin = Origin::new(client.key(GATE_SEQ));
        let is_asked = self.submit(origin, Work::Admit(call), Owner::Gate, client).is_ok();
        if !is_asked {
            self.settle_admission(conn, false);
        }
        true
    }

    /// Applies the decision of the gate.
    pub(super) fn settle_admission(&mut self, conn: ConnId, is_admitted: bool) {
        if is_admitted {
            self.admitted(conn);
        } else {
            self.counters.connections_denied += 1;
        }
        self.outbox.push(if is_admitted { Effect::Admit(conn) } else { Effect::Deny(conn) });
    }

    fn admitted(&mut self, conn: ConnId) {
        self.emit(EventKind::Client, conn, || EventDetail::None);
    }

    /// Reports what a session refused: messages that are no request.
    pub(super) fn report_refusals(&mut self, conn: ConnId, failures: Vec<Failure>) {
        failures.iter().for_each(|failure| self.emit_refused(conn, failure));
    }

    /// Adds the event of a message that is refused with `failure`.
    pub(super) fn emit_refused(&mut self, conn: ConnId, failure: &Failure) {
        match failure {
            // A good request, for which there is no room.
            Failure::Busy | Failure::RequestMemoryFull => {}
            Failure::UnknownCommand | Failure::UnknownTextCommand => {
                self.emit(EventKind::UnknownVerb, conn, || EventDetail::None);
            }
            failure => {
                self.emit(EventKind::MalformedRequest, conn, || EventDetail::Text(failure.message().into()));
            }
        }
    }

    /// Adds the event of a request of `conn`.
    pub(super) fn emit_request(&mut self, conn: ConnId, command: CommandName) {
        if !self.events.queue.wants(EventKind::Request) {
            return;
        }
        let Some(client) = self.app.client_key(conn) else { return };
        let pending = &mut self.events.pending;
        if !pending.last_mut().is_some_and(|last| last.add_request(&client, command)) {
            pending.push(QueuedEvent::of_request(client, command));
        }
    }

    /// Adds an event of `conn`, if it is open and the event has a callback.
    pub(super) fn emit(&mut self, kind: EventKind, conn: ConnId, detail: impl FnOnce() -> EventDetail) {
        if self.events.queue.wants(kind)
            && let Some(client) = self.app.client_key(conn)
        {
            self.events.pending.push(QueuedEvent { kind, client: Some(client), detail: detail() });
        }
    }

    /// Adds the event of a runtime error, of a request of `conn`, if that is still open.
    pub(super) fn emit_error(&mut self, conn: ConnId, thread: &'static str, error: String) {
        let kind = EventKind::RuntimeError;
        if self.events.queue.wants(kind) {
            let client = self.app.client_key(conn);
            let detail = EventDetail::Error { thread, error };
            self.events.pending.push(QueuedEvent { kind, client, detail });
        }
    }
}

/// The sequence number of the question to the gate: after those of all requests.
const GATE_SEQ: RequestSeq = RequestSeq(u64::MAX);

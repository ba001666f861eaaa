//! Conversions that are answered after a configured delay. Their texts wait in `src/session/responses.rs`; here are the
//! totals of all connections.

use std::time::Duration;

use super::{Client, Dispatcher, RequestContext};
use crate::app::commands::Next;
use crate::ids::RequestSeq;
use crate::model::{Answer, CommandName, Failure};
use crate::worker::Jobs;

/// The totals of delayed requests on all connections.
#[derive(Clone, Copy, Default)]
pub(crate) struct Delayed {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
}

impl<J: Jobs> Dispatcher<J> {
    /// Answers a delayed request that is due.
    pub(crate) fn deliver(&mut self, seq: RequestSeq, data: Box<str>, client: &mut Client<'_>) {
        self.forget_delayed(1, data.len());
        #[cfg(feature = "internals")]
        self.trace(crate::dispatch::trace::TraceEvent::Due(client.conn, data.clone()));
        let next = self.app.convert_now(data);
        if let Next::Work { .. } = next {
            client.session.begin_conversion(seq);
        }
        self.dispatch(RequestContext::new(client.key(seq), CommandName::Convert), next, client);
    }

    /// Subtracts delayed requests, and the bytes of their texts, from the totals.
    pub(super) fn forget_delayed(&mut self, requests: usize, bytes: usize) {
        self.delayed.requests -= requests;
        self.delayed.bytes -= bytes;
    }

    /// The number of delayed requests, and the bytes of their texts.
    #[cfg(feature = "internals")]
    pub(crate) fn delayed(&self) -> (usize, usize) {
        (self.delayed.requests, self.delayed.bytes)
    }

    pub(super) fn delay(
        &mut self,
        seq: RequestSeq,
        command: CommandName,
        after: Duration,
        data: Box<str>,
        client: &mut Client<'_>,
    ) {
        let (at, bytes) = (client.now.instant + after, data.len());
        #[cfg(feature = "internals")]
        self.trace(crate::dispatch::trace::TraceEvent::Delayed(data.clone(), at));
        if self.delayed.bytes + bytes > self.delayed_bytes_max {
            self.answer(seq, command, Answer::Failed(Failure::Busy), client);
        } else if client.session.delay(seq, at, data) {
            self.delayed.requests += 1;
            self.delayed.bytes += bytes;
        }
    }
}

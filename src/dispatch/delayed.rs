//! Conversions that are answered after a configured delay.

use std::time::Duration;

use super::timers::Timers;
use super::{Client, Dispatcher, Now, RequestContext};
use crate::app::commands::Next;
use crate::ids::RequestKey;
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
    pub(crate) fn deliver(
        &mut self,
        request_key: RequestKey,
        data: Box<str>,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        self.forget_delayed(1, data.len());
        #[cfg(feature = "internals")]
        self.trace(crate::dispatch::trace::TraceEvent::Due(request_key.conn, data.clone()));
        let action = self.app.convert_now(data);
        if let Next::Work { .. } = action {
            client.session.begin_conversion(request_key.seq);
        }
        self.dispatch(RequestContext::new(request_key, CommandName::Convert), action, client, timers, now);
    }

    /// Subtracts delayed requests, and the bytes of their texts, from the totals.
    pub(crate) fn forget_delayed(&mut self, requests: usize, bytes: usize) {
        self.delayed.requests -= requests;
        self.delayed.bytes -= bytes;
    }

    /// The number of delayed requests, and the bytes of their texts.
    #[cfg(feature = "internals")]
    pub(crate) fn delayed(&self) -> (usize, usize) {
        (self.delayed.requests, self.delayed.bytes)
    }

    pub(crate) fn delay(
        &mut self,
        context: RequestContext,
        after: Duration,
        data: Box<str>,
        client: &mut Client<'_>,
        now: Now,
    ) {
        let (at, bytes) = (now.instant + after, data.len());
        #[cfg(feature = "internals")]
        self.trace(crate::dispatch::trace::TraceEvent::Delayed(data.clone(), at));
        let request_key = context.origin.request_key;
        if self.delayed.bytes + bytes > self.delayed_bytes_max {
            self.answer(request_key, context.command, Answer::Failed(Failure::Busy), client, now);
        } else if client.session.delay(request_key.seq, at, data) {
            self.delayed.requests += 1;
            self.delayed.bytes += bytes;
        }
    }
}

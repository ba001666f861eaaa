//! Changes as server-sent events: a response that goes on until the client leaves, the watch ends or the server stops.

use super::framing_codec::{Reply, ReplyPage};
use crate::buffer::Buffer;
use crate::clock::HttpDate;
use crate::dialect;
use crate::framing::http::{ContentType, response::Exchange};
use crate::model::{Answer, Dialect, Failure, Query, Revision};

/// The events of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum EventStream {
    /// The request is another one.
    #[default]
    None,
    /// They are requested.
    Requested,
    /// The response has begun.
    Open,
}

impl EventStream {
    /// Writes an answer as an event, if it belongs to events.
    pub(super) fn write_answer(
        &mut self,
        exchange: &mut Exchange,
        reply: &Reply<'_>,
        output: &mut Buffer,
    ) -> bool {
        let id = match (*self, reply.answer) {
            (EventStream::None, _) => return false,
            (_, Answer::Resumed(revision)) => revision.to_string(),
            // The client, which connects again, must not resume: this event has an empty id.
            (_, Answer::Failed(Failure::TooFarBehind)) => String::new(),
            (EventStream::Open, _) => String::new(),
            (EventStream::Requested, _) => {
                *self = EventStream::None;
                return false;
            }
        };
        self.open(exchange, reply.date, output);
        write_event(exchange, Some(&id), output, |bytes| {
            dialect::encode_answer(Dialect::Command, None, reply.answer, bytes);
        });
        if let Answer::Failed(_) = reply.answer {
            self.end(exchange, output);
        }
        true
    }

    /// Writes a page as an event, if it belongs to events.
    pub(super) fn write_page(
        &mut self,
        exchange: &mut Exchange,
        reply: &mut ReplyPage<'_>,
        output: &mut Buffer,
    ) -> bool {
        let Query::Snapshot(revision) = reply.page.listing.query else { return false };
        self.open(exchange, reply.date, output);
        // Before the last page there is nothing to resume.
        let id = reply.page.next.is_none().then(|| revision.to_string());
        write_event(exchange, id.as_deref(), output, |bytes| {
            dialect::encode_page(Dialect::Command, None, reply.page, reply.progress, bytes);
        });
        true
    }

    /// Whether events are being sent.
    pub(super) fn is_open(self, exchange: &Exchange) -> bool {
        self == EventStream::Open && !exchange.is_head
    }

    /// Ends the response, if it is one of events.
    pub(super) fn end(&mut self, exchange: &Exchange, output: &mut Buffer) {
        if self.is_open(exchange) {
            exchange.write_page(true, output, |_| {});
        }
        *self = EventStream::None;
    }

    fn open(&mut self, exchange: &mut Exchange, date: &HttpDate, output: &mut Buffer) {
        if *self == EventStream::Requested {
            *self = EventStream::Open;
            // What follows on the connection is not read.
            exchange.closes = true;
            exchange.begin_pages(ContentType::Events, date, output);
        }
    }
}

/// Writes a change of this revision; its text is `write`'s.
pub(super) fn write_change(
    exchange: &Exchange,
    revision: Revision,
    write: &mut dyn FnMut(&mut Vec<u8>),
    output: &mut Buffer,
) {
    write_event(exchange, Some(&revision.to_string()), output, write);
}

/// Writes a comment, which shows that the connection works.
pub(super) fn write_comment(exchange: &Exchange, output: &mut Buffer) {
    exchange.write_page(false, output, |bytes| bytes.extend_from_slice(b":\n\n"));
}

fn write_event(exchange: &Exchange, id: Option<&str>, output: &mut Buffer, write: impl FnOnce(&mut Vec<u8>)) {
    if exchange.is_head {
        return;
    }
    exchange.write_page(false, output, |bytes| {
        if let Some(id) = id {
            bytes.extend_from_slice(format!("id: {id}\n").as_bytes());
        }
        // JSON has no line breaks.
        bytes.extend_from_slice(b"data: ");
        write(bytes);
        bytes.extend_from_slice(b"\n\n");
    });
}

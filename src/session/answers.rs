//! Answers to requests: at once, later, or in pages.

use super::Session;
use super::codec::Reply;
use super::ending::Ending;
use super::request_head::RequestHead;
use super::responses::Delivery;
use super::watch::WatchOutput;
use crate::buffer::Buffer;
use crate::clock::{HttpDate, Instant};
use crate::ids::RequestSeq;
use crate::model::{Answer, Dialect, Page};

impl Session {
    /// Opens a request, which is answered later: by [`Session::complete`], under the number that this returns.
    pub fn open(&mut self, head: RequestHead) -> RequestSeq {
        let seq = head.seq;
        self.responses().open(seq, head);
        seq
    }

    /// The open request `seq`.
    pub fn open_request(&self, seq: RequestSeq) -> Option<&RequestHead> {
        self.responses.as_ref()?.get(seq)
    }

    /// Writes the answer to a request that is not open.
    pub fn answer(&mut self, head: RequestHead, answer: &Answer, output: &mut Buffer, date: &HttpDate) {
        let has_earlier =
            head.id.is_none() && self.responses.as_ref().is_some_and(|responses| responses.has_ordered());
        if has_earlier {
            let seq = self.open(head);
            self.complete(seq, answer, output, date);
            return;
        }
        if let Some(watch) = WatchOutput::after_answer(head.id.as_ref(), answer) {
            self.set_watch(watch);
        }
        let (dialect, id, count) = (head.dialect, head.id.as_ref(), head.reply_count as usize);
        self.write(&Reply { dialect, id, answer, count, date }, output);
    }

    /// Writes the answer to [`Step::Ping`](super::Step::Ping).
    pub fn pong(&mut self, answer: &Answer, output: &mut Buffer, date: &HttpDate) {
        let dialect = Dialect::Command;
        self.codec.write_answer(&Reply { dialect, id: None, answer, count: 1, date }, output);
    }

    /// Writes a reply to no open request.
    pub(super) fn write(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        match &mut self.responses {
            Some(responses) => responses.write(reply, &mut self.codec, output),
            None => self.codec.write_answer(reply, output),
        }
    }

    /// Writes the answer to the request `seq`. Returns false, and drops the answer, if no such request is open, or if
    /// nothing more is written.
    pub fn complete(
        &mut self,
        seq: RequestSeq,
        answer: &Answer,
        output: &mut Buffer,
        date: &HttpDate,
    ) -> bool {
        let Some(responses) = &mut self.responses else { return false };
        let watch = WatchOutput::after_answer(responses.id(seq), answer);
        let delivery = responses.complete(seq, answer, &mut self.codec, output, date);
        if delivery == Delivery::BrokenOff {
            self.ending = Some(Ending::Abort);
        }
        if let Some(watch) = watch {
            self.set_watch(watch);
        }
        delivery != Delivery::Dropped
    }

    /// Writes a page of the answer to the request `seq`. Returns false if no such request is open.
    pub fn complete_page(
        &mut self,
        seq: RequestSeq,
        page: &Page,
        output: &mut Buffer,
        date: &HttpDate,
    ) -> bool {
        let Some(responses) = &mut self.responses else { return false };
        let watch = WatchOutput::after_page(responses.id(seq), page);
        let is_open = responses.complete_page(seq, page, &mut self.codec, output, date);
        if is_open && watch.is_some() {
            self.set_watch(watch);
        }
        is_open
    }

    /// Delays the open request `seq`: at `at`, [`Step::Due`](super::Step::Due) returns `data`. Returns false if no such
    /// request is open.
    pub fn delay(&mut self, seq: RequestSeq, at: Instant, data: Box<str>) -> bool {
        let Some(responses) = &mut self.responses else { return false };
        responses.delay(seq, at, data);
        true
    }

    /// Notes that a worker converts the due text of the request `seq`, for which later delayed answers wait.
    pub fn begin_conversion(&mut self, seq: RequestSeq) {
        if let Some(responses) = &mut self.responses {
            responses.begin_conversion(seq);
        }
    }
}

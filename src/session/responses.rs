//! The open requests, and the order of their replies.
//!
//! Requests without an id are answered in order; requests with an id as they complete. While a reply is written in
//! pages, all others wait, so replies never interleave. An open request is answered once; a late answer is dropped.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::codec::{Codec, Reply, ReplyPage};
use super::ordered::OrderedRequests;
use super::request_head::RequestHead;
use crate::buffer::Buffer;
use crate::clock::{HttpDate, Instant};
use crate::dialect::PageProgress;
use crate::ids::RequestSeq;
use crate::limits;
use crate::model::{Answer, Cursor, Failure, Listing, Page, Refusal, Request, RequestId};

/// The open requests of one connection.
#[derive(Default)]
pub(super) struct ResponseQueue {
    ordered: OrderedRequests,
    /// The open requests with an id.
    concurrent: BTreeMap<RequestSeq, RequestHead>,
    /// The number of open writes, with and without an id.
    open_writes: usize,
    /// Approximate bytes of the open requests.
    open_bytes: usize,
    /// The open barrier: nothing is decoded until it is answered.
    barrier: Option<RequestSeq>,
    /// The message that a worker decodes, and its bytes: nothing else is decoded until it is done.
    decoding: Option<(RequestSeq, usize)>,
    /// The open request whose answer may have pages; at most one.
    paged: Option<RequestSeq>,
    writing: Writing,
    /// Delayed requests, the earliest first.
    delayed: BinaryHeap<Reverse<Delayed>>,
    /// Bytes of their texts.
    delayed_bytes: usize,
    /// The due request that a worker converts: later ones wait.
    converting: Option<RequestSeq>,
    /// Replies that wait for the paged reply to end.
    output_after_page: Buffer,
    /// Some of these were dropped.
    has_dropped: bool,
    /// A message that was decoded but may not start yet; at the end, the last reply.
    pub(super) deferred: Option<Result<Box<Request>, Refusal>>,
    /// The errors of refused messages that are not reported yet; as few as messages are refused in a step.
    refusals: Vec<Failure>,
}

/// How replies are written now.
#[derive(Default)]
enum Writing {
    #[default]
    Whole,
    Pages(Box<Stream>),
    /// Nothing more is written: a reply broke off, or the client has been notified of the end.
    Silent,
}

struct Stream {
    seq: RequestSeq,
    listing: Listing,
    progress: PageProgress,
    /// The position of the next page; `None` once that page is requested.
    cursor: Option<Cursor>,
}

/// An open request with a delayed answer.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Delayed {
    at: Instant,
    seq: RequestSeq,
    data: Box<str>,
}

/// The next page to request.
pub(super) enum Wanted {
    /// None: no reply is being written in pages.
    Nothing,
    /// One that has to wait for memory.
    Room,
    /// None now: it is requested already.
    PagePending,
    /// Request this one.
    Page(RequestSeq, Listing, Cursor),
}

/// The result of passing an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    /// No such request is open, or nothing more is written.
    Dropped,
    /// It is written, or waits for the paged reply to end, or for earlier replies.
    Done,
    /// Pages of the same reply have been written, so an error cannot follow.
    BrokenOff,
}

impl ResponseQueue {
    /// Opens a request that [`ResponseQueue::may_open`] allows.
    pub(super) fn open(&mut self, seq: RequestSeq, head: RequestHead) {
        if head.is_barrier {
            self.barrier = Some(seq);
        }
        if head.is_paged {
            self.paged = Some(seq);
        }
        self.open_bytes += head.bytes as usize;
        self.open_writes += usize::from(head.is_write);
        match head.id {
            Some(_) => drop(self.concurrent.insert(seq, head)),
            None => self.ordered.push(seq, head),
        }
        self.check();
    }

    /// Whether requests without an id are open.
    pub(super) fn has_ordered(&self) -> bool {
        !self.ordered.is_empty()
    }

    /// Notes that a worker decodes the message `seq` of this many bytes.
    pub(super) fn begin_decoding(&mut self, seq: RequestSeq, bytes: usize) {
        debug_assert!(self.decoding.is_none(), "one message at a time");
        self.decoding = Some((seq, bytes));
    }

    /// Ends the decoding of the message `seq`; returns false if it is not awaited.
    pub(super) fn end_decoding(&mut self, seq: RequestSeq) -> bool {
        self.decoding.take_if(|(decoding, _)| *decoding == seq).is_some()
    }

    /// Drops the message that may not start yet, and ignores the one that a worker decodes.
    pub(super) fn forget_messages(&mut self) {
        (self.deferred, self.decoding) = (None, None);
    }

    /// Answers the open request `seq`.
    pub(super) fn complete(
        &mut self,
        seq: RequestSeq,
        answer: &Answer,
        codec: &mut Codec,
        output: &mut Buffer,
        date: &HttpDate,
    ) -> Delivery {
        let Some(RequestHead { dialect, id, reply_count, .. }) = self.close(seq) else {
            return Delivery::Dropped;
        };
        match &self.writing {
            // Its pages are whole messages.
            Writing::Pages(stream) if stream.seq == seq && stream.listing.query.has_whole_pages() => {
                self.write_whole(&Reply { dialect, id: id.as_ref(), answer, count: 1, date }, codec, output);
                return Delivery::Done;
            }
            Writing::Pages(stream) if stream.seq == seq => {
                self.poison();
                return Delivery::BrokenOff;
            }
            Writing::Silent => {
                self.write_waiting(output);
                return Delivery::Dropped;
            }
            Writing::Pages(_) | Writing::Whole => {}
        }
        let count = reply_count as usize;
        let reply = Reply { dialect, id: id.as_ref(), answer, count, date };
        if self.ordered.waits(seq) {
            let mut waiting = Buffer::new();
            codec.write_answer(&reply, &mut waiting);
            self.ordered.keep(seq, waiting.as_slice());
        } else {
            self.write(&reply, codec, output);
            self.write_waiting(output);
        }
        self.check();
        Delivery::Done
    }

    /// Writes a page of the answer to the open request `seq`; returns false if it is not open.
    pub(super) fn complete_page(
        &mut self,
        seq: RequestSeq,
        page: &Page,
        codec: &mut Codec,
        output: &mut Buffer,
        date: &HttpDate,
    ) -> bool {
        let Some(open) = self.get(seq) else { return false };
        let (dialect, id) = (open.dialect, open.id.as_ref());
        let mut progress = match &self.writing {
            Writing::Pages(stream) => stream.progress,
            Writing::Whole => PageProgress::default(),
            Writing::Silent => return self.close(seq).is_some(),
        };
        codec.write_page(&mut ReplyPage { dialect, id, page, progress: &mut progress, date }, output);
        match page.next {
            Some(cursor) => {
                let stream = Stream { seq, listing: page.listing.clone(), progress, cursor: Some(cursor) };
                self.writing = Writing::Pages(Box::new(stream));
            }
            None => {
                self.close(seq);
                self.end_pages(output);
            }
        }
        self.check();
        true
    }

    /// Ends a reply in pages with an answer that is a message of its own.
    fn write_whole(&mut self, reply: &Reply<'_>, codec: &mut Codec, output: &mut Buffer) {
        codec.write_answer(reply, output);
        self.end_pages(output);
        self.check();
    }

    /// Writes whole replies again, first those that have waited for the one in pages.
    fn end_pages(&mut self, output: &mut Buffer) {
        self.writing = Writing::Whole;
        output.push(self.output_after_page.as_slice());
        self.output_after_page.clear();
    }

    /// Whether a message that is no reply may be written.
    pub(super) fn may_write_message(&self) -> bool {
        matches!(self.writing, Writing::Whole)
    }

    /// The id of the open request `seq`, if it has one.
    pub(super) fn id(&self, seq: RequestSeq) -> Option<&RequestId> {
        self.concurrent.get(&seq).and_then(|open| open.id.as_ref())
    }

    /// Writes a reply to a refused message, or to a request that was just closed.
    pub(super) fn write(&mut self, reply: &Reply<'_>, codec: &mut Codec, output: &mut Buffer) {
        if let Some(output) = self.output(output) {
            codec.write_answer(reply, output);
        }
    }

    /// Writes the replies that have waited for the request that was just closed.
    fn write_waiting(&mut self, output: &mut Buffer) {
        while let Some(reply) = self.ordered.take_reply() {
            if let Some(output) = self.output(output) {
                output.push(&reply);
            }
        }
    }

    /// Where replies are written now; `None` if none are.
    fn output<'o>(&'o mut self, output: &'o mut Buffer) -> Option<&'o mut Buffer> {
        match &self.writing {
            Writing::Whole => Some(output),
            Writing::Pages(_) => Some(&mut self.output_after_page),
            Writing::Silent => None,
        }
    }

    /// Stops writing. Open requests stay open until they are answered.
    pub(super) fn poison(&mut self) {
        self.writing = Writing::Silent;
        self.has_dropped |= !self.output_after_page.is_empty();
        self.output_after_page.clear();
    }

    /// Delays the answer to the open request `seq`: `data` is due at `at`.
    pub(super) fn delay(&mut self, seq: RequestSeq, at: Instant, data: Box<str>) {
        self.delayed_bytes += data.len();
        self.delayed.push(Reverse(Delayed { at, seq, data }));
    }

    /// Notes that a worker converts the due text of `seq`.
    pub(super) fn begin_conversion(&mut self, seq: RequestSeq) {
        debug_assert!(self.converting.is_none(), "one conversion at a time");
        self.converting = Some(seq);
    }

    /// Takes a delayed request that is due by `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(RequestSeq, Box<str>)> {
        if self.next_due().is_none_or(|due| due > now) {
            return None;
        }
        let Reverse(Delayed { seq, data, .. }) = self.delayed.pop()?;
        self.delayed_bytes -= data.len();
        Some((seq, data))
    }

    /// When the next delayed request is due; `None` while a worker converts the one before, or while many replies
    /// wait for a paged one, since it would wait with them.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.converting.is_some() || self.output_after_page.len() >= limits::OUTPUT_BYTES_PAUSE {
            return None;
        }
        self.delayed.peek().map(|Reverse(delayed)| delayed.at)
    }

    /// The number of delayed requests, and the bytes of their texts.
    pub(super) fn delayed(&self) -> (usize, usize) {
        (self.delayed.len(), self.delayed_bytes)
    }

    /// Returns the next page to request, once, if `is_room` allows a page.
    pub(super) fn wanted(&mut self, is_room: bool) -> Wanted {
        match &mut self.writing {
            Writing::Whole | Writing::Silent => Wanted::Nothing,
            Writing::Pages(stream) if stream.cursor.is_some() && !is_room => Wanted::Room,
            Writing::Pages(stream) => match stream.cursor.take() {
                Some(cursor) => Wanted::Page(stream.seq, stream.listing.clone(), cursor),
                None => Wanted::PagePending,
            },
        }
    }

    /// Whether a reply is written in part.
    pub(super) fn is_writing_pages(&self) -> bool {
        matches!(self.writing, Writing::Pages(_))
    }

    /// Bytes of memory held for open requests, a deferred one, waiting replies, and a requested page.
    pub(super) fn held_bytes(&self) -> usize {
        let is_page_coming = match &self.writing {
            Writing::Whole => self.paged.is_some(),
            Writing::Pages(stream) => stream.cursor.is_none(),
            Writing::Silent => false,
        };
        let decoding = self.decoding.map_or(0, |(_, bytes)| bytes);
        let deferred = match &self.deferred {
            Some(Ok(request)) => request.held_bytes(),
            Some(Err(_)) | None => 0,
        };
        let page = if is_page_coming { limits::PAGE_BYTES_RESERVED } else { 0 };
        let waiting = self.ordered.waiting_bytes() + self.output_after_page.capacity();
        self.open_bytes + waiting + decoding + deferred + page
    }

    /// Whether decoding is paused.
    pub(super) fn is_barred(&self) -> bool {
        self.barrier.is_some() || self.decoding.is_some()
    }

    /// Whether a message with or without an id may be answered now: those without wait for each other.
    pub(super) fn may_answer(&self, has_id: bool) -> bool {
        has_id || self.ordered.is_empty()
    }

    /// Whether `request` may open. Paged requests wait for each other, and barriers wait for them, because the
    /// principal must not change between pages. Both wait for all writes before them, which they must see. Writes
    /// without an id wait for other requests without one, and not for each other.
    pub(super) fn may_open(&self, request: &Request) -> bool {
        if (request.is_paged() || request.is_barrier()) && (self.paged.is_some() || self.open_writes > 0) {
            return false;
        }
        self.may_answer(request.id.is_some()) || request.is_direct_write() && self.ordered.may_add_write()
    }

    /// The number of open requests with an id.
    pub(super) fn concurrent_count(&self) -> usize {
        self.concurrent.len()
    }

    /// Keeps the error of a refused message.
    pub(super) fn keep_refusal(&mut self, failure: Failure) {
        self.refusals.push(failure);
    }

    /// Takes the errors of refused messages.
    pub(super) fn take_refusals(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.refusals)
    }

    /// Whether nothing is open, deferred or kept.
    pub(super) fn may_be_dropped(&self) -> bool {
        !self.has_open() && self.deferred.is_none() && self.refusals.is_empty()
    }

    pub(super) fn has_open(&self) -> bool {
        self.open_count() > 0
    }

    pub(super) fn open_count(&self) -> usize {
        self.ordered.len() + usize::from(self.decoding.is_some()) + self.concurrent.len()
    }

    /// Whether a reply to a request that is no longer open waits for a paged one, or was dropped.
    pub(super) fn owes_reply(&self) -> bool {
        self.has_dropped || !self.output_after_page.is_empty()
    }

    /// Bytes of replies that wait for a paged one.
    #[cfg(feature = "internals")]
    pub(super) fn output_after_page_len(&self) -> usize {
        self.output_after_page.len()
    }

    /// The open request `seq`.
    pub(super) fn get(&self, seq: RequestSeq) -> Option<&RequestHead> {
        self.ordered.get(seq).or_else(|| self.concurrent.get(&seq))
    }

    /// Closes an open request, and returns the fields that its reply needs.
    fn close(&mut self, seq: RequestSeq) -> Option<RequestHead> {
        let open = self.ordered.close(seq).or_else(|| self.concurrent.remove(&seq))?;
        self.open_bytes -= open.bytes as usize;
        self.open_writes -= usize::from(open.is_write);
        self.barrier = self.barrier.filter(|barrier| *barrier != seq);
        self.paged = self.paged.filter(|paged| *paged != seq);
        self.converting = self.converting.filter(|converting| *converting != seq);
        Some(open)
    }

    fn check(&self) {
        let is_open = |seq: RequestSeq| self.get(seq).is_some();
        debug_assert!(self.barrier.is_none_or(is_open));
        debug_assert!(self.paged.is_none_or(is_open));
        debug_assert!(
            self.ordered.len() <= 1 || self.paged.is_none_or(|paged| self.ordered.get(paged).is_none())
        );
        self.ordered.check();
        debug_assert!(self.open_writes <= self.ordered.len() + self.concurrent.len());
        debug_assert!(self.delayed.len() <= self.concurrent.len() + self.ordered.len());
        match &self.writing {
            Writing::Pages(stream) => debug_assert!(self.paged == Some(stream.seq)),
            Writing::Whole | Writing::Silent => debug_assert!(self.output_after_page.is_empty()),
        }
    }
}

//! The requests that are open, and the order in which their replies go out.
//!
//! Requests without an id are answered one after the other; those with one when they are done. While a
//! reply is written in pages every other one waits, so nothing is ever written into the middle of one.
//! An open request is answered once; a late answer finds nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::codec::{Codec, Reply, ReplyPage};
use crate::buffer::Buffer;
use crate::clock::{HttpDate, Instant};
use crate::dialect::PageProgress;
use crate::ids::RequestSeq;
use crate::limits;
use crate::model::{Answer, CommandName, Cursor, Dialect, Listing, Page, Request, RequestId};

/// The open requests of one connection.
#[derive(Default)]
pub(super) struct ResponseQueue {
    /// The open request without an id; there is one at most.
    ordered: Option<Ordered>,
    /// The open requests with an id.
    concurrent: HashMap<RequestSeq, Concurrent>,
    /// Bytes that the open requests take, about.
    open_bytes: usize,
    /// The open request after which nothing may be decoded yet.
    barrier: Option<RequestSeq>,
    /// The message that a worker reads: nothing after it may be decoded yet.
    decoding: Option<RequestSeq>,
    /// Its bytes.
    decoding_bytes: usize,
    /// The open request whose answer may come in pages; there is one at most.
    paged: Option<RequestSeq>,
    writing: Writing,
    /// What is to be answered later, the earliest first.
    delayed: BinaryHeap<Reverse<Delayed>>,
    /// Bytes of their texts.
    delayed_bytes: usize,
    /// The open request whose answer is due and that a worker converts: what is due after it waits.
    converting: Option<RequestSeq>,
    /// Replies that became due while a paged one was being written.
    output_after_page: Buffer,
}

/// An open request with an id.
struct Concurrent {
    dialect: Dialect,
    id: RequestId,
    /// What it takes, about.
    bytes: u32,
}

/// An open request without an id.
#[derive(Clone, Copy)]
struct Ordered {
    seq: RequestSeq,
    dialect: Dialect,
    /// What it takes, about.
    bytes: u32,
    /// How many replies it gets.
    reply_count: usize,
}

/// What the reply to an open request needs.
struct Open {
    dialect: Dialect,
    id: Option<RequestId>,
    reply_count: usize,
}

/// Whether a paged reply is being written.
#[derive(Default)]
enum Writing {
    #[default]
    Whole,
    Pages(Stream),
    /// It broke off, so nothing can be told from it any more that would be written behind it; or the client
    /// has been told that nothing follows.
    Silent,
}

struct Stream {
    seq: RequestSeq,
    of: Listing,
    progress: PageProgress,
    /// Where the next page begins, if it has not been asked for yet.
    cursor: Option<Cursor>,
}

/// An open request that is answered at its time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Delayed {
    at: Instant,
    seq: RequestSeq,
    data: Box<str>,
}

/// Whether a page is wanted now.
pub(super) enum Wanted {
    /// No reply is being written in pages.
    Nothing,
    /// One is wanted that there is no room for.
    Room,
    /// It has been asked for and is on its way.
    PagePending,
    /// This one.
    Page(RequestSeq, Listing, Cursor),
}

/// What became of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    /// Nobody waits for it.
    Late,
    /// It is written, or will be as soon as it may.
    Done,
    /// The head of another answer to the same request is out already, so none can follow.
    BrokenOff,
}

impl ResponseQueue {
    /// A request that has its turn is open as `seq` from now on.
    pub(super) fn open(&mut self, seq: RequestSeq, request: &mut Request) {
        if request.is_barrier() {
            self.barrier = Some(seq);
        }
        if request.name.is_paged() {
            self.paged = Some(seq);
        }
        let bytes = bytes_of(request);
        self.open_bytes += bytes as usize;
        match request.id.take() {
            Some(id) => drop(self.concurrent.insert(seq, Concurrent { dialect: request.dialect, id, bytes })),
            None => {
                let reply_count = request.reply_count();
                self.ordered = Some(Ordered { seq, dialect: request.dialect, bytes, reply_count });
            }
        }
        self.check();
    }

    /// A worker reads the message `seq` of so many bytes from now on.
    pub(super) fn begin_decoding(&mut self, seq: RequestSeq, bytes: usize) {
        debug_assert!(self.decoding.is_none(), "one message at a time");
        (self.decoding, self.decoding_bytes) = (Some(seq), bytes);
    }

    /// The message `seq` has been read; false where that is not awaited.
    pub(super) fn end_decoding(&mut self, seq: RequestSeq) -> bool {
        self.decoding.take_if(|decoding| *decoding == seq).is_some()
    }

    /// What a worker reads is not wanted any more.
    pub(super) fn forget_decoding(&mut self) {
        self.decoding = None;
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
        let Some(Open { dialect, id, reply_count }) = self.close(seq) else { return Delivery::Late };
        if let Writing::Pages(stream) = &self.writing
            && stream.seq == seq
        {
            self.poison();
            return Delivery::BrokenOff;
        }
        self.write(&Reply { dialect, id: id.as_ref(), answer, count: reply_count, date }, codec, output);
        self.check();
        Delivery::Done
    }

    /// Writes a page of the answer to the open request `seq`; false where that is not open.
    pub(super) fn complete_page(
        &mut self,
        seq: RequestSeq,
        page: &Page,
        codec: &mut Codec,
        output: &mut Buffer,
        date: &HttpDate,
    ) -> bool {
        let (dialect, id) = match (self.ordered, self.concurrent.get(&seq)) {
            (Some(serial), _) if serial.seq == seq => (serial.dialect, None),
            (_, Some(named)) => (named.dialect, Some(&named.id)),
            _ => return false,
        };
        let mut progress = match &self.writing {
            Writing::Pages(stream) => stream.progress,
            Writing::Whole => PageProgress::default(),
            Writing::Silent => return self.close(seq).is_some(),
        };
        codec.write_page(&mut ReplyPage { dialect, id, page, progress: &mut progress, date }, output);
        match page.next {
            Some(cursor) => {
                let stream = Stream { seq, of: page.listing.clone(), progress, cursor: Some(cursor) };
                self.writing = Writing::Pages(stream);
            }
            None => {
                self.writing = Writing::Whole;
                self.close(seq);
                output.push(self.output_after_page.as_slice());
                self.output_after_page.clear();
            }
        }
        self.check();
        true
    }

    /// Writes a reply to something that was never handed out, or to what just was.
    pub(super) fn write(&mut self, reply: &Reply<'_>, codec: &mut Codec, output: &mut Buffer) {
        let output = match &self.writing {
            Writing::Whole => output,
            Writing::Pages(_) => &mut self.output_after_page,
            Writing::Silent => return,
        };
        codec.write_answer(reply, output);
    }

    /// Nothing is written any more. Open requests stay so until they are answered.
    pub(super) fn poison(&mut self) {
        self.writing = Writing::Silent;
        self.output_after_page.clear();
    }

    /// The open request `seq` is to be answered at `at`, with what comes of `data` then.
    pub(super) fn delay(&mut self, seq: RequestSeq, at: Instant, data: Box<str>) {
        self.delayed_bytes += data.len();
        self.delayed.push(Reverse(Delayed { at, seq, data }));
    }

    /// A worker converts what was due of `seq`.
    pub(super) fn begin_conversion(&mut self, seq: RequestSeq) {
        debug_assert!(self.converting.is_none(), "one conversion at a time");
        self.converting = Some(seq);
    }

    /// Takes one that is due by `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(RequestSeq, Box<str>)> {
        if self.next_due().is_none_or(|due| due > now) {
            return None;
        }
        let Reverse(Delayed { seq, data, .. }) = self.delayed.pop()?;
        self.delayed_bytes -= data.len();
        Some((seq, data))
    }

    /// When the next one is due; never while replies enough wait for a paged one, since it would only wait with
    /// them, or while the one before is converted.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.converting.is_some() || self.output_after_page.len() >= limits::OUTPUT_BYTES_PAUSE {
            return None;
        }
        self.delayed.peek().map(|Reverse(delayed)| delayed.at)
    }

    /// How many are to be answered later, and the bytes of their texts.
    pub(super) fn delayed(&self) -> (usize, usize) {
        (self.delayed.len(), self.delayed_bytes)
    }

    /// The page to make now, if the output has room for it; asked for once, where there `is_room` for it.
    pub(super) fn wanted(&mut self, is_room: bool) -> Wanted {
        match &mut self.writing {
            Writing::Whole | Writing::Silent => Wanted::Nothing,
            Writing::Pages(stream) if stream.cursor.is_some() && !is_room => Wanted::Room,
            Writing::Pages(stream) => match stream.cursor.take() {
                Some(cursor) => Wanted::Page(stream.seq, stream.of.clone(), cursor),
                None => Wanted::PagePending,
            },
        }
    }

    /// Whether some of a reply is written, and not all.
    pub(super) fn is_writing_pages(&self) -> bool {
        matches!(self.writing, Writing::Pages(_))
    }

    /// Bytes of memory held for open requests, replies that wait, and a page that is being made.
    pub(super) fn held_bytes(&self) -> usize {
        let is_page_coming = match &self.writing {
            Writing::Whole => self.paged.is_some(),
            Writing::Pages(stream) => stream.cursor.is_none(),
            Writing::Silent => false,
        };
        let decoding = if self.decoding.is_some() { self.decoding_bytes } else { 0 };
        let page = if is_page_coming { limits::PAGE_BYTES_RESERVED } else { 0 };
        self.open_bytes + self.output_after_page.capacity() + decoding + page
    }

    /// Whether nothing more may be decoded for now.
    pub(super) fn is_barred(&self) -> bool {
        self.barrier.is_some() || self.decoding.is_some()
    }

    /// Whether it is the turn of something with or without an id: those without wait for each other.
    pub(super) fn has_turn(&self, has_id: bool) -> bool {
        has_id || self.ordered.is_none()
    }

    /// Whether it is the turn of `request`. Those that are answered in pages wait for each other, and
    /// barriers wait for them: who asks must not change between pages.
    pub(super) fn may_open(&self, request: &Request) -> bool {
        let waits_for_pages = request.name.is_paged() || request.is_barrier();
        self.has_turn(request.id.is_some()) && !(waits_for_pages && self.paged.is_some())
    }

    /// How many requests with an id are open.
    pub(super) fn concurrent_count(&self) -> usize {
        self.concurrent.len()
    }

    pub(super) fn has_open(&self) -> bool {
        self.open_count() > 0
    }

    pub(super) fn open_count(&self) -> usize {
        usize::from(self.ordered.is_some()) + usize::from(self.decoding.is_some()) + self.concurrent.len()
    }

    pub(super) fn open_seqs(&self) -> impl Iterator<Item = RequestSeq> + '_ {
        let serial = self.ordered.iter().map(|serial| serial.seq);
        serial.chain(self.decoding).chain(self.concurrent.keys().copied())
    }

    /// Bytes of replies that wait for a paged one.
    #[cfg(feature = "internals")]
    pub(super) fn output_after_page_len(&self) -> usize {
        self.output_after_page.len()
    }

    /// Forgets an open request; what its reply needs.
    fn close(&mut self, seq: RequestSeq) -> Option<Open> {
        let open = match self.ordered {
            Some(Ordered { seq: serial, dialect, bytes, reply_count }) if serial == seq => {
                self.ordered = None;
                self.open_bytes -= bytes as usize;
                Open { dialect, id: None, reply_count }
            }
            _ => {
                let Concurrent { dialect, id, bytes } = self.concurrent.remove(&seq)?;
                self.open_bytes -= bytes as usize;
                Open { dialect, id: Some(id), reply_count: 1 }
            }
        };
        self.barrier = self.barrier.filter(|barrier| *barrier != seq);
        self.paged = self.paged.filter(|paged| *paged != seq);
        self.converting = self.converting.filter(|converting| *converting != seq);
        if self.concurrent.is_empty() && self.concurrent.capacity() > 0 {
            self.concurrent = HashMap::new();
        }
        Some(open)
    }

    fn check(&self) {
        let is_open = |seq: RequestSeq| {
            self.ordered.is_some_and(|serial| serial.seq == seq) || self.concurrent.contains_key(&seq)
        };
        debug_assert!(self.barrier.is_none_or(is_open));
        debug_assert!(self.paged.is_none_or(is_open));
        debug_assert!(self.delayed.len() <= self.concurrent.len() + usize::from(self.ordered.is_some()));
        match &self.writing {
            Writing::Pages(stream) => debug_assert!(self.paged == Some(stream.seq)),
            Writing::Whole | Writing::Silent => debug_assert!(self.output_after_page.is_empty()),
        }
    }
}

/// What an open request takes, about. A conversion, which may wait with very many others, is counted with those
/// that are to be answered later.
fn bytes_of(request: &Request) -> u32 {
    let bytes = match request.name {
        CommandName::Convert => 0,
        _ => request.held_bytes() + OPEN_BYTES,
    };
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What is noted of an open request here and where it is run.
const OPEN_BYTES: usize = 256;

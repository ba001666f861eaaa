//! The messages to a client that watches, which stand between replies.

use super::codec::Reply;
use super::deadlines::ClientDeadline;
use super::{Ending, Session};
use crate::buffer::Buffer;
use crate::clock::{HttpDate, Instant};
use crate::dialect;
use crate::limits;
use crate::model::{Answer, Change, Dialect, Failure, Page, RequestId, Revision, WatchFilter};

/// What the messages to a client that watches have in common.
#[derive(Default)]
pub(super) struct WatchOutput {
    /// The id of the request to watch.
    id: Option<RequestId>,
    /// Bytes of memory that the watch holds elsewhere.
    pub(super) held_bytes: usize,
    /// The session drains, and ends after the last change.
    pub(super) outlasts_requests: bool,
    /// When the silence is filled with a comment, where there are any.
    next_comment: Option<Instant>,
}

impl WatchOutput {
    /// The watch that is left after the answer to a request with this `id`; `None`: the same as before.
    pub(super) fn after_answer(id: Option<&RequestId>, answer: &Answer) -> Option<Option<Box<WatchOutput>>> {
        match answer {
            Answer::Resumed(_) => Some(Some(WatchOutput::new(id))),
            Answer::Unwatched => Some(None),
            _ => None,
        }
    }

    /// The watch that begins with this page of the answer to a request with this `id`.
    pub(super) fn after_page(id: Option<&RequestId>, page: &Page) -> Option<Box<WatchOutput>> {
        let is_last = page.next.is_none() && page.listing.query.has_whole_pages();
        is_last.then(|| WatchOutput::new(id))
    }

    fn new(id: Option<&RequestId>) -> Box<WatchOutput> {
        Box::new(WatchOutput { id: id.cloned(), ..WatchOutput::default() })
    }
}

impl Session {
    /// Whether the client gets changes.
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Begins a watch, or ends it. One whose snapshot was under way when the session began to drain lasts as the others.
    pub(super) fn set_watch(&mut self, watch: Option<Box<WatchOutput>>) {
        self.watch = watch;
        if let Some(watch) = &mut self.watch {
            watch.outlasts_requests = self.is_draining;
        }
    }

    /// Whether a change may be written now: no reply is written in part, and the session does not end before.
    pub fn may_write_change(&self) -> bool {
        let Some(watch) = &self.watch else { return false };
        let is_open = match self.ending {
            None => true,
            Some(Ending::Close | Ending::Linger) => watch.outlasts_requests,
            Some(Ending::Gone | Ending::HttpLine | Ending::Abort) => false,
        };
        is_open && self.responses.as_ref().is_none_or(|responses| responses.may_write_message())
    }

    /// Writes a change. [`Session::may_write_change`] must hold.
    pub fn write_change(
        &mut self,
        revision: Revision,
        change: &Change,
        filter: &WatchFilter,
        output: &mut Buffer,
    ) {
        let Some(watch) = &mut self.watch else { return };
        let id = watch.id.as_ref();
        let mut write = |bytes: &mut Vec<u8>| dialect::encode_change(id, revision, change, filter, bytes);
        self.codec.write_change(revision, &mut write, output);
    }

    /// Ends the watch with an error. [`Session::may_write_change`] must hold.
    pub fn fail_watch(&mut self, failure: Failure, output: &mut Buffer, date: &HttpDate) {
        let Some(watch) = self.watch.take() else { return };
        let answer = Answer::Failed(failure);
        let reply =
            Reply { dialect: Dialect::Command, id: watch.id.as_ref(), answer: &answer, count: 1, date };
        self.codec.write_answer(&reply, output);
        // Events end with their response: the session may have more to do than to wait for input.
        self.deadline_state = ClientDeadline::default();
    }

    /// Notes that all output was sent: silence begins now.
    pub(super) fn begin_silence(&mut self, now: Instant) {
        if let Some(watch) = &mut self.watch {
            watch.next_comment = self.codec.has_comments().then(|| now + limits::WATCH_COMMENT_INTERVAL);
        }
    }

    /// When a comment is due.
    pub(super) fn next_comment(&self) -> Option<Instant> {
        self.watch.as_ref()?.next_comment
    }

    /// Writes a comment if it is due.
    pub(super) fn fill_silence(&mut self, output: &mut Buffer, now: Instant) {
        if let Some(watch) = &mut self.watch
            && watch.next_comment.take_if(|at| *at <= now).is_some()
        {
            self.codec.write_comment(output);
        }
    }

    /// Ends the watch: a session that drains can end.
    pub fn end_watch(&mut self) {
        self.watch = None;
    }

    /// Sets the memory that the watch holds elsewhere, in bytes.
    pub fn charge_watch(&mut self, bytes: usize) {
        if let Some(watch) = &mut self.watch {
            watch.held_bytes = bytes;
        }
    }
}

//! What a session does next, and what it may do.

#[cfg(doc)]
use super::Session;
use super::ending::Ending;
use super::request_head::RequestHead;
use super::rules::Rules;
use crate::clock::{HttpDate, Instant};
#[cfg(feature = "sealed")]
use crate::crypto::KeyExchange;
use crate::ids::RequestSeq;
use crate::model::{Cursor, Listing, LongMessage, Request};

/// What the session may start now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// A request.
    pub for_request: bool,
    /// A page of an answer, which uses much memory until the client has read it.
    pub for_page: bool,
}

/// The circumstances of a step.
#[derive(Clone, Copy)]
pub struct StepContext<'a> {
    /// The rules of the connection's listener.
    pub rules: &'a Rules,
    /// What the session may start now.
    pub capacity: Capacity,
    /// The current time.
    pub now: Instant,
    /// The date for the heads of replies.
    pub date: &'a HttpDate,
    /// The number of the request that the step returns; greater than those of earlier steps.
    pub seq: RequestSeq,
    /// Keep the errors of refused messages for [`Session::take_refusals`].
    pub keeps_refusals: bool,
}

/// The next action for the caller.
#[derive(Debug)]
pub enum Step {
    /// Run this request. Pass its answer to [`Session::answer`], or, if it comes later, pass the head to [`Session::open`]
    /// and the answer to [`Session::complete`]; do either before anything else.
    Call(RequestHead, Box<Request>),
    /// Answer a `ping` without an id, by [`Session::pong`]. No other request is open.
    Ping,
    /// Decode this message, and pass the result to [`Session::decoded`]. Nothing else is decoded before that.
    Decode(RequestSeq, LongMessage),
    /// Run this key exchange, and pass its result to [`Session::exchanged`].
    #[cfg(feature = "sealed")]
    Exchange(RequestSeq, KeyExchange),
    /// Make the next page of the answer to `seq`.
    NextPage(RequestSeq, Listing, Cursor),
    /// A delayed request is due: pass the answer for this text to [`Session::complete`].
    Due(RequestSeq, Box<str>),
    /// Provide more input.
    NeedInput,
    /// Wait for space in the output, or for an answer; read no input until then.
    Blocked,
    /// Wait for memory for a page of an answer.
    NeedRoom,
    /// Send the remaining output and end the connection.
    Finished(Ending),
}

//! Remembers the heads of requests, for the next request with the same bytes.
//!
//! The heads of a client are the same but for the value of `Content-Length`. A known head is compared byte for byte, from
//! the request line to the empty line, so what follows from it is what parsing would find. There is no hash, and so no
//! collision to choose: each connection remembers where its last head is.
//!
//! It keeps heads of accepted messages only, whose headers are all plain ([`super::headers::Headers::has_others`]): no
//! credentials and no origin. Whether a request is accepted depends on the rules, so they are one value with the heads.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use super::head::{Head, Method};
use super::headers::HeaderValue;
use super::host::HttpRules;
use super::response::Exchange;
use crate::limits;

/// What the HTTP connections of a listener share: the rules, and the heads that were accepted by them.
#[derive(Default)]
pub struct HttpListener {
    /// The rules.
    pub rules: Arc<HttpRules>,
    known: RefCell<KnownHeads>,
}

#[derive(Default)]
struct KnownHeads {
    heads: Vec<KnownHead>,
    /// The one to replace next.
    oldest: usize,
}

struct KnownHead {
    /// The head without the digits of `Content-Length`.
    bytes: Box<[u8]>,
    /// Where the digits belong.
    length_at: usize,
    exchange: Exchange,
}

/// What a known head says about the request at the front of the input.
pub(super) struct Recalled {
    /// Where it is.
    pub(super) index: u8,
    /// The bytes of the head.
    pub(super) head_bytes: usize,
    /// The bytes of the body.
    pub(super) body_bytes: usize,
    /// The format of the response.
    pub(super) exchange: Exchange,
}

impl HttpListener {
    /// A listener with these rules, and without known heads.
    pub fn new(rules: Arc<HttpRules>) -> HttpListener {
        HttpListener { rules, known: RefCell::default() }
    }

    /// Finds the known head that `input` starts with. `last`: where to look first.
    pub(super) fn recall(&self, last: u8, input: &[u8]) -> Option<Recalled> {
        let known = self.known.borrow();
        let order = std::iter::once(usize::from(last)).chain(0..known.heads.len());
        let mut heads = order.filter_map(|index| Some((index, known.heads.get(index)?)));
        heads.find_map(|(index, head)| {
            let (head_bytes, body_bytes) = head.compare(input)?;
            Some(Recalled { index: index as u8, head_bytes, body_bytes, exchange: head.exchange.clone() })
        })
    }

    /// Remembers the head of an accepted message, if it is plain; returns where.
    pub(super) fn remember(&self, bytes: &[u8], head: &Head<'_>, exchange: &Exchange) -> Option<u8> {
        let HeaderValue::Once(digits) = head.headers.content_length else { return None };
        let is_plain =
            head.method == Method::Post && head.target.query.is_empty() && !head.headers.has_others;
        if !is_plain || bytes.len() > limits::HTTP_KNOWN_HEAD_BYTES_MAX {
            return None;
        }
        if let Some(known) = self.recall(0, bytes) {
            return Some(known.index);
        }
        let length_at = digits.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
        let (before, after) = (bytes.get(..length_at)?, bytes.get(length_at + digits.len()..)?);
        let new = KnownHead { bytes: [before, after].concat().into(), length_at, exchange: exchange.clone() };
        let KnownHeads { heads, oldest } = &mut *self.known.borrow_mut();
        if heads.len() < limits::HTTP_KNOWN_HEADS_MAX {
            heads.push(new);
            return Some((heads.len() - 1) as u8);
        }
        let index = std::mem::replace(oldest, (*oldest + 1) % limits::HTTP_KNOWN_HEADS_MAX);
        heads[index] = new;
        Some(index as u8)
    }
}

impl KnownHead {
    /// The bytes of the head and of the body, if `input` starts with this head and any length.
    fn compare(&self, input: &[u8]) -> Option<(usize, usize)> {
        let (before, after) = self.bytes.split_at(self.length_at);
        let rest = input.strip_prefix(before)?;
        let digits = rest.iter().take(LENGTH_DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at(digits);
        if digits.is_empty() || !rest.starts_with(after) {
            return None;
        }
        let length = digits.iter().fold(0, |length, digit| 10 * length + usize::from(digit - b'0'));
        Some((self.bytes.len() + digits.len(), length))
    }
}

impl Clone for HttpListener {
    /// The same rules; a copy knows no heads.
    fn clone(&self) -> HttpListener {
        HttpListener::new(Arc::clone(&self.rules))
    }
}

impl PartialEq for HttpListener {
    fn eq(&self, other: &HttpListener) -> bool {
        self.rules == other.rules
    }
}

impl Eq for HttpListener {}

impl fmt::Debug for HttpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

/// More digits are parsed.
const LENGTH_DIGITS_MAX: usize = 9;

const _: () = assert!(limits::HTTP_KNOWN_HEADS_MAX <= 1 << 8, "an index has 8 bits");

#[cfg(test)]
#[path = "known_heads_tests.rs"]
mod tests;

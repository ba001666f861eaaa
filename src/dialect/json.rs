//! Reads JSON by its bytes, in one pass: no allocation, no recursion.
//!
//! [`read_request`] validates the object at the front of the input, and finds its members and those of `data`. It takes
//! whatever is valid, up to limits that requests do not reach. All else, and the words for errors, is left to the full
//! reader, in `envelope`; the fuzz target `readers` holds both to each other.
//!
//! The other functions divide texts that a reader has found valid.
//!
//! Positions are passed and returned by value, so that they stay in registers. A function that moves one past something
//! returns `None` if that is not there.

use std::ops::Range;

/// Where the members of a request and of its `data` are in its text.
pub(super) struct Members {
    /// Those of `data` stand together.
    places: [Member; MEMBERS_MAX],
    count: usize,
    /// Which are those of `data`, if it is an object.
    data: Option<Range<usize>>,
}

/// The begins and ends of a key with its quotes, and of its value.
#[derive(Clone, Copy)]
struct Member {
    key: (u32, u32),
    value: (u32, u32),
}

/// Reads the object at the front of `input` and returns its text; `None` if it is incomplete, invalid or beyond a limit.
/// `members` has to be empty.
pub(super) fn read_request<'a>(input: &'a [u8], members: &mut Members) -> Option<&'a str> {
    let end = members.read(input)?;
    std::str::from_utf8(&input[..end]).ok()
}

/// Calls `each` with key and value of every member of the valid JSON text `text`, if it is an object. The key includes
/// its quotes.
pub(super) fn for_each_field<'a>(text: &'a str, each: impl FnMut(&'a str, &'a str)) {
    Element { text, first: text.as_bytes().first().copied().unwrap_or(0), at: 0, end: None }
        .for_each_field(each);
}

/// Calls `each` with index and every element of the valid JSON text `text`; `None` if it is no array.
pub(super) fn for_each_element<'a>(
    text: &'a str,
    mut each: impl FnMut(usize, &mut Element<'a>),
) -> Option<()> {
    let bytes = text.as_bytes();
    let (b'[', at) = token(bytes, 0)? else { return None };
    let mut next = token(bytes, at + 1)?;
    let mut index = 0;
    while next.0 != b']' {
        let mut element = Element { text, first: next.0, at: next.1, end: None };
        each(index, &mut element);
        index += 1;
        next = match token(bytes, element.end()?)? {
            (b',', comma) => token(bytes, comma + 1)?,
            closing => closing,
        };
    }
    Some(())
}

/// An element of an array; it is read at most once.
pub(super) struct Element<'a> {
    /// The text of the array.
    text: &'a str,
    first: u8,
    at: usize,
    /// Where it ends, if that is known.
    end: Option<usize>,
}

impl<'a> Element<'a> {
    /// Whether it is an object.
    pub(super) fn is_object(&self) -> bool {
        self.first == b'{'
    }

    /// Its text.
    pub(super) fn text(&mut self) -> &'a str {
        let end = self.end().unwrap_or(self.at);
        &self.text[self.at..end]
    }

    /// Calls `each` with key, in quotes, and value of every member, if it is an object.
    pub(super) fn for_each_field(&mut self, mut each: impl FnMut(&'a str, &'a str)) {
        if self.is_object() {
            let (text, bytes) = (self.text, self.text.as_bytes());
            self.end = after_object(bytes, self.at + 1, |key, first, at| {
                let end = after_valid(bytes, first, at)?;
                each(&text[key], &text[at..end]);
                Some(end)
            });
        }
    }

    fn end(&mut self) -> Option<usize> {
        if self.end.is_none() {
            self.end = after_valid(self.text.as_bytes(), self.first, self.at);
        }
        self.end
    }
}

impl Members {
    /// None.
    pub(super) const fn new() -> Members {
        Members { places: [Member { key: (0, 0), value: (0, 0) }; MEMBERS_MAX], count: 0, data: None }
    }

    /// Whether none are known.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `data` is an object.
    pub(super) fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// Calls `each` with the key, in quotes, and the value of each member of the request; `text` is the one that was read.
    pub(super) fn for_each_of_request<'a>(&self, text: &'a str, mut each: impl FnMut(&'a str, &'a str)) {
        let data = self.data.clone().unwrap_or_default();
        for (index, member) in self.places[..self.count].iter().enumerate() {
            if !data.contains(&index) {
                member.pass(text, &mut each);
            }
        }
    }

    /// The same for the members of `data`.
    pub(super) fn for_each_of_data<'a>(&self, text: &'a str, mut each: impl FnMut(&'a str, &'a str)) {
        for member in &self.places[self.data.clone().unwrap_or_default()] {
            member.pass(text, &mut each);
        }
    }

    /// Finds the members of the object at the front, and returns where it ends.
    fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        if *bytes.first()? != b'{' {
            return None;
        }
        after_object(bytes, 1, |key, first, at| {
            let is_data = first == b'{' && self.data.is_none() && bytes.get(key.clone()) == Some(b"\"data\"");
            let end = match is_data {
                true => self.read_data(bytes, at + 1)?,
                false => after_value(bytes, first, at)?,
            };
            self.add(key, at..end)
        })
    }

    fn read_data(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let begin = self.count;
        let end =
            after_object(bytes, at, |key, first, at| self.add(key, at..after_value(bytes, first, at)?))?;
        self.data = Some(begin..self.count);
        Some(end)
    }

    fn add(&mut self, key: Range<usize>, value: Range<usize>) -> Option<usize> {
        let place = |range: Range<usize>| (range.start as u32, range.end as u32);
        *self.places.get_mut(self.count)? = Member { key: place(key), value: place(value.clone()) };
        self.count += 1;
        Some(value.end)
    }
}

impl Member {
    fn pass<'a>(self, text: &'a str, each: &mut impl FnMut(&'a str, &'a str)) {
        let part = |(begin, end): (u32, u32)| &text[begin as usize..end as usize];
        each(part(self.key), part(self.value));
    }
}

/// The next byte that is not white space, and its position.
#[inline(always)]
pub(super) fn token(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        match *bytes.get(at)? {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            byte => return Some((byte, at)),
        }
    }
}

/// After the object whose opening bracket is before `at`. `after_member` gets each key, in quotes, the first byte of its
/// value and where that begins, and returns where it ends.
#[inline(always)]
fn after_object(
    bytes: &[u8],
    at: usize,
    mut after_member: impl FnMut(Range<usize>, u8, usize) -> Option<usize>,
) -> Option<usize> {
    let (mut first, mut at) = token(bytes, at)?;
    if first == b'}' {
        return Some(at + 1);
    }
    loop {
        let begin = at;
        let (end, value) = after_key(bytes, first, at)?;
        (first, at) = value;
        (first, at) = token(bytes, after_member(begin..end, first, at)?)?;
        match first {
            b',' => (first, at) = token(bytes, at + 1)?,
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// After the key at `at`, and the first byte and the position of its value.
#[inline(always)]
fn after_key(bytes: &[u8], first: u8, at: usize) -> Option<(usize, (u8, usize))> {
    if first != b'"' {
        return None;
    }
    let end = after_string(bytes, at + 1)?;
    let (b':', colon) = token(bytes, end)? else { return None };
    Some((end, token(bytes, colon + 1)?))
}

/// After the value at `at`, which begins with `first`.
#[inline]
fn after_value(bytes: &[u8], first: u8, at: usize) -> Option<usize> {
    match first {
        b'{' | b'[' => after_nested(bytes, first, at),
        _ => after_scalar(bytes, first, at),
    }
}

/// After the object or array at `at`.
fn after_nested(bytes: &[u8], mut first: u8, mut at: usize) -> Option<usize> {
    // The kinds of the open brackets, the innermost last, after a one: 1 for an object, 0 for an array.
    let mut open: u64 = 1;
    loop {
        // Here a value begins.
        if let b'{' | b'[' = first {
            let (bracket, is_object) = (first, first == b'{');
            open = (open.leading_zeros() > 0).then_some(open << 1 | u64::from(is_object))?;
            (first, at) = token(bytes, at + 1)?;
            if first != bracket + CLOSING {
                (first, at) = if is_object { after_key(bytes, first, at)?.1 } else { (first, at) };
                continue;
            }
        } else {
            (first, at) = token(bytes, after_scalar(bytes, first, at)?)?;
        }
        // Here is what follows one, or ends an empty object or array.
        loop {
            match (first, open & 1 == 1) {
                (b',', is_object) => {
                    (first, at) = token(bytes, at + 1)?;
                    (first, at) = if is_object { after_key(bytes, first, at)?.1 } else { (first, at) };
                    break;
                }
                (b'}', true) | (b']', false) => open >>= 1,
                _ => return None,
            }
            if open == 1 {
                return Some(at + 1);
            }
            (first, at) = token(bytes, at + 1)?;
        }
    }
}

/// After the value at `at`, which begins with `first`. It is valid, and may be deeper than a reader of all follows.
#[inline]
fn after_valid(bytes: &[u8], first: u8, at: usize) -> Option<usize> {
    match first {
        b'{' | b'[' => after_valid_nested(bytes, at),
        _ => after_scalar(bytes, first, at),
    }
}

fn after_valid_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0;
    loop {
        at = match *bytes.get(at)? {
            b'"' => after_string(bytes, at + 1)?,
            b'{' | b'[' => {
                depth += 1;
                at + 1
            }
            b'}' | b']' if depth == 1 => return Some(at + 1),
            b'}' | b']' => {
                depth -= 1;
                at + 1
            }
            _ => at + 1,
        };
    }
}

/// After the string, number, `true`, `false` or `null` at `at`.
#[inline(always)]
fn after_scalar(bytes: &[u8], first: u8, at: usize) -> Option<usize> {
    let word: &[u8] = match first {
        b'"' => return after_string(bytes, at + 1),
        b'-' => return after_number(bytes, at + 1),
        b'0'..=b'9' => return after_number(bytes, at),
        b't' => b"true",
        b'f' => b"false",
        b'n' => b"null",
        _ => return None,
    };
    bytes[at..].starts_with(word).then_some(at + word.len())
}

/// After the number at `at`, which is after its sign.
pub(super) fn after_number(bytes: &[u8], at: usize) -> Option<usize> {
    // No digit follows a zero at the front.
    let mut at = match bytes.get(at)? {
        b'0' => at + 1,
        _ => after_digits(bytes, at)?,
    };
    if let Some(b'.') = bytes.get(at) {
        at = after_digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at = match bytes.get(at + 1)? {
            b'+' | b'-' => at + 2,
            _ => at + 1,
        };
        at = after_digits(bytes, at)?;
    }
    Some(at)
}

/// After one or more digits.
#[inline]
fn after_digits(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    while let Some(b'0'..=b'9') = bytes.get(end) {
        end += 1;
    }
    (end > at).then_some(end)
}

/// After the string whose text begins at `at`. Whether it is UTF-8 is found for the whole request.
#[inline(always)]
fn after_string(bytes: &[u8], at: usize) -> Option<usize> {
    let at = after_text(bytes, at);
    match bytes.get(at)? {
        b'"' => Some(at + 1),
        b'\\' => after_escapes(bytes, at),
        // A control byte.
        _ => None,
    }
}

/// At the next quote, backslash or control byte, or at the end.
#[inline(always)]
pub(super) fn after_text(bytes: &[u8], at: usize) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    // Eight bytes at a time: the highest bit of each that is zero, at least of the first one.
    let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes & HIGHEST_BITS;
    while let Some((eight, more)) = rest.split_first_chunk() {
        let eight = u64::from_le_bytes(*eight);
        let special = zeros(eight ^ QUOTES) | zeros(eight ^ BACKSLASHES) | zeros(eight & NO_CONTROLS);
        if special != 0 {
            return bytes.len() - rest.len() + special.trailing_zeros() as usize / 8;
        }
        rest = more;
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    bytes.len() - rest.len() + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// After a string that has escapes, the first of them at `at`.
#[cold]
fn after_escapes(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let b'\\' = bytes.get(at)? {
        let length = match bytes.get(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return None,
        };
        at = after_text(bytes, at + length);
    }
    (bytes[at] == b'"').then_some(at + 1)
}

/// From an opening bracket to its closing one.
const CLOSING: u8 = b'}' - b'{';
const _: () = assert!(b'[' + CLOSING == b']');

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHEST_BITS: u64 = u64::from_le_bytes([0x80; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
/// Of the bytes only controls have none of these bits.
const NO_CONTROLS: u64 = u64::from_le_bytes([0xe0; 8]);

/// The most members of a request and its `data`: more than any command has.
const MEMBERS_MAX: usize = 12;

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;

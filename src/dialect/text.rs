//! The dialect of metrics text: `put KEY VALUE TIMESTAMP`, `get KEY` or `get *`. Replies start with `ok` or `error` and
//! end with a blank line.

use std::borrow::Cow;

use super::number::{TimestampError, read_timestamp, read_value, write_timestamp, write_value};
use super::page_progress::PageProgress;
use crate::limits;
use crate::model::{
    Answer, Command, CommandName, Dialect, Failure, Items, MetricKey, NewPoint, Page, Point, PointFilter,
    Refusal, Request,
};

/// A parsed line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextCommand {
    /// Store this point.
    Put(NewPoint),
    /// Return these points.
    Get(PointFilter),
}

/// Parses a line without its line ending.
pub fn decode_line(line: &[u8]) -> Result<TextCommand, Refusal> {
    let failure = || if line.starts_with(b"{") { Failure::JsonLine } else { Failure::UnknownTextCommand };
    let parsed = read(line).unwrap_or_else(|| Err(failure()));
    parsed.map_err(|failure| Refusal { dialect: Dialect::Text, id: None, failure })
}

/// Reads lines at the start of `input` as long as they put points in their plain form, with one space between the words, and
/// adds the points to `points`, of which there may be `count_max`. Returns the bytes of these lines. [`decode_line`] takes them
/// too, and finds the same.
pub fn read_plain_puts(input: &[u8], count_max: usize, points: &mut Vec<NewPoint>) -> usize {
    if !input.starts_with(b"put ") {
        return 0;
    }
    let input = &input[..input.len().min(limits::READ_CHUNK_BYTES)];
    let text = match str::from_utf8(input) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&input[..error.valid_up_to()]).unwrap_or_default(),
    };
    let mut rest = text;
    while points.len() < count_max
        && let Some((point, after)) = read_plain_put(rest)
    {
        if points.is_empty() {
            // Most that follow are as long.
            points.reserve_exact((text.len() / (text.len() - after.len())).min(count_max));
        }
        points.push(point);
        rest = after;
    }
    text.len() - rest.len()
}

/// The point of the first line of `text`, and what follows the line.
fn read_plain_put(text: &str) -> Option<(NewPoint, &str)> {
    let mut rest = text.strip_prefix("put ")?;
    let mut word_before = |end: u8| {
        let length = word_length(rest.as_bytes())?;
        if rest.as_bytes()[length] != end {
            return None;
        }
        let word = &rest[..length];
        rest = &rest[length + 1..];
        Some(word)
    };
    let key = MetricKey::parse(word_before(b' ')?).ok()?;
    let value = read_value(word_before(b' ')?.as_bytes())?;
    let timestamp = read_timestamp(word_before(b'\n')?.as_bytes()).ok()?;
    let is_short = text.len() - rest.len() <= limits::TEXT_LINE_BYTES_MAX;
    is_short.then_some((NewPoint { key, point: Point { timestamp, value } }, rest))
}

/// The bytes before the first white space or control character, if there is one.
#[inline(always)]
fn word_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk() {
        // The highest bit of each byte below `!`, at least of the first one.
        let eight = u64::from_le_bytes(*eight);
        let ends = eight.wrapping_sub(u64::from_le_bytes([b'!'; 8])) & !eight & u64::from_le_bytes([0x80; 8]);
        if ends != 0 {
            return Some(bytes.len() - rest.len() + ends.trailing_zeros() as usize / 8);
        }
        rest = more;
    }
    let index = rest.iter().position(|byte| *byte <= b' ')?;
    Some(bytes.len() - rest.len() + index)
}

/// The request for a `get` line.
pub fn get_request(filter: PointFilter) -> Request {
    Request::new(Dialect::Text, CommandName::Get, Ok(Command::Get(filter)))
}

/// `None` if the line is not a valid command.
fn read(line: &[u8]) -> Option<Result<TextCommand, Failure>> {
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let command = match words.next()? {
        b"put" => {
            let key = read_key(words.next()?)?;
            let value = read_value(words.next()?)?;
            match read_timestamp(words.next()?) {
                Ok(timestamp) => Ok(TextCommand::Put(NewPoint { key, point: Point { timestamp, value } })),
                Err(TimestampError::OutOfRange) => Err(Failure::TimeOutOfRange),
                Err(TimestampError::NotAnInteger) => return None,
            }
        }
        b"get" => {
            let key = match words.next()? {
                b"*" => None,
                key => Some(read_key(key)?),
            };
            Ok(TextCommand::Get(PointFilter { key, ..PointFilter::default() }))
        }
        _ => return None,
    };
    words.next().is_none().then_some(command)
}

fn read_key(word: &[u8]) -> Option<MetricKey> {
    MetricKey::parse(str::from_utf8(word).ok()?).ok()
}

/// Writes the `count` replies to a request.
pub fn encode_answer(answer: &Answer, count: usize, output: &mut Vec<u8>) {
    match answer {
        Answer::Put { refused } => {
            let mut refused = refused.iter().peekable();
            for index in 0..count {
                match refused.next_if(|&&refused| refused == index) {
                    Some(_) => error(&Failure::KeyLimitReached(None), output),
                    None => output.extend_from_slice(b"ok\n\n"),
                }
            }
        }
        Answer::Failed(failure) => (0..count).for_each(|_| error(failure, output)),
        other => {
            debug_assert!(false, "{other:?} is no answer to a line");
            (0..count).for_each(|_| error(&Failure::Internal, output));
        }
    }
}

/// Writes one page of points.
pub(super) fn encode_page(page: &Page, progress: &mut PageProgress, output: &mut Vec<u8>) {
    if progress.begin() {
        output.extend_from_slice(b"ok\n");
    }
    match &page.items {
        Items::Points(series) => {
            for of_series in series {
                of_series.points.iter().for_each(|point| line(&of_series.key, *point, output));
            }
        }
        other => debug_assert!(false, "{other:?} are no points"),
    }
    if page.next.is_none() {
        output.push(b'\n');
    }
}

fn line(key: &MetricKey, point: Point, output: &mut Vec<u8>) {
    output.extend_from_slice(key.as_str().as_bytes());
    output.push(b' ');
    write_value(point.value, output);
    output.push(b' ');
    write_timestamp(point.timestamp, output);
    output.push(b'\n');
}

fn error(failure: &Failure, output: &mut Vec<u8>) {
    output.extend_from_slice(b"error\n");
    output.extend_from_slice(message(failure).as_bytes());
    output.extend_from_slice(b"\n\n");
}

/// The message of a failure. One that no line can cause is an internal error.
fn message(failure: &Failure) -> Cow<'static, str> {
    Cow::Borrowed(match failure {
        Failure::JsonLine => "wrong command: this connection speaks metrics text; open a new one for JSON",
        Failure::TimeOutOfRange => "timestamp out of range: seconds since 1970",
        Failure::BadText => "a line must be UTF-8 without control characters",
        Failure::UnexpectedEnd => "the input ended inside a line",
        Failure::TimedOut => "the line did not end in time",
        Failure::KeyLimitReached(_) => return Failure::KeyLimitReached(None).message(),
        Failure::UnknownTextCommand
        | Failure::LineTooLong
        | Failure::AuthenticationRequired
        | Failure::Busy
        | Failure::RequestMemoryFull
        | Failure::StoreUnavailable
        | Failure::OutcomeUnknown => return failure.message(),
        _ => return Failure::Internal.message(),
    })
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;

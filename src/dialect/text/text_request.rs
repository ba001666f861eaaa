//! From a line to a [`TextCommand`], and from that to a [`Request`].

use crate::dialect::number::{TimestampError, read_timestamp, read_value};
use crate::model::{
    Command, CommandName, Dialect, Failure, MetricKey, NewPoint, Point, PointFilter, Put, Refusal, Request,
    Scope,
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

/// The request for a batch of `put` lines; each point is stored or refused individually.
pub fn put_request(points: Vec<NewPoint>) -> Request {
    request(CommandName::Put, Command::Put(Put { points, undated: Vec::new(), is_atomic: false }))
}

/// The request for a `get` line.
pub fn get_request(filter: PointFilter) -> Request {
    request(CommandName::Get, Command::Get(filter))
}

fn request(name: CommandName, command: Command) -> Request {
    Request {
        dialect: Dialect::Text,
        scope: Scope::Connection,
        is_forwarded: false,
        id: None,
        token: Ok(None),
        name,
        command: Ok(command),
    }
}

/// `None` if the line is not a valid command.
fn read(line: &[u8]) -> Option<Result<TextCommand, Failure>> {
    let mut words = Words(line);
    let said = match words.next()? {
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
    words.next().is_none().then_some(said)
}

fn read_key(word: &[u8]) -> Option<MetricKey> {
    MetricKey::parse(std::str::from_utf8(word).ok()?).ok()
}

/// The words of a line, separated by spaces and tabs.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|&byte| !is_blank(byte))?;
        let rest = &self.0[start..];
        let end = rest.iter().position(|&byte| is_blank(byte)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        Some(word)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
#[path = "text_request_tests.rs"]
mod tests;

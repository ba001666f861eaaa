//! From a line to what it says, and from that to a [`Request`].

use crate::dialect::number::{TimestampError, read_timestamp, read_value};
use crate::model::{
    Command, CommandName, Dialect, Failure, MetricKey, NewPoint, Point, PointFilter, Put, Refusal, Request,
    Scope,
};

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextCommand {
    /// Keep this point.
    Put(NewPoint),
    /// Tell these points.
    Get(PointFilter),
}

/// Reads a line, whose end is left out.
pub fn decode_line(line: &[u8]) -> Result<TextCommand, Refusal> {
    let failure = || if line.starts_with(b"{") { Failure::JsonLine } else { Failure::UnknownTextCommand };
    let said = read(line).unwrap_or_else(|| Err(failure()));
    said.map_err(|failure| Refusal { dialect: Dialect::Text, id: None, failure })
}

/// The request that lines of these points make, each of which is kept or refused by itself.
pub fn put_request(points: Vec<NewPoint>) -> Request {
    request(CommandName::Put, Command::Put(Put { points, undated: Vec::new(), is_atomic: false }))
}

/// The request that a line makes which asks for points.
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

/// `None`: it is no command.
fn read(line: &[u8]) -> Option<Result<TextCommand, Failure>> {
    let mut words = Words(line);
    let said = match words.next()? {
        b"put" => {
            let key = read_key(words.next()?)?;
            let value = read_value(words.next()?)?;
            match read_timestamp(words.next()?) {
                Ok(second) => {
                    Ok(TextCommand::Put(NewPoint { key, point: Point { timestamp: second, value } }))
                }
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

/// The words of a line, which blanks separate.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|&byte| !is_blank(byte))?;
        let rest = &self.0[start..];
        let end = rest.iter().position(|&byte| is_blank(byte)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        self.0 = behind;
        Some(word)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
#[path = "text_request_tests.rs"]
mod tests;

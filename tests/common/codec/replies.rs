//! What replies of HTTP and of metrics text say.

use super::{HANDSHAKE_ACCEPT, Malformed, number};

/// A reply of metrics text.
#[derive(Clone, PartialEq, Debug)]
pub enum TextReply<'a> {
    /// `ok`, and the points in lines.
    Points(Vec<PointLine<'a>>),
    /// `error`, and the message.
    Error(&'a str),
}

/// A point in a reply of metrics text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PointLine<'a> {
    /// The key of its series.
    pub key: &'a str,
    /// The value as the server writes it.
    pub value: &'a str,
    /// In seconds since 1970.
    pub timestamp: i64,
}

/// The head of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpHead {
    /// The status code.
    pub status: u16,
    /// All lines, without the empty one at the end.
    pub text: String,
}

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// After this many bytes.
    Sized(usize),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl HttpHead {
    pub(super) fn parse(text: String) -> Result<HttpHead, Malformed> {
        let (status_line, fields) = text.split_once("\r\n").unwrap_or((&text, ""));
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|line| line.split(' ').next());
        let status = status.filter(|status| status.len() == 3).and_then(number);
        let status = status.ok_or(Malformed("a response without a status"))?;
        let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
        let is_field = |line: &str| line.split_once(": ").is_some_and(|(name, _)| is_name(name));
        if !fields.is_empty() && !fields.split("\r\n").all(is_field) {
            return Err(Malformed("a line of a head that is no field"));
        }
        let head = HttpHead { status: status as u16, text };
        let is_length = |name: &str| {
            ["Content-Length", "Transfer-Encoding"].iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        match head.fields().filter(|(name, _)| is_length(name)).count() {
            0 | 1 => Ok(head),
            _ => Err(Malformed("two lengths of one body")),
        }
    }

    /// The value of the first field `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether the connection ends with the response.
    pub fn closes(&self) -> bool {
        let connection = self.fields().filter(|(name, _)| name.eq_ignore_ascii_case("Connection"));
        connection.flat_map(|(_, value)| value.split(',')).any(|option| option.trim() == "close")
    }

    /// Whether it accepts `HANDSHAKE`: frames of WebSocket follow.
    pub fn accepts_handshake(&self) -> bool {
        let is = |name: &str, wanted: &str| {
            self.field(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        };
        self.status == 101
            && is("Upgrade", "websocket")
            && is("Connection", "Upgrade")
            && self.field("Sec-WebSocket-Accept") == Some(HANDSHAKE_ACCEPT)
    }

    /// How the body of the response ends, unless the request was HEAD.
    pub fn body_length(&self) -> Result<BodyLength, Malformed> {
        match (self.field("Content-Length"), self.field("Transfer-Encoding")) {
            (None, None) if self.status < 200 || self.status == 204 => Ok(BodyLength::Sized(0)),
            (Some(length), None) => {
                number(length).map(BodyLength::Sized).ok_or(Malformed("no length of a body"))
            }
            (None, Some("chunked")) => Ok(BodyLength::Chunked),
            (None, None) if self.closes() => Ok(BodyLength::UntilClose),
            _ => Err(Malformed("a body without a length")),
        }
    }

    /// The fields of the header: name and value.
    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.split("\r\n").skip(1).filter_map(|line| line.split_once(": "))
    }
}

impl<'a> TextReply<'a> {
    /// Reads what `Decoder::text_reply` returns.
    pub fn parse(reply: &'a str) -> Result<TextReply<'a>, Malformed> {
        match reply.split_once('\n').unwrap_or((reply, "")) {
            ("ok", lines) => Ok(TextReply::Points(point_lines(lines)?)),
            ("error", message) if !message.is_empty() && !message.contains('\n') => {
                Ok(TextReply::Error(message))
            }
            _ => Err(Malformed("neither ok nor an error in one line")),
        }
    }
}

/// Reads points in lines.
pub fn point_lines(lines: &str) -> Result<Vec<PointLine<'_>>, Malformed> {
    let point = |line| -> Option<PointLine<'_>> {
        let mut words = str::split(line, ' ').filter(|word| !word.is_empty());
        let (key, value, timestamp) = (words.next()?, words.next()?, words.next()?);
        let is_single_spaced = key.len() + value.len() + timestamp.len() + 2 == line.len();
        is_single_spaced.then_some(PointLine { key, value, timestamp: timestamp.parse().ok()? })
    };
    lines.lines().map(|line| point(line).ok_or(Malformed("a line that is no point"))).collect()
}

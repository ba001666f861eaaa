//! The parameters of a query: `NAME=VALUE&…`, percent-encoded.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::dialect::fields::{Excerpt, JsonPath};
use crate::model::BadField;

/// The parameters of a request, decoded.
pub(super) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    /// Reads a query. The head of a request bounds their number.
    pub(super) fn parse(query: &'a str) -> Result<Parameters<'a>, BadField> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            decode(name).zip(decode(value))
        });
        let parameters: Option<Vec<_>> = pairs.collect();
        parameters.map(Parameters).ok_or_else(|| {
            BadField("the query is not understood: it must be NAME=VALUE&…, in UTF-8, percent-encoded".into())
        })
    }

    /// The last value of the parameter `name`, as of a form that is sent with a change; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let values = self.0.iter().rev().filter(|(given, _)| given == name);
        values.map(|(_, value)| &**value).next().filter(|value| !value.is_empty())
    }

    /// A text of at most so many bytes.
    pub(super) fn text(&self, name: &str, bytes_max: usize) -> Result<&str, BadField> {
        match self.get(name).unwrap_or_default() {
            text if text.len() > bytes_max => {
                Err(self.bad(name, &format!("a text of at most {bytes_max} bytes")))
            }
            text => Ok(text),
        }
    }

    /// An integer.
    pub(super) fn integer(&self, name: &str, allowed: RangeInclusive<i64>) -> Result<Option<i64>, BadField> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse().ok().filter(|number| allowed.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let (start, end) = allowed.into_inner();
                Err(self.bad(name, &format!("an integer from {start} to {end}")))
            }
        }
    }

    /// What one of these names means.
    pub(super) fn one_of<T: Copy, const COUNT: usize>(
        &self,
        name: &str,
        known: [(&str, T); COUNT],
    ) -> Result<Option<T>, BadField> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match known.iter().find(|(known, _)| *known == text) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => Err(self.bad(name, &format!("one of {}", known.map(|(known, _)| known).join(", ")))),
        }
    }

    /// The error for the value of the parameter `name`.
    pub(super) fn bad(&self, name: &str, allowed: &str) -> BadField {
        JsonPath::Root.invalid(name, Excerpt(self.get(name).unwrap_or_default()), allowed)
    }
}

/// Decodes `%XX` and `+`; `None` if the text is malformed.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match first {
            b'%' => (hexadecimal(tail.get(..2)?)?, &tail[2..]),
            b'+' => (b' ', tail),
            other => (*other, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    digits.iter().try_fold(0, |number, byte| Some(number * 16 + digit(byte)? as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let parameters =
            Parameters::parse("a=1&b=%C3%a9+%2B%26%3D&&c&d=&a=2&=x&e=1=2&%66=y").expect("a query");
        for (name, wanted) in [
            ("a", Some("2")),
            ("b", Some("é +&=")),
            ("c", None),
            ("d", None),
            ("e", Some("1=2")),
            ("f", Some("y")),
            ("g", None),
        ] {
            assert_eq!(parameters.get(name), wanted, "{name}");
        }
        assert!(Parameters::parse("").expect("no parameter").0.is_empty());
        for bad in ["a=%", "a=%4", "a=%zz", "%f=1", "a=%ff", "a=%+1", "b=%C3%28", "a=1&b=%é"] {
            let error = Parameters::parse(bad).map(|_| ()).expect_err(bad);
            assert!(error.0.starts_with("the query is not understood"), "{bad}");
        }
    }

    #[test]
    fn values_are_checked() {
        let parameters = Parameters::parse("n=5&far=99&word=x&state=on&long=xxxxx").expect("a query");
        assert_eq!(parameters.integer("n", 0..=9), Ok(Some(5)));
        assert_eq!(parameters.integer("none", 0..=9), Ok(None));
        assert_eq!(parameters.one_of("state", [("on", 1), ("off", 2)]), Ok(Some(1)));
        assert_eq!(parameters.text("word", 1), Ok("x"));
        for (bad, wanted) in [
            (
                parameters.integer("far", 0..=9).map(drop),
                "far: 99 is not allowed; it must be an integer from 0 to 9",
            ),
            (
                parameters.integer("word", 0..=9).map(drop),
                "word: x is not allowed; it must be an integer from 0 to 9",
            ),
            (
                parameters.one_of("word", [("a", 1), ("b", 2)]).map(drop),
                "word: x is not allowed; it must be one of a, b",
            ),
            (
                parameters.text("long", 4).map(drop),
                "long: xxxxx is not allowed; it must be a text of at most 4 bytes",
            ),
        ] {
            assert_eq!(bad, Err(BadField(wanted.into())));
        }
    }
}

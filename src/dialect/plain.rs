//! A quick look at the JSON that most requests are: objects of strings without escapes, of integers and of
//! objects like them.
//!
//! It judges nothing: what is not plain may be valid or not, and is left to a real parser. What it takes for
//! plain is valid JSON, and is cut into the same names and values.

/// Calls `each` with the name, without its quotes, and the value of every field of the object `text`. False if
/// anything in it is not plain; then what `each` was told counts for nothing.
pub(super) fn for_each_field<'a>(text: &'a str, each: &mut dyn FnMut(&'a str, &'a str)) -> bool {
    let mut cursor = Cursor { text, at: 0 };
    let is_plain = cursor.object(DEPTH_MAX, each).is_some();
    cursor.skip_white_space();
    is_plain && cursor.peek().is_none()
}

/// How far a text has been read. Each step is `None` where something is not plain.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn object(&mut self, depth_left: usize, each: &mut dyn FnMut(&'a str, &'a str)) -> Option<()> {
        self.take(b'{')?;
        self.skip_white_space();
        if self.peek()? == b'}' {
            return self.take(b'}');
        }
        loop {
            let name = self.string()?;
            self.skip_white_space();
            self.take(b':')?;
            self.skip_white_space();
            let begin = self.at;
            self.value(depth_left)?;
            each(name, &self.text[begin..self.at]);
            self.skip_white_space();
            if self.peek()? == b'}' {
                return self.take(b'}');
            }
            self.take(b',')?;
            self.skip_white_space();
        }
    }

    fn value(&mut self, depth_left: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'{' => self.object(depth_left.checked_sub(1)?, &mut |_, _| ()),
            // No digit may follow a zero; whoever finds no end of the value there calls it not plain.
            b'0' => self.take(b'0'),
            b'1'..=b'9' => {
                while self.peek()?.is_ascii_digit() {
                    self.at += 1;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// A string, without its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let begin = self.at;
        self.at += run(&self.text.as_bytes()[begin..], &IN_STRINGS);
        let inner = &self.text[begin..self.at];
        self.take(b'"')?;
        Some(inner)
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        if self.peek()? != byte {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// How many bytes of `set` there are before any other. Kept out of its callers, where the compiler makes twice as
/// many instructions of the loop.
#[inline(never)]
fn run(bytes: &[u8], set: &[bool; 256]) -> usize {
    bytes.iter().position(|&byte| !set[usize::from(byte)]).unwrap_or(bytes.len())
}

/// The bytes that stand for themselves in a string.
static IN_STRINGS: [bool; 256] = {
    let mut table = [true; 256];
    let mut control = 0;
    while control < b' ' {
        table[control as usize] = false;
        control += 1;
    }
    table[b'"' as usize] = false;
    table[b'\\' as usize] = false;
    table
};

/// A request and its data: objects deeper than that are not plain.
const DEPTH_MAX: usize = 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    /// What is told of `text`, if it is plain.
    fn plain(text: &str) -> Option<Vec<(&str, &str)>> {
        let mut fields = Vec::new();
        for_each_field(text, &mut |name, value| fields.push((name, value))).then_some(fields)
    }

    #[test]
    fn plain_objects_are_cut_into_names_and_values() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("{}", &[]),
            ("{ } \n", &[]),
            (r#"{"command": "ping", "data": {}}"#, &[("command", "\"ping\""), ("data", "{}")]),
            ("{\"é\" :\t0 ,\r\n\"\":{ \"a\":10 } }", &[("é", "0"), ("", "{ \"a\":10 }")]),
        ];
        for (text, fields) in cases {
            assert_eq!(plain(text), Some(fields.to_vec()), "{text}");
        }
        for text in
            ["", "[]", "{\"a\":{\"b\":{}}}", "{\"a\":\"\\n\"}", "{\"a\":01}", "{\"a\":1.0}", "{\"a\":[]}"]
        {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    /// Changes a few bytes of a valid text at a time, every byte into every byte that means something, and
    /// compares with a real parser whatever is plain.
    #[test]
    fn what_is_plain_is_what_a_real_parser_reads() {
        let texts = [
            r#"{"command": "list","data" :{"a": 10,"b":"é"} }"#,
            r#"{"a":0,"b":{},"c":{"d":"","e":12}}"#,
            r#"{"a":"\n","b":[1],"c":-1.5e3,"d":null,"e":{"f":{}}}"#,
        ];
        let (mut plain_count, mut refused_count) = (0, 0);
        for text in texts {
            for at in 0..=text.len() {
                for with in
                    ["", "\"", "\\", "{", "}", "[", ",", ":", " ", "\u{1}", "0", "1", ".", "e", "-", "é"]
                {
                    for width in [0, 1, 2] {
                        let (Some(head), Some(tail)) = (text.get(..at), text.get(at + width..)) else {
                            continue;
                        };
                        let changed = [head, with, tail].concat();
                        let Some(fields) = plain(&changed) else {
                            refused_count += 1;
                            continue;
                        };
                        plain_count += 1;
                        let parsed: BTreeMap<&str, &RawValue> = serde_json::from_str(&changed)
                            .unwrap_or_else(|error| panic!("{changed}: {error}"));
                        // Of fields that stand twice both take the last.
                        let fields: BTreeMap<&str, &str> = fields.into_iter().collect();
                        let parsed = parsed.iter().map(|(&name, value)| (name, value.get()));
                        assert_eq!(parsed.collect::<BTreeMap<_, _>>(), fields, "{changed}");
                    }
                }
            }
        }
        assert!(plain_count > 500 && refused_count > 500, "{plain_count} plain, {refused_count} not");
    }
}

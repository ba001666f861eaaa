//! Recognises the beginning of an HTTP/1 request line, a byte at a time.
//!
//! It decides as early as possible and reads no further: 3 to 16 capital letters, a space, then `/` or `http`, or
//! `OPTIONS *`.

/// State of the recognition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HttpLine {
    /// This many letters of a method, and whether they are a prefix of `OPTIONS`.
    Method { letters: u8, is_options: bool },
    /// A method and its space, then this many bytes of `http`.
    Target { matched: u8, is_options: bool },
    /// It is a request line.
    Yes,
    /// It is not a request line.
    No,
}

impl HttpLine {
    /// No bytes yet.
    pub(super) const fn new() -> HttpLine {
        HttpLine::Method { letters: 0, is_options: true }
    }

    /// The state after one more byte.
    pub(super) fn with(self, byte: u8) -> HttpLine {
        match self {
            HttpLine::Method { letters, is_options } => match byte {
                b'A'..=b'Z' if letters < METHOD_LETTERS_MAX => HttpLine::Method {
                    letters: letters + 1,
                    is_options: is_options && OPTIONS.get(usize::from(letters)) == Some(&byte),
                },
                b' ' if letters >= METHOD_LETTERS_MIN => HttpLine::Target {
                    matched: 0,
                    is_options: is_options && usize::from(letters) == OPTIONS.len(),
                },
                _ => HttpLine::No,
            },
            HttpLine::Target { matched: 0, is_options: true } if byte == b'*' => HttpLine::Yes,
            HttpLine::Target { matched: 0, .. } if byte == b'/' => HttpLine::Yes,
            HttpLine::Target { matched, .. } if byte == SCHEME[usize::from(matched)] => {
                if usize::from(matched) + 1 == SCHEME.len() {
                    HttpLine::Yes
                } else {
                    HttpLine::Target { matched: matched + 1, is_options: false }
                }
            }
            HttpLine::Target { .. } => HttpLine::No,
            HttpLine::Yes | HttpLine::No => self,
        }
    }

    /// The state after `bytes`; stops once it is final.
    pub(super) fn with_all(self, bytes: &[u8]) -> HttpLine {
        let mut line = self;
        for &byte in bytes {
            if matches!(line, HttpLine::Yes | HttpLine::No) {
                break;
            }
            line = line.with(byte);
        }
        line
    }
}

const METHOD_LETTERS_MIN: u8 = 3;
/// Methods in use have at most 16 letters or so; a longer word of capitals is text.
const METHOD_LETTERS_MAX: u8 = 16;
const OPTIONS: &[u8] = b"OPTIONS";
const SCHEME: &[u8] = b"http";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_are_recognized() {
        let yes: [&str; 8] = [
            "GET /",
            "GET http",
            "POST / HTTP/1.1",
            "OPTIONS *",
            "OPTIONS /",
            "OPTIONS https://a",
            "ABCDEFGHIJKLMNOP /",
            "PRI /",
        ];
        let no = [
            "GO /",
            "get /",
            "GET  /",
            "GET x",
            "GET htp",
            "GET *",
            "PRI *",
            "OPTION *",
            "OPTIONSS *",
            "GET\t/",
            "ABCDEFGHIJKLMNOPQ",
            "OPTIONS h*",
            " GET /",
            "GET1 /",
            "GET ht/",
        ];
        for text in yes {
            assert_eq!(HttpLine::new().with_all(text.as_bytes()), HttpLine::Yes, "{text}");
        }
        for text in no {
            assert_eq!(HttpLine::new().with_all(text.as_bytes()), HttpLine::No, "{text}");
        }
        for text in ["", "G", "GETT", "GET ", "GET h", "GET htt", "OPTIONS "] {
            let line = HttpLine::new().with_all(text.as_bytes());
            assert!(!matches!(line, HttpLine::Yes | HttpLine::No), "{text}");
        }
    }
}

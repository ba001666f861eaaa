//! The syntax of the settings file: lines of NAME=VALUE as in systemd's EnvironmentFile= (systemd.exec(5)), so
//! that one file serves both.
//!
//! Opens no file and knows no setting: it parses bytes into names, values and line numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vmherd::{Secret, is_plain_name};

use super::values::is_blank;

/// A parsed settings file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct SettingsFile {
    path: PathBuf,
    /// By name; a later entry replaces an earlier one.
    values: BTreeMap<String, FileEntry>,
    /// Lines without a `=`.
    pub(super) lines_without_value: Vec<usize>,
    /// Warnings about replaced entries, which are valid, as with systemd.
    pub(super) warnings: Vec<String>,
}

/// The value of one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FileEntry {
    /// May hold a password.
    pub(super) text: Secret,
    /// The line of its name, counted from one.
    pub(super) line: usize,
}

/// A syntax error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) why: &'static str,
}

impl SettingsFile {
    /// Parses `bytes`, the content of the file `path`, up to the first error.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> (SettingsFile, Option<SyntaxError>) {
        let mut file = SettingsFile { path: path.into(), ..SettingsFile::default() };
        let (text, mistake) = valid_prefix(bytes);
        let mut lexer = Lexer { rest: text, line: 1 };
        while let Some(name) = lexer.name() {
            let line = lexer.line;
            if lexer.next_char() != Some('=') {
                file.lines_without_value.push(line);
                continue;
            }
            match lexer.value() {
                Ok(value) => file.add(name, line, &value),
                // An open quote may be closed after the invalid line, so the invalid line is the error.
                Err(error) => return (file, mistake.or(Some(error))),
            }
        }
        (file, mistake)
    }

    /// The entry of `name`; an empty or blank value counts as unset.
    pub(super) fn entry(&self, name: &str) -> Option<&FileEntry> {
        self.values.get(name).filter(|value| !is_blank(value.text.expose()))
    }

    /// Every name with its line.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.line))
    }

    /// `FILE:LINE`.
    pub(super) fn location(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    fn add(&mut self, name: &str, line: usize, value: &str) {
        let location = self.location(line);
        if let Some(earlier) = self.values.insert(name.into(), FileEntry { text: Secret::new(value), line }) {
            let name = if is_plain_name(name) { format!("{name:?}") } else { "this".into() };
            self.warnings.push(format!("{location}: {name} replaces what line {} says", earlier.line));
        }
    }
}

/// The rest of the text, and the current line.
struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    /// The next name; skips empty lines and comments.
    fn name(&mut self) -> Option<&'a str> {
        loop {
            self.advance_to(self.rest.trim_start_matches([' ', '\t', '\r', '\n']));
            match self.rest.chars().next()? {
                '#' | ';' => {
                    self.take_until(&['\n', '\r']);
                }
                _ => return Some(self.take_until(&['=', '\n', '\r']).trim_end_matches(BLANKS)),
            }
        }
    }

    /// The value after a `=`: quoted parts separated by blanks, then an optional unquoted part.
    fn value(&mut self) -> Result<String, SyntaxError> {
        let mut value = String::new();
        loop {
            self.advance_to(self.rest.trim_start_matches(BLANKS));
            match self.rest.chars().next() {
                Some('\'') => self.quoted(&['\''], &mut value)?,
                Some('"') => self.quoted(&['"', '\\'], &mut value)?,
                _ => {
                    self.unquoted(&mut value);
                    return Ok(value);
                }
            }
        }
    }

    /// Up to the end of the line, without trailing blanks. A backslash escapes the next character; before a line
    /// break it joins the lines.
    fn unquoted(&mut self, value: &mut String) {
        let mut kept = value.len();
        loop {
            value.push_str(self.take_until(&['\\', '\n', '\r']));
            if self.next_char() != Some('\\') {
                break;
            }
            value.extend(self.next_escaped().filter(|escaped| *escaped != '\n'));
            kept = value.len();
        }
        value.truncate(kept.max(value.trim_end_matches(BLANKS).len()));
    }

    /// Up to the next quote, the first of `specials`. A backslash, if it is special, escapes special characters and
    /// joins lines; before any other character it is literal.
    fn quoted(&mut self, specials: &[char], value: &mut String) -> Result<(), SyntaxError> {
        let open = SyntaxError { line: self.line, why: "opens a quote that nothing closes" };
        self.next_char();
        loop {
            value.push_str(self.take_until(specials));
            if self.next_char().ok_or(open)? == specials[0] {
                return Ok(());
            }
            match self.next_escaped().ok_or(open)? {
                '\n' => {}
                escaped @ ('"' | '\\' | '`' | '$') => value.push(escaped),
                other => value.extend(['\\', other]),
            }
        }
    }

    fn next_char(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.advance_to(characters.as_str());
        next
    }

    /// The character after a backslash; CR, LF and CRLF are one line break.
    fn next_escaped(&mut self) -> Option<char> {
        match self.next_char()? {
            '\r' => {
                self.advance_to(self.rest.strip_prefix('\n').unwrap_or(self.rest));
                Some('\n')
            }
            escaped => Some(escaped),
        }
    }

    /// The text before the first of `ends`, or all of it.
    fn take_until(&mut self, ends: &[char]) -> &'a str {
        let text = self.rest;
        let (taken, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
        self.advance_to(rest);
        taken
    }

    /// Goes on to `rest`, an end of the text.
    fn advance_to(&mut self, rest: &'a str) {
        let passed = &self.rest[..self.rest.len() - rest.len()];
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }
}

/// The lines before the first invalid byte or character, and the error for that line.
fn valid_prefix(bytes: &[u8]) -> (&str, Option<SyntaxError>) {
    let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let (end, why) = match text.find(['\0', '\u{feff}']) {
        Some(at) => (at, "holds a NUL or a byte order mark, which no setting may"),
        None if text.len() < bytes.len() => (text.len(), "is not valid UTF-8"),
        None => return (text, None),
    };
    let line = 1 + text[..end].matches('\n').count();
    let lines_end = text[..end].rfind('\n').map_or(0, |at| at + 1);
    (&text[..lines_end], Some(SyntaxError { line, why }))
}

const BLANKS: [char; 2] = [' ', '\t'];

#[cfg(test)]
#[path = "environment_file_tests.rs"]
mod tests;

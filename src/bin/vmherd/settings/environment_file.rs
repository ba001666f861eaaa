//! The syntax of the settings file: lines of NAME=VALUE as in systemd's EnvironmentFile= (systemd.exec(5)), so
//! that one file serves both.
//!
//! Opens no file and knows no setting: it parses bytes into names, values and line numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vmherd::is_plain_name;

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
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FileEntry {
    pub(super) text: String,
    /// The line of its name, counted from one.
    pub(super) line: usize,
}

/// A syntax error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) why: &'static str,
}

impl SettingsFile {
    /// Parses `bytes`, the content of the file `path`.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<SettingsFile, SyntaxError> {
        match SettingsFile::parse_prefix(path, bytes) {
            (file, None) => Ok(file),
            (_, Some(error)) => Err(error),
        }
    }

    /// As [`SettingsFile::parse`], but also returns the entries before an error.
    pub(super) fn parse_prefix(path: &Path, bytes: &[u8]) -> (SettingsFile, Option<SyntaxError>) {
        let mut file = SettingsFile { path: path.into(), ..SettingsFile::default() };
        let (text, mistake) = valid_prefix(bytes);
        let mut reader = Lexer { rest: text, line: 1 };
        loop {
            match reader.next() {
                Ok(Some(assignment)) => file.add(assignment),
                Ok(None) => return (file, mistake),
                // An open quote may be closed after the invalid line, so the invalid line is the error.
                Err(error) => return (file, mistake.or(Some(error))),
            }
        }
    }

    /// The entry of `name`; an empty or blank value counts as unset.
    pub(super) fn entry(&self, name: &str) -> Option<&FileEntry> {
        self.values.get(name).filter(|value| !value.text.trim().is_empty())
    }

    /// Every name with its line.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.line))
    }

    /// `FILE:LINE`.
    pub(super) fn location(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    fn add(&mut self, Assignment { name, line, value }: Assignment) {
        let Some(text) = value else { return self.lines_without_value.push(line) };
        let location = self.location(line);
        if let Some(earlier) = self.values.insert(name.clone(), FileEntry { text, line }) {
            let name = if is_plain_name(&name) { format!("{name:?}") } else { "this".into() };
            self.warnings.push(format!("{location}: {name} replaces what line {} says", earlier.line));
        }
    }
}

impl std::fmt::Debug for FileEntry {
    /// Omits the text, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({} bytes, line {})", self.text.len(), self.line)
    }
}

/// One NAME=VALUE, which may span several lines.
struct Assignment {
    name: String,
    line: usize,
    /// `None`: there was no `=`.
    value: Option<String>,
}

/// The rest of the text, and the current line.
struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl Lexer<'_> {
    /// The next assignment; skips empty lines and comments.
    fn next(&mut self) -> Result<Option<Assignment>, SyntaxError> {
        loop {
            match self.next_char() {
                None => return Ok(None),
                Some(' ' | '\t' | '\r' | '\n') => {}
                Some('#' | ';') => self.skip_line(),
                Some(first) => {
                    let line = self.line;
                    let (name, has_value) = self.name(first);
                    let value = if has_value { Some(self.value()?) } else { None };
                    return Ok(Some(Assignment { name, line, value }));
                }
            }
        }
    }

    /// A name that begins with `first`, and whether a value follows.
    fn name(&mut self, first: char) -> (String, bool) {
        let mut name = String::new();
        let mut next = Some(first);
        while let Some(character) = next {
            match character {
                '\n' | '\r' => break,
                '=' => return (name.trim_end_matches(BLANKS).into(), true),
                _ => name.push(character),
            }
            next = self.next_char();
        }
        (name, false)
    }

    /// A value: quoted parts separated by blanks, then an optional unquoted part.
    fn value(&mut self) -> Result<String, SyntaxError> {
        let mut value = String::new();
        loop {
            match self.next_char() {
                None | Some('\n' | '\r') => return Ok(value),
                Some(' ' | '\t') => {}
                Some('\'') => self.single_quoted(&mut value)?,
                Some('"') => self.double_quoted(&mut value)?,
                Some(first) => {
                    self.unquoted(first, &mut value);
                    return Ok(value);
                }
            }
        }
    }

    /// Up to the end of the line, without trailing blanks. A backslash escapes the next character; before a line
    /// break it joins the lines.
    fn unquoted(&mut self, first: char, value: &mut String) {
        let mut kept = value.len();
        let mut next = Some(first);
        while let Some(character) = next {
            match character {
                '\n' | '\r' => break,
                '\\' => {
                    value.extend(self.next_escaped().filter(|escaped| *escaped != '\n'));
                    kept = value.len();
                }
                _ => {
                    value.push(character);
                    if !BLANKS.contains(&character) {
                        kept = value.len();
                    }
                }
            }
            next = self.next_char();
        }
        value.truncate(kept);
    }

    /// Everything up to the next single quote, verbatim.
    fn single_quoted(&mut self, value: &mut String) -> Result<(), SyntaxError> {
        let line = self.line;
        loop {
            match self.next_char().ok_or(SyntaxError { line, why: OPEN_QUOTE })? {
                '\'' => return Ok(()),
                character => value.push(character),
            }
        }
    }

    /// Up to the next double quote. A backslash escapes special characters and joins lines; before any other
    /// character it is literal.
    fn double_quoted(&mut self, value: &mut String) -> Result<(), SyntaxError> {
        let line = self.line;
        let open = || SyntaxError { line, why: OPEN_QUOTE };
        loop {
            match self.next_char().ok_or_else(open)? {
                '"' => return Ok(()),
                '\\' => match self.next_escaped().ok_or_else(open)? {
                    '\n' => {}
                    escaped @ ('"' | '\\' | '`' | '$') => value.push(escaped),
                    other => value.extend(['\\', other]),
                },
                character => value.push(character),
            }
        }
    }

    fn skip_line(&mut self) {
        while !matches!(self.next_char(), None | Some('\n' | '\r')) {}
    }

    fn next_char(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next()?;
        self.rest = characters.as_str();
        self.line += usize::from(next == '\n');
        Some(next)
    }

    /// The character after a backslash; CR, LF and CRLF are one line break.
    fn next_escaped(&mut self) -> Option<char> {
        match self.next_char()? {
            '\r' => {
                if self.rest.starts_with('\n') {
                    self.next_char();
                }
                Some('\n')
            }
            escaped => Some(escaped),
        }
    }
}

/// The lines before the first invalid byte or character, and the error for that line.
fn valid_prefix(bytes: &[u8]) -> (&str, Option<SyntaxError>) {
    let text = str::from_utf8(bytes)
        .unwrap_or_else(|error| str::from_utf8(&bytes[..error.valid_up_to()]).expect("it is valid so far"));
    let (end, why) = match text.find(['\0', '\u{feff}']) {
        Some(at) => (at, "holds a NUL or a byte order mark, which no setting may"),
        None if text.len() < bytes.len() => (text.len(), "is not valid UTF-8"),
        None => return (text, None),
    };
    let line = 1 + count_lines(&bytes[..end]);
    let lines_end = text[..end].rfind('\n').map_or(0, |at| at + 1);
    (&text[..lines_end], Some(SyntaxError { line, why }))
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

const BLANKS: [char; 2] = [' ', '\t'];
const OPEN_QUOTE: &str = "opens a quote that nothing closes";

#[cfg(test)]
#[path = "environment_file_tests.rs"]
mod tests;

//! The settings file: lines of NAME=VALUE in the syntax of systemd's EnvironmentFile=, so that one file
//! serves both (systemd.exec(5) is what this follows).
//!
//! Never opens a file: the text is handed in. Knows no setting, only names and values and where they stand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::redact::is_plain_name;

/// What a settings file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct SettingsFile {
    path: PathBuf,
    /// By name; of a name that stands there twice, the last.
    values: BTreeMap<String, FileEntry>,
    /// Lines without a `=`.
    pub(super) lines_without_value: Vec<usize>,
    /// What may be a mistake and counts, as with systemd.
    pub(super) warnings: Vec<String>,
}

/// What stands behind one name.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FileEntry {
    pub(super) text: String,
    /// Where its name stands, counted from one.
    pub(super) line: usize,
}

/// Why a text is no settings file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) why: &'static str,
}

impl SettingsFile {
    /// Reads `bytes`, which stand in the file `path`.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<SettingsFile, SyntaxError> {
        match SettingsFile::parse_prefix(path, bytes) {
            (file, None) => Ok(file),
            (_, Some(error)) => Err(error),
        }
    }

    /// As [`SettingsFile::parse`]; of what is no settings file, what stands before the mistake.
    pub(super) fn parse_prefix(path: &Path, bytes: &[u8]) -> (SettingsFile, Option<SyntaxError>) {
        let mut file = SettingsFile { path: path.into(), ..SettingsFile::default() };
        let (text, mistake) = valid_prefix(bytes);
        let mut reader = Lexer { rest: text, line: 1 };
        loop {
            match reader.next() {
                Ok(Some(assignment)) => file.add(assignment),
                Ok(None) => return (file, mistake),
                // A quote that is open at a mistake further down is closed behind it, maybe.
                Err(error) => return (file, mistake.or(Some(error))),
            }
        }
    }

    /// What stands behind `name`; nothing and white space count as not said.
    pub(super) fn entry(&self, name: &str) -> Option<&FileEntry> {
        self.values.get(name).filter(|value| !value.text.trim().is_empty())
    }

    /// Every name with the line that it stands on.
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
    /// Without the text, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({} bytes, line {})", self.text.len(), self.line)
    }
}

/// One line, or several that belong together.
struct Assignment {
    name: String,
    line: usize,
    /// `None`: there was no `=`.
    value: Option<String>,
}

/// What of the text is still to be read.
struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl Lexer<'_> {
    /// The next line that is neither empty nor a comment.
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

    /// A value: quoted parts with nothing but blanks between them, and then perhaps an unquoted one.
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

    /// Up to the end of the line, blanks at the end left out. A backslash keeps what follows it, and the
    /// end of a line goes with it.
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

    /// Everything up to the next quote, as it stands there.
    fn single_quoted(&mut self, value: &mut String) -> Result<(), SyntaxError> {
        let line = self.line;
        loop {
            match self.next_char().ok_or(SyntaxError { line, why: OPEN_QUOTE })? {
                '\'' => return Ok(()),
                character => value.push(character),
            }
        }
    }

    /// Up to the next quote. A backslash keeps what would mean something, the end of a line goes with
    /// it, and before anything else it is itself.
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

    /// What follows a backslash; an end of line is one character, however it is written.
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

/// The lines before the first that no setting can be in, and what is wrong with that one.
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

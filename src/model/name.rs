//! VM names.

use std::fmt;
use std::sync::Arc;

use unicode_normalization::is_nfc;

use crate::escape::is_invisible;
use crate::limits;

/// A VM's `vm_id` text: 1 to 128 bytes without white space or control characters. A new name also has no invisible
/// characters and is in Unicode normalization form C (NFC). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VmName(Arc<str>);

/// Why a text is not a valid VM name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// No bytes, or more than [`limits::VM_NAME_BYTES_MAX`].
    Length(usize),
    /// White space, an invisible character, or one that changes how others are displayed.
    Character(char),
    /// The text is not in NFC; the first character at which it differs.
    NotNormalized(char),
    /// Digits only: reserved for VMs that are named by their id.
    DigitsOnly,
}

impl VmName {
    /// Parses a name for a look-up; accepts names that were valid in the past.
    pub fn parse(text: &str) -> Result<VmName, NameError> {
        if text.is_empty() || text.len() > limits::VM_NAME_BYTES_MAX {
            return Err(NameError::Length(text.len()));
        }
        match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            Some(character) => Err(NameError::Character(character)),
            None => Ok(VmName(text.into())),
        }
    }

    /// Parses a name for a new VM: as [`VmName::parse`], but rejects names that look like another name or like an id
    /// of the store. A text that is not in NFC is rejected instead of normalized, because the VM could not be found
    /// by the text that it was registered with.
    pub fn parse_new(text: &str) -> Result<VmName, NameError> {
        let name = VmName::parse(text)?;
        if let Some(character) = text.chars().find(|character| is_invisible(*character)) {
            return Err(NameError::Character(character));
        }
        if !is_nfc(text) {
            return Err(NameError::NotNormalized(first_not_normalized(text)));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NameError::DigitsOnly);
        }
        Ok(name)
    }

    /// A name that comes from the store.
    pub fn from_store(text: &str) -> VmName {
        VmName(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NameError {}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            NameError::Length(bytes) => write!(f, "{bytes} bytes"),
            NameError::Character(character) => write!(f, "a text with U+{:04X}", character as u32),
            NameError::NotNormalized(character) => {
                write!(f, "a text that is not in NFC, with U+{:04X}", character as u32)
            }
            NameError::DigitsOnly => write!(f, "a text of digits only"),
        }
    }
}

impl NameError {
    /// The rule, for error messages.
    pub const ALLOWED: &str = "1 to 128 bytes without white space, control or format characters, in \
        Unicode's form NFC, not digits only";
}

/// The first character that makes `text` differ from its NFC: the last one of the shortest prefix that is not in NFC.
fn first_not_normalized(text: &str) -> char {
    let ends = text.char_indices().map(|(at, character)| (at + character.len_utf8(), character));
    ends.into_iter()
        .find(|(end, _)| !is_nfc(&text[..*end]))
        .map_or(char::REPLACEMENT_CHARACTER, |(_, last)| last)
}

const _: () = assert!(limits::VM_NAME_BYTES_MAX == 128, "NameError::ALLOWED says 128");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_names_reject_invisible_and_unnormalized_characters() {
        use NameError::{Character, NotNormalized};
        let cases = [
            ("web\u{200b}-1", Character('\u{200b}')),
            ("\u{2060}", Character('\u{2060}')),
            ("\u{feff}web", Character('\u{feff}')),
            ("we\u{ad}b\u{200b}", Character('\u{ad}')),
            ("web\u{202e}1", Character('\u{202e}')),
            ("web\u{e0041}", Character('\u{e0041}')),
            ("\u{3164}", Character('\u{3164}')),
            ("\u{2800}", Character('\u{2800}')),
            ("web\u{fe0f}", Character('\u{fe0f}')),
            ("web\u{34f}", Character('\u{34f}')),
            ("ae\u{301}\u{301}", NotNormalized('\u{301}')),
            ("\u{e9}e\u{301}x", NotNormalized('\u{301}')),
            ("web\u{212b}", NotNormalized('\u{212b}')),
            ("a\u{301}\u{328}", NotNormalized('\u{301}')),
        ];
        for (text, error) in cases {
            assert_eq!(VmName::parse_new(text), Err(error), "{text:?}");
            assert_eq!(
                VmName::parse(text).map(|name| name.to_string()),
                Ok(text.into()),
                "{text:?} may be old"
            );
        }
        for text in ["web-1", "é", "名前", "नमस्ते", "שלום", "🦀", "o\u{332}"] {
            assert!(VmName::parse_new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn an_error_names_the_code_point() {
        let error = |text| VmName::parse_new(text).expect_err("no name").to_string();
        assert_eq!(error("a\u{200b}"), "a text with U+200B");
        assert_eq!(error("a b"), "a text with U+0020");
        assert_eq!(error("a\u{e0041}"), "a text with U+E0041");
        assert_eq!(error("e\u{301}"), "a text that is not in NFC, with U+0301");
    }
}

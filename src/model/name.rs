//! The text by which a VM is known.

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// A VM's `vm_id` text: 1 to 128 bytes without white space or control characters. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VmName(Arc<str>);

/// Why a text is no name for a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// No bytes, or more than [`limits::VM_NAME_BYTES_MAX`].
    Length(usize),
    /// A white-space or control character (Unicode's `White_Space` and `Cc`).
    Character(char),
    /// Digits only: such names belong to the VMs that the store numbers.
    DigitsOnly,
}

impl VmName {
    /// A name that may exist, to look up.
    pub fn parse(text: &str) -> Result<VmName, NameError> {
        if text.is_empty() || text.len() > limits::VM_NAME_BYTES_MAX {
            return Err(NameError::Length(text.len()));
        }
        match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            Some(character) => Err(NameError::Character(character)),
            None => Ok(VmName(text.into())),
        }
    }

    /// A name that somebody chose, to register: as [`VmName::parse`], and not digits only.
    pub fn parse_chosen(text: &str) -> Result<VmName, NameError> {
        let name = VmName::parse(text)?;
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NameError::DigitsOnly);
        }
        Ok(name)
    }

    /// A name as the store has it.
    pub fn stored(text: &str) -> VmName {
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

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Length(bytes) => write!(f, "{bytes} bytes"),
            NameError::Character(character) => write!(f, "a text with {:?}", character),
            NameError::DigitsOnly => write!(f, "a text of digits only"),
        }
    }
}

impl NameError {
    /// What a name has to be, in words.
    pub const ALLOWED: &str = "1 to 128 bytes without white space or control characters, not digits only";
}

const _: () = assert!(limits::VM_NAME_BYTES_MAX == 128, "NameError::ALLOWED says 128");

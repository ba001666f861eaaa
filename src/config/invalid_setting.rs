//! The error for a text or a value that a setting must not have.

use std::fmt;
use std::str::FromStr;

use crate::model::AddressRule;
use crate::store::Location;

/// The text is not a valid value of a setting. Its message lists what is allowed and does not repeat the text, which may
/// hold a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidSetting(pub(super) String);

impl fmt::Display for InvalidSetting {
    /// What is wrong with the text, as the end of a sentence: `must be …`, `is …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidSetting {}

impl FromStr for Location {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Location, InvalidSetting> {
        Location::parse(text).map_err(|why| InvalidSetting(format!("is no store: {why}")))
    }
}

impl FromStr for AddressRule {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<AddressRule, InvalidSetting> {
        AddressRule::parse(text).map_err(InvalidSetting)
    }
}

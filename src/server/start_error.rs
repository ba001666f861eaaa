//! The reason a server can't start.

use std::fmt;

use crate::store::StoreError;

/// The reason a server can't start.
#[derive(Debug)]
pub struct StartError {
    /// What is wrong, and how to fix it.
    pub why: String,
    /// Whether the cause is the configuration, so that a restart does not help.
    pub is_configuration: bool,
}

impl StartError {
    /// An error in the configuration.
    pub(super) fn of_configuration(why: String) -> StartError {
        StartError { why, is_configuration: true }
    }

    /// An error on opening `store`.
    pub(super) fn of_store(store: &str, error: &StoreError) -> StartError {
        let is_configuration = matches!(error, StoreError::Refused(_));
        StartError { why: format!("the store {store} can't be opened: {error}"), is_configuration }
    }

    /// An error of the system, which may be temporary.
    pub(super) fn of_system(why: String) -> StartError {
        StartError { why, is_configuration: false }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for StartError {}

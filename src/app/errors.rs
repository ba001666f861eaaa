//! What a client is told of a task that failed, and the log of a store that did.

use super::App;
use crate::clock::UnixSeconds;
use crate::limits;
use crate::model::Failure;
use crate::store::StoreError;
use crate::work::WorkError;

/// What the store has failed to do, as plain numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreErrors {
    /// Somebody else held a lock for too long.
    pub busy: u64,
    /// It could not be reached, or refused; nothing was done.
    pub unavailable: u64,
    /// It did not say whether it was done.
    pub outcome_unknown: u64,
}

impl App {
    /// What a client is told of a task that failed.
    pub(super) fn failure(&mut self, error: WorkError, now: UnixSeconds) -> Failure {
        let error = match error {
            WorkError::Internal => return Failure::Internal,
            WorkError::NoRoom => return Failure::Busy,
            WorkError::Store(error) => error,
        };
        match error {
            StoreError::AlreadyRegistered => Failure::AlreadyRegistered,
            StoreError::VmLimitReached => Failure::VmLimitReached,
            StoreError::KeyLimitReached(at) => Failure::KeyLimitReached(Some(at)),
            StoreError::UnknownDisk(id) => Failure::UnknownDisk(id),
            StoreError::NotCurrent => Failure::AuthenticationRequired,
            StoreError::Busy => {
                self.store_errors.busy += 1;
                Failure::Busy
            }
            StoreError::UnknownVm => Failure::Internal,
            StoreError::Unavailable(_) | StoreError::Refused(_) => {
                self.log_trouble(&error, now);
                self.store_errors.unavailable += 1;
                Failure::StoreUnavailable
            }
            StoreError::OutcomeUnknown(_) => {
                self.log_trouble(&error, now);
                self.store_errors.outcome_unknown += 1;
                Failure::OutcomeUnknown
            }
        }
    }

    fn log_trouble(&mut self, error: &StoreError, now: UnixSeconds) {
        match self.store_troubles.allow(limits::TROUBLE_LOG_INTERVAL_S, now) {
            None => {}
            Some(0) => log::error!("{error}"),
            Some(held_back) => log::error!("{error} (and {held_back} such errors before)"),
        }
    }
}

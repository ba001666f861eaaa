//! Maps errors of work to failures of requests, and logs store errors.

use super::App;
use crate::clock::UnixSeconds;
use crate::limits;
use crate::model::Failure;
use crate::store::StoreError;
use crate::work::WorkError;

/// Store failures since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreErrors {
    /// Another client held a lock for too long.
    pub busy: u64,
    /// The store was unreachable or refused the request; nothing was done.
    pub unavailable: u64,
    /// The store did not report whether the write was done.
    pub outcome_unknown: u64,
}

impl App {
    /// Maps `error` to the failure that the client gets; counts and logs store errors.
    pub(super) fn failure(&mut self, error: WorkError, now: UnixSeconds) -> Failure {
        let error = match error {
            WorkError::Internal | WorkError::Handler(_) => return Failure::Internal,
            WorkError::NoRoom => return Failure::Busy,
            WorkError::Store(error) => error,
        };
        match error {
            StoreError::AlreadyRegistered => Failure::AlreadyRegistered,
            StoreError::VmLimitReached => Failure::VmLimitReached,
            StoreError::KeyLimitReached(index) => Failure::KeyLimitReached(Some(index)),
            StoreError::UnknownDisk(id) => Failure::UnknownDisk(id),
            StoreError::NotCurrent => Failure::AuthenticationRequired,
            StoreError::Busy => {
                self.store_errors.busy += 1;
                Failure::Busy
            }
            StoreError::UnknownVm => Failure::NoSuchVm,
            StoreError::UnknownAccessToken | StoreError::AccessTokenLimitReached => Failure::Internal,
            StoreError::Managed => Failure::ManagedVm,
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
        match self.store_troubles.allow(limits::ERROR_LOG_INTERVAL_S, now) {
            None => {}
            Some(0) => log::error!("{error}"),
            Some(suppressed) => log::error!("{error} (and {suppressed} similar errors before)"),
        }
    }
}

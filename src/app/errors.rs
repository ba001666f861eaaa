//! What a client is told of a task that failed, and the log of a store that did.

use super::App;
use super::stage::Stage;
use crate::clock::UnixSeconds;
use crate::ids::ConnId;
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
    /// What a client is told where a login did not hold any more, which ends here: the VM was removed or has
    /// got another password.
    pub(super) fn failure_of_not_current(&mut self, conn: ConnId, stage: &Stage) -> Failure {
        match stage {
            // It happened after the password was checked.
            Stage::LoginWrite { .. } => Failure::InvalidCredentials,
            Stage::JoinWrite { scope: Some(_), .. } => Failure::InvalidCredentials,
            // It has got a password or is gone since it was looked up: to ask again tells.
            Stage::JoinWrite { scope: None, .. } => Failure::Busy,
            Stage::LogoutVmTokens { login } => {
                self.presence.log_out_as(conn, login);
                Failure::NotAuthorized
            }
            Stage::UpdateVmWrite { login } => {
                self.presence.log_out_as(conn, login);
                self.presence.membership_mut().release(login.id);
                Failure::NotAuthorized
            }
            stage => {
                if let Some(login) = stage.login() {
                    self.presence.log_out_as(conn, login);
                }
                Failure::AuthenticationRequired
            }
        }
    }

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

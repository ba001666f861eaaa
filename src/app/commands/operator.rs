//! What an operator does with a VM: `update`, `logout`, `end_sessions`, `passwd` and `remove`.
//!
//! The VM is looked up first: its connections are found by its id. After the change they are no longer authenticated, and
//! requests that are under way for the VM find its login stale.

use super::super::audit::Subject;
use super::super::presence::SessionEnd;
use super::{App, Continue, Next, Noted, Resume, StageInfo};
use crate::ids::{ConnId, VmId};
use crate::model::{Answer, Credentials, Failure, Login, VmName, VmOperation};
use crate::store::Write;
use crate::work::{Hash, Read, Work, WorkResult, WrongResult};

/// An operation on a VM.
#[derive(Debug)]
pub enum Stage {
    /// The VM is looked up.
    Find { name: VmName, operation: VmOperation },
    /// The new password is hashed.
    Hash { login: Login },
    /// The change is stored.
    Store { login: Login, change: Change },
}

/// What has changed when it is stored.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Shape,
    LoggedOut,
    SessionsEnded,
    Password,
    Removed,
}

pub(super) fn begin(name: VmName, operation: VmOperation) -> Next<Stage> {
    let work = Work::Read(Read::FindCredentials { name: name.clone() });
    Next::Work { work, stage: Stage::Find { name, operation } }
}

fn run(credentials: Credentials, operation: VmOperation) -> Next<Stage> {
    let Credentials { login, managed_by, .. } = credentials;
    let (write, change) = match operation {
        VmOperation::Update(change) => {
            (Write::Update { login: login.clone(), token: None, change }, Change::Shape)
        }
        VmOperation::LogOut => (Write::EndLogins { login: login.clone() }, Change::LoggedOut),
        VmOperation::EndSessions => (Write::EndLogins { login: login.clone() }, Change::SessionsEnded),
        // The store refuses it too, after the cost of a hash.
        VmOperation::ChangePassword(_) if managed_by.is_some() => return Next::failed(Failure::ManagedVm),
        VmOperation::ChangePassword(password) => {
            return Next::Work { work: Work::Hash(Hash::New { password }), stage: Stage::Hash { login } };
        }
        VmOperation::Remove => (Write::Remove(login.name.clone()), Change::Removed),
    };
    Next::Work { work: Work::Write(write), stage: Stage::Store { login, change } }
}

impl App {
    /// Ends what depends on the VM as it was, and answers.
    fn changed(&mut self, login: Login, change: Change) -> Answer {
        let Login { id, name, .. } = login;
        match change {
            Change::Shape => Answer::Updated,
            Change::LoggedOut => {
                self.end_logins(id, SessionEnd::Anonymous);
                Answer::LoggedOut(name)
            }
            Change::SessionsEnded => Answer::SessionsEnded(name, self.end_logins(id, SessionEnd::Closed)),
            Change::Password => {
                self.end_logins(id, SessionEnd::Anonymous);
                Answer::PasswordChanged(name)
            }
            Change::Removed => {
                self.end_logins(id, SessionEnd::Anonymous);
                Answer::Removed(name)
            }
        }
    }

    /// Ends the logins of a VM's connections, and its authorization for every client; returns the number of connections.
    fn end_logins(&mut self, vm: VmId, end: SessionEnd) -> usize {
        let count = self.presence.end_sessions(vm, end);
        self.presence.membership_mut().release(vm);
        self.end_watches_of(vm);
        count
    }
}

impl StageInfo for Stage {
    fn hashed_name(&self) -> Option<&VmName> {
        match self {
            Stage::Hash { login } => Some(&login.name),
            Stage::Find { .. } | Stage::Store { .. } => None,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Stage::Find { operation: VmOperation::Update(change), .. } => change.rows(),
            _ => 0,
        }
    }

    fn noted(&self) -> Option<Noted> {
        match self {
            Stage::Store { login, change: Change::Shape } => Some(Noted::Updated(login.id)),
            Stage::Store { login, change: Change::Removed } => {
                Some(Noted::Removed([login.name.clone()].into()))
            }
            _ => None,
        }
    }

    fn subject(&self) -> Subject {
        Subject::Name(match self {
            Stage::Find { name, .. } => name.clone(),
            Stage::Hash { login } | Stage::Store { login, .. } => login.name.clone(),
        })
    }

    /// The VM was removed or has another password since it was looked up: a retry finds out.
    fn not_current(&self, _: &mut App, _: ConnId) -> Failure {
        Failure::Busy
    }
}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        Ok(match self {
            Stage::Find { operation, .. } => match result.credentials()? {
                Some(credentials) => run(credentials, operation),
                None => Next::failed(Failure::NoSuchVm),
            },
            Stage::Hash { login } => {
                let (name, password_hash) = (login.name.clone(), result.hashed()?);
                let write = Write::ChangePassword { name, password_hash };
                Next::Work {
                    work: Work::Write(write),
                    stage: Stage::Store { login, change: Change::Password },
                }
            }
            Stage::Store { login, change } => {
                result.written()?;
                Next::Answer(at.app.changed(login, change))
            }
        })
    }
}

//! What the commands of the dialect `action` do: adding VMs, and authorizing, connecting and changing others
//! than oneself.
//!
//! A VM without a password is authorized for everybody, by anybody who may ask; one with a password only for
//! the connection that is authenticated as it. Which of both it is, is asked of the store each time.

use super::App;
use super::password::Verdict;
use super::sets::Set;
use super::stage::{Action, Purpose, Stage};
use super::task::{Done, Task};
use crate::clock::UnixSeconds;
use crate::ids::{ConnId, VmId};
use crate::model::{
    ActionAnswer, Answer, Credentials, Failure, Login, Principal, Scope, Secret, TokenHash, VmChange, VmShape,
};
use crate::store::{Write, Written};

impl App {
    pub(super) fn add_vm(&self, shape: VmShape, disk_sizes_gib: Vec<u64>, now: UnixSeconds) -> Action {
        let write = Write::AddVm { shape, disk_sizes_gib, vms_max: self.settings.vms_max, now };
        Action::Work { task: Task::Write(write), stage: Stage::AddVm }
    }

    pub(super) fn logout_vm(
        &self,
        conn: ConnId,
        vm: VmId,
        principal: Principal,
        token: Option<TokenHash>,
    ) -> Action {
        match principal {
            Principal::Vm(login) if login.id == vm => {
                let stage = Stage::LogoutVmTokens { login: login.clone() };
                Action::Work { task: self.end_tokens(conn, login, token), stage }
            }
            _ if self.presence.sets().is_authorized_for_all(vm) => {
                Action::Work { task: Task::FindCredentialsById { vm }, stage: Stage::LogoutVm { vm } }
            }
            _ => Action::failed(Failure::NotAuthorized),
        }
    }

    pub(super) fn update_vm(&self, vm: VmId, change: Option<VmChange>, principal: Principal) -> Action {
        match principal {
            Principal::Vm(login) if login.id == vm => update(login, change),
            _ if self.presence.sets().is_authorized_for_all(vm) => {
                Action::Work { task: Task::FindCredentialsById { vm }, stage: Stage::UpdateVm { vm, change } }
            }
            _ => Action::failed(Failure::NotAuthorized),
        }
    }

    /// Goes on with a request of this dialect.
    pub(super) fn advance_action(
        &mut self,
        conn: ConnId,
        stage: Stage,
        done: Done,
        now: UnixSeconds,
    ) -> Action {
        match (stage, done) {
            (Stage::AddVm, Done::Written(Written::Registered(id))) => answer(ActionAnswer::Added(id)),
            (Stage::Admittance { vm, purpose, password, scope }, Done::Credentials(credentials)) => {
                match credentials {
                    None => Action::failed(Failure::UnknownVm),
                    Some(Credentials { login, password_hash: None }) => self.admit(vm, purpose, login, now),
                    Some(Credentials { login, password_hash }) => {
                        self.verify(conn, login, purpose, password, password_hash, scope)
                    }
                }
            }
            (Stage::AdmittanceVerify { login, purpose, scope }, Done::Verified(verdict)) => {
                self.write_admittance(conn, login, purpose, verdict, scope, now)
            }
            (Stage::AdmittanceWrite { login, purpose, scope }, Done::Written(Written::Connected)) => {
                match scope {
                    None => return self.authorize(login.id, purpose),
                    Some(Scope::Connection) => self.presence.log_in(conn, login, None),
                    Some(Scope::Request) => {}
                }
                answer(purpose.answer())
            }
            (Stage::LogoutVm { vm }, Done::Credentials(credentials)) => {
                let found = self.authorized(vm, credentials);
                self.presence.sets_mut().release(vm);
                found.map_or_else(Action::failed, |_| answer(ActionAnswer::LoggedOut))
            }
            (Stage::LogoutVmTokens { .. }, Done::Written(Written::TokensRevoked)) => {
                self.presence.log_out(conn);
                self.presence.forget_tokens(conn);
                answer(ActionAnswer::LoggedOut)
            }
            (Stage::UpdateVm { vm, change }, Done::Credentials(credentials)) => {
                match self.authorized(vm, credentials) {
                    Ok(login) => update(login, change),
                    Err(failure) => Action::failed(failure),
                }
            }
            (Stage::UpdateVmWrite { .. }, Done::Written(Written::Updated)) => Action::Answer(Answer::Updated),
            (stage, done) => {
                debug_assert!(false, "{done:?} is no result for {stage:?}");
                log::error!("a task had a result of the wrong kind");
                Action::failed(Failure::Internal)
            }
        }
    }

    /// Lets in a VM without a password.
    fn admit(&mut self, vm: VmId, purpose: Purpose, login: Login, now: UnixSeconds) -> Action {
        if !self.presence.sets().has_room_for(vm) {
            return Action::failed(Failure::Busy);
        }
        match purpose {
            Purpose::Authorize => self.authorize(vm, purpose),
            Purpose::Connect => {
                let write = Write::Connect { login: login.clone(), rehash: None, now };
                let stage = Stage::AdmittanceWrite { login, purpose, scope: None };
                Action::Work { task: Task::Write(write), stage }
            }
        }
    }

    fn authorize(&mut self, vm: VmId, purpose: Purpose) -> Action {
        let set = match purpose {
            Purpose::Authorize => Set::Authorized,
            Purpose::Connect => Set::Connected,
        };
        match self.presence.sets_mut().authorize(vm, set) {
            Ok(()) => answer(purpose.answer()),
            Err(_) => Action::failed(Failure::Busy),
        }
    }

    /// Asks for the password of a VM that has one.
    fn verify(
        &mut self,
        conn: ConnId,
        login: Login,
        purpose: Purpose,
        password: Option<Secret>,
        stored: Option<String>,
        scope: Scope,
    ) -> Action {
        // Whoever is in the sets for everybody must not have one.
        self.presence.sets_mut().release(login.id);
        match password {
            Some(password) => {
                let stage = Stage::AdmittanceVerify { login, purpose, scope };
                Action::Work { task: Task::VerifyPassword { password, stored }, stage }
            }
            None => {
                self.presence.log_out(conn);
                Action::failed(Failure::InvalidCredentials)
            }
        }
    }

    fn write_admittance(
        &mut self,
        conn: ConnId,
        login: Login,
        purpose: Purpose,
        verdict: Verdict,
        scope: Scope,
        now: UnixSeconds,
    ) -> Action {
        let Some(rehash) = verdict.rehash() else {
            self.presence.log_out(conn);
            return Action::failed(Failure::InvalidCredentials);
        };
        let write = Write::Connect { login: login.clone(), rehash, now };
        let stage = Stage::AdmittanceWrite { login, purpose, scope: Some(scope) };
        Action::Work { task: Task::Write(write), stage }
    }

    /// The login of a VM that is authorized for everybody, by what the store knows of it. One that is gone or
    /// has got a password is not any more.
    fn authorized(&mut self, vm: VmId, credentials: Option<Credentials>) -> Result<Login, Failure> {
        match credentials {
            Some(Credentials { login, password_hash: None })
                if self.presence.sets().is_authorized_for_all(vm) =>
            {
                Ok(login)
            }
            Some(Credentials { password_hash: None, .. }) => Err(Failure::NotAuthorized),
            _ => {
                self.presence.sets_mut().release(vm);
                Err(Failure::NotAuthorized)
            }
        }
    }
}

impl Purpose {
    fn answer(self) -> ActionAnswer {
        match self {
            Purpose::Authorize => ActionAnswer::Authorized,
            Purpose::Connect => ActionAnswer::Connected,
        }
    }
}

/// Looks for the VM that is to be let in.
pub(super) fn admittance(vm: VmId, purpose: Purpose, password: Option<Secret>, scope: Scope) -> Action {
    let stage = Stage::Admittance { vm, purpose, password, scope };
    Action::Work { task: Task::FindCredentialsById { vm }, stage }
}

fn update(login: Login, change: Option<VmChange>) -> Action {
    match change {
        Some(change) => {
            let stage = Stage::UpdateVmWrite { login: login.clone() };
            Action::Work { task: Task::Write(Write::Update { login, change }), stage }
        }
        None => Action::failed(Failure::InvalidVmShape),
    }
}

fn answer(answer: ActionAnswer) -> Action {
    Action::Answer(Answer::Action(answer))
}

//! What the commands of the dialect `action` do: adding VMs, and authorizing, connecting and changing others
//! than oneself.
//!
//! A VM without a password is authorized for everybody, by anybody who may ask; one with a password only for
//! the connection that is authenticated as it. Which of both it is, is asked of the store each time.

use super::App;
use super::stage::{Next, Stage};
use crate::clock::UnixSeconds;
use crate::ids::{ConnId, VmId};
use crate::model::{
    ActionAnswer, Answer, Credentials, Failure, Login, Membership, Principal, Scope, Secret, TokenHash,
    VmChange, VmShape,
};
use crate::store::{Write, Written};
use crate::work::password::PasswordCheck;
use crate::work::{Hash, Read, Work, WorkResult};

impl App {
    pub(super) fn add_vm(&self, shape: VmShape, disk_sizes_gib: Vec<u64>, now: UnixSeconds) -> Next {
        let write = Write::AddVm { shape, disk_sizes_gib, vms_max: self.settings.vms_max, now };
        Next::Work { work: Work::Write(write), stage: Stage::AddVm }
    }

    pub(super) fn logout_vm(
        &self,
        conn: ConnId,
        vm: VmId,
        principal: Principal,
        token: Option<TokenHash>,
    ) -> Next {
        match principal {
            Principal::Vm(login) if login.id == vm => {
                let stage = Stage::LogoutVmTokens { login: login.clone() };
                Next::Work { work: self.end_tokens(conn, login, token), stage }
            }
            _ if self.presence.membership().is_authorized_for_all(vm) => Next::Work {
                work: Work::Read(Read::FindCredentialsById { vm }),
                stage: Stage::LogoutVm { vm },
            },
            _ => Next::failed(Failure::NotAuthorized),
        }
    }

    pub(super) fn update_vm(&self, vm: VmId, change: Option<VmChange>, principal: Principal) -> Next {
        match principal {
            Principal::Vm(login) if login.id == vm => update(login, change),
            _ if self.presence.membership().is_authorized_for_all(vm) => Next::Work {
                work: Work::Read(Read::FindCredentialsById { vm }),
                stage: Stage::UpdateVm { vm, change },
            },
            _ => Next::failed(Failure::NotAuthorized),
        }
    }

    /// Goes on with a request of this dialect.
    pub(super) fn advance_action(
        &mut self,
        conn: ConnId,
        stage: Stage,
        done: WorkResult,
        now: UnixSeconds,
    ) -> Next {
        match (stage, done) {
            (Stage::AddVm, WorkResult::Written(Written::Registered(id))) => answer(ActionAnswer::Added(id)),
            (Stage::Join { vm, membership, password, scope }, WorkResult::Credentials(credentials)) => {
                match credentials {
                    None => Next::failed(Failure::UnknownVm),
                    Some(Credentials { login, password_hash: None }) => self.join(vm, membership, login, now),
                    Some(Credentials { login, password_hash }) => {
                        self.verify(conn, login, membership, password, password_hash, scope)
                    }
                }
            }
            (Stage::JoinVerify { login, membership, scope }, WorkResult::Verified(verdict)) => {
                self.write_admittance(conn, login, membership, verdict, scope, now)
            }
            (Stage::JoinWrite { login, membership, scope }, WorkResult::Written(Written::Connected)) => {
                match scope {
                    None => return self.add_member(login.id, membership),
                    Some(Scope::Connection) => self.presence.log_in(conn, login, None),
                    Some(Scope::Request) => {}
                }
                joined(membership)
            }
            (Stage::LogoutVm { vm }, WorkResult::Credentials(credentials)) => {
                let found = self.authorized(vm, credentials);
                self.presence.membership_mut().release(vm);
                found.map_or_else(Next::failed, |_| answer(ActionAnswer::LoggedOut))
            }
            (Stage::LogoutVmTokens { .. }, WorkResult::Written(Written::TokensRevoked)) => {
                self.presence.log_out(conn);
                self.presence.forget_tokens(conn);
                answer(ActionAnswer::LoggedOut)
            }
            (Stage::UpdateVm { vm, change }, WorkResult::Credentials(credentials)) => {
                match self.authorized(vm, credentials) {
                    Ok(login) => update(login, change),
                    Err(failure) => Next::failed(failure),
                }
            }
            (Stage::UpdateVmWrite { .. }, WorkResult::Written(Written::Updated)) => {
                Next::Answer(Answer::Updated)
            }
            (stage, done) => {
                debug_assert!(false, "{done:?} is no result for {stage:?}");
                log::error!("a work had a result of the wrong kind");
                Next::failed(Failure::Internal)
            }
        }
    }

    /// Lets in a VM without a password.
    fn join(&mut self, vm: VmId, membership: Membership, login: Login, now: UnixSeconds) -> Next {
        if !self.presence.membership().has_room_for(vm) {
            return Next::failed(Failure::Busy);
        }
        match membership {
            Membership::Authorized => self.add_member(vm, membership),
            Membership::Connected => {
                let write = Write::Connect { login: login.clone(), rehash: None, now };
                let stage = Stage::JoinWrite { login, membership, scope: None };
                Next::Work { work: Work::Write(write), stage }
            }
        }
    }

    fn add_member(&mut self, vm: VmId, membership: Membership) -> Next {
        match self.presence.membership_mut().authorize(vm, membership) {
            Ok(()) => joined(membership),
            Err(_) => Next::failed(Failure::Busy),
        }
    }

    /// Asks for the password of a VM that has one.
    fn verify(
        &mut self,
        conn: ConnId,
        login: Login,
        membership: Membership,
        password: Option<Secret>,
        stored: Option<String>,
        scope: Scope,
    ) -> Next {
        // Whoever is in the sets for everybody must not have one.
        self.presence.membership_mut().release(login.id);
        match password {
            Some(password) => {
                let stage = Stage::JoinVerify { login, membership, scope };
                Next::Work { work: Work::Hash(Hash::Verify { password, stored }), stage }
            }
            None => {
                self.presence.log_out(conn);
                Next::failed(Failure::InvalidCredentials)
            }
        }
    }

    fn write_admittance(
        &mut self,
        conn: ConnId,
        login: Login,
        membership: Membership,
        verdict: PasswordCheck,
        scope: Scope,
        now: UnixSeconds,
    ) -> Next {
        let Some(rehash) = verdict.rehash() else {
            self.presence.log_out(conn);
            return Next::failed(Failure::InvalidCredentials);
        };
        let write = Write::Connect { login: login.clone(), rehash, now };
        let stage = Stage::JoinWrite { login, membership, scope: Some(scope) };
        Next::Work { work: Work::Write(write), stage }
    }

    /// The login of a VM that is authorized for everybody, by what the store knows of it. One that is gone or
    /// has got a password is not any more.
    fn authorized(&mut self, vm: VmId, credentials: Option<Credentials>) -> Result<Login, Failure> {
        match credentials {
            Some(Credentials { login, password_hash: None })
                if self.presence.membership().is_authorized_for_all(vm) =>
            {
                Ok(login)
            }
            Some(Credentials { password_hash: None, .. }) => Err(Failure::NotAuthorized),
            _ => {
                self.presence.membership_mut().release(vm);
                Err(Failure::NotAuthorized)
            }
        }
    }
}

/// Looks for the VM that is to be let in.
pub(super) fn join_by_id(vm: VmId, membership: Membership, password: Option<Secret>, scope: Scope) -> Next {
    let stage = Stage::Join { vm, membership, password, scope };
    Next::Work { work: Work::Read(Read::FindCredentialsById { vm }), stage }
}

fn update(login: Login, change: Option<VmChange>) -> Next {
    match change {
        Some(change) => {
            let stage = Stage::UpdateVmWrite { login: login.clone() };
            Next::Work { work: Work::Write(Write::Update { login, change }), stage }
        }
        None => Next::failed(Failure::InvalidVmShape),
    }
}

fn answer(answer: ActionAnswer) -> Next {
    Next::Answer(Answer::Action(answer))
}

fn joined(membership: Membership) -> Next {
    answer(match membership {
        Membership::Authorized => ActionAnswer::Authorized,
        Membership::Connected => ActionAnswer::Connected,
    })
}

//! The dialect `action`: adds VMs, and authorizes, connects and changes VMs other than the client's own.
//!
//! Any client with the right may authorize a VM without a password, for every client. A VM with a password, or one that a
//! server runs, is authorized only for the connection authenticated as it. The store says which of the two a VM is: when it
//! is looked up, and when it is changed.

use super::super::audit::Subject;
use super::{App, Context, Continue, Next, Noted, Resume, StageInfo};
use crate::clock::UnixSeconds;
use crate::ids::{ConnId, VmId};
use crate::model::{
    ActionAnswer, Answer, Credentials, Failure, Login, Membership, Principal, Scope, Secret, VmChange,
    VmName, VmShape,
};
use crate::store::{Write, Written};
use crate::work::password::PasswordCheck;
use crate::work::{Hash, Read, Work, WorkResult, WrongResult};

/// A request of the dialect.
#[derive(Debug)]
pub enum Stage {
    /// A VM without a password is stored.
    Add,
    /// The VM to authorize is looked up.
    Join { vm: VmId, membership: Membership, password: Option<Secret>, scope: Scope },
    /// Its password is checked.
    JoinVerify { login: Login, membership: Membership, scope: Scope },
    /// The VM is marked as connected in the store; `scope` is set if it has a password.
    JoinStore { login: Login, membership: Membership, scope: Option<Scope> },
    /// The VM to log out is looked up.
    Logout { vm: VmId },
    /// The tokens of a VM with a password are revoked.
    RevokeTokens { login: Login },
    /// The change is stored.
    Update { login: Login },
}

/// Looks up the VM that becomes a member.
pub(super) fn join(
    context: Context,
    vm: VmId,
    membership: Membership,
    password: Option<Secret>,
) -> Next<Stage> {
    if !context.may_name(vm) {
        return Next::failed(Failure::UnknownVm);
    }
    let stage = Stage::Join { vm, membership, password, scope: context.scope };
    Next::Work { work: Work::Read(Read::FindCredentialsById { vm }), stage }
}

impl App {
    pub(super) fn add_vm(&self, shape: VmShape, disk_sizes_gib: Vec<u64>, now: UnixSeconds) -> Next<Stage> {
        let write = Write::AddVm { shape, disk_sizes_gib, vms_max: self.settings.vms_max, now };
        Next::Work { work: Work::Write(write), stage: Stage::Add }
    }

    pub(super) fn logout_vm(&mut self, context: Context, vm: VmId) -> Next<Stage> {
        if !context.may_name(vm) {
            return Next::failed(Failure::NotAuthorized);
        }
        match context.principal {
            Principal::Vm(login) if login.id == vm => {
                let stage = Stage::RevokeTokens { login: login.clone() };
                Next::Work { work: self.revoke_tokens(context.conn, login, context.token), stage }
            }
            _ if self.presence.membership().is_authorized_for_all(vm) => {
                Next::Work { work: Work::Read(Read::FindCredentialsById { vm }), stage: Stage::Logout { vm } }
            }
            _ => Next::failed(Failure::NotAuthorized),
        }
    }

    pub(super) fn update_vm(&self, context: Context, vm: VmId, change: Option<VmChange>) -> Next<Stage> {
        if !context.may_name(vm) {
            return Next::failed(Failure::NotAuthorized);
        }
        let login = match context.principal {
            Principal::Vm(login) if login.id == vm => Some(login),
            _ => self.presence.membership().open_login(vm).cloned(),
        };
        match (login, change) {
            (None, _) => Next::failed(Failure::NotAuthorized),
            (Some(_), None) => Next::failed(Failure::InvalidVmShape),
            (Some(login), Some(change)) => {
                let stage = Stage::Update { login: login.clone() };
                Next::Work { work: Work::Write(Write::Update { login, token: None, change }), stage }
            }
        }
    }

    /// Authorizes or connects a VM without a password.
    fn join_open(&mut self, vm: VmId, membership: Membership, login: Login, now: UnixSeconds) -> Next<Stage> {
        if !self.presence.membership().has_room_for(vm) {
            return Next::failed(Failure::Busy);
        }
        match membership {
            Membership::Authorized => self.add_member(login, membership),
            Membership::Connected => {
                let write = Write::Connect { login: login.clone(), rehash: None, now };
                let stage = Stage::JoinStore { login, membership, scope: None };
                Next::Work { work: Work::Write(write), stage }
            }
        }
    }

    fn add_member(&mut self, login: Login, membership: Membership) -> Next<Stage> {
        match self.presence.membership_mut().authorize(login, membership) {
            Ok(()) => joined(membership),
            Err(_) => Next::failed(Failure::Busy),
        }
    }

    /// Checks the password of a VM that has one.
    fn verify_to_join(
        &mut self,
        conn: ConnId,
        login: Login,
        membership: Membership,
        password: Option<Secret>,
        stored: Option<String>,
        scope: Scope,
    ) -> Next<Stage> {
        // The VM may have got its password after it was authorized for every client.
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

    fn store_connected(
        &mut self,
        conn: ConnId,
        login: Login,
        membership: Membership,
        check: PasswordCheck,
        scope: Scope,
        now: UnixSeconds,
    ) -> Next<Stage> {
        let Some(rehash) = check.rehash() else {
            self.presence.log_out(conn);
            return Next::failed(Failure::InvalidCredentials);
        };
        let write = Write::Connect { login: login.clone(), rehash, now };
        let stage = Stage::JoinStore { login, membership, scope: Some(scope) };
        Next::Work { work: Work::Write(write), stage }
    }

    /// Whether a VM is authorized for every client, by its stored credentials. One that was removed or has got a password
    /// no longer is.
    fn check_authorized(&mut self, vm: VmId, credentials: Option<Credentials>) -> Result<(), Failure> {
        let is_open = credentials.is_some_and(|credentials| credentials.password_hash.is_none());
        let was_authorized = self.presence.membership().is_authorized_for_all(vm);
        if !is_open {
            self.presence.membership_mut().release(vm);
        }
        if is_open && was_authorized { Ok(()) } else { Err(Failure::NotAuthorized) }
    }
}

impl StageInfo for Stage {
    fn checked_vm(&self) -> Option<(&VmName, Option<VmId>)> {
        match self {
            Stage::JoinVerify { login, .. } => Some((&login.name, Some(login.id))),
            _ => None,
        }
    }

    fn noted(&self) -> Option<Noted> {
        match self {
            Stage::Add => Some(Noted::Registered),
            Stage::Update { login } => Some(Noted::Updated(login.id)),
            _ => None,
        }
    }

    fn subject(&self) -> Subject {
        match self {
            Stage::Add => Subject::None,
            Stage::Join { vm, .. } | Stage::Logout { vm } => Subject::Number(*vm),
            Stage::JoinStore { login, scope: None, .. } | Stage::Update { login } => {
                Subject::Number(login.id)
            }
            Stage::JoinVerify { login, .. }
            | Stage::JoinStore { login, .. }
            | Stage::RevokeTokens { login } => Subject::Name(login.name.clone()),
        }
    }

    fn not_current(&self, app: &mut App, conn: ConnId) -> Failure {
        match self {
            // The VM changed after the lookup or the password check: a retry finds out how.
            Stage::JoinStore { .. } => Failure::Busy,
            Stage::RevokeTokens { login } => {
                app.presence.log_out_as(conn, login);
                Failure::NotAuthorized
            }
            Stage::Update { login } => {
                app.presence.log_out_as(conn, login);
                app.presence.membership_mut().release(login.id);
                Failure::NotAuthorized
            }
            Stage::Add | Stage::Join { .. } | Stage::JoinVerify { .. } | Stage::Logout { .. } => {
                Failure::AuthenticationRequired
            }
        }
    }
}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        let Resume { app, conn, now } = at;
        Ok(match self {
            Stage::Add => {
                let Written::Registered(id) = result.written()? else { return Err(WrongResult) };
                answer(ActionAnswer::Added(id))
            }
            Stage::Join { vm, membership, password, scope } => match result.credentials()? {
                None => Next::failed(Failure::UnknownVm),
                Some(Credentials { login, password_hash: None, managed_by: None }) => {
                    app.join_open(vm, membership, login, now)
                }
                // No password is that of a managed VM, which logs in by its token.
                Some(Credentials { login, password_hash, .. }) => {
                    app.verify_to_join(conn, login, membership, password, password_hash, scope)
                }
            },
            Stage::JoinVerify { login, membership, scope } => {
                app.store_connected(conn, login, membership, result.verified()?, scope, now)
            }
            Stage::JoinStore { login, membership, scope } => {
                result.written()?;
                match scope {
                    None => return Ok(app.add_member(login, membership)),
                    Some(Scope::Connection) => app.presence.log_in(conn, login, None),
                    Some(Scope::Request) => app.presence.note_request(conn, login.id),
                }
                joined(membership)
            }
            Stage::Logout { vm } => {
                let found = app.check_authorized(vm, result.credentials()?);
                app.presence.membership_mut().release(vm);
                found.map_or_else(Next::failed, |()| answer(ActionAnswer::LoggedOut))
            }
            Stage::RevokeTokens { .. } => {
                result.written()?;
                app.presence.log_out(conn);
                app.presence.forget_tokens(conn);
                answer(ActionAnswer::LoggedOut)
            }
            Stage::Update { .. } => {
                result.written()?;
                Next::Answer(Answer::Updated)
            }
        })
    }
}

fn answer(answer: ActionAnswer) -> Next<Stage> {
    Next::Answer(Answer::Action(answer))
}

fn joined(membership: Membership) -> Next<Stage> {
    answer(match membership {
        Membership::Authorized => ActionAnswer::Authorized,
        Membership::Connected => ActionAnswer::Connected,
    })
}

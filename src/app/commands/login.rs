//! Logins: `authenticate`, `logout`, and the token that comes with a request.

use super::super::access::Permission;
use super::super::audit::Subject;
use super::super::login_limiter::{LoginAttempt, LoginTarget};
use super::super::token;
use super::{App, Context, Continue, Next, Noted, Resume, StageInfo, TokenStage, vms};
use crate::clock::{Instant, UnixSeconds};
use crate::ids::{ConnId, VmId};
use crate::model::{
    Answer, Caller, Command, Credentials, Failure, Login, Scope, Secret, TokenHash, TokenOwner, VmField,
    VmName,
};
use crate::store::{TokenProof, Write};
use crate::work::password::PasswordCheck;
use crate::work::{Hash, Read, Work, WorkError, WorkResult, WrongResult};

/// A login by password, or a logout.
#[derive(Debug)]
pub enum Stage {
    /// The stored hash is looked up.
    Find { name: VmName, password: Secret, scope: Scope },
    /// The password is checked.
    Verify { name: VmName, login: Option<Login>, scope: Scope },
    /// The new token is stored.
    Store { login: Login, scope: Scope, token: Secret, hash: TokenHash },
    /// The tokens are revoked.
    Logout { login: Login },
}

/// An update whose token came with an earlier request, so that it is most likely valid: the store checks it with the write.
/// If it is not, it is looked up.
#[derive(Debug)]
pub struct TokenUpdate {
    login: Login,
    pub(in crate::app) lookup: TokenStage,
}

impl TokenStage {
    /// Looks up the token.
    pub(in crate::app) fn look_up(self, now: UnixSeconds) -> Next {
        let read = Read::FindToken { token: self.token, current: self.current.clone(), now };
        Next::Work { work: Work::Read(read), stage: super::Stage::Token(self) }
    }
}

pub(super) fn authenticate(name: VmName, password: Secret, scope: Scope) -> Next<Stage> {
    let stage = Stage::Find { name: name.clone(), password, scope };
    Next::Work { work: Work::Read(Read::FindCredentials { name }), stage }
}

fn verify(name: VmName, password: Secret, scope: Scope, credentials: Option<Credentials>) -> Next<Stage> {
    // Verify an unknown name too, so that it takes as long as a wrong password.
    let (login, stored) = match credentials {
        Some(credentials) => (Some(credentials.login), credentials.password_hash),
        None => (None, None),
    };
    let work = Work::Hash(Hash::Verify { password, stored });
    Next::Work { work, stage: Stage::Verify { name, login, scope } }
}

impl App {
    /// Begins the request of `stage`, which has a token.
    pub(in crate::app) fn begin_with_token(&self, conn: ConnId, stage: TokenStage, now: UnixSeconds) -> Next {
        match self.update_at_once(conn, &stage, now) {
            Some((login, write)) => {
                let stage = super::Stage::TokenUpdate(TokenUpdate { login, lookup: stage });
                Next::Work { work: Work::Write(write), stage }
            }
            None => stage.look_up(now),
        }
    }

    /// The write of the request of `stage`, and its login, if it is an update that need not wait until its token is looked
    /// up. All that is refused without a write is looked up first, for the order of checks.
    fn update_at_once(&self, conn: ConnId, stage: &TokenStage, now: UnixSeconds) -> Option<(Login, Write)> {
        let TokenStage { request, token, .. } = stage;
        let (Ok(Command::Update(change)), None | Some(VmField::Missing(_))) =
            (&request.command, &request.vm_field)
        else {
            return None;
        };
        let login = self.token_owners.get(token)?.clone();
        let of_request = match request.scope {
            Scope::Request => Some(login.clone()),
            Scope::Connection if self.presence.login(conn) == Some(&login) => None,
            Scope::Connection => return None,
        };
        let caller = Caller { is_forwarded: request.is_forwarded, login: of_request, ..Caller::default() };
        if self.permission(conn, request.name, &caller).0 != Permission::AllowedAsItself {
            return None;
        }
        let token = Some(TokenProof { token: *token, now });
        let write = Write::Update { login: login.clone(), token, change: change.clone() };
        Some((login, write))
    }

    /// The stage of such an update, as if its token had been looked up; `is_done`: the store has found it valid.
    pub(in crate::app) fn proven(
        &mut self,
        conn: ConnId,
        update: TokenUpdate,
        is_done: bool,
    ) -> super::Stage {
        if is_done {
            self.presence.note_request(conn, update.login.id);
        }
        super::Stage::Vms(vms::Stage::Update { login: update.login })
    }

    /// Runs the request of `stage` as the owner of its token. On an anonymous connection the token of a VM is a login; on
    /// an authenticated one it must be the same VM's. Over HTTP it applies to this request only, as a reader's always does.
    pub(super) fn resume_with_token(
        &mut self,
        conn: ConnId,
        stage: TokenStage,
        owner: Option<TokenOwner>,
        current_holds: bool,
        now: UnixSeconds,
    ) -> Next {
        let TokenStage { request, token, current } = stage;
        if let Some(current) = current.filter(|_| !current_holds) {
            self.presence.log_out_as(conn, &current);
        }
        let mut caller = Caller { is_forwarded: request.is_forwarded, ..Caller::default() };
        let owner = match owner {
            Some(TokenOwner::Vm(owner)) => owner,
            Some(TokenOwner::Reader(reader)) => {
                caller.reader = Some(reader);
                return self.run(conn, request, None, caller, now);
            }
            None => return Next::failed(Failure::InvalidToken),
        };
        self.token_owners.remember(token, &owner);
        match self.presence.login(conn) {
            _ if request.scope == Scope::Request => caller.login = Some(owner),
            Some(current) if current.id != owner.id => return Next::failed(Failure::TokenOfAnotherVm),
            Some(_) => {}
            None => {
                self.audit.token_accepted(|| self.presence.peer(conn), &request, &owner.name);
                self.presence.log_in(conn, owner, Some(token));
            }
        }
        self.run(conn, request, Some(token), caller, now)
    }

    pub(super) fn logout(&mut self, context: Context) -> Next<Stage> {
        let (conn, token) = (context.conn, context.token);
        match context.own_login() {
            Ok(login) => {
                let stage = Stage::Logout { login: login.clone() };
                Next::Work { work: self.revoke_tokens(conn, login, token), stage }
            }
            Err(failure) => Next::failed(failure),
        }
    }

    /// Revokes every token that was issued on the connection, authenticated it, or came with the request.
    pub(super) fn revoke_tokens(&mut self, conn: ConnId, login: Login, token: Option<TokenHash>) -> Work {
        let mut tokens = self.presence.tokens(conn).to_vec();
        tokens.extend(token.filter(|token| !self.presence.tokens(conn).contains(token)));
        self.end_watches_by(&tokens);
        Work::Write(Write::RevokeTokens { login, tokens })
    }

    /// The login attempt whose password is checked at `stage`.
    pub fn login_attempt(&self, conn: ConnId, stage: &super::Stage) -> Option<LoginAttempt> {
        let target = match stage.info().checked_vm()? {
            (_, Some(vm)) => LoginTarget::Vm(vm),
            (name, None) => LoginTarget::of_unknown(name),
        };
        Some(LoginAttempt { source: self.presence.peer(conn)?.source(), target })
    }

    /// Counts the result of the password check at `stage`; no other place counts password logins. Returns the attempt
    /// if it failed.
    pub fn record_login(
        &mut self,
        conn: ConnId,
        stage: &super::Stage,
        result: &Result<WorkResult, WorkError>,
        now: Instant,
    ) -> Option<LoginAttempt> {
        let Ok(WorkResult::Verified(verdict)) = result else { return None };
        let attempt = self.login_attempt(conn, stage)?;
        match verdict {
            PasswordCheck::Wrong => {
                self.logins.failed(attempt, now);
                Some(attempt)
            }
            PasswordCheck::Right | PasswordCheck::RightRehashed(_) => {
                self.logins.succeeded(attempt);
                None
            }
        }
    }

    fn issue_token(
        &mut self,
        conn: ConnId,
        login: Option<Login>,
        scope: Scope,
        check: PasswordCheck,
        now: UnixSeconds,
    ) -> Next<Stage> {
        let (Some(login), Some(rehash)) = (login, check.rehash()) else {
            self.presence.log_out(conn);
            return Next::failed(Failure::InvalidCredentials);
        };
        let token = match token::issue(self.random.as_mut()) {
            Ok(token) => token,
            Err(error) => {
                log::error!("getting random bytes for a token failed: {error}");
                return Next::failed(Failure::Internal);
            }
        };
        let hash = token::hash(&token);
        let now = now - self.clock_lead;
        let write = Write::IssueToken {
            login: login.clone(),
            token: hash,
            expires: now + self.settings.token_lifetime,
            replaces: self.presence.token_to_replace(conn),
            rehash,
            now,
        };
        Next::Work { work: Work::Write(write), stage: Stage::Store { login, scope, token, hash } }
    }
}

impl StageInfo for TokenUpdate {
    fn login(&self) -> Option<&Login> {
        Some(&self.login)
    }

    fn weight(&self) -> usize {
        self.lookup.weight()
    }

    fn noted(&self) -> Option<Noted> {
        Some(Noted::Updated(self.login.id))
    }
}

impl StageInfo for Stage {
    fn login(&self) -> Option<&Login> {
        match self {
            Stage::Logout { login } => Some(login),
            Stage::Find { .. } | Stage::Verify { .. } | Stage::Store { .. } => None,
        }
    }

    fn checked_vm(&self) -> Option<(&VmName, Option<VmId>)> {
        match self {
            Stage::Verify { name, login, .. } => Some((name, login.as_ref().map(|login| login.id))),
            Stage::Find { .. } | Stage::Store { .. } | Stage::Logout { .. } => None,
        }
    }

    fn subject(&self) -> Subject {
        Subject::Name(match self {
            Stage::Find { name, .. } | Stage::Verify { name, .. } => name.clone(),
            Stage::Store { login, .. } | Stage::Logout { login } => login.name.clone(),
        })
    }

    fn not_current(&self, app: &mut App, conn: ConnId) -> Failure {
        match self {
            // The VM changed after the password check: its logins were ended, or it has another password. Another try
            // finds out which; a right password must not count as a wrong one.
            Stage::Store { .. } => Failure::Busy,
            Stage::Find { .. } | Stage::Verify { .. } => Failure::AuthenticationRequired,
            Stage::Logout { login } => {
                app.presence.log_out_as(conn, login);
                Failure::AuthenticationRequired
            }
        }
    }
}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        let Resume { app, conn, now } = at;
        Ok(match self {
            Stage::Find { name, password, scope } => verify(name, password, scope, result.credentials()?),
            Stage::Verify { login, scope, .. } => {
                app.issue_token(conn, login, scope, result.verified()?, now)
            }
            Stage::Store { login, scope, token, hash } => {
                result.written()?;
                match scope {
                    Scope::Connection => app.presence.log_in(conn, login, Some(hash)),
                    Scope::Request => app.presence.note_request(conn, login.id),
                }
                Next::Answer(Answer::Authenticated(token))
            }
            Stage::Logout { login } => {
                result.written()?;
                app.presence.log_out(conn);
                app.presence.forget_tokens(conn);
                Next::Answer(Answer::LoggedOut(login.name))
            }
        })
    }
}

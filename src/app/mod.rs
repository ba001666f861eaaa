//! What each command does: from a request to an answer, through as many stages as it takes.
//!
//! Runs on the reactor's thread and never blocks: whatever would is a [`Work`] for a worker, and
//! the [`stage::Stage`] says how to go on with its result. Knows no framing, no dialect, no thread.

pub mod access;
mod actions;
pub mod audit;
mod conversion;
mod errors;
mod expiring;
mod lists;
pub mod login_limiter;
pub mod membership;
mod points;
pub mod presence;
pub mod stage;
pub mod token;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::dialect::convert;
use crate::ids::ConnId;
use crate::log_limiter::LogRateLimiter;
use crate::model::{
    Answer, Command, CommandName, Credentials, Failure, Login, Membership, NewVm, Principal, Request, Scope,
    Secret, TokenHash, VmName,
};
use crate::store::{StoreError, Write, WriteHealth, Written};
use crate::work::password::PasswordCheck;
use crate::work::{Compute, Hash, Read, Work, WorkError, WorkResult};
use access::Permission;
use audit::{Audit, AuditContext};
use conversion::DelayLog;
pub use errors::StoreErrors;
use login_limiter::{LoginLimiter, LoginLimits};
pub use points::PointCounters;
use presence::Presence;
use stage::{Next, Stage};

/// What the commands need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// VMs that the store may hold.
    pub vms_max: u64,
    /// How long a token counts.
    pub token_lifetime: Duration,
    /// From when on guesses of passwords are delayed.
    pub logins: LoginLimits,
    /// How long a conversion takes.
    pub conversion_delay: RangeInclusive<Duration>,
    /// Bytes of a text that is converted on the reactor's thread; a longer one is a worker's.
    pub inline_bytes_max: usize,
}

/// The commands, and the state that they share.
pub struct App {
    settings: Settings,
    presence: Presence,
    random: Box<dyn token::Random>,
    delay_log: DelayLog,
    store_troubles: LogRateLimiter,
    store_errors: StoreErrors,
    health: Arc<WriteHealth>,
    /// How far the wall clock is ahead of the time by which tokens expire.
    clock_lead: Duration,
    points: PointCounters,
    audit: Audit,
    logins: LoginLimiter,
}

impl App {
    /// Nobody is connected yet. `health` is that of the store.
    pub fn new(settings: Settings, random: Box<dyn token::Random>, health: Arc<WriteHealth>) -> App {
        App {
            logins: LoginLimiter::new(settings.logins),
            settings,
            presence: Presence::default(),
            random,
            delay_log: DelayLog::default(),
            store_troubles: LogRateLimiter::default(),
            store_errors: StoreErrors::default(),
            health,
            clock_lead: Duration::ZERO,
            points: PointCounters::default(),
            audit: Audit::default(),
        }
    }

    /// From now on tokens expire by what `now` says without so much of it.
    pub fn set_clock_lead(&mut self, lead: Duration) {
        match (self.clock_lead.is_zero(), lead.is_zero()) {
            (true, false) => log::warn!(
                "the clock is {} s ahead of the time that can have passed since this server began or last ran: tokens \
                 and points expire by that time, not by the clock",
                lead.as_secs()
            ),
            (false, true) => log::info!("tokens and points expire by the clock again"),
            _ => {}
        }
        self.clock_lead = lead;
    }

    /// Goes on with other settings; tokens that are out already keep their life.
    pub fn set_settings(&mut self, settings: Settings) {
        self.logins.set_limits(settings.logins);
        self.settings = settings;
    }

    /// What the store has failed to do since the start.
    pub fn store_errors(&self) -> StoreErrors {
        self.store_errors
    }

    /// The points that were put since the start.
    pub fn points_counted(&self) -> PointCounters {
        self.points
    }

    /// Who is connected; the reactor says who comes and goes.
    pub fn presence_mut(&mut self) -> &mut Presence {
        &mut self.presence
    }

    /// Who is connected.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Begins a request of the connection `conn`. The order of checks is the protocol's: does the
    /// command exist for this client, is the token good, may the client run it, is the data in order.
    pub fn begin(&mut self, conn: ConnId, request: Box<Request>, now: UnixSeconds) -> Next {
        let asked = AuditContext::of(&request);
        let action = self.check_token(conn, request, now);
        self.audit_answer(conn, asked, &action);
        action
    }

    fn check_token(&mut self, conn: ConnId, request: Box<Request>, now: UnixSeconds) -> Next {
        self.presence.begin_request(conn, request.is_forwarded);
        match &request.token {
            Ok(None) => self.run(conn, request, None, now),
            _ if self.permission(conn, request.name, &self.presence.principal(conn))
                == Permission::Unknown =>
            {
                Next::failed(Failure::UnknownCommand)
            }
            Err(bad) => Next::failed(Failure::BadField(bad.clone())),
            Ok(Some(token)) => {
                let token = token::hash(token);
                let current = self.presence.login(conn).cloned();
                let stage = Stage::Token { request, token, current: current.clone() };
                let now = now - self.clock_lead;
                Next::Work { work: Work::Read(Read::FindToken { token, current, now }), stage }
            }
        }
    }

    /// Answers a request for which there is no room.
    pub fn refuse(&mut self, conn: ConnId, request: &Request) -> Next {
        self.presence.take_back(conn);
        if request.is_login() {
            self.presence.log_out(conn);
        }
        Next::failed(Failure::Busy)
    }

    /// Goes on with a request whose task has come to `result`.
    pub fn resume(
        &mut self,
        conn: ConnId,
        stage: Stage,
        result: Result<WorkResult, WorkError>,
        now: UnixSeconds,
    ) -> Next {
        let asked = match &stage {
            Stage::Token { request, .. } => AuditContext::of(request),
            stage => AuditContext::new(stage.command(), App::subject(stage)),
        };
        let action = self.resume_result(conn, stage, result, now);
        self.audit_answer(conn, asked, &action);
        action
    }

    fn resume_result(
        &mut self,
        conn: ConnId,
        stage: Stage,
        result: Result<WorkResult, WorkError>,
        now: UnixSeconds,
    ) -> Next {
        match result {
            Ok(done) => self.resume_stage(conn, stage, done, now),
            Err(WorkError::Store(StoreError::NotCurrent)) => {
                Next::failed(self.failure_of_not_current(conn, &stage))
            }
            Err(WorkError::Store(StoreError::KeyLimitReached(at))) => {
                let count = if let Stage::Put { count, .. } = stage { count } else { 0 };
                Next::failed(self.failure_of_key_limit(count, at))
            }
            Err(error) => Next::failed(self.failure(error, now)),
        }
    }

    fn resume_stage(&mut self, conn: ConnId, stage: Stage, done: WorkResult, now: UnixSeconds) -> Next {
        match (stage, done) {
            (Stage::Token { request, token, current }, WorkResult::Token { owner, current_holds }) => {
                if let Some(current) = current.filter(|_| !current_holds) {
                    self.presence.log_out_as(conn, &current);
                }
                self.resume_with_token(conn, request, token, owner, now)
            }
            (Stage::RegisterName { .. }, WorkResult::Credentials(Some(_))) => {
                Next::failed(Failure::AlreadyRegistered)
            }
            (Stage::RegisterName { vm, password }, WorkResult::Credentials(None)) => {
                Next::Work { work: Work::Hash(Hash::New { password }), stage: Stage::RegisterHash { vm } }
            }
            (Stage::RegisterHash { vm }, WorkResult::Hashed(hash)) => self.register_write(vm, hash, now),
            (Stage::RegisterWrite { name }, WorkResult::Written(Written::Registered(_))) => {
                Next::Answer(Answer::Registered(name))
            }
            (Stage::LoginCredentials { name, password, scope }, WorkResult::Credentials(credentials)) => {
                login_verify(name, password, scope, credentials)
            }
            (Stage::LoginVerify { login, scope, .. }, WorkResult::Verified(verdict)) => {
                self.login_write(conn, login, scope, verdict, now)
            }
            (Stage::LoginWrite { login, scope, token, hash }, WorkResult::Written(Written::TokenIssued)) => {
                if scope == Scope::Connection {
                    self.presence.log_in(conn, login, Some(hash));
                }
                Next::Answer(Answer::Authenticated(token))
            }
            (Stage::List { login, .. }, WorkResult::Page { page, login_holds }) => {
                if let Some(login) = login.filter(|_| !login_holds) {
                    self.presence.log_out_as(conn, &login);
                }
                Next::Page(page)
            }
            (Stage::Put { count, .. }, WorkResult::Written(Written::Put { refused })) => {
                self.has_put(count, refused)
            }
            (Stage::Convert, WorkResult::Converted(entities)) => Next::Answer(Answer::Converted(entities)),
            // It can be read, or this would not be.
            (Stage::Health, WorkResult::Token { .. }) => match self.health.are_writes_healthy() {
                true => Next::Answer(Answer::Healthy),
                false => Next::failed(Failure::StoreUnavailable),
            },
            (Stage::Update { .. }, WorkResult::Written(Written::Updated)) => Next::Answer(Answer::Updated),
            (Stage::Logout { login }, WorkResult::Written(Written::TokensRevoked)) => {
                self.presence.log_out(conn);
                self.presence.forget_tokens(conn);
                Next::Answer(Answer::LoggedOut(login.name))
            }
            (stage, done) => self.advance_action(conn, stage, done, now),
        }
    }

    /// A good token authenticates an anonymous connection; on an authenticated one it has to be the same
    /// VM's. Where it counts for one request it only lends its login to the connection.
    fn resume_with_token(
        &mut self,
        conn: ConnId,
        request: Box<Request>,
        token: TokenHash,
        owner: Option<Login>,
        now: UnixSeconds,
    ) -> Next {
        let Some(owner) = owner else {
            return Next::failed(Failure::InvalidToken);
        };
        match self.presence.login(conn) {
            _ if request.scope == Scope::Request => self.presence.lend(conn, owner),
            Some(current) if current.id != owner.id => return Next::failed(Failure::TokenOfAnotherVm),
            Some(_) => {}
            None => {
                self.audit.token_accepted(|| self.presence.peer(conn), &request, &owner.name);
                self.presence.log_in(conn, owner, Some(token));
            }
        }
        self.run(conn, request, Some(token), now)
    }

    #[expect(clippy::boxed_local, reason = "a request is large; it is taken apart where it lies")]
    fn run(
        &mut self,
        conn: ConnId,
        request: Box<Request>,
        token: Option<TokenHash>,
        now: UnixSeconds,
    ) -> Next {
        let principal = self.presence.principal(conn);
        let verdict = self.permission(conn, request.name, &principal);
        let refused = match verdict {
            Permission::Allowed | Permission::AllowedAsItself => None,
            Permission::AuthenticationRequired => Some(Failure::AuthenticationRequired),
            Permission::RegistrationClosed => Some(Failure::RegistrationClosed),
            Permission::Unknown => Some(Failure::UnknownCommand),
        };
        if let Some(failure) = refused {
            return Next::failed(failure);
        }
        let scope = request.scope;
        if request.is_login() {
            // However it fails, what follows must not be done in the name of whoever was here before.
            self.presence.log_out(conn);
        }
        let command = match request.command {
            Ok(command) => command,
            Err(failure) => return Next::failed(failure),
        };
        let own = match (verdict, &principal) {
            (Permission::AllowedAsItself, Principal::Vm(login)) => Some(login.id),
            _ => None,
        };
        let may_touch = |vm| own.is_none_or(|own| own == vm);
        match (command, principal) {
            (Command::Ping, _) => self.ping(conn),
            (Command::Register { name, shape, disk_sizes_gib, password }, _) => {
                let vm = NewVm { name: name.clone(), shape, disk_sizes_gib, password_hash: None };
                let stage = Stage::RegisterName { vm, password };
                Next::Work { work: Work::Read(Read::FindCredentials { name }), stage }
            }
            (Command::Authenticate { name, password }, _) => {
                let stage = Stage::LoginCredentials { name: name.clone(), password, scope };
                Next::Work { work: Work::Read(Read::FindCredentials { name }), stage }
            }
            (Command::List(list) | Command::ActionList(list), _) => self.list(conn, list, None),
            (Command::Update(change), Principal::Vm(login)) => {
                let stage = Stage::Update { login: login.clone() };
                Next::Work { work: Work::Write(Write::Update { login, change }), stage }
            }
            (Command::Logout, Principal::Vm(login)) => self.logout(conn, login, token),
            (Command::Stats, _) => Next::Statistics,
            (Command::Convert { data }, _) => self.convert(data, now),
            (Command::Health, _) => health(now),
            (Command::Put(put), principal) => {
                let login = match (verdict, principal) {
                    (Permission::AllowedAsItself, Principal::Vm(login)) => Some(login),
                    _ => None,
                };
                self.put(put, login, now)
            }
            (Command::Get(filter), _) => self.get(conn, filter, None),
            (Command::AddVm { shape, disk_sizes_gib }, _) => self.add_vm(shape, disk_sizes_gib, now),
            (Command::AuthorizeVm { vm, password }, _) if may_touch(vm) => {
                actions::join_by_id(vm, Membership::Authorized, password, scope)
            }
            (Command::ConnectVm { vm, password }, _) if may_touch(vm) => {
                actions::join_by_id(vm, Membership::Connected, password, scope)
            }
            (Command::AuthorizeVm { .. } | Command::ConnectVm { .. }, _) => Next::failed(Failure::UnknownVm),
            (Command::LogoutVm(vm) | Command::UpdateVm { vm, .. }, _) if !may_touch(vm) => {
                Next::failed(Failure::NotAuthorized)
            }
            (Command::LogoutVm(vm), principal) => self.logout_vm(conn, vm, principal, token),
            (Command::UpdateVm { vm, change }, principal) => self.update_vm(vm, change, principal),
            (Command::Update(_) | Command::Logout, principal) => {
                debug_assert!(false, "the policy lets only VMs do this, not {principal:?}");
                Next::failed(Failure::AuthenticationRequired)
            }
        }
    }

    fn permission(&self, conn: ConnId, command: CommandName, principal: &Principal) -> Permission {
        let presence = &self.presence;
        access::permission(
            command,
            principal,
            presence.open_registration(conn),
            presence.anonymous_access(conn),
        )
    }

    fn ping(&self, conn: ConnId) -> Next {
        match self.presence.peer(conn) {
            Some(peer) => Next::Answer(Answer::Pong(peer)),
            None => Next::failed(Failure::Internal),
        }
    }

    /// Converts a text whose delay is over.
    pub fn convert_now(&self, data: Box<str>) -> Next {
        if data.len() > self.settings.inline_bytes_max {
            return Next::Work { work: Work::Compute(Compute::Convert { data }), stage: Stage::Convert };
        }
        Next::Answer(Answer::Converted(convert(&data)))
    }

    fn convert(&mut self, data: Box<str>, now: UnixSeconds) -> Next {
        let after = match conversion::draw(&self.settings.conversion_delay, self.random.as_mut()) {
            Ok(after) => after,
            Err(error) => {
                log::error!("no random bytes for a delay: {error}");
                return Next::failed(Failure::Internal);
            }
        };
        if after.is_zero() {
            return self.convert_now(data);
        }
        self.delay_log.log(after, now);
        Next::Later { after, data }
    }

    fn register_write(&mut self, mut vm: NewVm, hash: String, now: UnixSeconds) -> Next {
        let name = vm.name.clone();
        vm.password_hash = Some(hash);
        let write = Write::Register { vm, vms_max: self.settings.vms_max, now };
        Next::Work { work: Work::Write(write), stage: Stage::RegisterWrite { name } }
    }

    fn login_write(
        &mut self,
        conn: ConnId,
        login: Option<Login>,
        scope: Scope,
        verdict: PasswordCheck,
        now: UnixSeconds,
    ) -> Next {
        let (Some(login), Some(rehash)) = (login, verdict.rehash()) else {
            self.presence.log_out(conn);
            return Next::failed(Failure::InvalidCredentials);
        };
        let token = match token::issue(self.random.as_mut()) {
            Ok(token) => token,
            Err(error) => {
                log::error!("no random bytes for a token: {error}");
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
        Next::Work { work: Work::Write(write), stage: Stage::LoginWrite { login, scope, token, hash } }
    }

    fn logout(&mut self, conn: ConnId, login: Login, token: Option<TokenHash>) -> Next {
        let stage = Stage::Logout { login: login.clone() };
        Next::Work { work: self.end_tokens(conn, login, token), stage }
    }

    /// The end of every token that was issued on the connection, authenticated it, or came with the request.
    fn end_tokens(&self, conn: ConnId, login: Login, token: Option<TokenHash>) -> Work {
        let mut tokens = self.presence.tokens(conn).to_vec();
        tokens.extend(token.filter(|token| !self.presence.tokens(conn).contains(token)));
        Work::Write(Write::RevokeTokens { login, tokens })
    }
}

/// The store can be read if it can say that there is no such token.
fn health(now: UnixSeconds) -> Next {
    let token = TokenHash([0; 32]);
    Next::Work { work: Work::Read(Read::FindToken { token, current: None, now }), stage: Stage::Health }
}

fn login_verify(name: VmName, password: Secret, scope: Scope, credentials: Option<Credentials>) -> Next {
    let (login, stored) = match credentials {
        Some(credentials) => (Some(credentials.login), credentials.password_hash),
        None => (None, None),
    };
    Next::Work {
        work: Work::Hash(Hash::Verify { password, stored }),
        stage: Stage::LoginVerify { name, login, scope },
    }
}

#[cfg(test)]
mod tests;

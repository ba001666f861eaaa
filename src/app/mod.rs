//! What each command does: from a request to an answer, through as many stages as it takes.
//!
//! Runs on the reactor's thread and never blocks: whatever would is a [`task::Task`] for a worker, and
//! the [`stage::Stage`] says how to go on with its result. Knows no framing, no dialect, no thread.

pub mod password;
pub mod policy;
pub mod presence;
pub mod stage;
pub mod task;
pub mod token;

use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::ids::{ConnId, DiskId, VmId};
use crate::limits;
use crate::model::{
    Answer, Command, CommandName, Credentials, Cursor, Failure, List, Login, NewVm, Principal, Request,
    Secret, TokenHash, VmName,
};
use crate::store::{StoreError, Write, Written};
use crate::throttle::Throttle;
use password::Verdict;
use presence::Presence;
use stage::{Action, Stage};
use task::{Done, PageRequest, Task, TaskError};

/// What the commands need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// VMs that the store may hold.
    pub vms_max: u64,
    /// How long a token counts.
    pub token_lifetime: Duration,
}

/// The commands, and the state that they share.
pub struct App {
    settings: Settings,
    presence: Presence,
    random: Box<dyn token::Random>,
    store_troubles: Throttle,
    store_errors: StoreErrors,
}

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
    /// Nobody is connected yet.
    pub fn new(settings: Settings, random: Box<dyn token::Random>) -> App {
        App {
            settings,
            presence: Presence::default(),
            random,
            store_troubles: Throttle::default(),
            store_errors: StoreErrors::default(),
        }
    }

    /// Goes on with other settings; tokens that are out already keep their life.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What the store has failed to do since the start.
    pub fn store_errors(&self) -> StoreErrors {
        self.store_errors
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
    pub fn call(&mut self, conn: ConnId, request: Request, now: UnixSeconds) -> Action {
        match &request.token {
            Ok(None) => self.run(conn, request, None),
            _ if self.verdict(conn, request.name) == policy::Verdict::Unknown => {
                Action::failed(Failure::UnknownCommand)
            }
            Err(bad) => Action::failed(Failure::BadField(bad.clone())),
            Ok(Some(token)) => {
                let token = token::hash(token);
                let current = self.presence.login(conn).cloned();
                let stage = Stage::Token { request: Box::new(request), token };
                Action::Work { task: Task::FindToken { token, current, now }, stage }
            }
        }
    }

    /// Answers a request for which there is no room.
    pub fn refuse(&mut self, conn: ConnId, name: CommandName) -> Action {
        if name == CommandName::Authenticate {
            self.presence.log_out(conn);
        }
        Action::failed(Failure::Busy)
    }

    /// Begins the next page of a list.
    pub fn page(&mut self, conn: ConnId, list: List, cursor: Cursor) -> Action {
        match self.presence.login(conn) {
            Some(login) => list_page(&self.presence, login.clone(), list, Some(cursor)),
            None => Action::failed(Failure::AuthenticationRequired),
        }
    }

    /// Goes on with a request whose task has come to `result`.
    pub fn resume(
        &mut self,
        conn: ConnId,
        stage: Stage,
        result: Result<Done, TaskError>,
        now: UnixSeconds,
    ) -> Action {
        match result {
            Ok(done) => self.advance(conn, stage, done, now),
            // The VM was removed or got another password after this one was checked.
            Err(TaskError::Store(StoreError::NotCurrent)) if matches!(stage, Stage::LoginWrite { .. }) => {
                Action::failed(Failure::InvalidCredentials)
            }
            Err(error) => Action::failed(self.failure(conn, error, now)),
        }
    }

    fn advance(&mut self, conn: ConnId, stage: Stage, done: Done, now: UnixSeconds) -> Action {
        match (stage, done) {
            (Stage::Token { request, token }, Done::Token { owner, current_holds }) => {
                if !current_holds {
                    self.presence.log_out(conn);
                }
                self.resume_with_token(conn, *request, token, owner)
            }
            (Stage::RegisterName { .. }, Done::Credentials(Some(_))) => {
                Action::failed(Failure::AlreadyRegistered)
            }
            (Stage::RegisterName { vm, password }, Done::Credentials(None)) => {
                Action::Work { task: Task::HashPassword { password }, stage: Stage::RegisterHash { vm } }
            }
            (Stage::RegisterHash { vm }, Done::Hashed(hash)) => self.register_write(vm, hash, now),
            (Stage::RegisterWrite { name }, Done::Written(Written::Registered(_))) => {
                Action::Answer(Answer::Registered(name))
            }
            (Stage::LoginCredentials { password }, Done::Credentials(credentials)) => {
                login_verify(password, credentials)
            }
            (Stage::LoginVerify { login }, Done::Verified(verdict)) => {
                self.login_write(conn, login, verdict, now)
            }
            (Stage::LoginWrite { login, token, hash }, Done::Written(Written::TokenIssued)) => {
                self.presence.log_in(conn, login, hash);
                Action::Answer(Answer::Authenticated(token))
            }
            (Stage::List, Done::Page(page)) => Action::Page(page),
            (Stage::Update, Done::Written(Written::Updated)) => Action::Answer(Answer::Updated),
            (Stage::Logout { name }, Done::Written(Written::TokensEnded)) => {
                self.presence.log_out(conn);
                self.presence.forget_tokens(conn);
                Action::Answer(Answer::LoggedOut(name))
            }
            (stage, done) => {
                debug_assert!(false, "{done:?} is no result for {stage:?}");
                log::error!("a task had a result of the wrong kind");
                Action::failed(Failure::Internal)
            }
        }
    }

    /// A good token authenticates an anonymous connection; on an authenticated one it has to be the same
    /// VM's.
    fn resume_with_token(
        &mut self,
        conn: ConnId,
        request: Request,
        token: TokenHash,
        owner: Option<Login>,
    ) -> Action {
        let Some(owner) = owner else {
            return Action::failed(Failure::InvalidToken);
        };
        match self.presence.login(conn) {
            Some(current) if current.id != owner.id => return Action::failed(Failure::TokenOfAnotherVm),
            Some(_) => {}
            None if self.presence.remembers_one_more(conn, &token) => {
                self.presence.log_in(conn, owner, token);
            }
            None => return Action::failed(Failure::Busy),
        }
        self.run(conn, request, Some(token))
    }

    fn run(&mut self, conn: ConnId, request: Request, token: Option<TokenHash>) -> Action {
        let refused = match self.verdict(conn, request.name) {
            policy::Verdict::Allowed => None,
            policy::Verdict::AuthenticationRequired => Some(Failure::AuthenticationRequired),
            policy::Verdict::RegistrationClosed => Some(Failure::RegistrationClosed),
            policy::Verdict::Unknown => Some(Failure::UnknownCommand),
        };
        if let Some(failure) = refused {
            return Action::failed(failure);
        }
        if request.name == CommandName::Authenticate {
            // However it fails, what follows must not be done in the name of whoever was here before.
            self.presence.log_out(conn);
        }
        let command = match request.command {
            Ok(command) => command,
            Err(failure) => return Action::failed(failure),
        };
        match (command, self.presence.principal(conn)) {
            (Command::Ping, _) => self.ping(conn),
            (Command::Register { name, shape, disk_sizes_gib, password }, _) => {
                let vm = NewVm { name: name.clone(), shape, disk_sizes_gib, password_hash: None };
                let stage = Stage::RegisterName { vm, password };
                Action::Work { task: Task::FindCredentials { name }, stage }
            }
            (Command::Authenticate { name, password }, _) => {
                let stage = Stage::LoginCredentials { password };
                Action::Work { task: Task::FindCredentials { name }, stage }
            }
            (Command::List(list), Principal::Vm(login)) => list_page(&self.presence, login, list, None),
            (Command::Update(change), Principal::Vm(login)) => {
                Action::Work { task: Task::Write(Write::Update { login, change }), stage: Stage::Update }
            }
            (Command::Logout, Principal::Vm(login)) => self.logout(conn, login, token),
            (Command::Stats, _) => Action::Statistics,
            (Command::List(_) | Command::Update(_) | Command::Logout, principal) => {
                debug_assert!(false, "the policy lets only VMs do this, not {principal:?}");
                Action::failed(Failure::AuthenticationRequired)
            }
        }
    }

    fn verdict(&self, conn: ConnId, command: CommandName) -> policy::Verdict {
        policy::verdict(command, &self.presence.principal(conn), self.presence.registers(conn))
    }

    fn ping(&self, conn: ConnId) -> Action {
        match self.presence.peer(conn) {
            Some(peer) => Action::Answer(Answer::Pong(peer)),
            None => Action::failed(Failure::Internal),
        }
    }

    fn register_write(&mut self, mut vm: NewVm, hash: String, now: UnixSeconds) -> Action {
        let name = vm.name.clone();
        vm.password_hash = Some(hash);
        let write = Write::Register { vm, vms_max: self.settings.vms_max, now };
        Action::Work { task: Task::Write(write), stage: Stage::RegisterWrite { name } }
    }

    fn login_write(
        &mut self,
        conn: ConnId,
        login: Option<Login>,
        verdict: Verdict,
        now: UnixSeconds,
    ) -> Action {
        let rehash = match verdict {
            Verdict::Wrong => None,
            Verdict::Right => Some(None),
            Verdict::RightRehashed(hash) => Some(Some(hash)),
        };
        let (Some(login), Some(rehash)) = (login, rehash) else {
            self.presence.log_out(conn);
            return Action::failed(Failure::InvalidCredentials);
        };
        let token = match token::issue(self.random.as_mut()) {
            Ok(token) => token,
            Err(error) => {
                log::error!("no random bytes for a token: {error}");
                return Action::failed(Failure::Internal);
            }
        };
        let hash = token::hash(&token);
        let write = Write::IssueToken {
            login: login.clone(),
            token: hash,
            expires: now + self.settings.token_lifetime,
            replaces: self.presence.token_to_replace(conn),
            rehash,
            now,
        };
        Action::Work { task: Task::Write(write), stage: Stage::LoginWrite { login, token, hash } }
    }

    fn logout(&mut self, conn: ConnId, login: Login, token: Option<TokenHash>) -> Action {
        let mut tokens = self.presence.tokens(conn).to_vec();
        tokens.extend(token.filter(|token| !self.presence.tokens(conn).contains(token)));
        let name: VmName = login.name.clone();
        Action::Work { task: Task::Write(Write::EndTokens { login, tokens }), stage: Stage::Logout { name } }
    }

    /// What a client is told of a task that failed. A login that does not hold any more ends here.
    fn failure(&mut self, conn: ConnId, error: TaskError, now: UnixSeconds) -> Failure {
        let error = match error {
            TaskError::Internal => return Failure::Internal,
            TaskError::Store(error) => error,
        };
        match error {
            StoreError::AlreadyRegistered => Failure::AlreadyRegistered,
            StoreError::VmLimitReached => Failure::VmLimitReached,
            StoreError::UnknownDisk(id) => Failure::UnknownDisk(id),
            StoreError::NotCurrent => {
                self.presence.log_out(conn);
                Failure::AuthenticationRequired
            }
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
        match self.store_troubles.pass(limits::TROUBLE_LOG_INTERVAL_S, now) {
            None => {}
            Some(0) => log::error!("{error}"),
            Some(held_back) => log::error!("{error} (and {held_back} such errors before)"),
        }
    }
}

fn login_verify(password: Secret, credentials: Option<Credentials>) -> Action {
    let (login, stored) = match credentials {
        Some(credentials) => (Some(credentials.login), credentials.password_hash),
        None => (None, None),
    };
    Action::Work { task: Task::VerifyPassword { password, stored }, stage: Stage::LoginVerify { login } }
}

fn list_page(presence: &Presence, login: Login, list: List, cursor: Option<Cursor>) -> Action {
    let page = match (list, cursor) {
        (List::AllVms, None) => PageRequest::Vms { after: VmId(0) },
        (List::AllVms, Some(Cursor::AfterVm(after))) => PageRequest::Vms { after },
        (List::AllDisks, None) => PageRequest::Disks { after: DiskId(0) },
        (List::AllDisks, Some(Cursor::AfterDisk(after))) => PageRequest::Disks { after },
        (List::ActiveVms | List::AuthenticatedVms, cursor) => {
            let from = match cursor {
                Some(Cursor::FromPeer(index)) => index,
                _ => 0,
            };
            let (peers, next) = presence.page(list, from);
            PageRequest::Peers { list, peers, next }
        }
        (List::AllVms | List::AllDisks, Some(_)) => return Action::failed(Failure::Internal),
    };
    Action::Work { task: Task::ListPage { login, page }, stage: Stage::List }
}

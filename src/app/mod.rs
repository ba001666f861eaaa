//! The commands: from a request to an answer, through as many stages as it takes.
//!
//! Runs on the reactor's thread and never blocks: blocking [`Work`](crate::work::Work) goes to a worker, and a [`Stage`]
//! continues with its result. Independent of framings and threads.

pub mod access;
pub mod audit;
pub mod commands;
mod container_entry;
pub mod containers;
mod errors;
mod expiring;
mod last_seen;
mod listener_policy;
mod login_history;
pub mod login_limiter;
pub mod membership;
pub mod presence;
mod presence_changes;
pub mod token;
mod token_owners;
mod vm_sessions;
pub mod watch;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Instant, UnixSeconds};
use crate::embed::{Client, ClientKey, Embedding, EventQueue, GateCall, HandlerFailure, ProgramCounter};
use crate::ids::ConnId;
use crate::log_limiter::LogRateLimiter;
use crate::model::{
    Caller, CommandName, CustomCommands, Dialect, Failure, LogAddresses, Principal, Request, TokenOwner,
};
use crate::store::{StoreError, WriteHealth};
use crate::work::{WorkError, WorkResult, WrongResult};
use access::Permission;
use audit::{Audit, AuditContext};
use commands::access_token::{self, AccessTokenStage};
use commands::convert::DelayLog;
pub use commands::points::PointCounters;
use commands::{Next, Stage, TokenStage};
use containers::Containers;
pub use errors::StoreErrors;
use login_limiter::{LoginLimiter, LoginLimits};
use presence::Presence;
use token_owners::TokenOwners;
use watch::Watches;

/// Settings of the commands.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Maximum VMs in the store.
    pub vms_max: u64,
    /// Lifetime of a token.
    pub token_lifetime: Duration,
    /// When failed logins delay further attempts.
    pub logins: LoginLimits,
    /// How log lines show addresses.
    pub log_addresses: LogAddresses,
    /// Range of the delay of a conversion.
    pub conversion_delay: RangeInclusive<Duration>,
    /// Whether the metrics for Prometheus have the latest point of each series.
    pub metrics_points: bool,
    /// Longest text, in bytes, that is converted on the reactor's thread; a worker converts longer ones.
    pub inline_bytes_max: usize,
}

/// The commands and their shared state.
pub struct App {
    settings: Settings,
    presence: Presence,
    token_owners: TokenOwners,
    random: Box<dyn token::Random>,
    delay_log: DelayLog,
    store_troubles: LogRateLimiter,
    store_errors: StoreErrors,
    health: Arc<WriteHealth>,
    /// How far the wall clock is ahead of the time that token expiry uses.
    clock_lead: Duration,
    points: PointCounters,
    audit: Audit,
    containers: Containers,
    embedding: Embedding,
    logins: LoginLimiter,
    watches: Watches,
}

impl App {
    /// An app without connections. `health` is the store's.
    pub fn new(
        settings: Settings,
        embedding: Embedding,
        mut random: Box<dyn token::Random>,
        health: Arc<WriteHealth>,
    ) -> App {
        let mut audit = Audit::new(Arc::clone(&embedding.handlers.commands));
        audit.set_addresses(settings.log_addresses, random.as_mut());
        App {
            logins: LoginLimiter::new(settings.logins),
            settings,
            presence: Presence::default(),
            token_owners: TokenOwners::default(),
            random,
            delay_log: DelayLog::default(),
            store_troubles: LogRateLimiter::default(),
            store_errors: StoreErrors::default(),
            health,
            clock_lead: Duration::ZERO,
            points: PointCounters::default(),
            watches: Watches::default(),
            audit,
            containers: Containers::new(
                embedding.hypervisor.clone(),
                embedding.server,
                embedding.containers_max,
                &embedding.running,
            ),
            embedding,
        }
    }

    /// Begins a tick at `now`. Tokens expire by `now` minus `lead`.
    pub fn begin_tick(&mut self, instant: Instant, now: UnixSeconds, lead: Duration) {
        self.presence.set_time(instant, now);
        match (self.clock_lead.is_zero(), lead.is_zero()) {
            (true, false) => log::warn!(
                "the clock is {} s ahead of the time elapsed since this server started or last ran: tokens and \
                 points expire by elapsed time, not by the clock",
                lead.as_secs()
            ),
            (false, true) => log::info!("tokens and points expire by the clock again"),
            _ => {}
        }
        self.clock_lead = lead;
    }

    /// The commands and verbs of the embedding program.
    pub fn customs(&self) -> &Arc<CustomCommands> {
        &self.embedding.handlers.commands
    }

    /// The events for the embedding program.
    pub fn events(&self) -> &Arc<EventQueue> {
        &self.embedding.events
    }

    /// The counters of the embedding program.
    pub fn program_counters(&self) -> &[ProgramCounter] {
        &self.embedding.counters
    }

    /// The connections that the embedding program wants to close.
    pub fn take_disconnected(&self) -> impl Iterator<Item = ConnId> + use<> {
        self.embedding.clients.take_disconnected()
    }

    /// The question to the gate about `conn`; `None` if there is no gate.
    pub fn gate_call(&self, conn: ConnId) -> Option<GateCall> {
        let client = Client::new(self.client_key(conn)?, Arc::clone(&self.embedding.clients.disconnector));
        self.embedding.gate.as_ref().map(|gate| gate.call(client))
    }

    /// The key of the client of `conn`, for events; `None` if it is not open.
    pub fn client_key(&self, conn: ConnId) -> Option<ClientKey> {
        let (peer, principal) = self.presence.client(conn)?;
        Some(self.embedding.clients.key(conn, peer, principal))
    }

    /// Replaces the settings; issued tokens keep their lifetime.
    pub fn set_settings(&mut self, settings: Settings) {
        self.logins.set_limits(settings.logins);
        self.audit.set_addresses(settings.log_addresses, self.random.as_mut());
        self.settings = settings;
    }

    /// Store failures since the start.
    pub fn store_errors(&self) -> StoreErrors {
        self.store_errors
    }

    /// Points put since the start.
    pub fn points_counted(&self) -> PointCounters {
        self.points
    }

    /// The containers of clients.
    pub fn containers(&self) -> &Containers {
        &self.containers
    }

    /// The containers of clients, to change.
    pub fn containers_mut(&mut self) -> &mut Containers {
        &mut self.containers
    }

    /// The clients that watch.
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// The clients that watch, to change.
    pub fn watches_mut(&mut self) -> &mut Watches {
        &mut self.watches
    }

    /// The connections, for the reactor to add and remove.
    pub fn presence_mut(&mut self) -> &mut Presence {
        &mut self.presence
    }

    /// The connections.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Begins a request of connection `conn`. The protocol fixes the order of checks: the access token is valid, where
    /// one is demanded; the command exists for this client, the token is valid, the client has the right, the data is
    /// valid.
    pub fn begin(&mut self, conn: ConnId, request: Box<Request>, now: UnixSeconds) -> Next {
        let context = AuditContext::of(&request);
        let next = match request.dialect == Dialect::Verb && self.presence.demands_access_token(conn) {
            true => access_token::check(request),
            false => self.check_token(conn, request, now),
        };
        self.audit_answer(conn, context, &next);
        next
    }

    fn check_token(&mut self, conn: ConnId, request: Box<Request>, now: UnixSeconds) -> Next {
        let caller = Caller { is_forwarded: request.is_forwarded, ..Caller::default() };
        match &request.token {
            Ok(None) => self.run(conn, request, None, caller, now),
            _ if self.permission(conn, request.name, &caller).0 == Permission::Unknown => {
                Next::failed(Failure::UnknownCommand)
            }
            Err(bad) => Next::failed(Failure::BadField(bad.clone())),
            Ok(Some(token)) => {
                let token = self.presence.hash_of(conn, token);
                let current = self.presence.login(conn).cloned();
                let stage = TokenStage { request, token, current };
                self.begin_with_token(conn, stage, now - self.clock_lead)
            }
        }
    }

    /// Answers `busy`: there is no room for `request`.
    pub fn refuse(&mut self, conn: ConnId, request: &Request) -> Next {
        if request.is_login() {
            self.presence.begin_login(conn);
        }
        Next::failed(Failure::Busy)
    }

    /// Continues a request of `command` with the `result` of its work.
    pub fn resume(
        &mut self,
        conn: ConnId,
        command: CommandName,
        stage: Stage,
        result: Result<WorkResult, WorkError>,
        now: UnixSeconds,
    ) -> Next {
        let mut context = match &stage {
            Stage::Token(TokenStage { request, .. }) | Stage::AccessToken(AccessTokenStage(request)) => {
                AuditContext::of(request)
            }
            stage => {
                let dialect = self.embedding.handlers.commands.dialect(command);
                AuditContext::new(command, dialect, stage.info().subject())
            }
        };
        if let Ok(WorkResult::Token { owner: Some(TokenOwner::Reader(reader)), .. }) = &result {
            context.sent_by(reader);
        }
        let noted = self.begin_note(&stage, &result);
        let next = self.resume_result(conn, stage, result, now);
        self.end_note(noted);
        self.audit_answer(conn, context, &next);
        next
    }

    /// Logs the answer to the request of `context`, if it is relevant.
    fn audit_answer(&mut self, conn: ConnId, context: AuditContext, next: &Next) {
        if let Next::Answer(answer) = next {
            self.audit.answered(|| self.presence.peer(conn), context, answer);
        }
    }

    fn resume_result(
        &mut self,
        conn: ConnId,
        stage: Stage,
        result: Result<WorkResult, WorkError>,
        now: UnixSeconds,
    ) -> Next {
        let stage = match stage {
            Stage::TokenUpdate(update) => {
                if let Err(WorkError::Store(StoreError::NotCurrent)) = result {
                    self.token_owners.forget(&update.lookup.token);
                    return update.lookup.look_up(now - self.clock_lead);
                }
                self.proven(conn, update, result.is_ok())
            }
            stage => stage,
        };
        let failure = match (result, &stage) {
            (Err(WorkError::Handler(HandlerFailure::BadParameters(error))), Stage::Custom(stage)) => {
                stage.bad_parameters(&error)
            }
            (Ok(result), _) => match self.resume_stage(conn, stage, result, now) {
                Ok(next) => return next,
                Err(WrongResult) => {
                    debug_assert!(false, "the result of other work");
                    log::error!("a request resumed with the result of other work");
                    Failure::Internal
                }
            },
            (Err(WorkError::Store(StoreError::NotCurrent)), stage) => stage.info().not_current(self, conn),
            (Err(WorkError::Store(StoreError::KeyLimitReached(index))), Stage::Points(put)) => {
                self.key_limit_failure(put.count, index)
            }
            (Err(error), stage) => {
                if let Some((container, step)) = stage.info().container() {
                    self.container_failed(container, step, &error);
                }
                self.failure(error, now)
            }
        };
        Next::failed(failure)
    }

    /// The permission of a request, and the identity that it depends on.
    fn permission(&self, conn: ConnId, command: CommandName, caller: &Caller) -> (Permission, Principal) {
        let rights = self.presence.rights(conn, caller);
        (access::permission(self.embedding.handlers.commands.access(command), &rights), rights.principal)
    }
}

#[cfg(test)]
mod tests;

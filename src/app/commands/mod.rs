//! The commands, one file per family: how each begins, and how it continues with a worker's result.

pub(super) mod access_token;
pub(super) mod containers;
pub(super) mod convert;
pub(super) mod custom;
pub(super) mod lists;
pub(super) mod login;
pub(super) mod managed;
mod operator;
pub(super) mod points;
mod server;
mod vm_table;
mod vms;
pub(super) mod watch;

use std::time::Duration;

use super::App;
use super::access::Permission;
use super::audit::Subject;
use super::containers::Step;
use super::watch::Noted;
use crate::clock::UnixSeconds;
use crate::ids::{ConnId, ContainerId, VmId};
use crate::model::{
    Answer, BadField, Caller, Command, CommandName, Failure, Login, Membership, Page, Principal, Query,
    Request, Scope, TokenHash, VmField, VmName,
};
use crate::work::{Work, WorkResult, WrongResult};
use vms::Registrar;

/// The next step of a request.
#[derive(Debug)]
pub enum Next<S = Stage> {
    /// The request is done.
    Answer(Answer),
    /// A page of the answer is done.
    Page(Page),
    /// A worker runs `work`; its result belongs to `stage`.
    Work {
        /// The work.
        work: Work,
        /// The stage that continues with the result.
        stage: S,
    },
    /// A text is converted and answered after a delay.
    Later {
        /// The delay.
        after: Duration,
        /// The text.
        data: Box<str>,
    },
    /// The dispatcher answers with its counters.
    Statistics,
    /// The dispatcher answers with the server's status.
    Status,
}

/// The state of a request while a worker runs its work.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Stage {
    Token(TokenStage),
    TokenUpdate(login::TokenUpdate),
    AccessToken(access_token::AccessTokenStage),
    Vms(vms::Stage),
    Login(login::Stage),
    Lists(lists::Stage),
    Points(points::Stage),
    Managed(managed::Stage),
    Convert(convert::Stage),
    Custom(custom::Stage),
    Containers(containers::Stage),
    Operator(operator::Stage),
    Server(server::Stage),
    Watch(watch::BeginStage),
}

/// Looks up the owner of the request's token.
#[derive(Debug)]
pub struct TokenStage {
    pub(super) request: Box<Request>,
    pub(super) token: TokenHash,
    /// The login of the connection.
    pub(super) current: Option<Login>,
}

/// The environment in which a request starts.
pub(super) struct Context {
    pub(super) conn: ConnId,
    pub(super) now: UnixSeconds,
    pub(super) scope: Scope,
    pub(super) principal: Principal,
    pub(super) caller: Caller,
    /// The command is allowed for the principal's own VM only.
    pub(super) is_own: bool,
    /// The token that came with the request, if it is valid.
    pub(super) token: Option<TokenHash>,
}

/// What the rest of the server reads from a stage.
pub trait StageInfo {
    /// The login that the request depends on, which may turn out to be stale.
    fn login(&self) -> Option<&Login> {
        None
    }

    /// The name whose password is being hashed, whether or not the VM exists.
    fn hashed_name(&self) -> Option<&VmName> {
        self.checked_vm().map(|(name, _)| name)
    }

    /// The VM whose password is being checked: its name, and its id if it exists.
    fn checked_vm(&self) -> Option<(&VmName, Option<VmId>)> {
        None
    }

    /// The weight of the request in addition to its work, in points.
    fn weight(&self) -> usize {
        0
    }

    /// The container that the work concerns, and the step that it is.
    fn container(&self) -> Option<(ContainerId, Step)> {
        None
    }

    /// The change that its write makes, for clients that watch.
    fn noted(&self) -> Option<Noted> {
        None
    }

    /// The VM or container that the audit log names.
    fn subject(&self) -> Subject {
        self.login().map_or(Subject::None, |login| Subject::Name(login.name.clone()))
    }

    /// The answer when the login was stale: its VM was removed or has another password.
    fn not_current(&self, app: &mut App, conn: ConnId) -> Failure {
        if let Some(login) = self.login() {
            app.presence.log_out_as(conn, login);
        }
        Failure::AuthenticationRequired
    }
}

/// A stage that continues with the result of its work.
pub(super) trait Continue: StageInfo + Sized {
    /// Continues with `result`. Fails if the result belongs to other work.
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Self>, WrongResult>;
}

/// The environment in which a stage continues.
pub(super) struct Resume<'a> {
    pub(super) app: &'a mut App,
    pub(super) conn: ConnId,
    pub(super) now: UnixSeconds,
}

const _: () = assert!(size_of::<Next>() <= 272, "it is moved several times for each request");

impl<S> Next<S> {
    /// The request failed.
    pub fn failed(failure: Failure) -> Next<S> {
        Next::Answer(Answer::Failed(failure))
    }

    /// Wraps the stage.
    fn map<T>(self, wrap: impl FnOnce(S) -> T) -> Next<T> {
        match self {
            Next::Answer(answer) => Next::Answer(answer),
            Next::Page(page) => Next::Page(page),
            Next::Work { work, stage } => Next::Work { work, stage: wrap(stage) },
            Next::Later { after, data } => Next::Later { after, data },
            Next::Statistics => Next::Statistics,
            Next::Status => Next::Status,
        }
    }
}

impl Stage {
    /// What the rest of the server reads from it.
    pub fn info(&self) -> &dyn StageInfo {
        match self {
            Stage::Token(stage) => stage,
            Stage::TokenUpdate(stage) => stage,
            Stage::AccessToken(stage) => stage,
            Stage::Vms(stage) => stage,
            Stage::Login(stage) => stage,
            Stage::Lists(stage) => stage,
            Stage::Points(stage) => stage,
            Stage::Managed(stage) => stage,
            Stage::Convert(stage) => stage,
            Stage::Custom(stage) => stage,
            Stage::Containers(stage) => stage,
            Stage::Operator(stage) => stage,
            Stage::Server(stage) => stage,
            Stage::Watch(stage) => stage,
        }
    }
}

impl StageInfo for TokenStage {
    fn login(&self) -> Option<&Login> {
        self.current.as_ref()
    }

    fn weight(&self) -> usize {
        self.request.command.as_ref().map_or(0, Command::rows)
    }
}

impl App {
    /// Runs a request whose token, if any, is valid: checks the rights, then the data.
    #[expect(clippy::boxed_local, reason = "a request is large; avoid moving it before it is destructured")]
    pub(super) fn run(
        &mut self,
        conn: ConnId,
        request: Box<Request>,
        token: Option<TokenHash>,
        caller: Caller,
        now: UnixSeconds,
    ) -> Next {
        let (permission, principal) = self.permission(conn, request.name, &caller);
        let is_own = match permission {
            Permission::Allowed => false,
            Permission::AllowedAsItself => true,
            Permission::AuthenticationRequired => return Next::failed(Failure::AuthenticationRequired),
            Permission::RegistrationClosed => return Next::failed(Failure::RegistrationClosed),
            Permission::Unknown => return Next::failed(Failure::UnknownCommand),
        };
        if let Principal::Vm(login) = &principal {
            self.presence.note_request(conn, login.id);
        }
        match (&request.vm_field, principal == Principal::Operator) {
            (Some(VmField::Given(bad)), false) => return Next::failed(Failure::BadField(bad.clone())),
            (Some(VmField::Missing(field)), true) => {
                return Next::failed(Failure::BadField(BadField(format!("missing field: {field}"))));
            }
            _ => {}
        }
        if request.is_login() {
            // Even if the login fails, later requests must not run under the previous identity.
            self.presence.begin_login(conn);
        }
        match request.command {
            Ok(command) => {
                let context = Context { conn, now, scope: request.scope, principal, caller, is_own, token };
                self.start(command, context)
            }
            Err(failure) => Next::failed(failure),
        }
    }

    fn start(&mut self, command: Command, context: Context) -> Next {
        match command {
            Command::Ping => Next::Answer(self.ping(context.conn)),
            Command::Stats => Next::Statistics,
            Command::VerbStat => Next::Status,
            Command::VerbCreate => self.create_container(context).map(Stage::Containers),
            Command::VerbDestroy(credentials) => {
                self.destroy_container(context, credentials).map(Stage::Containers)
            }
            Command::Stop(name) => self.stop_vm(context, name).map(Stage::Containers),
            Command::Health => server::health().map(Stage::Server),
            Command::Register { name, shape, disk_sizes_gib, password } => {
                vms::register(name, shape, disk_sizes_gib, Some(password), Registrar::Client).map(Stage::Vms)
            }
            Command::Add { name, shape, disk_sizes_gib, password } => {
                vms::register(name, shape, disk_sizes_gib, password, Registrar::Operator).map(Stage::Vms)
            }
            Command::OfVm { name, operation } => operator::begin(name, operation).map(Stage::Operator),
            Command::Update(change) => vms::update(context, change).map(Stage::Vms),
            Command::Authenticate { name, password } => {
                login::authenticate(name, password, context.scope).map(Stage::Login)
            }
            Command::Logout => self.logout(context).map(Stage::Login),
            Command::List(list) => self.list(context, CommandName::List, Query::List(list)).map(Stage::Lists),
            Command::ActionList(list) => {
                self.list(context, CommandName::ActionList, Query::List(list)).map(Stage::Lists)
            }
            Command::Convert { data } => self.convert(data, context.now).map(Stage::Convert),
            Command::Custom { id, parameters } => self.custom(context, id, parameters).map(Stage::Custom),
            Command::Put(put) => self.put(context, put).map(Stage::Points),
            Command::Get(filter) => {
                self.list(context, CommandName::Get, Query::Points(filter)).map(Stage::Lists)
            }
            Command::Watch(watch) => self.watch(context, watch),
            Command::Unwatch => self.unwatch(context.conn),
            Command::Web { query, is_head } => self.web(context, query, is_head).map(Stage::Lists),
            Command::AddVm { shape, disk_sizes_gib } => {
                self.add_vm(shape, disk_sizes_gib, context.now).map(Stage::Managed)
            }
            Command::AuthorizeVm { vm, password } => {
                managed::join(context, vm, Membership::Authorized, password).map(Stage::Managed)
            }
            Command::ConnectVm { vm, password } => {
                managed::join(context, vm, Membership::Connected, password).map(Stage::Managed)
            }
            Command::LogoutVm(vm) => self.logout_vm(context, vm).map(Stage::Managed),
            Command::UpdateVm { vm, change } => self.update_vm(context, vm, change).map(Stage::Managed),
        }
    }

    /// Continues a request with the result of its work.
    pub(super) fn resume_stage(
        &mut self,
        conn: ConnId,
        stage: Stage,
        result: WorkResult,
        now: UnixSeconds,
    ) -> Result<Next, WrongResult> {
        let at = Resume { app: self, conn, now };
        Ok(match stage {
            Stage::Token(stage) => {
                let (owner, current_holds) = result.token()?;
                self.resume_with_token(conn, stage, owner, current_holds, now)
            }
            // It has become an update by now.
            Stage::TokenUpdate(_) => return Err(WrongResult),
            Stage::AccessToken(stage) => {
                self.resume_with_access_token(conn, stage, result.access_token()?, now)
            }
            Stage::Vms(stage) => stage.resume(at, result)?.map(Stage::Vms),
            Stage::Login(stage) => stage.resume(at, result)?.map(Stage::Login),
            Stage::Lists(stage) => stage.resume(at, result)?.map(Stage::Lists),
            Stage::Points(stage) => stage.resume(at, result)?.map(Stage::Points),
            Stage::Managed(stage) => stage.resume(at, result)?.map(Stage::Managed),
            Stage::Convert(stage) => stage.resume(at, result)?.map(Stage::Convert),
            Stage::Custom(stage) => stage.resume(at, result)?.map(Stage::Custom),
            Stage::Containers(stage) => stage.resume(at, result)?.map(Stage::Containers),
            Stage::Operator(stage) => stage.resume(at, result)?.map(Stage::Operator),
            Stage::Server(stage) => stage.resume(at, result)?.map(Stage::Server),
            Stage::Watch(begin) => self.continue_watch(conn, begin, result)?,
        })
    }
}

impl Context {
    /// Whether the request may name the VM `vm`.
    fn may_name(&self, vm: VmId) -> bool {
        !self.is_own || matches!(&self.principal, Principal::Vm(login) if login.id == vm)
    }

    /// The principal's VM. The rights are already checked, so it exists.
    fn own_login(self) -> Result<Login, Failure> {
        match self.principal {
            Principal::Vm(login) => Ok(login),
            Principal::Anonymous | Principal::Reader(_) | Principal::Operator => {
                Err(Failure::AuthenticationRequired)
            }
        }
    }
}

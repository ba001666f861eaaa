//! A request that is on its way through the lanes: what has been asked of a worker, and what for.

use std::time::Duration;

use crate::ids::VmId;
use crate::model::{
    Answer, Command, CommandName, Failure, Login, Membership, NewVm, Page, Request, Scope, Secret, TokenHash,
    VmChange, VmName,
};
use crate::work::Work;

/// What is to follow the task that a request waits for.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Stage {
    /// Whose is the token that came with the request?
    Token { request: Box<Request>, token: TokenHash, current: Option<Login> },
    /// Is the name free? Asked before the hash is paid for.
    RegisterName { vm: NewVm, password: Secret },
    /// The hash of the new VM's password.
    RegisterHash { vm: NewVm },
    /// The new VM's row.
    RegisterWrite { name: VmName },
    /// What to check the password against.
    LoginCredentials { name: VmName, password: Secret, scope: Scope },
    /// Whether the password is right.
    LoginVerify { name: VmName, login: Option<Login>, scope: Scope },
    /// The new token's row.
    LoginWrite { login: Login, scope: Scope, token: Secret, hash: TokenHash },
    /// A page of a list that `command` shows, to whom.
    List { command: CommandName, login: Option<Login> },
    /// The VM's changed row.
    Update { login: Login },
    /// The tokens' end.
    Logout { login: Login },
    /// The rows of so many points; `login` where the right to put them hangs on one.
    Put { count: usize, login: Option<Login> },
    /// The entities of a long text.
    Convert,
    /// Whether the store answers.
    Health,
    /// The row of a VM without a password.
    AddVm,
    /// Whether the VM that is to be authorized is there, and has a password.
    Join { vm: VmId, membership: Membership, password: Option<Secret>, scope: Scope },
    /// Whether its password is right.
    JoinVerify { login: Login, membership: Membership, scope: Scope },
    /// Its row, which tells that it was connected; `scope` where it has a password.
    JoinWrite { login: Login, membership: Membership, scope: Option<Scope> },
    /// Whether the VM whose authorization is to end is there, and has no password.
    LogoutVm { vm: VmId },
    /// The end of the tokens of a VM that has a password.
    LogoutVmTokens { login: Login },
    /// Whether the VM that is to be changed is there, and has no password.
    UpdateVm { vm: VmId, change: Option<VmChange> },
    /// The VM's changed row.
    UpdateVmWrite { login: Login },
}

impl Stage {
    /// The login that the request hangs on and that may turn out not to hold any more. The connection may have
    /// another by then.
    pub fn login(&self) -> Option<&Login> {
        match self {
            Stage::Token { current: login, .. } | Stage::List { login, .. } | Stage::Put { login, .. } => {
                login.as_ref()
            }
            Stage::Update { login }
            | Stage::Logout { login }
            | Stage::LogoutVmTokens { login }
            | Stage::UpdateVmWrite { login } => Some(login),
            _ => None,
        }
    }

    /// The command that is on its way.
    pub fn command(&self) -> CommandName {
        match self {
            Stage::Token { request, .. } => request.name,
            Stage::RegisterName { .. } | Stage::RegisterHash { .. } | Stage::RegisterWrite { .. } => {
                CommandName::Register
            }
            Stage::LoginCredentials { .. } | Stage::LoginVerify { .. } | Stage::LoginWrite { .. } => {
                CommandName::Authenticate
            }
            Stage::List { command, .. } => *command,
            Stage::Update { .. } => CommandName::Update,
            Stage::Logout { .. } => CommandName::Logout,
            Stage::Put { .. } => CommandName::Put,
            Stage::Convert => CommandName::Convert,
            Stage::Health => CommandName::Health,
            Stage::AddVm => CommandName::AddVm,
            Stage::Join { membership, .. }
            | Stage::JoinVerify { membership, .. }
            | Stage::JoinWrite { membership, .. } => match membership {
                Membership::Authorized => CommandName::AuthorizeVm,
                Membership::Connected => CommandName::ConnectVm,
            },
            Stage::LogoutVm { .. } | Stage::LogoutVmTokens { .. } => CommandName::LogoutVm,
            Stage::UpdateVm { .. } | Stage::UpdateVmWrite { .. } => CommandName::UpdateVm,
        }
    }
}

impl Stage {
    /// What the request weighs while it waits here, in points to be kept, its task left out.
    pub fn weight(&self) -> usize {
        match self {
            Stage::Token { request, .. } => request.command.as_ref().map_or(0, Command::rows),
            Stage::RegisterName { vm, .. } | Stage::RegisterHash { vm } => vm.disk_sizes_gib.len(),
            _ => 0,
        }
    }

    /// The name of the VM whose password is hashed here, whether or not there is one.
    pub fn hashed_for(&self) -> Option<&VmName> {
        match self {
            Stage::LoginVerify { name, .. } => Some(name),
            Stage::RegisterHash { vm } => Some(&vm.name),
            Stage::JoinVerify { login, .. } => Some(&login.name),
            _ => None,
        }
    }
}

/// What comes of a request, or of a stage of it.
#[derive(Debug)]
pub enum Next {
    /// It is done: this is the answer.
    Answer(Answer),
    /// A page is done.
    Page(Page),
    /// A worker has to run `work`; its result belongs to `stage`.
    Work {
        /// For a worker.
        work: Work,
        /// For when it is done.
        stage: Stage,
    },
    /// To be converted and answered when some time has passed.
    Later {
        /// How much.
        after: Duration,
        /// What is to be converted then.
        data: Box<str>,
    },
    /// The reactor knows: its counters.
    Statistics,
}

impl Next {
    /// It was not done, and why.
    pub fn failed(failure: Failure) -> Next {
        Next::Answer(Answer::Failed(failure))
    }
}

//! A request that is on its way through the lanes: what has been asked of a worker, and what for.

use std::time::Duration;

use super::task::Task;
use crate::model::{Answer, CommandName, Failure, NewVm, Page, Request, Secret, TokenHash, VmName};

/// What is to follow the task that a request waits for.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Stage {
    /// Whose is the token that came with the request?
    Token { request: Box<Request>, token: TokenHash },
    /// Is the name free? Asked before the hash is paid for.
    RegisterName { vm: NewVm, password: Secret },
    /// The hash of the new VM's password.
    RegisterHash { vm: NewVm },
    /// The new VM's row.
    RegisterWrite { name: VmName },
    /// What to check the password against.
    LoginCredentials { password: Secret },
    /// Whether the password is right.
    LoginVerify { login: Option<crate::model::Login> },
    /// The new token's row.
    LoginWrite { login: crate::model::Login, token: Secret, hash: TokenHash },
    /// A page of a list.
    List,
    /// The VM's changed row.
    Update,
    /// The tokens' end.
    Logout { name: VmName },
    /// Whether the store answers.
    Health,
}

impl Stage {
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
            Stage::List => CommandName::List,
            Stage::Update => CommandName::Update,
            Stage::Logout { .. } => CommandName::Logout,
            Stage::Health => CommandName::Health,
        }
    }
}

/// What comes of a request, or of a stage of it.
#[derive(Debug)]
pub enum Action {
    /// It is done: this is the answer.
    Answer(Answer),
    /// A page is done.
    Page(Page),
    /// A worker has to run `task`; its result belongs to `stage`.
    Work {
        /// For a worker.
        task: Task,
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

impl Action {
    /// It was not done, and why.
    pub fn failed(failure: Failure) -> Action {
        Action::Answer(Answer::Failed(failure))
    }
}

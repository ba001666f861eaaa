//! The verbs `CREATE` and `DESTROY`: a hypervisor creates and destroys containers.

use std::io;

use super::{App, Context, Continue, Next, Resume, StageInfo};
use crate::app::audit::Subject;
use crate::app::token::{self, Random};
use crate::embed::{ClientKey, ContainerChange, ContainerOrder};
use crate::ids::ContainerId;
use crate::limits;
use crate::model::{Answer, ContainerCredentials, Failure, NewContainer, Secret};
use crate::work::{Work, WorkResult, WrongResult};

/// A hypervisor works.
#[derive(Debug)]
pub enum Stage {
    /// It creates a container.
    Create(Box<Secrets>),
    /// It destroys one.
    Destroy(ContainerId),
}

/// What the client of a new container gets besides the container.
#[derive(Debug)]
pub struct Secrets {
    credentials: ContainerCredentials,
    user_name: Box<str>,
    password: Secret,
}

impl App {
    pub(super) fn create_container(&mut self, context: Context) -> Next<Stage> {
        next(self.begin_create(context))
    }

    pub(super) fn destroy_container(
        &mut self,
        context: Context,
        credentials: Option<ContainerCredentials>,
    ) -> Next<Stage> {
        next(self.begin_destroy(context, credentials))
    }

    fn begin_create(&mut self, context: Context) -> Result<(Work, Stage), Failure> {
        self.containers.check_room()?;
        let secrets = Secrets::generate(self.random.as_mut()).map_err(|error| {
            log::error!("getting random bytes for a container failed: {error}");
            Failure::Internal
        })?;
        let (token, client) = (token::hash(&secrets.credentials.token), self.client_of(context)?);
        let order = ContainerOrder {
            id: secrets.credentials.id,
            user_name: secrets.user_name.clone(),
            password: secrets.password.clone(),
            token_sha256: token.0,
        };
        let work = self.containers.create(order, token, client)?;
        Ok((work, Stage::Create(Box::new(secrets))))
    }

    fn begin_destroy(
        &mut self,
        context: Context,
        credentials: Option<ContainerCredentials>,
    ) -> Result<(Work, Stage), Failure> {
        let credentials = credentials.ok_or(Failure::InvalidCredentials)?;
        let client = self.client_of(context)?;
        let work = self.containers.destroy(&credentials, client)?;
        Ok((work, Stage::Destroy(credentials.id)))
    }

    fn client_of(&self, context: Context) -> Result<ClientKey, Failure> {
        let peer = self.presence.peer(context.conn).ok_or(Failure::Internal)?;
        Ok(self.embedding.clients.key(context.conn, peer, context.principal))
    }
}

impl Secrets {
    fn generate(random: &mut dyn Random) -> io::Result<Secrets> {
        let mut id = [0; 16];
        random.fill(&mut id)?;
        // Version 4 and the variant of RFC 9562.
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        let token = token::base64url::<{ limits::CONTAINER_TOKEN_BYTES }>(random)?;
        let digits = token::text(random, DIGITS, limits::CONTAINER_USER_DIGITS)?;
        Ok(Secrets {
            credentials: ContainerCredentials { id: ContainerId(id), token },
            user_name: format!("user_{}", digits.expose()).into(),
            password: token::text(random, LETTERS_AND_DIGITS, limits::CONTAINER_PASSWORD_CHARS)?,
        })
    }
}

impl StageInfo for Stage {
    fn subject(&self) -> Subject {
        Subject::Container(self.id())
    }

    fn container(&self) -> Option<ContainerId> {
        Some(self.id())
    }
}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        let report = result.container()?;
        at.app.containers.apply(&report);
        match (self, report.change) {
            (Stage::Create(secrets), ContainerChange::Created(Ok(container))) => {
                let Secrets { credentials, user_name, password } = *secrets;
                let new = NewContainer { credentials, user_name, password, container };
                Ok(Next::Answer(Answer::Created(Box::new(new))))
            }
            (Stage::Destroy(_), ContainerChange::Destroyed(Ok(()))) => Ok(Next::Answer(Answer::Destroyed)),
            (Stage::Create(_), ContainerChange::Created(Err(error)))
            | (Stage::Destroy(_), ContainerChange::Destroyed(Err(error))) => {
                Ok(Next::failed(if error.is_unavailable { Failure::Busy } else { Failure::Internal }))
            }
            _ => Err(WrongResult),
        }
    }
}

impl Stage {
    fn id(&self) -> ContainerId {
        match self {
            Stage::Create(secrets) => secrets.credentials.id,
            Stage::Destroy(id) => *id,
        }
    }
}

fn next(begun: Result<(Work, Stage), Failure>) -> Next<Stage> {
    match begun {
        Ok((work, stage)) => Next::Work { work, stage },
        Err(failure) => Next::failed(failure),
    }
}

const DIGITS: &[u8] = b"0123456789";
const LETTERS_AND_DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

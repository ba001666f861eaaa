//! The verbs `CREATE` and `DESTROY`: a hypervisor creates and destroys containers, and each is a VM of the registry. The
//! operator's `stop` is `DESTROY` without credentials.

use std::io;

use super::{App, Context, Continue, Next, Noted, Resume, StageInfo};
use crate::app::audit::Subject;
use crate::app::container_entry::name_of;
use crate::app::containers::{Outcome, Step};
use crate::app::token::{self, Random};
use crate::clock::UnixSeconds;
use crate::embed::{ClientKey, ContainerChange, ContainerOrder};
use crate::ids::ContainerId;
use crate::limits;
use crate::model::{
    Answer, Container, ContainerCredentials, Credentials, Failure, Management, NewContainer, NewVm, Secret,
    TokenHash, VmName,
};
use crate::store::Write;
use crate::work::{Read, Work, WorkError, WorkResult, WrongResult};

/// A hypervisor works, or a row of the registry changes.
#[derive(Debug)]
pub enum Stage {
    /// A container is created.
    Create(Box<Secrets>),
    /// The row of a new container is added.
    AddRow(Box<NewContainer>),
    /// The row of a container that is to be destroyed is removed, for this client.
    RemoveRow { id: ContainerId, client: Box<ClientKey> },
    /// A container is destroyed.
    Destroy(ContainerId),
    /// The VM to stop has no container. It is looked up.
    Find(VmName),
    /// Its row, which an earlier run of this server has left, is removed.
    RemoveStale(VmName),
}

/// What the client of a new container gets besides the container, and the token of its VM.
#[derive(Debug)]
pub struct Secrets {
    credentials: ContainerCredentials,
    user_name: Box<str>,
    password: Secret,
    enrollment: Option<TokenHash>,
}

impl App {
    pub(super) fn create_container(&mut self, context: Context) -> Next<Stage> {
        self.begin_create(context).unwrap_or_else(Next::failed)
    }

    pub(super) fn destroy_container(
        &mut self,
        context: Context,
        credentials: Option<ContainerCredentials>,
    ) -> Next<Stage> {
        let Some(credentials) = credentials else { return Next::failed(Failure::InvalidCredentials) };
        let begun = self.containers.destroy(&credentials);
        self.begin_destroy(context, credentials.id, begun)
    }

    /// Destroys the container of the VM `name`, without credentials.
    pub(super) fn stop_vm(&mut self, context: Context, name: VmName) -> Next<Stage> {
        let id = ContainerId::parse(name.as_str());
        match id.and_then(|id| Some((id, self.containers.stop(id)?))) {
            Some((id, begun)) => self.begin_destroy(context, id, begun),
            None => Next::Work {
                work: Work::Read(Read::FindCredentials { name: name.clone() }),
                stage: Stage::Find(name),
            },
        }
    }

    fn begin_create(&mut self, context: Context) -> Result<Next<Stage>, Failure> {
        self.containers.check_room()?;
        let no_random = |error| {
            log::error!("getting random bytes for a container failed: {error}");
            Failure::Internal
        };
        let mut secrets = Secrets::generate(self.random.as_mut()).map_err(no_random)?;
        let enrollment = match self.containers.wants_enrollment() {
            true => Some(token::issue(self.random.as_mut()).map_err(no_random)?),
            false => None,
        };
        secrets.enrollment = enrollment.as_ref().map(token::hash);
        let (token, client) = (token::hash(&secrets.credentials.token), self.client_of(context)?);
        let order = ContainerOrder {
            id: secrets.credentials.id,
            user_name: secrets.user_name.clone(),
            password: secrets.password.clone(),
            token_sha256: token.0,
            enrollment,
        };
        let work = self.containers.create(order, token, client)?;
        Ok(Next::Work { work, stage: Stage::Create(Box::new(secrets)) })
    }

    /// Removes the row of a container first. One that has ended by itself needs no more.
    fn begin_destroy(
        &mut self,
        context: Context,
        id: ContainerId,
        begun: Result<Option<Work>, Failure>,
    ) -> Next<Stage> {
        let work = match begun {
            Ok(Some(work)) => work,
            Ok(None) => return Next::Answer(Answer::Destroyed),
            Err(failure) => return Next::failed(failure),
        };
        match self.client_of(context) {
            Ok(client) => Next::Work { work, stage: Stage::RemoveRow { id, client: Box::new(client) } },
            Err(failure) => {
                self.containers.settle(id, Step::RemoveRow, Outcome::NotDone);
                Next::failed(failure)
            }
        }
    }

    /// Adds the row of a container that was created.
    fn add_row(&mut self, secrets: Secrets, container: Container, now: UnixSeconds) -> Next<Stage> {
        let Secrets { credentials, user_name, password, enrollment } = secrets;
        let Some(server) = self.containers.begin_row(credentials.id) else {
            self.containers.undo(credentials.id);
            return Next::failed(Failure::Internal);
        };
        let vm = NewVm {
            name: name_of(credentials.id),
            shape: container.shape,
            disk_sizes_gib: container.disk_sizes_gib.clone(),
            password_hash: None,
            management: Some(Management { server, token: enrollment }),
        };
        let write = Write::Register { vm, vms_max: self.settings.vms_max, now };
        let new = NewContainer { credentials, user_name, password, container };
        Next::Work { work: Work::Write(write), stage: Stage::AddRow(Box::new(new)) }
    }

    /// Notes that the work of a stage has failed.
    pub(in crate::app) fn container_failed(&mut self, id: ContainerId, step: Step, error: &WorkError) {
        if step == Step::AddRow {
            log::warn!(
                "the VM of the container {id} can't be added, so it is destroyed: {}",
                describe(error)
            );
        }
        self.containers.settle(id, step, Outcome::of(error));
    }

    fn client_of(&self, context: Context) -> Result<ClientKey, Failure> {
        let peer = self.presence.peer(context.conn).ok_or(Failure::Internal)?;
        Ok(self.embedding.clients.key(context.conn, peer, context.principal))
    }
}

fn describe(error: &WorkError) -> String {
    match error {
        WorkError::Store(error) => error.to_string(),
        WorkError::NoRoom => "too many writes wait".to_owned(),
        WorkError::Handler(_) | WorkError::Internal => "an internal error".to_owned(),
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
            enrollment: None,
        })
    }
}

impl StageInfo for Stage {
    fn subject(&self) -> Subject {
        match self {
            Stage::Find(name) | Stage::RemoveStale(name) => Subject::Name(name.clone()),
            stage => stage.container().map_or(Subject::None, |(id, _)| Subject::Container(id)),
        }
    }

    fn noted(&self) -> Option<Noted> {
        match self {
            Stage::AddRow(_) => Some(Noted::Registered),
            Stage::RemoveRow { id, .. } => Some(Noted::Removed([name_of(*id)].into())),
            Stage::RemoveStale(name) => Some(Noted::Removed([name.clone()].into())),
            Stage::Create(_) | Stage::Destroy(_) | Stage::Find(_) => None,
        }
    }

    fn container(&self) -> Option<(ContainerId, Step)> {
        match self {
            Stage::Create(secrets) => Some((secrets.credentials.id, Step::Create)),
            Stage::AddRow(new) => Some((new.credentials.id, Step::AddRow)),
            Stage::RemoveRow { id, .. } => Some((*id, Step::RemoveRow)),
            Stage::Destroy(id) => Some((*id, Step::Destroy)),
            Stage::Find(_) | Stage::RemoveStale(_) => None,
        }
    }
}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        let Resume { app, now, .. } = at;
        Ok(match self {
            Stage::Create(secrets) => {
                let report = result.container()?;
                app.containers.apply(&report);
                match report.change {
                    ContainerChange::Created(Ok(container)) => app.add_row(*secrets, container, now),
                    ContainerChange::Created(Err(error)) => failed(error.is_unavailable),
                    _ => return Err(WrongResult),
                }
            }
            Stage::AddRow(new) => {
                result.written()?;
                match app.containers.row_added(new.credentials.id) {
                    Ok(()) => Next::Answer(Answer::Created(new)),
                    Err(failure) => Next::failed(failure),
                }
            }
            Stage::RemoveRow { id, client } => {
                result.written()?;
                match app.containers.row_removed(id, *client) {
                    Some(work) => Next::Work { work, stage: Stage::Destroy(id) },
                    None => Next::failed(Failure::Internal),
                }
            }
            Stage::Destroy(_) => {
                let report = result.container()?;
                app.containers.apply(&report);
                match report.change {
                    ContainerChange::Destroyed(Ok(())) => Next::Answer(Answer::Destroyed),
                    ContainerChange::Destroyed(Err(error)) => failed(error.is_unavailable),
                    _ => return Err(WrongResult),
                }
            }
            Stage::Find(name) => match (result.credentials()?, app.containers.server()) {
                (None, _) => Next::failed(Failure::NoSuchVm),
                (Some(Credentials { managed_by: Some(by), .. }), Some(server)) if by == server => {
                    let write = Write::RemoveManaged { server, names: vec![name.clone()] };
                    Next::Work { work: Work::Write(write), stage: Stage::RemoveStale(name) }
                }
                (Some(_), _) => Next::failed(Failure::NotManagedHere),
            },
            Stage::RemoveStale(_) => {
                result.written()?;
                Next::Answer(Answer::Destroyed)
            }
        })
    }
}

fn failed(is_unavailable: bool) -> Next<Stage> {
    Next::failed(if is_unavailable { Failure::Busy } else { Failure::Internal })
}

const DIGITS: &[u8] = b"0123456789";
const LETTERS_AND_DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

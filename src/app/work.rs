//! What blocks, as plain values: the batch that worker threads run, and what comes of them.
//!
//! A task knows neither the connection nor the request it is for; what is to follow is the
//! [`super::stage::Stage`] that stays behind.

use std::sync::Arc;

use super::page::{PageCache, PageRequest};
use super::password::{Hasher, PasswordCheck, run_of_start};
use super::stored_costs::StoredCosts;
use crate::clock::UnixSeconds;
use crate::dialect;
use crate::ids::VmId;
use crate::limits;
use crate::model::{Credentials, Login, LongText, Page, Refusal, Request, Secret, TokenHash, VmName};
use crate::store::{Store, StoreError, StoreFactory, Write, Written};

/// Which queue and threads a task belongs to, so that none of them starves the others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// Hashing: processor and memory.
    Auth,
    /// Reading and converting what is too long for the reactor: processor.
    Compute,
    /// Reads of the store.
    Read,
    /// Writes to the store; those that wait together share a commit.
    Write,
}

/// Something that blocks.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Work {
    FindToken { token: TokenHash, current: Option<Login>, now: UnixSeconds },
    FindCredentials { name: VmName },
    FindCredentialsById { vm: VmId },
    HashPassword { password: Secret },
    VerifyPassword { password: Secret, stored: Option<String> },
    ListPage { asker: Asker, page: PageRequest },
    Decode { text: LongText },
    Convert { data: Box<str> },
    Write(Write),
}

/// Who is shown a list.
#[derive(Clone, Debug)]
pub enum Asker {
    /// A VM, as long as its login holds.
    Vm(Login),
    /// Anybody; who has a login is told whether it holds.
    Anybody(Option<Login>),
}

/// What a task has come to.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum WorkResult {
    /// Whose token it is, and whether the login that was current is still.
    Token {
        owner: Option<Login>,
        current_holds: bool,
    },
    Credentials(Option<Credentials>),
    Hashed(String),
    Verified(PasswordCheck),
    /// The page, and whether the login of whoever asked holds, if there is one.
    Page {
        page: Page,
        login_holds: bool,
    },
    /// What a long message says.
    Decoded(Box<Result<Request, Refusal>>),
    /// The entities of a text, as a JSON object.
    Converted(String),
    Written(Written),
}

/// Why a task came to nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WorkError {
    /// The store's reason.
    Store(StoreError),
    /// Others had less waiting, and there was no room for all. Nothing was done.
    NoRoom,
    /// A fault of ours, already logged where it happened.
    Internal,
}

/// What one worker thread works with.
pub struct WorkerContext {
    factory: Arc<dyn StoreFactory>,
    store: Option<Box<dyn Store>>,
    hasher: Hasher,
}

impl Asker {
    /// The login that is told whether it holds.
    pub fn login(&self) -> Option<&Login> {
        match self {
            Asker::Vm(login) | Asker::Anybody(Some(login)) => Some(login),
            Asker::Anybody(None) => None,
        }
    }
}

impl Lane {
    /// All of them.
    pub const ALL: [Lane; 4] = [Lane::Auth, Lane::Compute, Lane::Read, Lane::Write];
}

impl Work {
    /// The lane it runs in.
    pub fn lane(&self) -> Lane {
        match self {
            Work::HashPassword { .. } | Work::VerifyPassword { .. } => Lane::Auth,
            Work::Decode { .. } | Work::Convert { .. } => Lane::Compute,
            Work::FindToken { .. }
            | Work::FindCredentials { .. }
            | Work::FindCredentialsById { .. }
            | Work::ListPage { .. } => Lane::Read,
            Work::Write(_) => Lane::Write,
        }
    }

    /// What it adds to the time of those that it shares a batch with, and to what waits, in points to be kept.
    pub fn weight(&self) -> usize {
        match self {
            Work::Write(write) => 1 + write.rows() + write.bytes() / limits::WORK_UNIT_BYTES,
            Work::Decode { text } => 1 + text.as_slice().len() / limits::WORK_UNIT_BYTES,
            Work::Convert { data } => 1 + data.len() / limits::WORK_UNIT_BYTES,
            _ => 1,
        }
    }

    /// Whether it makes a page of a list.
    pub fn is_page(&self) -> bool {
        matches!(self, Work::ListPage { .. })
    }
}

impl WorkerContext {
    /// Tools that connect to the store when first needed.
    pub fn new(factory: Arc<dyn StoreFactory>, costs: Arc<StoredCosts>) -> WorkerContext {
        WorkerContext { factory, store: None, hasher: Hasher::sharing(costs) }
    }

    /// Runs `batch`, all of one lane, and appends what came of each, in order. Writes share a commit; reads
    /// share what it costs to begin one.
    pub fn run(&mut self, batch: Vec<Work>, results: &mut Vec<Result<WorkResult, WorkError>>) {
        match batch[..] {
            [] => {}
            [Work::Write(_), ..] => self.write(batch, results),
            [Work::HashPassword { .. } | Work::VerifyPassword { .. }, ..] => {
                results.extend(batch.into_iter().map(|work| self.hash(work)));
            }
            [Work::Decode { .. } | Work::Convert { .. }, ..] => {
                results.extend(batch.into_iter().map(compute));
            }
            _ => self.read_all(batch, results),
        }
    }

    /// Forgets the connection to the store: nobody knows what state a panic left it in.
    pub fn forget_store(&mut self) {
        self.store = None;
    }

    fn write(&mut self, batch: Vec<Work>, results: &mut Vec<Result<WorkResult, WorkError>>) {
        let writes: Vec<Write> = batch
            .into_iter()
            .map(|work| match work {
                Work::Write(write) => write,
                _ => unreachable!("all of one lane"),
            })
            .collect();
        match self.store() {
            Ok(store) => {
                let written = store.write(&writes);
                debug_assert_eq!(written.len(), writes.len());
                results.extend(
                    written.into_iter().map(|one| one.map(WorkResult::Written).map_err(WorkError::Store)),
                );
            }
            Err(error) => {
                results.extend(writes.iter().map(|_| Err(WorkError::Store(error.clone()))));
            }
        }
    }

    fn hash(&mut self, work: Work) -> Result<WorkResult, WorkError> {
        match work {
            Work::HashPassword { password } => {
                self.hasher.hash(&password).map(WorkResult::Hashed).map_err(|error| {
                    log::error!("hashing a password failed: {}", error.0);
                    WorkError::Internal
                })
            }
            Work::VerifyPassword { password, stored } => {
                self.hasher.verify(&password, stored.as_deref()).map(WorkResult::Verified).map_err(|error| {
                    log::error!("verifying a password failed: {}", error.0);
                    WorkError::Internal
                })
            }
            _ => unreachable!("all of one lane"),
        }
    }

    /// All of them were asked for before this begins, so that a state of the store that is read for one is
    /// recent enough for each.
    fn read_all(&mut self, batch: Vec<Work>, results: &mut Vec<Result<WorkResult, WorkError>>) {
        let costs = Arc::clone(self.hasher.costs());
        let store = match self.store() {
            Ok(store) => store,
            Err(error) => {
                results.extend(batch.iter().map(|_| Err(WorkError::Store(error.clone()))));
                return;
            }
        };
        // One lookup is a statement of its own, which needs no more.
        let mut shares = match &batch[..] {
            [work] => turn(work) == ReadPhase::List,
            _ => true,
        };
        if shares {
            store.begin_reads();
        }
        let tokens = batch.iter().filter_map(|work| match work {
            Work::FindToken { token, now, .. } => Some((*token, *now)),
            _ => None,
        });
        let mut owners = owners(store, tokens.collect()).into_iter();
        let mut known = PageCache::new(batch.iter().filter(|work| turn(work) == ReadPhase::List).count());
        let mut batch: Vec<(usize, Work)> = batch.into_iter().enumerate().collect();
        batch.sort_by_key(|(_, work)| turn(work));
        let mut all_done: Vec<(usize, Result<WorkResult, StoreError>)> = Vec::with_capacity(batch.len());
        let mut is_locked = false;
        for (place, work) in batch {
            if shares && turn(&work) == ReadPhase::Points {
                store.end_reads();
                shares = false;
            }
            let done = match work {
                Work::FindToken { current, .. } => {
                    owners.next().expect("one for each").and_then(|owner| token(store, owner, current))
                }
                // One has waited for a lock; if each did, those that are done would wait for all of that.
                _ if is_locked => Err(StoreError::Busy),
                Work::ListPage { asker, page } => list(store, &asker, page, &mut known),
                work => read(store, work, &costs),
            };
            is_locked |= matches!(done, Err(StoreError::Busy));
            all_done.push((place, done));
        }
        if shares {
            store.end_reads();
        }
        all_done.sort_unstable_by_key(|(place, _)| *place);
        results.extend(all_done.into_iter().map(|(_, done)| done.map_err(WorkError::Store)));
    }

    fn store(&mut self) -> Result<&mut dyn Store, StoreError> {
        if self.store.is_none() {
            self.store = Some(self.factory.connect_worker()?);
        }
        Ok(self.store.as_deref_mut().expect("connected above"))
    }
}

fn compute(work: Work) -> Result<WorkResult, WorkError> {
    match work {
        Work::Decode { text } => Ok(WorkResult::Decoded(Box::new(dialect::decode_json(text.as_slice())))),
        Work::Convert { data } => Ok(WorkResult::Converted(dialect::convert(&data))),
        _ => unreachable!("all of one lane"),
    }
}

/// When a read has its turn among those that are done together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ReadPhase {
    /// First: a list may have to wait for a lock that these don't need.
    Lookup,
    List,
    /// By itself: points that wait to be written have to be written first.
    Points,
}

fn turn(work: &Work) -> ReadPhase {
    match work {
        Work::ListPage { page: PageRequest::Points { .. }, .. } => ReadPhase::Points,
        Work::ListPage { .. } => ReadPhase::List,
        _ => ReadPhase::Lookup,
    }
}

/// Whose `tokens` are, in order.
fn owners(
    store: &mut dyn Store,
    tokens: Vec<(TokenHash, UnixSeconds)>,
) -> Vec<Result<Option<Login>, StoreError>> {
    match &tokens[..] {
        [] => Vec::new(),
        [(token, now)] => vec![store.token_owner(token, *now)],
        several => match store.token_owners(several) {
            Ok(owners) => owners.into_iter().map(Ok).collect(),
            Err(error) => several.iter().map(|_| Err(error.clone())).collect(),
        },
    }
}

fn token(
    store: &mut dyn Store,
    owner: Option<Login>,
    current: Option<Login>,
) -> Result<WorkResult, StoreError> {
    let current_holds = match current {
        // Of the same state of the VM: no need to ask again.
        Some(current) if owner.as_ref() == Some(&current) => true,
        Some(current) => store.is_current(&current)?,
        None => false,
    };
    Ok(WorkResult::Token { owner, current_holds })
}

/// What to check a password against. What checking takes must be known first: it is the same for all.
fn read(store: &mut dyn Store, work: Work, costs: &StoredCosts) -> Result<WorkResult, StoreError> {
    if let Err(error) = costs.complete(store, run_of_start) {
        log::warn!("the costs of stored password hashes are not known yet: {error}");
    }
    match work {
        Work::FindCredentials { name } => store.credentials(&name).map(WorkResult::Credentials),
        Work::FindCredentialsById { vm } => store.credentials_by_id(vm).map(WorkResult::Credentials),
        _ => unreachable!("all of one lane"),
    }
}

fn list(
    store: &mut dyn Store,
    asker: &Asker,
    request: PageRequest,
    known: &mut PageCache,
) -> Result<WorkResult, StoreError> {
    let login_holds = match asker {
        Asker::Vm(login) if !store.is_current(login)? => return Err(StoreError::NotCurrent),
        Asker::Anybody(Some(login)) => store.is_current(login)?,
        Asker::Vm(_) | Asker::Anybody(None) => true,
    };
    Ok(WorkResult::Page { page: known.make(request, store)?, login_holds })
}

//! What worker threads do: values that describe blocking work, and the code that runs it.
//!
//! Work knows neither its connection nor its request; the app keeps what comes next.

pub mod pages;
pub mod password;
pub mod stored_costs;

use std::sync::Arc;

use crate::clock::UnixSeconds;
use crate::dialect;
use crate::ids::VmId;
use crate::limits;
use crate::model::{Credentials, Login, LongText, Page, Refusal, Request, Secret, TokenHash, VmName};
use crate::store::{RegistryStore, Store, StoreError, StoreFactory, Write, Written};
use pages::{PageCache, PageRequest};
use password::{Hasher, PasswordCheck, run_of_start};
use stored_costs::StoredCosts;

/// A queue and its threads. Work of one lane does not delay that of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// Hashing: processor and memory.
    Auth,
    /// Decoding and converting texts that are too long for the reactor: processor.
    Compute,
    /// Reads of the store.
    Read,
    /// Writes to the store. Those that are queued together share a commit.
    Write,
}

/// Work that blocks, by lane.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Work {
    Hash(Hash),
    Compute(Compute),
    Read(Read),
    Write(Write),
}

/// Work with a password.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Hash {
    New { password: Secret },
    Verify { password: Secret, stored: Option<String> },
}

/// Work with a long text.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Compute {
    Decode { text: LongText },
    Convert { data: Box<str> },
}

/// A read of the store.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Read {
    FindToken { token: TokenHash, current: Option<Login>, now: UnixSeconds },
    FindCredentials { name: VmName },
    FindCredentialsById { vm: VmId },
    ListPage { asker: Asker, page: PageRequest },
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

/// The result belongs to other work.
#[derive(Debug)]
pub struct WrongResult;

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
    /// The lane that runs it.
    pub fn lane(&self) -> Lane {
        match self {
            Work::Hash(_) => Lane::Auth,
            Work::Compute(_) => Lane::Compute,
            Work::Read(_) => Lane::Read,
            Work::Write(_) => Lane::Write,
        }
    }

    /// Its share of a batch's time and of the queue, in stored points.
    pub fn weight(&self) -> usize {
        1 + match self {
            Work::Write(write) => write.rows() + write.bytes() / limits::WORK_UNIT_BYTES,
            Work::Compute(Compute::Decode { text }) => text.as_slice().len() / limits::WORK_UNIT_BYTES,
            Work::Compute(Compute::Convert { data }) => data.len() / limits::WORK_UNIT_BYTES,
            Work::Hash(_) | Work::Read(_) => 0,
        }
    }

    /// Whether it makes a page of a list.
    pub fn is_page(&self) -> bool {
        matches!(self, Work::Read(Read::ListPage { .. }))
    }
}

impl Read {
    fn phase(&self) -> ReadPhase {
        match self {
            Read::ListPage { page: PageRequest::Points { .. }, .. } => ReadPhase::Points,
            Read::ListPage { .. } => ReadPhase::List,
            _ => ReadPhase::Lookup,
        }
    }
}

/// Each takes the result of one kind of work apart.
#[allow(missing_docs)]
impl WorkResult {
    /// The owner of the token, and whether the current login holds.
    pub fn token(self) -> Result<(Option<Login>, bool), WrongResult> {
        match self {
            WorkResult::Token { owner, current_holds } => Ok((owner, current_holds)),
            _ => Err(WrongResult),
        }
    }

    pub fn credentials(self) -> Result<Option<Credentials>, WrongResult> {
        match self {
            WorkResult::Credentials(credentials) => Ok(credentials),
            _ => Err(WrongResult),
        }
    }

    pub fn hashed(self) -> Result<String, WrongResult> {
        match self {
            WorkResult::Hashed(hash) => Ok(hash),
            _ => Err(WrongResult),
        }
    }

    pub fn verified(self) -> Result<PasswordCheck, WrongResult> {
        match self {
            WorkResult::Verified(check) => Ok(check),
            _ => Err(WrongResult),
        }
    }

    /// The page, and whether the login of its client holds.
    pub fn page(self) -> Result<(Page, bool), WrongResult> {
        match self {
            WorkResult::Page { page, login_holds } => Ok((page, login_holds)),
            _ => Err(WrongResult),
        }
    }

    pub fn converted(self) -> Result<String, WrongResult> {
        match self {
            WorkResult::Converted(entities) => Ok(entities),
            _ => Err(WrongResult),
        }
    }

    pub fn written(self) -> Result<Written, WrongResult> {
        match self {
            WorkResult::Written(written) => Ok(written),
            _ => Err(WrongResult),
        }
    }
}

impl WorkerContext {
    /// Tools that connect to the store when first needed.
    pub fn new(factory: Arc<dyn StoreFactory>, costs: Arc<StoredCosts>) -> WorkerContext {
        WorkerContext { factory, store: None, hasher: Hasher::sharing(costs) }
    }

    /// Runs `batch`, all of one lane, and appends the results in order. Writes share a commit; reads share a
    /// snapshot.
    pub fn run(&mut self, batch: Vec<Work>, results: &mut Vec<Result<WorkResult, WorkError>>) {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for work in batch {
            match work {
                Work::Hash(work) => results.push(self.hash(work)),
                Work::Compute(work) => results.push(Ok(compute(work))),
                Work::Read(read) => reads.push(read),
                Work::Write(write) => writes.push(write),
            }
        }
        if !reads.is_empty() {
            self.read_all(reads, results);
        }
        if !writes.is_empty() {
            self.write_all(&writes, results);
        }
    }

    /// Forgets the connection to the store: nobody knows what state a panic left it in.
    pub fn forget_store(&mut self) {
        self.store = None;
    }

    fn write_all(&mut self, writes: &[Write], results: &mut Vec<Result<WorkResult, WorkError>>) {
        match self.store() {
            Ok(store) => {
                let written = store.write(writes);
                debug_assert_eq!(written.len(), writes.len());
                results.extend(
                    written.into_iter().map(|one| one.map(WorkResult::Written).map_err(WorkError::Store)),
                );
            }
            Err(error) => results.extend(writes.iter().map(|_| Err(WorkError::Store(error.clone())))),
        }
    }

    fn hash(&mut self, work: Hash) -> Result<WorkResult, WorkError> {
        let result = match work {
            Hash::New { password } => self.hasher.hash(&password).map(WorkResult::Hashed),
            Hash::Verify { password, stored } => {
                self.hasher.verify(&password, stored.as_deref()).map(WorkResult::Verified)
            }
        };
        result.map_err(|error| {
            log::error!("hashing a password failed: {}", error.0);
            WorkError::Internal
        })
    }

    /// All of them were asked for before this begins, so that a state of the store that is read for one is
    /// recent enough for each.
    fn read_all(&mut self, batch: Vec<Read>, results: &mut Vec<Result<WorkResult, WorkError>>) {
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
            [read] => read.phase() == ReadPhase::List,
            _ => true,
        };
        if shares {
            store.registry().begin_reads();
        }
        let tokens = batch.iter().filter_map(|read| match read {
            Read::FindToken { token, now, .. } => Some((*token, *now)),
            _ => None,
        });
        let mut owners = owners(store.registry(), tokens.collect()).into_iter();
        let mut known = PageCache::new(batch.iter().filter(|read| read.phase() == ReadPhase::List).count());
        let mut batch: Vec<(usize, Read)> = batch.into_iter().enumerate().collect();
        batch.sort_by_key(|(_, read)| read.phase());
        let mut all_done: Vec<(usize, Result<WorkResult, StoreError>)> = Vec::with_capacity(batch.len());
        let mut is_locked = false;
        for (index, read) in batch {
            if shares && read.phase() == ReadPhase::Points {
                store.registry().end_reads();
                shares = false;
            }
            let result = match read {
                Read::FindToken { current, .. } => owners
                    .next()
                    .expect("one for each")
                    .and_then(|owner| token(store.registry(), owner, current)),
                // After one lock timeout the other reads fail at once, so that finished results are not held up.
                _ if is_locked => Err(StoreError::Busy),
                Read::ListPage { asker, page } => list(store, &asker, page, &mut known),
                Read::FindCredentials { name } => {
                    complete_costs(store.registry(), &costs);
                    store.registry().credentials(&name).map(WorkResult::Credentials)
                }
                Read::FindCredentialsById { vm } => {
                    complete_costs(store.registry(), &costs);
                    store.registry().credentials_by_id(vm).map(WorkResult::Credentials)
                }
            };
            is_locked |= matches!(result, Err(StoreError::Busy));
            all_done.push((index, result));
        }
        if shares {
            store.registry().end_reads();
        }
        all_done.sort_unstable_by_key(|(index, _)| *index);
        results.extend(all_done.into_iter().map(|(_, result)| result.map_err(WorkError::Store)));
    }

    fn store(&mut self) -> Result<&mut dyn Store, StoreError> {
        if self.store.is_none() {
            self.store = Some(self.factory.connect_worker()?);
        }
        Ok(self.store.as_deref_mut().expect("connected above"))
    }
}

fn compute(work: Compute) -> WorkResult {
    match work {
        Compute::Decode { text } => WorkResult::Decoded(Box::new(dialect::decode_json(text.as_slice()))),
        Compute::Convert { data } => WorkResult::Converted(dialect::convert(&data)),
    }
}

/// The order of the reads of a batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ReadPhase {
    /// First: a list may have to wait for a lock that these don't need.
    Lookup,
    List,
    /// By itself: points that wait to be written have to be written first.
    Points,
}

/// Whose `tokens` are, in order.
fn owners(
    store: &mut dyn RegistryStore,
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
    store: &mut dyn RegistryStore,
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

/// Learns the costs of all stored hashes, once: verifying takes the same time for every name.
fn complete_costs(store: &mut dyn RegistryStore, costs: &StoredCosts) {
    if let Err(error) = costs.complete(store, run_of_start) {
        log::warn!("the costs of stored password hashes are not known yet: {error}");
    }
}

fn list(
    store: &mut dyn Store,
    asker: &Asker,
    request: PageRequest,
    known: &mut PageCache,
) -> Result<WorkResult, StoreError> {
    let login_holds = match asker {
        Asker::Vm(login) if !store.registry().is_current(login)? => return Err(StoreError::NotCurrent),
        Asker::Anybody(Some(login)) => store.registry().is_current(login)?,
        Asker::Vm(_) | Asker::Anybody(None) => true,
    };
    Ok(WorkResult::Page { page: known.make(request, store)?, login_holds })
}

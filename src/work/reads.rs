//! Runs batches of reads: they share a snapshot of the store, and pages that several clients request.

use super::pages::{PageCache, PageRequest};
use super::password::run_of_prefix;
use super::stored_costs::StoredCosts;
use super::{Read, Requester, WorkResult};
use crate::clock::UnixSeconds;
use crate::limits;
use crate::model::{Login, TokenHash, TokenOwner};
use crate::store::{RegistryStore, Store, StoreError};

impl Read {
    fn phase(&self) -> ReadPhase {
        match self {
            Read::ListPage { page: PageRequest::Points { .. }, .. } => ReadPhase::Points,
            Read::ListPage { .. } => ReadPhase::List,
            _ => ReadPhase::Lookup,
        }
    }
}

/// Runs a batch of reads on one snapshot. All were requested before it begins, so it is recent enough for each.
pub(super) fn read_all(
    store: &mut dyn Store,
    batch: &[&Read],
    costs: &StoredCosts,
) -> Vec<Result<WorkResult, StoreError>> {
    // A single look-up needs no snapshot: the write or page that depends on a stale result fails.
    let mut shares_snapshot = match batch {
        [read] => read.phase() == ReadPhase::List,
        _ => true,
    };
    if shares_snapshot {
        store.registry().begin_reads();
    }
    let tokens = batch.iter().filter_map(|read| match read {
        Read::FindToken { token, now, .. } => Some((*token, *now)),
        _ => None,
    });
    let mut owners = owners(store.registry(), tokens.collect()).into_iter();
    let mut cache = PageCache::new(batch.iter().filter(|read| read.phase() == ReadPhase::List).count());
    let mut batch: Vec<(usize, &Read)> = batch.iter().copied().enumerate().collect();
    batch.sort_by_key(|(_, read)| read.phase());
    let mut finished = Vec::with_capacity(batch.len());
    let mut is_locked = false;
    for (index, read) in batch {
        if shares_snapshot && read.phase() == ReadPhase::Points {
            store.registry().end_reads();
            shares_snapshot = false;
        }
        let result = match read {
            Read::FindToken { token, current, .. } => owners
                .next()
                .expect("one owner per token")
                .and_then(|owner| find_token(store.registry(), token, owner, current.as_ref())),
            // After one lock timeout the other reads fail at once, so that finished results are not held up.
            _ if is_locked => Err(StoreError::Busy),
            Read::Ping => store.registry().ping().map(|()| WorkResult::Pinged),
            Read::FindAccessToken { token } => {
                store.registry().is_access_token(token).map(WorkResult::AccessToken)
            }
            Read::ListPage { requester, page } => list(store, requester, page, &mut cache),
            Read::Vms { ids } => store.registry().vms(ids).map(WorkResult::Vms),
            Read::Changes { after } => store
                .registry()
                .changes_after(after.as_ref(), limits::CHANGES_READ_MAX)
                .map(|page| WorkResult::Changes(Box::new(page))),
            Read::ManagedVms { server } => store
                .registry()
                .managed_vms(*server, limits::MANAGED_VMS_READ_MAX)
                .map(WorkResult::ManagedVms),
            Read::FindCredentials { name } => {
                costs.complete(store.registry(), run_of_prefix);
                store.registry().credentials(name).map(|found| WorkResult::Credentials(found.map(Box::new)))
            }
            Read::FindCredentialsById { vm } => {
                costs.complete(store.registry(), run_of_prefix);
                store
                    .registry()
                    .credentials_by_id(*vm)
                    .map(|found| WorkResult::Credentials(found.map(Box::new)))
            }
        };
        is_locked |= matches!(result, Err(StoreError::Busy));
        finished.push((index, result));
    }
    if shares_snapshot {
        store.registry().end_reads();
    }
    finished.sort_unstable_by_key(|(index, _)| *index);
    finished.into_iter().map(|(_, result)| result).collect()
}

/// The order of the reads in a batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ReadPhase {
    /// First: a list may wait for a lock that lookups do not need.
    Lookup,
    List,
    /// Outside the snapshot: points in write-behind must be written first.
    Points,
}

/// The owners of `tokens`, in order.
fn owners(
    store: &mut dyn RegistryStore,
    tokens: Vec<(TokenHash, UnixSeconds)>,
) -> Vec<Result<Option<Login>, StoreError>> {
    match &tokens[..] {
        [] => Vec::new(),
        [(token, now)] => vec![store.token_owner(token, *now)],
        _ => match store.token_owners(&tokens) {
            Ok(owners) => owners.into_iter().map(Ok).collect(),
            Err(error) => tokens.iter().map(|_| Err(error.clone())).collect(),
        },
    }
}

fn find_token(
    store: &mut dyn RegistryStore,
    token: &TokenHash,
    owner: Option<Login>,
    current: Option<&Login>,
) -> Result<WorkResult, StoreError> {
    let current_holds = match current {
        // The owner was just read from the same state of the VM.
        Some(current) if owner.as_ref() == Some(current) => true,
        Some(current) => store.is_current(current)?,
        None => false,
    };
    let owner = match owner {
        Some(login) => Some(TokenOwner::Vm(login)),
        None => store.reader(token)?.map(TokenOwner::Reader),
    };
    Ok(WorkResult::Token { owner, current_holds })
}

fn list(
    store: &mut dyn Store,
    requester: &Requester,
    request: &PageRequest,
    cache: &mut PageCache,
) -> Result<WorkResult, StoreError> {
    let login_holds = match requester {
        Requester::Vm(login) if !store.registry().is_current(login)? => return Err(StoreError::NotCurrent),
        Requester::AnyClient(Some(login)) => store.registry().is_current(login)?,
        Requester::Vm(_) | Requester::AnyClient(None) => true,
    };
    Ok(WorkResult::Page { page: cache.make(request, store)?, login_holds })
}

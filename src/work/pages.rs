//! Pages of lists, read from the store. Runs on a worker's thread.

use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Cursor, Items, Metrics, Peer, PeerEntry, PointFilter, PointPosition, Vm};
use crate::store::{PointPage, PointStore, RegistryStore, Store, StoreError, VmPage};
use crate::sys::process;

/// The page to read.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum PageRequest {
    Vms { after: VmId, rows_max: usize },
    Disks { after: DiskId },
    Peers { only_authenticated: bool, peers: Vec<PeerIndex>, next: Option<Cursor> },
    EverConnected { after: VmId },
    Members { members: Vec<MemberIndex>, next: Option<Cursor> },
    Points { filter: PointFilter, after: Option<PointPosition> },
    Metrics { next: Option<Cursor> },
}

/// The entries of a page, and where the next page begins; `None` after the last.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct PageRead {
    pub items: Items,
    pub next: Option<Cursor>,
}

/// A connection, as of the start of its page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerIndex {
    /// Its index in the connection table.
    pub index: u32,
    /// The client's address.
    pub peer: Peer,
    /// When it was opened.
    pub connected_since: UnixSeconds,
    /// The VM that authenticated on it.
    pub vm: Option<VmId>,
}

/// A member VM, as of the start of its page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberIndex {
    /// Its position in the order of entry.
    pub index: u64,
    /// The VM.
    pub vm: VmId,
    /// A connection is authenticated as it; otherwise it is a member only while it has no password.
    pub has_login: bool,
}

/// The last page read in a batch. Concurrent clients mostly request the same lists, and copying a page is cheaper than
/// reading it.
pub(super) struct PageCache {
    /// Lists of the batch not requested yet.
    lists_left: usize,
    page: Option<(PageRequest, PageRead)>,
}

impl PageCache {
    /// An empty cache for a batch of `lists` lists.
    pub(super) fn new(lists: usize) -> PageCache {
        PageCache { lists_left: lists, page: None }
    }

    /// The page for `request`, cached or read.
    pub(super) fn make(
        &mut self,
        request: &PageRequest,
        store: &mut dyn Store,
    ) -> Result<PageRead, StoreError> {
        self.lists_left = self.lists_left.saturating_sub(1);
        match &self.page {
            Some((cached, page)) if cached == request => return Ok(page.clone()),
            _ => {}
        }
        let page = request.make(store)?;
        if self.lists_left > 0 && request.is_shareable() {
            self.page = Some((request.clone(), page.clone()));
        }
        Ok(page)
    }
}

impl PageRequest {
    /// Whether the page depends on the request and the store only.
    fn is_shareable(&self) -> bool {
        matches!(
            self,
            PageRequest::Vms { .. } | PageRequest::EverConnected { .. } | PageRequest::Disks { .. }
        )
    }

    /// Whether the store looks at the entries of the page only, and none in between.
    pub(super) fn is_read_directly(&self) -> bool {
        match self {
            PageRequest::Vms { .. }
            | PageRequest::Disks { .. }
            | PageRequest::Peers { .. }
            | PageRequest::Members { .. } => true,
            PageRequest::Points { filter, .. } => filter.prefix().is_empty(),
            PageRequest::EverConnected { .. } | PageRequest::Metrics { .. } => false,
        }
    }

    /// Reads the page.
    fn make(&self, store: &mut dyn Store) -> Result<PageRead, StoreError> {
        let rows_max = limits::PAGE_ROWS_MAX;
        match self {
            PageRequest::Vms { after, rows_max } => {
                Ok(vms_page(store.registry().vms_after(*after, *rows_max)?))
            }
            PageRequest::EverConnected { after } => {
                Ok(vms_page(store.registry().ever_connected_after(*after, rows_max)?))
            }
            PageRequest::Disks { after } => disks_page(store.registry(), *after),
            PageRequest::Peers { only_authenticated, peers, next } => {
                peers_page(store.registry(), *only_authenticated, peers, *next)
            }
            PageRequest::Points { filter, after } => points_page(store.points(), filter, *after),
            PageRequest::Metrics { next } => {
                let (vms, process) = (store.registry().vm_count()?, process::usage());
                let metrics = Metrics { vms, process, ..Metrics::default() };
                Ok(PageRead { items: Items::Metrics(Box::new(metrics)), next: *next })
            }
            PageRequest::Members { members, next } => members_page(store.registry(), members, *next),
        }
    }
}

fn vms_page(VmPage { vms, is_last }: VmPage) -> PageRead {
    let next = vms.last().filter(|_| !is_last).map(|vm| Cursor::AfterVm(vm.id));
    PageRead { items: Items::Vms(vms), next }
}

fn disks_page(store: &mut dyn RegistryStore, after: DiskId) -> Result<PageRead, StoreError> {
    let disks = store.disks_after(after, limits::PAGE_ROWS_MAX)?;
    let is_full = disks.len() == limits::PAGE_ROWS_MAX;
    let next = disks.last().filter(|_| is_full).map(|last| Cursor::AfterDisk(last.disk.id));
    Ok(PageRead { items: Items::Disks(disks), next })
}

fn points_page(
    store: &mut dyn PointStore,
    filter: &PointFilter,
    after: Option<PointPosition>,
) -> Result<PageRead, StoreError> {
    let PointPage { series, next } = store.points_after(filter, after, limits::POINTS_PER_PAGE_MAX)?;
    Ok(PageRead { items: Items::Points(series), next: next.map(|last| Cursor::AfterPoint(Some(last))) })
}

/// Joins connections with their VMs. If a VM was removed, an active connection is listed without it, and an
/// authenticated one is left out.
fn peers_page(
    store: &mut dyn RegistryStore,
    only_authenticated: bool,
    peers: &[PeerIndex],
    next: Option<Cursor>,
) -> Result<PageRead, StoreError> {
    let entry = |connection: &PeerIndex, vm: Option<&Vm>| {
        let is_listed = vm.is_some() || !only_authenticated;
        let &PeerIndex { peer, connected_since, .. } = connection;
        is_listed.then(|| PeerEntry { peer, connected_since, vm: vm.cloned() })
    };
    let (entries, rest) = join(store, peers, |connection| connection.vm, entry)?;
    let next = rest.map(|connection| Cursor::FromPeer(connection.index)).or(next);
    Ok(PageRead { items: Items::Peers(entries), next })
}

/// Looks up the members of a set. Leaves out VMs that were removed, or that got a password and have no authenticated
/// connection.
fn members_page(
    store: &mut dyn RegistryStore,
    members: &[MemberIndex],
    next: Option<Cursor>,
) -> Result<PageRead, StoreError> {
    let is_listed = |member: &MemberIndex, vm: &&Vm| member.has_login || !vm.has_password;
    let entry = |member: &MemberIndex, vm: Option<&Vm>| vm.filter(|vm| is_listed(member, vm)).cloned();
    let (vms, rest) = join(store, members, |member| Some(member.vm), entry)?;
    Ok(PageRead {
        items: Items::Vms(vms),
        next: rest.map(|member| Cursor::FromMember(member.index)).or(next),
    })
}

/// Makes an item of each of `entries` and its VM, if that exists; `make` returns `None` for an entry to leave out. The
/// page ends before an entry that would exceed the row limit, unless it is the first; that entry is returned too.
fn join<'e, E, T>(
    store: &mut dyn RegistryStore,
    entries: &'e [E],
    id: impl Fn(&E) -> Option<VmId>,
    make: impl Fn(&E, Option<&Vm>) -> Option<T>,
) -> Result<(Vec<T>, Option<&'e E>), StoreError> {
    let (mut items, mut rows) = (Vec::new(), 0);
    for chunk in entries.chunks(limits::VMS_PER_QUERY) {
        let ids: Vec<VmId> = chunk.iter().filter_map(&id).collect();
        let vms = if ids.is_empty() { Vec::new() } else { store.vms(&ids)? };
        for entry in chunk {
            let found = id(entry).and_then(|id| vms.binary_search_by_key(&id, |vm| vm.id).ok());
            let vm = found.map(|index| &vms[index]);
            let Some(item) = make(entry, vm) else { continue };
            rows += 1 + vm.map_or(0, |vm| vm.disks.len());
            if rows > limits::PAGE_ROWS_MAX && !items.is_empty() {
                return Ok((items, Some(entry)));
            }
            items.push(item);
        }
    }
    Ok((items, None))
}

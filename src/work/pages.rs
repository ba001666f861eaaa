//! Pages of lists, read from the store. Runs on a worker's thread.

use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Cursor, Items, Peer, PeerEntry, PointFilter, Vm};
use crate::store::{PointPage, PointPosition, PointStore, RegistryStore, Store, StoreError, VmPage};

/// The page to read.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum PageRequest {
    Vms { after: VmId },
    Disks { after: DiskId },
    Peers { only_authenticated: bool, peers: Vec<PeerIndex>, next: Option<Cursor> },
    EverConnected { after: VmId },
    Members { members: Vec<MemberIndex>, next: Option<Cursor> },
    Points { filter: PointFilter, after: Option<PointPosition> },
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

    /// Reads the page.
    pub(super) fn make(&self, store: &mut dyn Store) -> Result<PageRead, StoreError> {
        let rows_max = limits::PAGE_ROWS_MAX;
        match self {
            PageRequest::Vms { after } => Ok(vms_page(store.registry().vms_after(*after, rows_max)?)),
            PageRequest::EverConnected { after } => {
                Ok(vms_page(store.registry().ever_connected_after(*after, rows_max)?))
            }
            PageRequest::Disks { after } => disks_page(store.registry(), *after),
            PageRequest::Peers { only_authenticated, peers, next } => {
                peers_page(store.registry(), *only_authenticated, peers, *next)
            }
            PageRequest::Points { filter, after } => points_page(store.points(), filter, *after),
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
    let next = next.map(|PointPosition { series, timestamp }| Cursor::AfterPoint { series, timestamp });
    Ok(PageRead { items: Items::Points(series), next })
}

/// Joins connections with their VMs. If a VM was removed, an active connection is listed without it, and an
/// authenticated one is left out. The page ends early before a connection that would exceed the row limit, unless it is
/// the first.
fn peers_page(
    store: &mut dyn RegistryStore,
    only_authenticated: bool,
    peers: &[PeerIndex],
    mut next: Option<Cursor>,
) -> Result<PageRead, StoreError> {
    let mut entries: Vec<PeerEntry> = Vec::new();
    let mut rows = 0;
    for connection in peers {
        let vm = match connection.vm {
            Some(id) => store.vms(&[id])?.pop(),
            None => None,
        };
        if vm.is_none() && only_authenticated {
            continue;
        }
        rows += 1 + vm.as_ref().map_or(0, |vm| vm.disks.len());
        if rows > limits::PAGE_ROWS_MAX && !entries.is_empty() {
            next = Some(Cursor::FromPeer(connection.index));
            break;
        }
        entries.push(PeerEntry { peer: connection.peer, vm });
    }
    Ok(PageRead { items: Items::Peers(entries), next })
}

/// Looks up the members of a set. Leaves out VMs that were removed, or that got a password and have no authenticated
/// connection. The page ends early before a VM that would exceed the row limit, unless it is the first.
fn members_page(
    store: &mut dyn RegistryStore,
    members: &[MemberIndex],
    next: Option<Cursor>,
) -> Result<PageRead, StoreError> {
    let (mut vms, mut rows, mut last) = (Vec::new(), 0, None);
    for chunk in members.chunks(limits::MEMBERS_PER_QUERY) {
        let ids: Vec<VmId> = chunk.iter().map(|member| member.vm).collect();
        let mut found: Vec<Option<Vm>> = store.vms(&ids)?.into_iter().map(Some).collect();
        for member in chunk {
            let vm = found.iter_mut().find(|vm| vm.as_ref().is_some_and(|vm| vm.id == member.vm));
            let vm = vm.and_then(Option::take).filter(|vm| member.has_login || !vm.has_password);
            rows += vm.as_ref().map_or(0, |vm| 1 + vm.disks.len());
            if let (true, Some(last)) = (rows > limits::PAGE_ROWS_MAX && !vms.is_empty(), last) {
                let next = Some(Cursor::AfterMember(last));
                return Ok(PageRead { items: Items::Vms(vms), next });
            }
            vms.extend(vm);
            last = Some(member.index);
        }
    }
    Ok(PageRead { items: Items::Vms(vms), next })
}

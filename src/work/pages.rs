//! Pages of lists, read from the store. Runs on a worker's thread.

use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Cursor, Items, List, Listing, Membership, Page, Peer, PeerEntry, PointFilter, Vm};
use crate::store::{PointPage, PointPosition, PointStore, RegistryStore, Store, StoreError, VmPage};

/// The page to read.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum PageRequest {
    Vms { after: VmId },
    Disks { after: DiskId },
    Peers { list: List, peers: Vec<PeerIndex>, next: Option<Cursor> },
    ManagedVms { after: VmId },
    ManagedDisks { after: DiskId },
    EverConnected { after: VmId },
    Members { set: Membership, members: Vec<MemberIndex>, next: Option<Cursor> },
    Points { filter: PointFilter, after: Option<PointPosition> },
}

/// A connection, as of the start of its page.
#[derive(Clone, Debug)]
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
    page: Option<(List, Cursor, Page)>,
}

impl PageCache {
    /// An empty cache for a batch of `lists` lists.
    pub(super) fn new(lists: usize) -> PageCache {
        PageCache { lists_left: lists, page: None }
    }

    /// The page for `request`, cached or read.
    pub(super) fn make(&mut self, request: PageRequest, store: &mut dyn Store) -> Result<Page, StoreError> {
        self.lists_left = self.lists_left.saturating_sub(1);
        let Some((list, cursor)) = request.shared() else { return request.make(store) };
        match &self.page {
            Some((cached_list, cached_cursor, page)) if *cached_list == list && *cached_cursor == cursor => {
                return Ok(page.clone());
            }
            _ => {}
        }
        let page = request.make(store)?;
        if self.lists_left > 0 {
            self.page = Some((list, cursor, page.clone()));
        }
        Ok(page)
    }
}

impl PageRequest {
    /// The cache key, if the page depends on it and the store only.
    fn shared(&self) -> Option<(List, Cursor)> {
        Some(match *self {
            PageRequest::Vms { after } => (List::AllVms, Cursor::AfterVm(after)),
            PageRequest::ManagedVms { after } => (List::ManagedVms, Cursor::AfterVm(after)),
            PageRequest::EverConnected { after } => (List::EverConnectedVms, Cursor::AfterVm(after)),
            PageRequest::Disks { after } => (List::AllDisks, Cursor::AfterDisk(after)),
            PageRequest::ManagedDisks { after } => (List::ManagedDisks, Cursor::AfterDisk(after)),
            PageRequest::Peers { .. } | PageRequest::Members { .. } | PageRequest::Points { .. } => {
                return None;
            }
        })
    }

    /// Reads the page.
    pub(super) fn make(self, store: &mut dyn Store) -> Result<Page, StoreError> {
        let rows_max = limits::PAGE_ROWS_MAX;
        match self {
            PageRequest::Vms { after } => {
                Ok(vms_page(List::AllVms, store.registry().vms_after(after, rows_max)?))
            }
            PageRequest::ManagedVms { after } => {
                Ok(vms_page(List::ManagedVms, store.registry().vms_after(after, rows_max)?))
            }
            PageRequest::EverConnected { after } => {
                Ok(vms_page(List::EverConnectedVms, store.registry().ever_connected_after(after, rows_max)?))
            }
            PageRequest::Disks { after } => disks_page(store.registry(), List::AllDisks, after),
            PageRequest::ManagedDisks { after } => disks_page(store.registry(), List::ManagedDisks, after),
            PageRequest::Peers { list, peers, next } => peers_page(store.registry(), list, peers, next),
            PageRequest::Points { filter, after } => points_page(store.points(), filter, after),
            PageRequest::Members { set, members, next } => {
                members_page(store.registry(), set, &members, next)
            }
        }
    }
}

fn vms_page(list: List, VmPage { vms, is_last }: VmPage) -> Page {
    let next = vms.last().filter(|_| !is_last).map(|vm| Cursor::AfterVm(vm.id));
    Page { listing: Listing::List(list), items: Items::Vms(vms), next }
}

fn disks_page(store: &mut dyn RegistryStore, list: List, after: DiskId) -> Result<Page, StoreError> {
    let disks = store.disks_after(after, limits::PAGE_ROWS_MAX)?;
    let is_full = disks.len() == limits::PAGE_ROWS_MAX;
    let next = disks.last().filter(|_| is_full).map(|last| Cursor::AfterDisk(last.disk.id));
    Ok(Page { listing: Listing::List(list), items: Items::Disks(disks), next })
}

fn points_page(
    store: &mut dyn PointStore,
    filter: PointFilter,
    after: Option<PointPosition>,
) -> Result<Page, StoreError> {
    let PointPage { series, next } = store.points_after(&filter, after, limits::POINTS_PER_PAGE_MAX)?;
    let next = next
        .map(|PointPosition { series, timestamp: second }| Cursor::AfterPoint { series, timestamp: second });
    Ok(Page { listing: Listing::Points(filter), items: Items::Points(series), next })
}

/// Joins connections with their VMs. If a VM was removed, an active connection is listed without it, and an
/// authenticated one is left out. The page ends early before a connection that would exceed the row limit, unless it is
/// the first.
fn peers_page(
    store: &mut dyn RegistryStore,
    list: List,
    peers: Vec<PeerIndex>,
    mut next: Option<Cursor>,
) -> Result<Page, StoreError> {
    let mut entries: Vec<PeerEntry> = Vec::new();
    let mut rows = 0;
    for connection in peers {
        let vm = match connection.vm {
            Some(id) => store.vms(&[id])?.pop(),
            None => None,
        };
        if vm.is_none() && list == List::AuthenticatedVms {
            continue;
        }
        rows += 1 + vm.as_ref().map_or(0, |vm| vm.disks.len());
        if rows > limits::PAGE_ROWS_MAX && !entries.is_empty() {
            next = Some(Cursor::FromPeer(connection.index));
            break;
        }
        entries.push(PeerEntry { peer: connection.peer, vm });
    }
    Ok(Page { listing: Listing::List(list), items: Items::Peers(entries), next })
}

/// Looks up the members of a set. Leaves out VMs that were removed, or that got a password and have no authenticated
/// connection. The page ends early before a VM that would exceed the row limit, unless it is the first.
fn members_page(
    store: &mut dyn RegistryStore,
    set: Membership,
    members: &[MemberIndex],
    next: Option<Cursor>,
) -> Result<Page, StoreError> {
    let list = match set {
        Membership::Authorized => List::AuthorizedVms,
        Membership::Connected => List::ConnectedVms,
    };
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
                return Ok(Page { listing: Listing::List(list), items: Items::Vms(vms), next });
            }
            vms.extend(vm);
            last = Some(member.index);
        }
    }
    Ok(Page { listing: Listing::List(list), items: Items::Vms(vms), next })
}

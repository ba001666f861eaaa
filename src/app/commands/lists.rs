//! Answers in pages: `list`, the lists of the dialect `action`, and `get`.

use super::super::access::Permission;
use super::{App, Context, Continue, Next, Resume, StageInfo, vm_table};
use crate::ids::{ConnId, DiskId, VmId};
use crate::limits;
use crate::model::{
    CommandName, Cursor, Failure, Items, List, Listing, Login, Membership, Metrics, Page, PeerEntry,
    PointFilter, Principal, Query, Vm,
};
use crate::work::pages::{PageRead, PageRequest};
use crate::work::{Read, Requester, Work, WorkResult, WrongResult};

/// A worker makes a page.
#[derive(Debug)]
pub struct Stage {
    /// Boxed: updates are moved through the same enumeration.
    listing: Box<Listing>,
    /// The login that the worker checks, if the client has one.
    login: Option<Login>,
    /// Whether the client sees of each VM what an operator sees.
    is_observed: bool,
    /// Whether no page follows this one.
    is_last: bool,
}

impl App {
    /// Begins the first page of an answer.
    pub(super) fn list(&mut self, context: Context, command: CommandName, query: Query) -> Next<Stage> {
        let first = match &query {
            Query::List(List::AllVms | List::EverConnectedVms) => Cursor::AfterVm(VmId(0)),
            Query::List(List::AllDisks) => Cursor::AfterDisk(DiskId(0)),
            Query::List(List::ActiveVms | List::AuthenticatedVms) => Cursor::FromPeer(0),
            Query::List(List::AuthorizedVms | List::ConnectedVms) => Cursor::FromMember(0),
            Query::Points(_) => Cursor::AfterPoint(None),
            Query::VmTable(table) => Cursor::AfterVm(table.after),
            Query::Targets { .. } | Query::Snapshot(_) => Cursor::AfterVm(VmId(0)),
            Query::Metrics => Cursor::BeforePoints,
        };
        self.begin_page(context.conn, Listing { command, query, caller: context.caller }, first)
    }

    /// Begins the first page of an answer for a browser or monitoring.
    pub(super) fn web(&mut self, context: Context, query: Query, is_head: bool) -> Next<Stage> {
        match self.list(context, CommandName::Web, query) {
            Next::Work { work, stage } => Next::Work { work, stage: Stage { is_last: is_head, ..stage } },
            failed => failed,
        }
    }

    /// Begins the next page of an answer.
    pub fn page(&mut self, conn: ConnId, listing: Listing, cursor: Cursor) -> Next {
        self.begin_page(conn, listing, cursor).map(super::Stage::Lists)
    }

    /// Begins the page at `cursor`. Checks the right again: the client may have lost it since the previous page.
    fn begin_page(&mut self, conn: ConnId, listing: Listing, cursor: Cursor) -> Next<Stage> {
        let Some((requester, is_observed)) = self.requester(conn, &listing) else {
            return Next::failed(Failure::AuthenticationRequired);
        };
        let Some(page) = self.page_request(&listing.query, cursor, is_observed) else {
            return Next::failed(Failure::Internal);
        };
        let login = requester.login().cloned();
        let stage = Stage { listing: Box::new(listing), login, is_observed, is_last: false };
        Next::Work { work: Work::Read(Read::ListPage { requester, page }), stage }
    }

    /// The client and the login that its right depends on, and whether it sees of each VM what an operator sees; `None`
    /// if it has no right.
    fn requester(&self, conn: ConnId, listing: &Listing) -> Option<(Requester, bool)> {
        let (permission, principal) = self.permission(conn, listing.command, &listing.caller);
        let is_observed = match listing.command {
            CommandName::List => matches!(principal, Principal::Operator | Principal::Reader(_)),
            command => matches!(command, CommandName::Web | CommandName::Watch),
        };
        let requester = match (permission, principal) {
            (Permission::Allowed | Permission::AllowedAsItself, Principal::Vm(login))
                if listing.command == CommandName::Watch =>
            {
                Requester::Vm(login)
            }
            (Permission::Allowed, Principal::Vm(login)) => Requester::AnyClient(Some(login)),
            (Permission::Allowed, _) => Requester::AnyClient(None),
            (Permission::AllowedAsItself, Principal::Vm(login)) => Requester::Vm(login),
            _ => return None,
        };
        Some((requester, is_observed))
    }

    /// `None` if `cursor` belongs to another query.
    fn page_request(&self, query: &Query, cursor: Cursor, is_observed: bool) -> Option<PageRequest> {
        let list = match query {
            Query::List(list) => *list,
            Query::Points(filter) => {
                let Cursor::AfterPoint(after) = cursor else { return None };
                return Some(PageRequest::Points { filter: filter.clone(), after });
            }
            Query::VmTable(_) | Query::Targets { .. } | Query::Snapshot(_) => List::AllVms,
            Query::Metrics => {
                return match cursor {
                    Cursor::BeforePoints => {
                        let next = self.settings.metrics_points.then_some(Cursor::AfterPoint(None));
                        Some(PageRequest::Metrics { next })
                    }
                    Cursor::AfterPoint(after) => {
                        let filter = PointFilter { is_latest: true, ..PointFilter::default() };
                        Some(PageRequest::Points { filter, after })
                    }
                    _ => None,
                };
            }
        };
        Some(match (list, cursor) {
            (List::AllVms, Cursor::AfterVm(after)) => {
                let rows_max = if is_observed { limits::OBSERVED_ROWS_MAX } else { limits::PAGE_ROWS_MAX };
                PageRequest::Vms { after, rows_max }
            }
            (List::EverConnectedVms, Cursor::AfterVm(after)) => PageRequest::EverConnected { after },
            (List::AllDisks, Cursor::AfterDisk(after)) => PageRequest::Disks { after },
            (List::ActiveVms | List::AuthenticatedVms, Cursor::FromPeer(index)) => {
                let (peers, next) = self.presence.page(list, index);
                PageRequest::Peers { only_authenticated: list == List::AuthenticatedVms, peers, next }
            }
            (List::AuthorizedVms, Cursor::FromMember(from)) => self.members(Membership::Authorized, from),
            (List::ConnectedVms, Cursor::FromMember(from)) => self.members(Membership::Connected, from),
            _ => return None,
        })
    }

    /// Adds what an operator and a reader see of each VM.
    fn observe(&self, items: Items) -> Items {
        let of_vm = |vm: &Vm| self.presence.of_vm(vm.id, Some(vm));
        match items {
            Items::Vms(vms) => Items::ObservedVms(
                vms.into_iter().map(|vm| (of_vm(&vm), vm)).map(|(of, vm)| (vm, of)).collect(),
            ),
            Items::Peers(peers) => {
                let of_peer = |peer: &PeerEntry| peer.vm.as_ref().map(of_vm).unwrap_or_default();
                Items::ObservedPeers(
                    peers
                        .into_iter()
                        .map(|peer| (of_peer(&peer), peer))
                        .map(|(of, peer)| (peer, of))
                        .collect(),
                )
            }
            Items::Metrics(metrics) => {
                let vms_online = self.presence.online_count() as u64;
                Items::Metrics(Box::new(Metrics { vms_online, ..*metrics }))
            }
            items => items,
        }
    }

    fn members(&self, set: Membership, from: u64) -> PageRequest {
        let (members, next) = self.presence.membership().page(set, from);
        PageRequest::Members { members, next }
    }
}

impl StageInfo for Stage {
    fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    fn subject(&self) -> super::Subject {
        super::Subject::None
    }
}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        let Resume { app, conn, .. } = at;
        let (PageRead { items, next }, login_holds) = result.page()?;
        if self.listing.query.has_whole_pages() && next.is_none() {
            app.watches.snapshot_sent(conn);
        }
        let mut items = if self.is_observed { app.observe(items) } else { items };
        let mut listing = *self.listing;
        let mut next = next.filter(|_| !self.is_last);
        if let (Query::VmTable(table), Items::ObservedVms(vms)) = (&mut listing.query, &mut items) {
            next = vm_table::select(table, vms, next);
        }
        if let Some(login) = self.login.filter(|_| !login_holds) {
            app.presence.log_out_as(conn, &login);
            listing.caller.login = None;
        }
        Ok(Next::Page(Page { listing, items, next }))
    }
}

//! Answers in pages: `list`, the lists of the dialect `action`, and `get`.

use super::super::access::Permission;
use super::{App, Context, Continue, Next, Resume, StageInfo};
use crate::ids::{ConnId, DiskId, VmId};
use crate::model::{CommandName, Cursor, Failure, List, Listing, Login, Membership, Page, Principal, Query};
use crate::store::PointPosition;
use crate::work::pages::{PageRead, PageRequest};
use crate::work::{Read, Requester, Work, WorkResult, WrongResult};

/// A worker makes a page.
#[derive(Debug)]
pub struct Stage {
    listing: Listing,
    /// The login that the worker checks, if the client has one.
    login: Option<Login>,
}

impl App {
    /// Begins the first page of an answer.
    pub(super) fn list(&mut self, context: Context, command: CommandName, query: Query) -> Next<Stage> {
        self.begin_page(context.conn, Listing { command, query, caller: context.caller }, None)
    }

    /// Begins the next page of an answer.
    pub fn page(&mut self, conn: ConnId, listing: Listing, cursor: Cursor) -> Next {
        self.begin_page(conn, listing, Some(cursor)).map(super::Stage::Lists)
    }

    /// Begins the page at `cursor`, or the first. Checks the right again: the client may have lost it since the previous
    /// page.
    fn begin_page(&mut self, conn: ConnId, listing: Listing, cursor: Option<Cursor>) -> Next<Stage> {
        let Some(requester) = self.requester(conn, &listing) else {
            return Next::failed(Failure::AuthenticationRequired);
        };
        let Some(page) = self.page_request(&listing.query, cursor) else {
            return Next::failed(Failure::Internal);
        };
        let stage = Stage { listing, login: requester.login().cloned() };
        Next::Work { work: Work::Read(Read::ListPage { requester, page }), stage }
    }

    /// The client and the login that its right depends on; `None` if it has no right.
    fn requester(&self, conn: ConnId, listing: &Listing) -> Option<Requester> {
        match self.permission(conn, listing.command, &listing.caller) {
            (Permission::Allowed, Principal::Vm(login)) => Some(Requester::AnyClient(Some(login))),
            (Permission::Allowed, _) => Some(Requester::AnyClient(None)),
            (Permission::AllowedAsItself, Principal::Vm(login)) => Some(Requester::Vm(login)),
            _ => None,
        }
    }

    /// `None` if `cursor` belongs to another query.
    fn page_request(&self, query: &Query, cursor: Option<Cursor>) -> Option<PageRequest> {
        let list = match query {
            Query::List(list) => *list,
            Query::Points(filter) => {
                let after = match cursor {
                    None => None,
                    Some(Cursor::AfterPoint { series, timestamp }) => {
                        Some(PointPosition { series, timestamp })
                    }
                    Some(_) => return None,
                };
                return Some(PageRequest::Points { filter: filter.clone(), after });
            }
        };
        Some(match list {
            List::AllVms => PageRequest::Vms { after: vm(cursor)? },
            List::EverConnectedVms => PageRequest::EverConnected { after: vm(cursor)? },
            List::AllDisks => PageRequest::Disks { after: disk(cursor)? },
            List::ActiveVms | List::AuthenticatedVms => {
                let from = match cursor {
                    None => 0,
                    Some(Cursor::FromPeer(index)) => index,
                    Some(_) => return None,
                };
                let (peers, next) = self.presence.page(list, from);
                PageRequest::Peers { only_authenticated: list == List::AuthenticatedVms, peers, next }
            }
            List::AuthorizedVms => self.members(Membership::Authorized, cursor)?,
            List::ConnectedVms => self.members(Membership::Connected, cursor)?,
        })
    }

    fn members(&self, set: Membership, cursor: Option<Cursor>) -> Option<PageRequest> {
        let after = match cursor {
            None => None,
            Some(Cursor::AfterMember(position)) => Some(position),
            Some(_) => return None,
        };
        let (members, next) = self.presence.membership().page(set, after);
        Some(PageRequest::Members { members, next })
    }
}

fn vm(cursor: Option<Cursor>) -> Option<VmId> {
    match cursor {
        None => Some(VmId(0)),
        Some(Cursor::AfterVm(after)) => Some(after),
        Some(_) => None,
    }
}

fn disk(cursor: Option<Cursor>) -> Option<DiskId> {
    match cursor {
        None => Some(DiskId(0)),
        Some(Cursor::AfterDisk(after)) => Some(after),
        Some(_) => None,
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
        let mut listing = self.listing;
        if let Some(login) = self.login.filter(|_| !login_holds) {
            app.presence.log_out_as(conn, &login);
            listing.caller.login = None;
        }
        Ok(Next::Page(Page { listing, items, next }))
    }
}

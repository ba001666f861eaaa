//! Answers in pages: `list`, the lists of the dialect `action`, and `get`.

use super::super::access::Permission;
use super::{App, Continue, Next, StageInfo};
use crate::clock::UnixSeconds;
use crate::ids::{ConnId, DiskId, VmId};
use crate::model::{CommandName, Cursor, Failure, List, Listing, Login, Membership, PointFilter, Principal};
use crate::store::PointPosition;
use crate::work::pages::PageRequest;
use crate::work::{Read, Requester, Work, WorkResult, WrongResult};

/// A worker makes a page.
#[derive(Debug)]
pub struct Stage {
    command: CommandName,
    /// The login of the client, if it has one.
    login: Option<Login>,
}

impl App {
    /// Begins the next page of an answer.
    pub fn page(&mut self, conn: ConnId, listing: Listing, cursor: Cursor) -> Next {
        let next = match listing {
            Listing::List(list) => self.list(conn, list, Some(cursor)),
            Listing::Points(filter) => self.get(conn, filter, Some(cursor)),
        };
        next.map(super::Stage::Lists)
    }

    /// Begins the page of `list` at `cursor`, or the first. Checks the right again: the client may have lost it since
    /// the previous page.
    pub(super) fn list(&mut self, conn: ConnId, list: List, cursor: Option<Cursor>) -> Next<Stage> {
        self.begin_page(conn, list.command(), self.page_request(list, cursor))
    }

    /// Begins the page of matching points at `cursor`, or the first.
    pub(super) fn get(&mut self, conn: ConnId, filter: PointFilter, cursor: Option<Cursor>) -> Next<Stage> {
        let after = match cursor {
            None => None,
            Some(Cursor::AfterPoint { series, timestamp }) => Some(PointPosition { series, timestamp }),
            Some(_) => return Next::failed(Failure::Internal),
        };
        self.begin_page(conn, CommandName::Get, Some(PageRequest::Points { filter, after }))
    }

    fn begin_page(&mut self, conn: ConnId, command: CommandName, page: Option<PageRequest>) -> Next<Stage> {
        let Some(requester) = self.requester(conn, command) else {
            return Next::failed(Failure::AuthenticationRequired);
        };
        let Some(page) = page else { return Next::failed(Failure::Internal) };
        let stage = Stage { command, login: requester.login().cloned() };
        Next::Work { work: Work::Read(Read::ListPage { requester, page }), stage }
    }

    /// The client and the login that its right to `command` depends on; `None` if it has no right.
    fn requester(&self, conn: ConnId, command: CommandName) -> Option<Requester> {
        let principal = self.presence.principal(conn);
        match (self.permission(conn, command, &principal), principal) {
            (Permission::Allowed, Principal::Vm(login)) => Some(Requester::AnyClient(Some(login))),
            (Permission::Allowed, _) => Some(Requester::AnyClient(None)),
            (Permission::AllowedAsItself, Principal::Vm(login)) => Some(Requester::Vm(login)),
            _ => None,
        }
    }

    /// `None` if `cursor` belongs to another list.
    fn page_request(&self, list: List, cursor: Option<Cursor>) -> Option<PageRequest> {
        Some(match list {
            List::AllVms => PageRequest::Vms { after: vm(cursor)? },
            List::ManagedVms => PageRequest::ManagedVms { after: vm(cursor)? },
            List::EverConnectedVms => PageRequest::EverConnected { after: vm(cursor)? },
            List::AllDisks => PageRequest::Disks { after: disk(cursor)? },
            List::ManagedDisks => PageRequest::ManagedDisks { after: disk(cursor)? },
            List::ActiveVms | List::AuthenticatedVms => {
                let from = match cursor {
                    None => 0,
                    Some(Cursor::FromPeer(index)) => index,
                    Some(_) => return None,
                };
                let (peers, next) = self.presence.page(list, from);
                PageRequest::Peers { list, peers, next }
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
        Some(PageRequest::Members { set, members, next })
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
    fn command(&self) -> CommandName {
        self.command
    }

    fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    fn subject(&self) -> super::Subject {
        super::Subject::None
    }
}

impl Continue for Stage {
    fn resume(
        self,
        app: &mut App,
        conn: ConnId,
        result: WorkResult,
        _: UnixSeconds,
    ) -> Result<Next<Stage>, WrongResult> {
        let (page, login_holds) = result.page()?;
        if let Some(login) = self.login.filter(|_| !login_holds) {
            app.presence.log_out_as(conn, &login);
        }
        Ok(Next::Page(page))
    }
}

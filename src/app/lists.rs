//! Lists: which page a worker is to make, and for whom.

use super::App;
use super::access::Permission;
use super::stage::{Next, Stage};
use crate::ids::{ConnId, DiskId, VmId};
use crate::model::{CommandName, Cursor, Failure, List, Listing, Membership, Principal};
use crate::work::pages::PageRequest;
use crate::work::{Asker, Read, Work};

impl App {
    /// Begins the next page of an answer.
    pub fn page(&mut self, conn: ConnId, of: Listing, cursor: Cursor) -> Next {
        match of {
            Listing::List(list) => self.list(conn, list, Some(cursor)),
            Listing::Points(filter) => self.get(conn, filter, Some(cursor)),
        }
    }

    /// Begins the page of `list` at `cursor`, the first if there is none. Whoever asked may have lost the
    /// right to since the page before.
    pub(super) fn list(&mut self, conn: ConnId, list: List, cursor: Option<Cursor>) -> Next {
        let Some(asker) = self.asker(conn, list.command()) else {
            return Next::failed(Failure::AuthenticationRequired);
        };
        match self.page_request(list, cursor) {
            Some(page) => {
                let stage = Stage::List { command: list.command(), login: asker.login().cloned() };
                Next::Work { work: Work::Read(Read::ListPage { asker, page }), stage }
            }
            None => Next::failed(Failure::Internal),
        }
    }

    /// Whose right to be shown what `command` shows has to hold; `None`: it is gone.
    pub(super) fn asker(&self, conn: ConnId, command: CommandName) -> Option<Asker> {
        let principal = self.presence.principal(conn);
        match (self.permission(conn, command, &principal), principal) {
            (Permission::Allowed, Principal::Vm(login)) => Some(Asker::Anybody(Some(login))),
            (Permission::Allowed, _) => Some(Asker::Anybody(None)),
            (Permission::AllowedAsItself, Principal::Vm(login)) => Some(Asker::Vm(login)),
            _ => None,
        }
    }

    /// `None` where the cursor is one of another list.
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
            Some(Cursor::AfterMember(place)) => Some(place),
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

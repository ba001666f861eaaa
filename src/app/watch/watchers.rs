//! The clients that watch, and the order in which they get their changes.

use std::collections::{BTreeMap, VecDeque};

use super::ring::ChangeLog;
use crate::ids::ConnId;
use crate::model::{Caller, Change, Failure, Login, Principal, Revision, TokenHash, WatchFilter};

/// The clients.
#[derive(Default)]
pub(super) struct Watchers {
    by_conn: BTreeMap<ConnId, Watcher>,
    /// Those that may have something to get, the next one first; each once, and some that have ended.
    due: VecDeque<ConnId>,
    /// The number of the last change when all were due.
    due_at: u64,
}

/// Who watches.
#[derive(Clone, Debug)]
pub struct Watching {
    /// The identity of the request.
    pub principal: Principal,
    /// The login of the request.
    pub caller: Caller,
    /// The token of the request.
    pub token: Option<TokenHash>,
}

impl Watching {
    /// The VM that watches.
    pub fn login(&self) -> Option<&Login> {
        match &self.principal {
            Principal::Vm(login) => Some(login),
            _ => None,
        }
    }
}

/// A client.
pub(super) struct Watcher {
    pub(super) filter: WatchFilter,
    pub(super) client: Watching,
    /// The number of the last change that it has got, or does not want.
    position: u64,
    state: State,
    is_due: bool,
}

enum State {
    /// It gets a snapshot first.
    Snapshot,
    /// It gets changes.
    Active,
    /// Its watch ends with this error.
    Ending(Failure),
}

/// What a client gets next.
#[derive(PartialEq, Debug)]
pub enum Due<'a> {
    /// A change, and what it wants of it.
    Change(Revision, &'a Change, &'a WatchFilter),
    /// The error that ends its watch.
    End(Failure),
    /// There may be something, but enough was searched in this tick.
    Later,
}

impl Watchers {
    /// Adds a client that has all changes up to `position`; replaces and returns its watch before. `has_snapshot`: it
    /// gets a snapshot before it gets changes.
    pub(super) fn begin(
        &mut self,
        conn: ConnId,
        filter: WatchFilter,
        client: Watching,
        position: u64,
        has_snapshot: bool,
    ) -> Option<Watcher> {
        let state = if has_snapshot { State::Snapshot } else { State::Active };
        let watcher = Watcher { filter, client, position, state, is_due: false };
        let before = self.by_conn.insert(conn, watcher);
        self.touch(conn);
        before
    }

    /// Notes that a client has its snapshot.
    pub(super) fn activate(&mut self, conn: ConnId) {
        if let Some(watcher) = self.by_conn.get_mut(&conn)
            && matches!(watcher.state, State::Snapshot)
        {
            watcher.state = State::Active;
            self.touch(conn);
        }
    }

    /// Removes a client.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Watcher> {
        self.by_conn.remove(&conn)
    }

    /// Whether a client waits for its snapshot.
    pub(super) fn awaits_snapshot(&self, conn: ConnId) -> bool {
        self.by_conn.get(&conn).is_some_and(|watcher| matches!(watcher.state, State::Snapshot))
    }

    /// The client of a connection.
    pub(super) fn get(&self, conn: ConnId) -> Option<&Watcher> {
        self.by_conn.get(&conn)
    }

    /// Replaces the identity of a client.
    pub(super) fn set_principal(&mut self, conn: ConnId, principal: Principal) {
        if let Some(watcher) = self.by_conn.get_mut(&conn) {
            watcher.client.principal = principal;
        }
    }

    /// Ends the watch of a client with an error.
    pub(super) fn end(&mut self, conn: ConnId, failure: Failure) {
        if let Some(watcher) = self.by_conn.get_mut(&conn) {
            watcher.state = State::Ending(failure);
            self.touch(conn);
        }
    }

    /// Ends the watches of the clients for which `is_theirs` holds, since they may no longer watch.
    pub(super) fn end_of(&mut self, is_theirs: impl Fn(&Watching) -> bool) {
        let theirs = self.by_conn.iter().filter(|(_, watcher)| is_theirs(&watcher.client));
        for conn in theirs.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            self.end(conn, Failure::AuthenticationRequired);
        }
    }

    /// The number of clients.
    pub(super) fn count(&self) -> usize {
        self.by_conn.len()
    }

    /// Notes that a client may have something to get.
    pub(super) fn touch(&mut self, conn: ConnId) {
        if let Some(watcher) = self.by_conn.get_mut(&conn)
            && !std::mem::replace(&mut watcher.is_due, true)
        {
            self.due.push_back(conn);
        }
    }

    /// Notes that there are changes up to the number `last`.
    pub(super) fn note_changes(&mut self, last: u64) {
        if std::mem::replace(&mut self.due_at, last) == last {
            return;
        }
        for (conn, watcher) in &mut self.by_conn {
            if !std::mem::replace(&mut watcher.is_due, true) {
                self.due.push_back(*conn);
            }
        }
    }

    /// The number of the last change of which [`Watchers::note_changes`] knows.
    pub(super) fn noted(&self) -> u64 {
        self.due_at
    }

    /// Whether [`Watchers::next_due`] has a client.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes the client whose turn it is.
    pub(super) fn next_due(&mut self) -> Option<ConnId> {
        while let Some(conn) = self.due.pop_front() {
            if let Some(watcher) = self.by_conn.get_mut(&conn) {
                watcher.is_due = false;
                return Some(conn);
            }
        }
        None
    }

    /// What a client gets next from `log`, whose epoch is `epoch`; it counts as got. `None`: nothing for now. `searches_left`:
    /// how many changes and points may still be compared with what clients want in this tick.
    pub(super) fn take<'a>(
        &'a mut self,
        conn: ConnId,
        log: &'a ChangeLog,
        epoch: u64,
        searches_left: &mut usize,
    ) -> Option<Due<'a>> {
        let watcher = self.by_conn.get_mut(&conn)?;
        match &watcher.state {
            State::Snapshot => return None,
            State::Ending(failure) => return Some(Due::End(failure.clone())),
            State::Active => {}
        }
        while watcher.position != log.last() {
            let Some(change) = log.following(watcher.position) else {
                return Some(Due::End(Failure::TooFarBehind));
            };
            if *searches_left == 0 {
                return Some(Due::Later);
            }
            *searches_left = searches_left.saturating_sub(1 + change.points.len());
            watcher.position += 1;
            if watcher.filter.wants(change) {
                let revision = Revision { epoch, number: watcher.position };
                return Some(Due::Change(revision, change, &watcher.filter));
            }
        }
        None
    }

    /// Whether a client has all changes up to the number `last`.
    pub(super) fn has_all(&self, conn: ConnId, last: u64) -> bool {
        self.by_conn.get(&conn).is_none_or(|watcher| watcher.position == last)
    }
}

#[cfg(test)]
#[path = "watchers_tests.rs"]
mod tests;

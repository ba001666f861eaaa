//! The connections and their logins. Owned by the reactor's thread.
//!
//! A login over HTTP applies to one request, and is part of that request's [`Caller`].
//!
//! An entry has the same index as its connection in the reactor's table. Lists follow this order, so that a reused
//! index does not appear twice.

use std::hash::{BuildHasher, RandomState};

use super::access::Rights;
use super::last_seen::LastSeen;
use super::listener_policy::ListenerPolicies;
pub use super::listener_policy::ListenerPolicy;
use super::login_history::LoginHistory;
use super::membership::VmMembership;
pub use super::presence_changes::PresenceChange;
use super::presence_changes::{LoginEnd, PresenceChanges};
use super::token;
use super::vm_sessions::VmSessions;
use crate::clock::{Instant, UnixSeconds};
use crate::ids::{ConnId, VmId};
use crate::limits;
use crate::model::{
    AnonymousAccess, Caller, Cursor, List, Login, OfflineReason, Peer, Principal, Secret, SeenVm, TokenHash,
    Vm, VmName, VmPresence,
};
use crate::work::pages::PeerIndex;

/// All open connections.
#[derive(Default)]
pub struct Presence {
    entries: Vec<Option<Entry>>,
    policies: ListenerPolicies,
    authenticated_count: usize,
    membership: VmMembership,
    sessions: VmSessions,
    /// The connections whose logins another client has ended in this step.
    ended: Vec<(ConnId, SessionEnd)>,
    last_seen: LastSeen,
    /// `None` unless clients watch.
    changes: Option<Box<PresenceChanges>>,
    /// The time of this tick, on both clocks.
    instant: Instant,
    now: UnixSeconds,
    /// The key by which tokens that come again are recognized.
    token_key: RandomState,
}

/// What becomes of a connection whose login another client ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionEnd {
    /// It is anonymous.
    Anonymous,
    /// It is closed.
    Closed,
}

struct Entry {
    generation: u32,
    peer: Peer,
    is_operator: bool,
    /// Its index in `policies`.
    policy: u16,
    /// The second, as far as 32 bits reach: until 2106.
    opened: u32,
    /// `None` until the first login: most connections never log in.
    history: Option<Box<LoginHistory>>,
}

impl Presence {
    /// Sets the time at which connections and logins begin and end.
    pub fn set_time(&mut self, instant: Instant, now: UnixSeconds) {
        (self.instant, self.now) = (instant, now);
    }

    /// The time of this tick, which only ever increases.
    pub fn instant(&self) -> Instant {
        self.instant
    }

    /// The time of this tick.
    pub fn now(&self) -> UnixSeconds {
        self.now
    }

    /// Makes room for `count` connections.
    pub fn reserve(&mut self, count: usize) {
        self.entries.reserve(count);
    }

    /// Adds a connection.
    pub fn open(&mut self, conn: ConnId, peer: Peer, policy: ListenerPolicy, own_uid: u32) {
        let index = conn.index as usize;
        self.entries.resize_with(self.entries.len().max(index + 1), || None);
        let uid = match peer {
            Peer::Unix { uid } => uid,
            Peer::Tcp(..) => None,
        };
        let is_operator = policy.has_operators && uid.is_some_and(|uid| uid == 0 || uid == own_uid);
        let (generation, policy) = (conn.generation, self.policies.index_of(policy));
        let opened = self.now.0.clamp(0, u32::MAX.into()) as u32;
        self.entries[index] = Some(Entry { generation, peer, is_operator, policy, opened, history: None });
    }

    /// Removes a connection, which has ended for this reason.
    pub fn close(&mut self, conn: ConnId, reason: OfflineReason) {
        self.end_login(conn, LoginEnd::For(reason));
        self.settle_login(conn, reason);
        if self.entry(conn).is_some() {
            self.entries[conn.index as usize] = None;
        }
    }

    /// Replaces the policy of a connection's listener.
    pub fn set_policy(&mut self, conn: ConnId, policy: ListenerPolicy) {
        let policy = self.policies.index_of(policy);
        if let Some(entry) = self.entry_mut(conn) {
            entry.policy = policy;
        }
    }

    /// Logs the connection in as `login`; `token` proves the same login again.
    pub fn log_in(&mut self, conn: ConnId, login: Login, token: Option<TokenHash>) {
        let now = self.now;
        let watched =
            self.changes.as_ref().map(|_| (login.name.clone(), self.sessions.oldest(login.id).is_some()));
        let Some(entry) = self.entry_mut(conn) else { return };
        let vm = login.id;
        let history = entry.history.get_or_insert_default();
        let before = history.login.replace(login).map(|before| (before, history.since));
        (history.since, history.seen) = (now, now);
        token.into_iter().for_each(|token| history.remember(token));
        self.membership.log_in(vm);
        match before {
            Some((before, since)) => self.end_session(before, since, conn, LoginEnd::ByLogin),
            None => self.authenticated_count += 1,
        }
        self.sessions.begin(vm, now, conn);
        self.note_seen(conn, vm);
        if let Some((name, was_online)) = watched {
            self.note_online(conn, vm, name, was_online);
        }
    }

    /// Makes the connection anonymous.
    pub fn log_out(&mut self, conn: ConnId) {
        self.end_login(conn, LoginEnd::For(OfflineReason::Logout));
    }

    /// Makes the connection anonymous, since a login begins on it.
    pub fn begin_login(&mut self, conn: ConnId) {
        self.end_login(conn, LoginEnd::ByLogin);
    }

    /// Notes that a login of the connection may have ended without success: the VM that was logged in before is offline
    /// for this reason.
    pub fn settle_login(&mut self, conn: ConnId, reason: OfflineReason) {
        let Some(changes) = &mut self.changes else { return };
        while let Some((vm, name)) = changes.take_suspended(conn) {
            if self.sessions.oldest(vm).is_none() {
                let presence = VmPresence { last_seen: Some(self.now), ..VmPresence::default() };
                changes.ended(conn, vm, name, presence, LoginEnd::For(reason));
            }
        }
    }

    fn end_login(&mut self, conn: ConnId, end: LoginEnd) {
        let Some(history) = self.entry_mut(conn).and_then(|entry| entry.history.as_mut()) else { return };
        let since = history.since;
        if let Some(login) = history.login.take() {
            self.authenticated_count -= 1;
            self.end_session(login, since, conn, end);
        }
    }

    fn end_session(&mut self, login: Login, since: UnixSeconds, conn: ConnId, end: LoginEnd) {
        let vm = login.id;
        self.membership.log_out(vm);
        self.sessions.end(vm, since, conn);
        if self.sessions.oldest(vm).is_none() {
            self.last_seen.note_end(vm, self.now, self.instant);
            if let Some(changes) = &mut self.changes {
                let presence = VmPresence { last_seen: Some(self.now), ..VmPresence::default() };
                changes.ended(conn, vm, login.name, presence, end);
            }
        }
    }

    /// Notes a login for the clients that watch.
    fn note_online(&mut self, conn: ConnId, vm: VmId, name: VmName, was_online: bool) {
        let mut presence = self.of_vm(vm, None);
        presence.last_seen = presence.last_seen.max(Some(self.now));
        let Some(changes) = &mut self.changes else { return };
        let was_online = changes.resumes(vm) || was_online;
        self.settle_login(conn, OfflineReason::TakenOver);
        let change = PresenceChange { vm, name, presence, offline: None, was_online };
        if let Some(changes) = &mut self.changes {
            changes.changes.push(change);
        }
    }

    /// Begins or ends to record the changes for clients that watch.
    pub fn record_changes(&mut self, is_recorded: bool) {
        match is_recorded {
            true => drop(self.changes.get_or_insert_default()),
            false => self.changes = None,
        }
    }

    /// Takes the changes since the last call.
    pub fn take_changes(&mut self) -> Vec<PresenceChange> {
        self.changes.as_mut().map(|changes| std::mem::take(&mut changes.changes)).unwrap_or_default()
    }

    /// Whether [`Presence::take_changes`] has any.
    pub fn has_changes(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| !changes.changes.is_empty())
    }

    /// Notes a request of the connection that runs as `vm`.
    pub fn note_request(&mut self, conn: ConnId, vm: VmId) {
        let now = self.now;
        let history = self.entry_mut(conn).and_then(|entry| entry.history.as_mut());
        if let Some(history) =
            history.filter(|history| history.login.as_ref().is_some_and(|login| login.id == vm))
        {
            // Most requests of a connection follow another in the same second.
            if std::mem::replace(&mut history.seen, now) == now {
                return;
            }
        }
        self.note_seen(conn, vm);
    }

    /// Notes a `ping` of the connection.
    pub fn note_ping(&mut self, conn: ConnId) {
        if let Some(vm) = self.login(conn).map(|login| login.id) {
            self.note_request(conn, vm);
        }
    }

    fn note_seen(&mut self, conn: ConnId, vm: VmId) {
        let address = self.peer(conn).and_then(Peer::ip);
        let seen = SeenVm { vm, at: self.now, address };
        self.last_seen.note(seen, self.instant + limits::SEEN_INTERVAL);
    }

    /// When VMs were last seen.
    pub fn last_seen_mut(&mut self) -> &mut LastSeen {
        &mut self.last_seen
    }

    /// When VMs were last seen.
    pub fn last_seen(&self) -> &LastSeen {
        &self.last_seen
    }

    /// Makes all connections of `vm` anonymous, and returns how many: the caller has changed the VM. Notes each for
    /// [`Presence::take_ended`].
    pub fn end_sessions(&mut self, vm: VmId, end: SessionEnd) -> usize {
        let ended: Vec<ConnId> = self.sessions.of(vm).collect();
        ended.iter().for_each(|conn| self.log_out(*conn));
        let count = ended.len();
        self.ended.extend(ended.into_iter().map(|conn| (conn, end)));
        count
    }

    /// Takes the connections whose logins another client has ended.
    pub fn take_ended(&mut self) -> Vec<(ConnId, SessionEnd)> {
        std::mem::take(&mut self.ended)
    }

    /// Makes the connection anonymous if its login is still `login`, which is no longer valid.
    pub fn log_out_as(&mut self, conn: ConnId, login: &Login) {
        if let Some(current) = self.login(conn)
            && (current.id, current.epoch) == (login.id, login.epoch)
        {
            self.log_out(conn);
        }
    }

    /// Forgets the connection's tokens after they were revoked.
    pub fn forget_tokens(&mut self, conn: ConnId) {
        if let Some(entry) = self.entry_mut(conn) {
            entry.history.take_if(|history| history.login.is_none());
            entry.history.iter_mut().for_each(|history| history.tokens = Vec::new());
        }
    }

    /// The connections of a VM, as an operator sees them. `stored`: what the store knows of it.
    pub fn of_vm(&self, vm: VmId, stored: Option<&Vm>) -> VmPresence {
        let sessions = self.sessions.of(vm).take(limits::OBSERVED_ADDRESSES_MAX);
        let peers = sessions.filter_map(|conn| self.peer(conn)).collect();
        let seen = self.last_seen.of(vm);
        VmPresence {
            connected_since: self.sessions.oldest(vm),
            last_seen: stored.and_then(|vm| vm.last_seen).max(seen.map(|seen| seen.at)),
            last_address: seen.and_then(|seen| seen.address).or(stored.and_then(|vm| vm.last_address)),
            peers,
        }
    }

    /// The authorized and connected VMs.
    pub fn membership(&self) -> &VmMembership {
        &self.membership
    }

    /// The authorized and connected VMs, to add and remove VMs without a password. Logins add and remove the others.
    pub fn membership_mut(&mut self) -> &mut VmMembership {
        &mut self.membership
    }

    /// The rights of a request: those of its connection, unless it has a login of its own or comes from another host.
    pub fn rights(&self, conn: ConnId, caller: &Caller) -> Rights {
        let entry = self.entry(conn);
        let local = entry
            .map(|entry| self.policies.get(entry.policy))
            .filter(|policy| !(caller.is_forwarded && policy.is_local));
        let login = caller.login.as_ref().or(entry.and_then(Entry::login));
        Rights {
            principal: match (&caller.reader, login) {
                (Some(reader), _) => Principal::Reader(reader.clone()),
                (None, Some(login)) => Principal::Vm(login.clone()),
                (None, None) if local.is_some() && entry.is_some_and(|entry| entry.is_operator) => {
                    Principal::Operator
                }
                (None, None) => Principal::Anonymous,
            },
            open_registration: local.is_some_and(|policy| policy.open_registration),
            anonymous_access: local.map_or(AnonymousAccess::NONE, |policy| policy.anonymous_access),
        }
    }

    /// The number of VMs with an authenticated connection.
    pub fn online_count(&self) -> usize {
        self.sessions.vm_count()
    }

    /// The address of the connection's client, and the identity of its requests that have no login of their own.
    pub fn client(&self, conn: ConnId) -> Option<(Peer, Principal)> {
        let entry = self.entry(conn)?;
        let principal = match entry.login() {
            Some(login) => Principal::Vm(login.clone()),
            None if entry.is_operator => Principal::Operator,
            None => Principal::Anonymous,
        };
        Some((entry.peer, principal))
    }

    /// The VM that authenticated on the connection.
    pub fn login(&self, conn: ConnId) -> Option<&Login> {
        self.entry(conn)?.login()
    }

    /// Whether the client is identified: a VM authenticated on the connection, or the client is an operator.
    pub fn is_trusted(&self, conn: ConnId) -> bool {
        self.entry(conn).is_some_and(|entry| entry.is_operator || entry.login().is_some())
    }

    /// Whether a VM authenticated on the connection.
    pub fn is_authenticated(&self, conn: ConnId) -> bool {
        self.login(conn).is_some()
    }

    /// Whether every verb of the connection needs an access token.
    pub fn demands_access_token(&self, conn: ConnId) -> bool {
        self.entry(conn).is_none_or(|entry| self.policies.get(entry.policy).demands_access_token)
    }

    /// The address of the connection's client.
    pub fn peer(&self, conn: ConnId) -> Option<Peer> {
        self.entry(conn).map(|entry| entry.peer)
    }

    /// The hash of `token`, which comes with a request of the connection.
    pub fn hash_of(&mut self, conn: ConnId, token: &Secret) -> TokenHash {
        let key = self.token_key.clone();
        match self.entry_mut(conn).and_then(|entry| entry.history.as_mut()) {
            Some(history) => history.hash_of(token, key.hash_one(token.expose())),
            None => token::hash(token),
        }
    }

    /// The tokens to revoke when the login ends, oldest first.
    pub fn tokens(&self, conn: ConnId) -> &[TokenHash] {
        let history = self.entry(conn).and_then(|entry| entry.history.as_ref());
        history.map_or(&[], |history| &history.tokens)
    }

    /// The token that issuing one more would revoke.
    pub fn token_to_replace(&self, conn: ConnId) -> Option<TokenHash> {
        let tokens = self.tokens(conn);
        tokens.first().filter(|_| tokens.len() >= limits::TOKENS_PER_CONNECTION_MAX).copied()
    }

    /// The number of connections on which a VM authenticated.
    pub fn authenticated_count(&self) -> usize {
        self.authenticated_count
    }

    /// One page of the connections on `list` from index `from`, and the cursor of the next page.
    pub fn page(&self, list: List, from: u32) -> (Vec<PeerIndex>, Option<Cursor>) {
        let mut peers = Vec::new();
        let from = from as usize;
        for (scanned, entry) in self.entries.iter().skip(from).enumerate() {
            let index = (from + scanned) as u32;
            if peers.len() >= limits::PAGE_ROWS_MAX || scanned >= limits::PAGE_PEERS_SCANNED_MAX {
                return (peers, Some(Cursor::FromPeer(index)));
            }
            let Some(entry) = entry else { continue };
            let vm = entry.login().map(|login| login.id);
            if vm.is_some() || list == List::ActiveVms {
                let connected_since = UnixSeconds(entry.opened.into());
                peers.push(PeerIndex { index, peer: entry.peer, connected_since, vm });
            }
        }
        (peers, None)
    }

    fn entry(&self, conn: ConnId) -> Option<&Entry> {
        let entry = self.entries.get(conn.index as usize)?.as_ref()?;
        (entry.generation == conn.generation).then_some(entry)
    }

    fn entry_mut(&mut self, conn: ConnId) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(conn.index as usize)?.as_mut()?;
        (entry.generation == conn.generation).then_some(entry)
    }
}

const _: () = assert!(size_of::<Option<Entry>>() <= 40, "every connection has one, most are idle");

impl Entry {
    fn login(&self) -> Option<&Login> {
        self.history.as_ref()?.login.as_ref()
    }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;

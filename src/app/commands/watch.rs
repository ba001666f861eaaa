//! Live changes: `watch` and `unwatch`; and which changes the writes of all commands make.

use std::collections::BTreeSet;

use super::{App, Context, Next, Stage, StageInfo, Subject};
use crate::app::access::Permission;
use crate::app::container_entry::name_of;
use crate::app::containers::Step;
use crate::app::presence::SessionEnd;
use crate::app::watch::{Noted, Watching};
use crate::clock::Instant;
use crate::ids::{ConnId, ContainerId, VmId};
use crate::model::{
    Answer, CommandName, Cursor, Failure, Items, Listing, Login, Page, Principal, Query, TokenHash,
    VmChangeKind, VmName, Watch,
};
use crate::store::{ChangeKind, ChangesPage, StoreError, StoredChange, Written};
use crate::work::pages::PageRequest;
use crate::work::{Read, Requester, Work, WorkError, WorkResult, WrongResult};

/// What a write has changed, and `None` for a change that may have happened.
type Outcome = Option<(Noted, Written)>;

/// A watch waits for the store.
#[derive(Debug)]
pub struct BeginStage {
    watch: Watch,
    client: Box<Watching>,
}

impl StageInfo for BeginStage {
    fn login(&self) -> Option<&Login> {
        self.client.login()
    }

    fn subject(&self) -> Subject {
        Subject::None
    }
}

impl App {
    pub(super) fn watch(&mut self, context: Context, watch: Watch) -> Next {
        let Context { conn, principal, caller, token, .. } = context;
        let client = Box::new(Watching { principal, caller, token });
        let begin = BeginStage { watch, client };
        match self.watches.is_live() || begin.watch.from.is_some() {
            true => self.check_login(conn, begin),
            false => {
                Next::Work { work: Work::Read(Read::Changes { after: None }), stage: Stage::Watch(begin) }
            }
        }
    }

    /// Continues the beginning of a watch: for the first client, the store has said where the changes by other processes
    /// begin that it is told; then the login holds.
    pub(super) fn continue_watch(
        &mut self,
        conn: ConnId,
        begin: BeginStage,
        result: WorkResult,
    ) -> Result<Next, WrongResult> {
        if matches!(result, WorkResult::Changes(_)) {
            let now = result.changes()?;
            self.watches.go_live(now.position, self.presence.instant());
            self.presence.record_changes(true);
            return Ok(self.check_login(conn, begin));
        }
        result.page().map(|_| self.begin_watch(conn, begin))
    }

    /// Reads whether the login holds, unless the pages of a snapshot will.
    fn check_login(&mut self, conn: ConnId, begin: BeginStage) -> Next {
        let Watch { from, filter } = &begin.watch;
        match begin.client.login() {
            Some(login) if from.is_some() || !filter.wants_snapshot() => {
                let requester = Requester::Vm(login.clone());
                // A page without VMs.
                let page = PageRequest::Vms { after: VmId(i64::MAX), rows_max: 1 };
                Next::Work {
                    work: Work::Read(Read::ListPage { requester, page }),
                    stage: Stage::Watch(begin),
                }
            }
            _ => self.begin_watch(conn, begin),
        }
    }

    fn begin_watch(&mut self, conn: ConnId, begin: BeginStage) -> Next {
        let BeginStage { watch, client } = begin;
        let (resumes, wants_snapshot) = (watch.from.is_some(), watch.filter.wants_snapshot());
        let (caller, now) = (client.caller.clone(), self.presence.instant());
        let query = match self.watches.begin(conn, watch, *client, self.random.as_mut(), now) {
            Err(failure) => return Next::failed(failure),
            Ok(revision) if resumes => return Next::Answer(Answer::Resumed(revision)),
            Ok(revision) => Query::Snapshot(revision),
        };
        let listing = Listing { command: CommandName::Watch, query, caller };
        if wants_snapshot {
            return self.page(conn, listing, Cursor::AfterVm(VmId(0)));
        }
        self.watches.snapshot_sent(conn);
        Next::Page(Page { listing, items: Items::ObservedVms(Vec::new()), next: None })
    }

    pub(super) fn unwatch(&mut self, conn: ConnId) -> Next {
        self.watches.end(conn, self.presence.instant());
        Next::Answer(Answer::Unwatched)
    }

    /// The change that the work of `stage` makes, now that it has this result.
    pub(in crate::app) fn begin_note(
        &self,
        stage: &Stage,
        result: &Result<WorkResult, WorkError>,
    ) -> Option<Outcome> {
        let is_recorded = self.watches.is_live();
        let noted = if is_recorded { stage.info().noted()? } else { return None };
        match result {
            Ok(WorkResult::Written(written)) => Some(Some((noted, written.clone()))),
            // Points of which it is not known whether they are stored were not accepted.
            Err(error) if is_unknown(error) && !matches!(noted, Noted::Points(..)) => Some(None),
            _ => None,
        }
    }

    /// Records such a change, after those of its VM's connections.
    pub(in crate::app) fn end_note(&mut self, outcome: Option<Outcome>) {
        match outcome {
            Some(Some((noted, written))) => self.note(noted, &written),
            Some(None) => self.watches.note_unknown(),
            None => {}
        }
    }

    /// Records the change of a write with this result.
    pub fn note_result(&mut self, noted: Noted, result: &Result<WorkResult, WorkError>) {
        match result {
            Ok(WorkResult::Written(written)) => self.note(noted, written),
            Err(error) if is_unknown(error) && !matches!(noted, Noted::Points(..)) => {
                self.watches.note_unknown();
            }
            _ => {}
        }
    }

    fn note(&mut self, noted: Noted, written: &Written) {
        if !self.watches.is_live() {
            return;
        }
        self.watches.note_presence(self.presence.take_changes());
        match (noted, written) {
            (Noted::Registered, Written::Registered(vm)) => self.note_vm(VmChangeKind::Registered, *vm),
            (Noted::Updated(vm), _) => self.note_vm(VmChangeKind::Updated, vm),
            (Noted::Removed(names), _) => self.note_removed(&names),
            (Noted::Points(vm, points), Written::Put { refused }) => {
                self.watches.note_points(vm.as_ref(), &points, refused);
            }
            (Noted::Registered | Noted::Points(..), _) => {}
        }
    }

    fn note_vm(&mut self, kind: VmChangeKind, vm: VmId) {
        let presence = self.presence.of_vm(vm, None);
        self.watches.note_vm(kind, vm, presence);
    }

    /// Records the change of a step to the end of a container that belongs to no request.
    pub fn note_step(&mut self, id: ContainerId, step: Step, result: &Result<WorkResult, WorkError>) {
        if !self.watches.is_live() {
            return;
        }
        let noted = match step {
            Step::AddRow => Noted::Registered,
            Step::RemoveRow => Noted::Removed([name_of(id)].into()),
            Step::Create | Step::Destroy => return,
        };
        if let Ok(WorkResult::Written(written)) = result {
            self.note(noted, written);
        }
    }

    /// Records that VMs were removed from the registry, and ends the watches that they have begun.
    pub fn note_removed(&mut self, names: &[VmName]) {
        self.watches.note_presence(self.presence.take_changes());
        names.iter().for_each(|name| self.watches.note_removed(name, None));
        let is_theirs = |login: &Login| names.contains(&login.name);
        self.watches.end_of(|client| client.login().is_some_and(is_theirs));
    }

    /// Records changes that other processes have made in the store.
    pub fn note_others(&mut self, page: ChangesPage) {
        let ChangesPage { changes, ended_tokens, position, has_more, has_gap } = page;
        if has_gap {
            self.watches.note_unknown();
        }
        self.watches.note_presence(self.presence.take_changes());
        let mut ended = BTreeSet::new();
        for StoredChange { kind, vm, name } in changes {
            if matches!(kind, ChangeKind::Removed | ChangeKind::LoginsEnded) {
                ended.insert(vm);
                self.presence.end_sessions(vm, SessionEnd::Anonymous);
                self.watches.note_presence(self.presence.take_changes());
            }
            match kind {
                ChangeKind::Registered => self.note_vm(VmChangeKind::Registered, vm),
                ChangeKind::Updated => self.note_vm(VmChangeKind::Updated, vm),
                ChangeKind::Removed => self.watches.note_removed(&name, Some(vm)),
                ChangeKind::LoginsEnded => {}
            }
        }
        if !(ended.is_empty() && ended_tokens.is_empty()) {
            self.watches.end_of(|client| match &client.principal {
                Principal::Reader(reader) => ended_tokens.contains(&reader.token),
                Principal::Vm(login) => ended.contains(&login.id),
                Principal::Anonymous | Principal::Operator => false,
            });
        }
        self.watches.end_read_of_others(position, has_more, self.presence.instant());
    }

    /// Ends the watches that a VM has begun, whose logins have ended.
    pub(super) fn end_watches_of(&mut self, vm: VmId) {
        self.watches.end_of(|client| client.login().is_some_and(|login| login.id == vm));
    }

    /// Ends the watches that these tokens have begun, which are revoked.
    pub(super) fn end_watches_by(&mut self, tokens: &[TokenHash]) {
        self.watches.end_of(|client| client.token.is_some_and(|token| tokens.contains(&token)));
    }

    /// Records the changes of VMs' connections, and passes all changes to the clients that watch.
    pub fn publish_changes(&mut self, now: Instant) {
        self.watches.note_presence(self.presence.take_changes());
        self.watches.publish();
        self.watches.expire(now);
        self.presence.record_changes(self.watches.is_live());
    }

    /// Whether changes wait for [`App::publish_changes`].
    pub fn has_changes(&self) -> bool {
        self.presence.has_changes() || self.watches.has_unpublished()
    }

    /// Ends the watch of `conn` with an error if its client may no longer watch, or has another identity.
    pub fn check_watch(&mut self, conn: ConnId) {
        let Some(Watching { principal, caller, .. }) = self.watches.client(conn) else { return };
        let (permission, current) = self.permission(conn, CommandName::Watch, caller);
        let may_watch = matches!(permission, Permission::Allowed | Permission::AllowedAsItself);
        let is_same = match principal {
            // A login adds rights.
            Principal::Anonymous | Principal::Operator => true,
            other => *other == current,
        };
        if !(may_watch && is_same) {
            self.watches.end_with(conn, Failure::AuthenticationRequired);
        } else if permission == Permission::AllowedAsItself {
            // From now on it is this login that lets the client watch.
            self.watches.set_principal(conn, current);
        }
    }
}

/// Whether work that has failed with `error` may be done nonetheless.
fn is_unknown(error: &WorkError) -> bool {
    matches!(error, WorkError::Store(StoreError::OutcomeUnknown(_)) | WorkError::Internal)
}

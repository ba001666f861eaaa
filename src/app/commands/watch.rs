//! Live changes: `watch` and `unwatch`; and which changes the writes of all commands make.

use super::{App, Context, Next, Stage, StageInfo, Subject};
use crate::app::access::Permission;
use crate::app::container_entry::name_of;
use crate::app::containers::Step;
use crate::app::watch::Noted;
use crate::clock::Instant;
use crate::ids::{ConnId, ContainerId, VmId};
use crate::model::{
    Answer, Caller, CommandName, Cursor, Failure, Items, Listing, Page, Principal, Query, VmChangeKind,
    VmName, Watch,
};
use crate::store::{ChangeKind, ChangesPage, StoreError, StoredChange, Written};
use crate::work::{Read, Work, WorkError, WorkResult};

/// What a write has changed, and `None` for a change that may have happened.
type Outcome = Option<(Noted, Written)>;

/// The first client watches: the store says where the changes by other processes begin that it is told.
#[derive(Debug)]
pub struct BeginStage {
    watch: Watch,
    principal: Principal,
    caller: Caller,
}

impl StageInfo for BeginStage {
    fn subject(&self) -> Subject {
        Subject::None
    }
}

impl App {
    pub(super) fn watch(&mut self, context: Context, watch: Watch) -> Next {
        let Context { conn, principal, caller, .. } = context;
        let begin = BeginStage { watch, principal, caller };
        match self.watches.is_live() || begin.watch.from.is_some() {
            true => self.begin_watch(conn, begin),
            false => {
                Next::Work { work: Work::Read(Read::Changes { after: None }), stage: Stage::Watch(begin) }
            }
        }
    }

    /// Begins to record changes, and the watch of the first client.
    pub(in crate::app) fn go_live(&mut self, conn: ConnId, begin: BeginStage, now: ChangesPage) -> Next {
        self.watches.go_live(now.position, self.presence.instant());
        self.presence.record_changes(true);
        self.begin_watch(conn, begin)
    }

    fn begin_watch(&mut self, conn: ConnId, begin: BeginStage) -> Next {
        let BeginStage { watch, principal, caller } = begin;
        let (resumes, wants_snapshot) = (watch.from.is_some(), watch.filter.wants_snapshot());
        let (client, now) = ((principal, caller.clone()), self.presence.instant());
        let query = match self.watches.begin(conn, watch, client, self.random.as_mut(), now) {
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
            (Noted::Removed(names), _) => self.watches.note_removed(&names),
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

    /// Records that containers of this server were removed from the registry.
    pub fn note_removed(&mut self, names: &[VmName]) {
        self.watches.note_presence(self.presence.take_changes());
        self.watches.note_removed(names);
    }

    /// Records changes that other processes have made in the store.
    pub fn note_others(&mut self, page: ChangesPage) {
        let ChangesPage { changes, ended_tokens, position, has_more, has_gap } = page;
        if has_gap {
            self.watches.note_unknown();
        }
        self.watches.note_presence(self.presence.take_changes());
        for StoredChange { kind, vm, name } in changes {
            match kind {
                ChangeKind::Registered => self.note_vm(VmChangeKind::Registered, vm),
                ChangeKind::Updated => self.note_vm(VmChangeKind::Updated, vm),
                ChangeKind::Removed => {
                    self.watches.note_removed(&[name]);
                    self.end_watches_of(vm);
                }
                ChangeKind::LoginsEnded => self.end_watches_of(vm),
            }
        }
        if !ended_tokens.is_empty() {
            let is_ended = |principal: &Principal| matches!(principal, Principal::Reader(reader) if ended_tokens.contains(&reader.token));
            self.watches.end_of(is_ended);
        }
        self.watches.end_read_of_others(position, has_more, self.presence.instant());
    }

    /// Ends the watches that a VM has begun, whose logins have ended.
    pub(super) fn end_watches_of(&mut self, vm: VmId) {
        self.watches.end_of(|principal| matches!(principal, Principal::Vm(login) if login.id == vm));
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
        let Some((principal, caller)) = self.watches.client(conn) else { return };
        let (permission, current) = self.permission(conn, CommandName::Watch, caller);
        let may_watch = matches!(permission, Permission::Allowed | Permission::AllowedAsItself);
        let is_same = match principal {
            // A login adds rights.
            Principal::Anonymous | Principal::Operator => true,
            other => *other == current,
        };
        if !(may_watch && is_same) {
            self.watches.end_with(conn, Failure::AuthenticationRequired);
        }
    }
}

/// Whether work that has failed with `error` may be done nonetheless.
fn is_unknown(error: &WorkError) -> bool {
    matches!(error, WorkError::Store(StoreError::OutcomeUnknown(_)) | WorkError::Internal)
}

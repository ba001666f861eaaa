//! Live changes: `watch` and `unwatch`; and which changes the writes of all commands make.

use super::{App, Context, Next, Stage};
use crate::app::access::Permission;
use crate::app::container_entry::name_of;
use crate::app::containers::Step;
use crate::app::watch::Noted;
use crate::clock::Instant;
use crate::ids::{ConnId, ContainerId, VmId};
use crate::model::{
    Answer, CommandName, Failure, Items, Listing, Page, Principal, Query, VmChangeKind, VmName, Watch,
};
use crate::store::{StoreError, Written};
use crate::work::{WorkError, WorkResult};

/// What a write has changed, and `None` for a change that may have happened.
type Outcome = Option<(Noted, Written)>;

impl App {
    pub(super) fn watch(&mut self, context: Context, watch: Watch) -> Next {
        let (conn, resumes, wants_snapshot) =
            (context.conn, watch.from.is_some(), watch.filter.wants_snapshot());
        let client = (context.principal.clone(), context.caller.clone());
        let begun = self.watches.begin(conn, watch, client, self.random.as_mut(), self.presence.instant());
        self.presence.record_changes(self.watches.is_live());
        let query = match begun {
            Err(failure) => return Next::failed(failure),
            Ok(revision) if resumes => return Next::Answer(Answer::Resumed(revision)),
            Ok(revision) => Query::Snapshot(revision),
        };
        if wants_snapshot {
            return self.list(context, CommandName::Watch, query).map(Stage::Lists);
        }
        self.watches.snapshot_sent(conn);
        let listing = Listing { command: CommandName::Watch, query, caller: context.caller };
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

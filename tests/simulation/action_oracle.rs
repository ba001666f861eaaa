//! Checks the replies to requests of the dialect `action`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::action_requests::ActionRequest;
use super::managed_vms::{ActionList, ManagedVm};
use super::network::CLOSED_LISTENER;
use super::reply_context::ReplyContext;
use super::response::{Outcome, Response};
use super::verification::{Verification, ensure};

impl ReplyContext<'_> {
    /// Whether `response` is a possible reply to `action`, faults aside.
    pub(super) fn check_action(&self, action: ActionRequest, response: &Response) -> Verification {
        if action == ActionRequest::Unknown {
            return ensure(response.message() == "invalid action", "an unknown action has another reply");
        }
        if let (ActionRequest::Add { .. }, CLOSED_LISTENER) = (action, self.listener) {
            return ensure(response.outcome == Outcome::RegistrationClosed, "registration is open");
        }
        if self.listener == CLOSED_LISTENER {
            if let Some(verification) = self.check_login(self.auth, &response.outcome) {
                return verification;
            }
            // A VM may manage itself only, and these are others.
            return match action {
                ActionRequest::List(list) => self.check_action_list(list, response),
                ActionRequest::Authorize { .. }
                | ActionRequest::Connect { .. }
                | ActionRequest::ConnectUnknown => {
                    ensure(response.outcome == Outcome::UnknownVm, "a VM manages another")
                }
                _ => ensure(response.outcome == Outcome::NotAuthorized, "a VM manages another"),
            };
        }
        match action {
            ActionRequest::Add { .. } => {
                ensure(response.outcome == Outcome::Success, "not added")?;
                let id = response.data["vm_id"].as_i64().ok_or("a VM without a number")?;
                ensure(self.model.managed_vms.iter().all(|vm| vm.id != id), "a number is assigned twice")
            }
            ActionRequest::List(list) => self.check_action_list(list, response),
            ActionRequest::Authorize { .. } => ensure(response.status() == "authenticated", "not authorized"),
            ActionRequest::Connect { .. } => {
                ensure(response.status() == "connected and authenticated", "not connected")
            }
            ActionRequest::Logout { vm } => {
                let vm = self.managed_vm(vm)?;
                let was_there = response.outcome == Outcome::Success;
                ensure(!was_there || vm.may_be_authorized, "a VM is logged out that was never authorized")?;
                ensure(
                    was_there || response.outcome == Outcome::NotAuthorized,
                    "another reply than to a logout",
                )
            }
            ActionRequest::Update { vm, .. } => {
                match self.managed_vm(vm)?.must_be_on(ActionList::Authorized, self.by, self.sent) {
                    Some(true) => {
                        ensure(response.status() == "vm updated", "an authorized VM is not changed")
                    }
                    // It may be authorized before this request runs.
                    _ if response.outcome == Outcome::Success => ensure(
                        self.managed_vm(vm)?.may_be_authorized,
                        "a VM is changed that no client has authorized",
                    ),
                    _ => {
                        ensure(response.outcome == Outcome::NotAuthorized, "another reply than to an update")
                    }
                }
            }
            ActionRequest::ConnectUnknown => {
                ensure(response.outcome == Outcome::UnknownVm, "an unknown VM is connected")
            }
            ActionRequest::Unknown => Ok(()),
        }
    }

    fn managed_vm(&self, id: i64) -> Result<&ManagedVm, String> {
        self.model.managed_vms.iter().find(|vm| vm.id == id).ok_or_else(|| "an unknown number".to_owned())
    }

    fn check_action_list(&self, list: ActionList, response: &Response) -> Verification {
        ensure(response.outcome == Outcome::Success, "no list")?;
        let entries = response.data[list.names().1].as_array().ok_or("another list")?;
        let ids: Option<Vec<i64>> = entries.iter().map(|entry| entry["id"].as_i64()).collect();
        let ids = ids.ok_or("an entry without a number")?;
        let is_ascending = ids.is_sorted_by(|one, next| one < next);
        let has_own_order = matches!(list, ActionList::Authorized | ActionList::Connected);
        ensure(is_ascending || has_own_order, "a list out of order")?;
        let there: BTreeSet<i64> = ids.iter().copied().collect();
        ensure(there.len() == ids.len(), "an entry is twice on a list")?;
        for vm in &self.model.managed_vms {
            if let Some(must) = vm.must_be_on(list, self.by, self.sent) {
                ensure(there.contains(&vm.id) == must, "a list lacks a VM, or has one too many")?;
            }
        }
        if list == ActionList::AllDisks {
            return Ok(());
        }
        entries.iter().try_for_each(|entry| self.check_managed_vms(entry))
    }

    fn check_managed_vms(&self, entry: &Value) -> Verification {
        let Ok(vm) = self.managed_vm(entry["id"].as_i64().unwrap_or_default()) else { return Ok(()) };
        let ram = entry["ram"].as_u64().and_then(|ram| u32::try_from(ram).ok());
        ensure(
            ram.is_some_and(|ram| vm.rams.may_be(ram, self.by)),
            "a VM with memory that no client has set, or not last",
        )?;
        let sizes = entry["disks"].as_array().ok_or("a VM without disks")?;
        let sizes: Vec<Option<u64>> = sizes.iter().map(|disk| disk["size"].as_u64()).collect();
        ensure(sizes == [Some(3), Some(4)], "a VM with other disks")
    }
}

//! Requests of the dialect `action`: a fake client manages VMs that are known by their numbers.

use super::managed_vms::{ActionList, ManagedVm};
use super::ram_history::SentBy;
use super::random::Random;
use super::reference_model::ReferenceModel;
use super::response::{Outcome, Response};
use vmherd::internals::clock::Instant;

/// A request of the dialect `action`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ActionRequest {
    Add {
        ram: u32,
    },
    List(ActionList),
    Authorize {
        vm: i64,
    },
    Connect {
        vm: i64,
    },
    Logout {
        vm: i64,
    },
    Update {
        vm: i64,
        ram: u32,
    },
    /// Connects an id that no VM has.
    ConnectUnknown,
    Unknown,
}

impl ActionRequest {
    /// A request that makes sense now.
    pub(super) fn choose(random: &mut Random, model: &mut ReferenceModel) -> ActionRequest {
        let known: Vec<i64> = model.managed_vms.iter().map(|vm| vm.id).collect();
        let list = ActionRequest::List(random.pick(&ActionList::ALL));
        if known.is_empty() || random.chance(15) {
            let add = ActionRequest::Add { ram: model.new_ram() };
            return random.pick(&[add, add, list, ActionRequest::ConnectUnknown, ActionRequest::Unknown]);
        }
        let vm = random.pick(&known);
        // Some are never logged out, so that the lists are certain of them.
        let logout = if vm % 2 == 0 { list } else { ActionRequest::Logout { vm } };
        let update = ActionRequest::Update { vm, ram: model.new_ram() };
        random.pick(&[
            list,
            list,
            update,
            update,
            logout,
            ActionRequest::Authorize { vm },
            ActionRequest::Connect { vm },
        ])
    }

    pub(super) fn is_barrier(self) -> bool {
        matches!(
            self,
            ActionRequest::Authorize { .. }
                | ActionRequest::Connect { .. }
                | ActionRequest::Logout { .. }
                | ActionRequest::ConnectUnknown
        )
    }

    /// Whether it changes the store.
    pub(super) fn writes(self) -> bool {
        matches!(
            self,
            ActionRequest::Add { .. } | ActionRequest::Connect { .. } | ActionRequest::Update { .. }
        )
    }

    /// The request's fields.
    pub(super) fn text(self) -> String {
        let of = |action: &str, vm: i64| format!("\"action\": \"{action}\", \"vm_id\": {vm}");
        match self {
            ActionRequest::Add { ram } => {
                format!("\"action\": \"add_vm\", \"ram\": {ram}, \"disks\": [3, 4]")
            }
            ActionRequest::List(list) => format!("\"action\": \"{}\"", list.names().0),
            ActionRequest::Authorize { vm } => of("authenticate", vm),
            ActionRequest::Connect { vm } => of("connect", vm),
            ActionRequest::Logout { vm } => of("logout_vm", vm),
            ActionRequest::Update { vm, ram } => format!("{}, \"ram\": {ram}", of("update_vm", vm)),
            ActionRequest::ConnectUnknown => of("connect", 999_999_999),
            ActionRequest::Unknown => "\"action\": \"fly\"".to_owned(),
        }
    }

    /// Records that it was sent: what it may do from now on.
    pub(super) fn on_sent(self, by: SentBy, model: &mut ReferenceModel) {
        match self {
            ActionRequest::Authorize { vm } => model.managed_vm(vm).may_be_authorized = true,
            ActionRequest::Connect { vm } => {
                let vm = model.managed_vm(vm);
                (vm.may_be_authorized, vm.may_be_connected) = (true, true);
            }
            ActionRequest::Logout { vm } => model.managed_vm(vm).note_logout(),
            ActionRequest::Update { vm, ram } => model.managed_vm(vm).rams.begin(by, ram),
            ActionRequest::Add { .. }
            | ActionRequest::List(_)
            | ActionRequest::ConnectUnknown
            | ActionRequest::Unknown => {}
        }
    }

    /// Records its outcome.
    pub(super) fn on_response(
        self,
        by: SentBy,
        response: &Response,
        model: &mut ReferenceModel,
        now: Instant,
    ) {
        if let ActionRequest::Update { vm, .. } = self {
            model.managed_vm(vm).rams.end(by, &response.outcome);
        }
        if response.outcome != Outcome::Success {
            return;
        }
        match self {
            ActionRequest::Add { ram } => {
                let id = response.data["vm_id"].as_i64().unwrap_or_default();
                model.managed_vms.push(ManagedVm::new(id, ram, by, now));
            }
            ActionRequest::Authorize { vm } => model.managed_vm(vm).note_authorized(now),
            ActionRequest::Connect { vm } => {
                let vm = model.managed_vm(vm);
                vm.note_authorized(now);
                vm.connected_since.get_or_insert(now);
            }
            _ => {}
        }
    }
}

//! What fake clients do about VMs other than themselves, and what must come of it.
//!
//! VMs that are added have numbers, which are known once somebody was told of them. What is about them is
//! the whole server's: so a client is sure only of what no other may have undone.

use std::collections::BTreeSet;

use serde_json::Value;

use super::oracle::{CLOSED_LISTENER, Oracle, Verification, ensure};
use super::random::Random;
use super::reference_model::ReferenceModel;
use super::response::{Outcome, Response};
use vmherd::internals::clock::Instant;

/// One request of the dialect `action`, about a VM that is known by its number.
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
    /// The id of no VM.
    ConnectUnknown,
    Unknown,
}

/// The lists of the dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ActionList {
    AllVms,
    AllDisks,
    Authorized,
    Connected,
    EverConnected,
}

/// A VM that was added.
pub(super) struct ManagedVm {
    pub(super) id: i64,
    /// When a client first learned of it.
    pub(super) since: Instant,
    /// What its memory may ever have been, in MiB.
    pub(super) rams_ever: BTreeSet<u32>,
    /// A client has asked for it to be authorized or connected.
    may_be_authorized: bool,
    may_be_connected: bool,
    /// A client has asked for the end of that.
    may_be_released: bool,
    /// Since when it is known to be.
    authorized_since: Option<Instant>,
    pub(super) connected_since: Option<Instant>,
}

const LISTS: [ActionList; 5] = [
    ActionList::AllVms,
    ActionList::AllDisks,
    ActionList::Authorized,
    ActionList::Connected,
    ActionList::EverConnected,
];

impl ActionRequest {
    /// Any that makes sense now.
    pub(super) fn choose(random: &mut Random, model: &mut ReferenceModel) -> ActionRequest {
        let known: Vec<i64> = model.managed_vms.iter().map(|vm| vm.id).collect();
        let list = ActionRequest::List(random.pick(&LISTS));
        if known.is_empty() || random.chance(15) {
            let add = ActionRequest::Add { ram: model.new_ram() };
            return random.pick(&[add, add, list, ActionRequest::ConnectUnknown, ActionRequest::Unknown]);
        }
        let vm = random.pick(&known);
        // Some are never let go, so that there is something to be sure of.
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
            ActionRequest::Add { .. }
                | ActionRequest::Authorize { .. }
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

    /// What it may do from now on.
    pub(super) fn on_sent(self, model: &mut ReferenceModel) {
        match self {
            ActionRequest::Authorize { vm } => model.managed_vm(vm).may_be_authorized = true,
            ActionRequest::Connect { vm } => {
                let vm = model.managed_vm(vm);
                (vm.may_be_authorized, vm.may_be_connected) = (true, true);
            }
            ActionRequest::Logout { vm } => {
                let vm = model.managed_vm(vm);
                (vm.may_be_released, vm.authorized_since) = (true, None);
            }
            ActionRequest::Update { vm, ram } => drop(model.managed_vm(vm).rams_ever.insert(ram)),
            ActionRequest::Add { .. }
            | ActionRequest::List(_)
            | ActionRequest::ConnectUnknown
            | ActionRequest::Unknown => {}
        }
    }

    /// Remembers what has come of it.
    pub(super) fn on_response(self, response: &Response, model: &mut ReferenceModel, now: Instant) {
        if response.outcome != Outcome::Success {
            return;
        }
        match self {
            ActionRequest::Add { ram } => model.managed_vms.push(ManagedVm {
                id: response.data["vm_id"].as_i64().unwrap_or_default(),
                since: now,
                rams_ever: BTreeSet::from([ram]),
                may_be_authorized: false,
                may_be_connected: false,
                may_be_released: false,
                authorized_since: None,
                connected_since: None,
            }),
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

impl ActionList {
    /// Its names in a request and in a reply.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            ActionList::AllVms => ("list_all_vms", "all_vms"),
            ActionList::AllDisks => ("list_all_disks", "all_disks"),
            ActionList::Authorized => ("list_authorized_vms", "authorized_vms"),
            ActionList::Connected => ("list_connected_vms", "connected_vms"),
            ActionList::EverConnected => ("list_ever_connected", "all_connected_vms"),
        }
    }
}

impl ManagedVm {
    fn note_authorized(&mut self, now: Instant) {
        if !self.may_be_released {
            self.authorized_since.get_or_insert(now);
        }
    }

    /// Whether a client that asked at `then` must see it on `list`; `None` if either is possible.
    fn must_be_on(&self, list: ActionList, then: Instant) -> Option<bool> {
        let (since, may_be) = match list {
            ActionList::AllVms => (Some(self.since), true),
            ActionList::Authorized => (self.authorized_since, self.may_be_authorized),
            // It is connected as long as it is authorized.
            ActionList::Connected => (self.authorized_since.and(self.connected_since), self.may_be_connected),
            ActionList::EverConnected => (self.connected_since, self.may_be_connected),
            ActionList::AllDisks => return None,
        };
        match since {
            Some(since) if since <= then => Some(true),
            _ => (!may_be).then_some(false),
        }
    }
}

impl Oracle<'_> {
    /// Whether `response` may be what is said to `action`, apart from what the weather excuses.
    pub(super) fn check_action(&self, action: ActionRequest, response: &Response) -> Verification {
        ensure(response.is_action, "a reply in the shape of a command")?;
        if action == ActionRequest::Unknown {
            return ensure(response.message() == "invalid action", "something that is no action");
        }
        if let (ActionRequest::Add { .. }, CLOSED_LISTENER) = (action, self.listener) {
            return ensure(response.outcome == Outcome::RegistrationClosed, "registration is open");
        }
        if self.listener == CLOSED_LISTENER {
            if let Some(verification) = self.check_login(self.auth, &response.outcome) {
                return verification;
            }
            // A VM is itself only, and these are others.
            return match action {
                ActionRequest::List(list) => self.check_action_list(list, response),
                ActionRequest::Authorize { .. }
                | ActionRequest::Connect { .. }
                | ActionRequest::ConnectUnknown => {
                    ensure(response.outcome == Outcome::UnknownVm, "more than itself")
                }
                _ => ensure(response.outcome == Outcome::NotAuthorized, "more than itself"),
            };
        }
        match action {
            ActionRequest::Add { .. } => {
                ensure(response.outcome == Outcome::Success, "not added")?;
                let id = response.data["vm_id"].as_i64().ok_or("a VM without a number")?;
                ensure(self.model.managed_vms.iter().all(|vm| vm.id != id), "a number is given twice")
            }
            ActionRequest::List(list) => self.check_action_list(list, response),
            ActionRequest::Authorize { .. } => ensure(response.status() == "authenticated", "not authorized"),
            ActionRequest::Connect { .. } => {
                ensure(response.status() == "connected and authenticated", "not connected")
            }
            ActionRequest::Logout { vm } => {
                let vm = self.managed_vm(vm)?;
                let was_there = response.outcome == Outcome::Success;
                ensure(!was_there || vm.may_be_authorized, "an end of what was never begun")?;
                ensure(was_there || response.outcome == Outcome::NotAuthorized, "no answer to a logout")
            }
            ActionRequest::Update { vm, .. } => match self
                .managed_vm(vm)?
                .must_be_on(ActionList::Authorized, self.sent)
            {
                Some(true) => ensure(response.status() == "vm updated", "an authorized VM is not changed"),
                // It may become so before this one's turn.
                _ if response.outcome == Outcome::Success => ensure(
                    self.managed_vm(vm)?.may_be_authorized,
                    "a VM is changed that nobody has authorized",
                ),
                _ => ensure(response.outcome == Outcome::NotAuthorized, "no answer to an update"),
            },
            ActionRequest::ConnectUnknown => {
                ensure(response.outcome == Outcome::UnknownVm, "nobody is connected")
            }
            ActionRequest::Unknown => Ok(()),
        }
    }

    fn managed_vm(&self, id: i64) -> Result<&super::action_requests::ManagedVm, String> {
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
        ensure(there.len() == ids.len(), "something stands twice on a list")?;
        for vm in &self.model.managed_vms {
            if let Some(must) = vm.must_be_on(list, self.sent) {
                ensure(there.contains(&vm.id) == must, "a list is not what was asked for before")?;
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
        ensure(ram.is_some_and(|ram| vm.rams_ever.contains(&ram)), "a VM with memory that nobody gave it")?;
        let sizes = entry["disks"].as_array().ok_or("a VM without disks")?;
        let sizes: Vec<Option<u64>> = sizes.iter().map(|disk| disk["size"].as_u64()).collect();
        ensure(sizes == [Some(3), Some(4)], "a VM with other disks")
    }
}

impl ReferenceModel {
    fn managed_vm(&mut self, id: i64) -> &mut ManagedVm {
        self.managed_vms.iter_mut().find(|vm| vm.id == id).expect("only known numbers are asked for")
    }
}

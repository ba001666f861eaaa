//! What fake clients do about VMs other than themselves, and what must come of it.
//!
//! VMs that are added have numbers, which are known once somebody was told of them. What is about them is
//! the whole server's: so a client is sure only of what no other may have undone.

use std::collections::BTreeSet;

use serde_json::Value;

use super::herd::Herd;
use super::judge::{CLOSED_LISTENER, Judge, Judgement, ensure};
use super::random::Random;
use super::reply::{Reply, Said};
use crate::clock::Instant;

/// One request of the dialect `action`, about a VM that is known by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
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
    /// Of a VM that nobody has added.
    ConnectNobody,
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
pub(super) struct Numbered {
    pub(super) id: i64,
    /// Since when somebody knows of it.
    pub(super) since: Instant,
    /// What its memory may ever have been, in MiB.
    pub(super) rams_ever: BTreeSet<u32>,
    /// Somebody has asked for it to be authorized, or connected.
    may_be_authorized: bool,
    may_be_connected: bool,
    /// Somebody has asked for the end of that.
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

impl Deed {
    /// Any that makes sense now.
    pub(super) fn choose(random: &mut Random, herd: &mut Herd) -> Deed {
        let known: Vec<i64> = herd.numbered.iter().map(|vm| vm.id).collect();
        let list = Deed::List(random.pick(&LISTS));
        if known.is_empty() || random.chance(15) {
            let add = Deed::Add { ram: herd.new_ram() };
            return random.pick(&[add, add, list, Deed::ConnectNobody, Deed::Unknown]);
        }
        let vm = random.pick(&known);
        // Some are never let go, so that there is something to be sure of.
        let logout = if vm % 2 == 0 { list } else { Deed::Logout { vm } };
        let update = Deed::Update { vm, ram: herd.new_ram() };
        random.pick(&[list, list, update, update, logout, Deed::Authorize { vm }, Deed::Connect { vm }])
    }

    pub(super) fn is_barrier(self) -> bool {
        matches!(
            self,
            Deed::Add { .. }
                | Deed::Authorize { .. }
                | Deed::Connect { .. }
                | Deed::Logout { .. }
                | Deed::ConnectNobody
        )
    }

    /// Whether it changes the store.
    pub(super) fn writes(self) -> bool {
        matches!(self, Deed::Add { .. } | Deed::Connect { .. } | Deed::Update { .. })
    }

    /// The request's fields.
    pub(super) fn text(self) -> String {
        let of = |action: &str, vm: i64| format!("\"action\": \"{action}\", \"vm_id\": {vm}");
        match self {
            Deed::Add { ram } => format!("\"action\": \"add_vm\", \"ram\": {ram}, \"disks\": [3, 4]"),
            Deed::List(list) => format!("\"action\": \"{}\"", list.names().0),
            Deed::Authorize { vm } => of("authenticate", vm),
            Deed::Connect { vm } => of("connect", vm),
            Deed::Logout { vm } => of("logout_vm", vm),
            Deed::Update { vm, ram } => format!("{}, \"ram\": {ram}", of("update_vm", vm)),
            Deed::ConnectNobody => of("connect", 999_999_999),
            Deed::Unknown => "\"action\": \"fly\"".to_owned(),
        }
    }

    /// What it may do from now on.
    pub(super) fn foresee(self, herd: &mut Herd) {
        match self {
            Deed::Authorize { vm } => herd.numbered(vm).may_be_authorized = true,
            Deed::Connect { vm } => {
                let vm = herd.numbered(vm);
                (vm.may_be_authorized, vm.may_be_connected) = (true, true);
            }
            Deed::Logout { vm } => {
                let vm = herd.numbered(vm);
                (vm.may_be_released, vm.authorized_since) = (true, None);
            }
            Deed::Update { vm, ram } => drop(herd.numbered(vm).rams_ever.insert(ram)),
            Deed::Add { .. } | Deed::List(_) | Deed::ConnectNobody | Deed::Unknown => {}
        }
    }

    /// Remembers what has come of it.
    pub(super) fn learn(self, reply: &Reply, herd: &mut Herd, now: Instant) {
        if reply.said != Said::Success {
            return;
        }
        match self {
            Deed::Add { ram } => herd.numbered.push(Numbered {
                id: reply.data["vm_id"].as_i64().unwrap_or_default(),
                since: now,
                rams_ever: BTreeSet::from([ram]),
                may_be_authorized: false,
                may_be_connected: false,
                may_be_released: false,
                authorized_since: None,
                connected_since: None,
            }),
            Deed::Authorize { vm } => herd.numbered(vm).note_authorized(now),
            Deed::Connect { vm } => {
                let vm = herd.numbered(vm);
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

impl Numbered {
    fn note_authorized(&mut self, now: Instant) {
        if !self.may_be_released {
            self.authorized_since.get_or_insert(now);
        }
    }

    /// Whether it has to be on `list` for whoever asked at `then`; nothing where that can't be told.
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

impl Judge<'_> {
    /// Whether `reply` may be what is said to `deed`, apart from what the weather excuses.
    pub(super) fn check_deed(&self, deed: Deed, reply: &Reply) -> Judgement {
        ensure(reply.is_action, "a reply in the shape of a command")?;
        if deed == Deed::Unknown {
            return ensure(reply.message() == "invalid action", "something that is no action");
        }
        if let (Deed::Add { .. }, CLOSED_LISTENER) = (deed, self.listener) {
            return ensure(reply.said == Said::RegistrationClosed, "registration is open");
        }
        if self.listener == CLOSED_LISTENER {
            if let Some(judgement) = self.check_login(self.auth, &reply.said) {
                return judgement;
            }
            // A VM is itself only, and these are others.
            return match deed {
                Deed::List(list) => self.check_action_list(list, reply),
                Deed::Authorize { .. } | Deed::Connect { .. } | Deed::ConnectNobody => {
                    ensure(reply.said == Said::UnknownVm, "more than itself")
                }
                _ => ensure(reply.said == Said::NotAuthorized, "more than itself"),
            };
        }
        match deed {
            Deed::Add { .. } => {
                ensure(reply.said == Said::Success, "not added")?;
                let id = reply.data["vm_id"].as_i64().ok_or("a VM without a number")?;
                ensure(self.herd.numbered.iter().all(|vm| vm.id != id), "a number is given twice")
            }
            Deed::List(list) => self.check_action_list(list, reply),
            Deed::Authorize { .. } => ensure(reply.status() == "authenticated", "not authorized"),
            Deed::Connect { .. } => ensure(reply.status() == "connected and authenticated", "not connected"),
            Deed::Logout { vm } => {
                let vm = self.numbered(vm)?;
                let was_there = reply.said == Said::Success;
                ensure(!was_there || vm.may_be_authorized, "an end of what was never begun")?;
                ensure(was_there || reply.said == Said::NotAuthorized, "no answer to a logout")
            }
            Deed::Update { vm, .. } => match self.numbered(vm)?.must_be_on(ActionList::Authorized, self.sent)
            {
                Some(true) => ensure(reply.status() == "vm updated", "an authorized VM is not changed"),
                // It may become so before this one's turn.
                _ if reply.said == Said::Success => {
                    ensure(self.numbered(vm)?.may_be_authorized, "a VM is changed that nobody has authorized")
                }
                _ => ensure(reply.said == Said::NotAuthorized, "no answer to an update"),
            },
            Deed::ConnectNobody => ensure(reply.said == Said::UnknownVm, "nobody is connected"),
            Deed::Unknown => Ok(()),
        }
    }

    fn numbered(&self, id: i64) -> Result<&super::deed::Numbered, String> {
        self.herd.numbered.iter().find(|vm| vm.id == id).ok_or_else(|| "an unknown number".to_owned())
    }

    fn check_action_list(&self, list: ActionList, reply: &Reply) -> Judgement {
        ensure(reply.said == Said::Success, "no list")?;
        let entries = reply.data[list.names().1].as_array().ok_or("another list")?;
        let ids: Option<Vec<i64>> = entries.iter().map(|entry| entry["id"].as_i64()).collect();
        let ids = ids.ok_or("an entry without a number")?;
        let is_ascending = ids.is_sorted_by(|one, next| one < next);
        let has_own_order = matches!(list, ActionList::Authorized | ActionList::Connected);
        ensure(is_ascending || has_own_order, "a list out of order")?;
        let there: BTreeSet<i64> = ids.iter().copied().collect();
        ensure(there.len() == ids.len(), "something stands twice on a list")?;
        for vm in &self.herd.numbered {
            if let Some(must) = vm.must_be_on(list, self.sent) {
                ensure(there.contains(&vm.id) == must, "a list is not what was asked for before")?;
            }
        }
        if list == ActionList::AllDisks {
            return Ok(());
        }
        entries.iter().try_for_each(|entry| self.check_numbered(entry))
    }

    fn check_numbered(&self, entry: &Value) -> Judgement {
        let Ok(vm) = self.numbered(entry["id"].as_i64().unwrap_or_default()) else { return Ok(()) };
        let ram = entry["ram"].as_u64().and_then(|ram| u32::try_from(ram).ok());
        ensure(ram.is_some_and(|ram| vm.rams_ever.contains(&ram)), "a VM with memory that nobody gave it")?;
        let sizes = entry["disks"].as_array().ok_or("a VM without disks")?;
        let sizes: Vec<Option<u64>> = sizes.iter().map(|disk| disk["size"].as_u64()).collect();
        ensure(sizes == [Some(3), Some(4)], "a VM with other disks")
    }
}

impl Herd {
    fn numbered(&mut self, id: i64) -> &mut Numbered {
        self.numbered.iter_mut().find(|vm| vm.id == id).expect("only known numbers are asked for")
    }
}

//! Which VMs and tokens must, may or cannot exist, as all fake clients together know it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::container_model::ContainerModel;
use super::managed_vms::ManagedVm;
use vmherd::internals::clock::{Instant, UnixSeconds};

/// The shared knowledge of all fake clients.
#[derive(Default)]
pub(super) struct ReferenceModel {
    pub(super) vms: Vec<ModelVm>,
    pub(super) tokens: Vec<ModelToken>,
    /// What is known of containers.
    pub(super) containers: ContainerModel,
    /// VMs that were added by `add_vm`.
    pub(super) managed_vms: Vec<ManagedVm>,
    last_ram: u32,
}

/// A VM that a client has registered or will register.
pub(super) struct ModelVm {
    pub(super) name: String,
    pub(super) password: String,
    /// The only client that registers it.
    pub(super) owner: Option<usize>,
    /// When it was first known to exist.
    pub(super) exists_since: Option<Instant>,
    /// Registrations without a response, or with an inconclusive one.
    pub(super) may_exist: usize,
    /// The operator has removed it or changed its password: its requests may fail.
    pub(super) is_changed_by_operator: bool,
    /// The possible values of its memory, in MiB. No value is used twice.
    pub(super) possible_rams: BTreeSet<u32>,
    /// Every value that its memory may have had.
    pub(super) rams_ever: BTreeSet<u32>,
    updates_open: usize,
    /// Updates have overlapped since none was open: the last one is unknown.
    updates_overlap: bool,
    /// Clients that have sent its password or a token of it.
    pub(super) authenticated_clients: BTreeSet<usize>,
}

/// An issued token.
pub(super) struct ModelToken {
    pub(super) text: String,
    pub(super) vm: usize,
    /// When it was requested.
    pub(super) asked: Instant,
    /// What the wall clock may have shown when it was issued.
    pub(super) issued: RangeInclusive<UnixSeconds>,
    /// A request may have ended it.
    pub(super) may_be_ended: bool,
    /// When it was first known to be ended.
    pub(super) ended_since: Option<Instant>,
}

impl ReferenceModel {
    /// Adds a VM; returns its index.
    pub(super) fn add(&mut self, name: String, owner: Option<usize>) -> usize {
        let ram = self.new_ram();
        self.vms.push(ModelVm {
            password: format!("password of {name}"),
            name,
            owner,
            exists_since: owner.is_none().then_some(Instant::ORIGIN),
            may_exist: 0,
            is_changed_by_operator: false,
            possible_rams: BTreeSet::from([ram]),
            rams_ever: BTreeSet::from([ram]),
            updates_open: 0,
            updates_overlap: false,
            authenticated_clients: BTreeSet::new(),
        });
        self.vms.len() - 1
    }

    /// An unused memory size in MiB.
    pub(super) fn new_ram(&mut self) -> u32 {
        self.last_ram += 1;
        self.last_ram
    }

    /// The operator removes the VM or changes its password.
    pub(super) fn change_by_operator(&mut self, vm: usize) {
        self.vms[vm].is_changed_by_operator = true;
        self.tokens.iter_mut().filter(|token| token.vm == vm).for_each(|token| token.may_be_ended = true);
    }

    /// The added VM with this number.
    pub(super) fn managed_vm(&mut self, id: i64) -> &mut ManagedVm {
        self.managed_vms.iter_mut().find(|vm| vm.id == id).expect("requests use known numbers only")
    }

    /// Whether a token of this VM was issued.
    pub(super) fn has_token_of(&self, name: &str) -> bool {
        self.tokens.iter().any(|token| self.vms[token.vm].name == name)
    }

    pub(super) fn vm_named(&self, name: &str) -> Option<&ModelVm> {
        self.vms.iter().find(|vm| vm.name == name)
    }
}

impl ModelVm {
    /// Whether a request of `client` sent at `then` must find it. The owner knows earlier.
    pub(super) fn must_exist(&self, client: usize, then: Instant) -> bool {
        self.exists_since.is_some_and(|since| self.owner == Some(client) || since <= then)
    }

    /// Records an update that was sent.
    pub(super) fn begin_update(&mut self) {
        self.updates_overlap = self.updates_open > 0;
        self.updates_open += 1;
    }

    /// Records the result of an update: the new memory, if it succeeded.
    pub(super) fn end_update(&mut self, ram: Option<u32>) {
        self.updates_open -= 1;
        if let Some(ram) = ram
            && self.updates_open == 0
            && !self.updates_overlap
        {
            self.possible_rams = BTreeSet::from([ram]);
        }
    }

    /// Whether it certainly does not exist.
    pub(super) fn cannot_exist(&self) -> bool {
        self.exists_since.is_none() && self.may_exist == 0
    }
}

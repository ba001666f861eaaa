//! What all fake clients together know of the VMs and tokens that there must be, may be and can't be.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::action_requests::ManagedVm;
use crate::clock::{Instant, UnixSeconds};

/// Everything known.
#[derive(Default)]
pub(super) struct ReferenceModel {
    pub(super) vms: Vec<ModelVm>,
    pub(super) tokens: Vec<ModelToken>,
    /// VMs that were added by their numbers.
    pub(super) managed_vms: Vec<ManagedVm>,
    last_ram: u32,
}

/// A VM that somebody has registered or will.
pub(super) struct ModelVm {
    pub(super) name: String,
    pub(super) password: String,
    /// The only client that registers it.
    pub(super) owner: Option<usize>,
    /// Since when it is known to exist.
    pub(super) exists_since: Option<Instant>,
    /// A registration was sent whose reply has not come, or told nothing.
    pub(super) may_exist: usize,
    /// The operator has laid hands on it: whatever is about it may fail.
    pub(super) is_changed_by_operator: bool,
    /// What its memory may be now, in MiB. No number is used twice.
    pub(super) possible_rams: BTreeSet<u32>,
    /// What it may ever have been.
    pub(super) rams_ever: BTreeSet<u32>,
    updates_open: usize,
    /// Since no update was open there have been two at a time: who was last can't be told.
    updates_overlap: bool,
    /// Clients that have ever shown a right password or a token of it.
    pub(super) authenticated_clients: BTreeSet<usize>,
}

/// A token that somebody was given.
pub(super) struct ModelToken {
    pub(super) text: String,
    pub(super) vm: usize,
    /// When it was asked for.
    pub(super) asked: Instant,
    /// What the wall clock may have shown when it was issued.
    pub(super) issued: RangeInclusive<UnixSeconds>,
    /// Somebody may have ended it.
    pub(super) may_be_ended: bool,
    /// Since when it is known to be ended.
    pub(super) ended_since: Option<Instant>,
}

impl ReferenceModel {
    /// Adds a VM; its place.
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

    /// A number of MiB that no VM has had.
    pub(super) fn new_ram(&mut self) -> u32 {
        self.last_ram += 1;
        self.last_ram
    }

    /// The operator removes the VM or changes its password.
    pub(super) fn change_by_operator(&mut self, vm: usize) {
        self.vms[vm].is_changed_by_operator = true;
        self.tokens.iter_mut().filter(|token| token.vm == vm).for_each(|token| token.may_be_ended = true);
    }

    pub(super) fn vm_named(&self, name: &str) -> Option<&ModelVm> {
        self.vms.iter().find(|vm| vm.name == name)
    }
}

impl ModelVm {
    /// Whether whoever asked at `then` must find it, `client` knowing more of its own.
    pub(super) fn must_exist(&self, client: usize, then: Instant) -> bool {
        self.exists_since.is_some_and(|since| self.owner == Some(client) || since <= then)
    }

    /// An update was sent.
    pub(super) fn begin_update(&mut self) {
        self.updates_overlap = self.updates_open > 0;
        self.updates_open += 1;
    }

    /// What came of an update is known: the memory it gave, if it was done.
    pub(super) fn end_update(&mut self, ram: Option<u32>) {
        self.updates_open -= 1;
        if let Some(ram) = ram
            && self.updates_open == 0
            && !self.updates_overlap
        {
            self.possible_rams = BTreeSet::from([ram]);
        }
    }

    /// Whether nobody can find it.
    pub(super) fn cannot_exist(&self) -> bool {
        self.exists_since.is_none() && self.may_exist == 0
    }
}

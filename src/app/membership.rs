//! The VMs that are authorized and connected, for the whole server. Owned by the reactor's thread.
//!
//! Clients add VMs without a password to the sets, and remove them. A VM with a password is in both sets while any
//! connection is authenticated as it. A VM keeps its position, the order of entry, while it is a member. This module
//! does not read the store: a removed VM stays until a caller releases it to which the store has said so.

use std::collections::{BTreeMap, HashMap};

use crate::ids::VmId;
use crate::limits;
use crate::model::{Cursor, Login, Membership};
use crate::work::pages::MemberIndex;

/// The sets of authorized and connected VMs.
#[derive(Default)]
pub struct VmMembership {
    members: HashMap<VmId, Member>,
    /// Members by position.
    authorized: BTreeMap<u64, VmId>,
    connected: BTreeMap<u64, VmId>,
    next_position: u64,
}

/// The sets have reached [`limits::AUTHORIZED_VMS_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

#[derive(Default)]
struct Member {
    authorized: Option<u64>,
    connected: Option<u64>,
    /// Connections authenticated as the VM; only a VM with a password has any.
    logins: usize,
    /// What every client may change the VM as, if it had no password when it was authorized.
    open_login: Option<Login>,
}

impl VmMembership {
    /// Records that a connection authenticated as `vm`.
    pub fn log_in(&mut self, vm: VmId) {
        self.members.entry(vm).or_default().logins += 1;
        self.enter(vm, Membership::Connected);
    }

    /// Records that a connection authenticated as `vm` was closed or logged out.
    pub fn log_out(&mut self, vm: VmId) {
        let Some(member) = self.members.get_mut(&vm) else { return };
        member.logins = member.logins.saturating_sub(1);
        if member.logins == 0 {
            self.leave(vm);
        }
    }

    /// Adds the VM of `login`, which has no password, to `set` and to the sets that it implies.
    pub fn authorize(&mut self, login: Login, set: Membership) -> Result<(), Full> {
        let vm = login.id;
        if !self.has_room_for(vm) {
            return Err(Full);
        }
        self.enter(vm, set);
        if let Some(member) = self.members.get_mut(&vm) {
            member.open_login = Some(login);
        }
        Ok(())
    }

    /// The login with which every client may change `vm`, if it is authorized for every client. It is stale if the VM has
    /// got a password since, or was removed.
    pub fn open_login(&self, vm: VmId) -> Option<&Login> {
        self.members.get(&vm).filter(|member| member.logins == 0)?.open_login.as_ref()
    }

    /// Removes `vm` from all sets, unless a connection is authenticated as it.
    pub fn release(&mut self, vm: VmId) {
        if self.is_authorized_for_all(vm) {
            self.leave(vm);
        }
    }

    /// Whether `vm` is authorized for every client.
    pub fn is_authorized_for_all(&self, vm: VmId) -> bool {
        self.members.get(&vm).is_some_and(|member| member.logins == 0)
    }

    /// Whether `vm` is a member or can become one.
    pub fn has_room_for(&self, vm: VmId) -> bool {
        self.members.len() < limits::AUTHORIZED_VMS_MAX || self.members.contains_key(&vm)
    }

    /// One page of the members of `set` from position `from`, and the cursor of the next page.
    pub fn page(&self, set: Membership, from: u64) -> (Vec<MemberIndex>, Option<Cursor>) {
        let positions = match set {
            Membership::Authorized => &self.authorized,
            Membership::Connected => &self.connected,
        };
        let mut rest = positions.range(from..);
        let members = rest.by_ref().take(limits::PAGE_ROWS_MAX).map(|(&index, &vm)| MemberIndex {
            index,
            vm,
            has_login: !self.is_authorized_for_all(vm),
        });
        let members = members.collect();
        (members, rest.next().map(|(&position, _)| Cursor::FromMember(position)))
    }

    fn enter(&mut self, vm: VmId, set: Membership) {
        let member = self.members.entry(vm).or_default();
        for (position, positions, applies) in [
            (&mut member.authorized, &mut self.authorized, true),
            (&mut member.connected, &mut self.connected, set == Membership::Connected),
        ] {
            if applies && position.is_none() {
                *position = Some(self.next_position);
                positions.insert(self.next_position, vm);
                self.next_position += 1;
            }
        }
        self.check_invariants();
    }

    fn leave(&mut self, vm: VmId) {
        let Some(member) = self.members.remove(&vm) else { return };
        member.authorized.and_then(|position| self.authorized.remove(&position));
        member.connected.and_then(|position| self.connected.remove(&position));
        self.check_invariants();
    }

    fn check_invariants(&self) {
        debug_assert_eq!(self.members.len(), self.authorized.len());
        debug_assert!(self.connected.len() <= self.authorized.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::VmName;

    fn login(vm: i64) -> Login {
        Login { id: VmId(vm), epoch: vm, name: VmName::from_store("a") }
    }

    /// The members of a set, page by page.
    fn members(membership: &VmMembership, set: Membership) -> Vec<i64> {
        let (mut seen, mut from) = (Vec::new(), Some(Cursor::FromMember(0)));
        while let Some(Cursor::FromMember(position)) = from {
            let (members, next) = membership.page(set, position);
            assert!(members.len() <= limits::PAGE_ROWS_MAX);
            seen.extend(members.iter().map(|member| member.vm.0));
            from = next;
        }
        seen
    }

    fn both(membership: &VmMembership) -> [Vec<i64>; 2] {
        [Membership::Authorized, Membership::Connected].map(|set| members(membership, set))
    }

    #[test]
    fn a_vm_without_a_password_keeps_its_position_until_it_is_released() {
        let mut membership = VmMembership::default();
        for (vm, set) in [
            (3, Membership::Authorized),
            (1, Membership::Connected),
            (2, Membership::Authorized),
            (3, Membership::Connected),
        ] {
            membership.authorize(login(vm), set).unwrap();
            membership.authorize(login(vm), set).unwrap();
        }
        assert_eq!(both(&membership), [vec![3, 1, 2], vec![1, 3]]);
        membership.release(VmId(1));
        membership.release(VmId(9));
        assert_eq!(both(&membership), [vec![3, 2], vec![3]]);
        assert!(!membership.is_authorized_for_all(VmId(1)) && membership.is_authorized_for_all(VmId(2)));
        assert_eq!((membership.open_login(VmId(1)), membership.open_login(VmId(2))), (None, Some(&login(2))));
        membership.authorize(login(1), Membership::Authorized).unwrap();
        assert_eq!(both(&membership), [vec![3, 2, 1], vec![3]]);
    }

    #[test]
    fn a_vm_with_a_password_is_a_member_while_it_has_a_login() {
        let mut membership = VmMembership::default();
        membership.authorize(login(1), Membership::Authorized).unwrap();
        for vm in [2, 3, 2] {
            membership.log_in(VmId(vm));
        }
        assert_eq!(both(&membership), [vec![1, 2, 3], vec![2, 3]]);
        assert!(!membership.is_authorized_for_all(VmId(2)), "only for its own connections");
        membership.release(VmId(2));
        membership.log_out(VmId(2));
        assert_eq!(both(&membership), [vec![1, 2, 3], vec![2, 3]]);
        membership.log_out(VmId(2));
        membership.log_out(VmId(2));
        assert_eq!(both(&membership), [vec![1, 3], vec![3]]);
        membership.log_in(VmId(2));
        assert_eq!(both(&membership), [vec![1, 3, 2], vec![3, 2]]);
    }

    #[test]
    fn a_vm_that_got_a_password_leaves_with_its_last_login() {
        let mut membership = VmMembership::default();
        membership.authorize(login(1), Membership::Authorized).unwrap();
        membership.log_in(VmId(1));
        assert!(!membership.is_authorized_for_all(VmId(1)));
        assert_eq!(membership.open_login(VmId(1)), None, "only its own connections may change it");
        membership.log_out(VmId(1));
        assert_eq!(both(&membership), [Vec::<i64>::new(), Vec::new()]);
    }

    #[test]
    fn sets_are_paged_and_bounded() {
        let mut membership = VmMembership::default();
        let count = limits::AUTHORIZED_VMS_MAX as i64;
        for vm in 0..count {
            membership.authorize(login(vm), Membership::Connected).unwrap();
        }
        assert_eq!(membership.authorize(login(count), Membership::Authorized), Err(Full));
        assert_eq!(membership.authorize(login(0), Membership::Connected), Ok(()));
        membership.log_in(VmId(count));
        for vm in (0..count).step_by(2) {
            membership.release(VmId(vm));
        }
        let wanted: Vec<i64> = (1..count).step_by(2).chain([count]).collect();
        assert_eq!(both(&membership), [wanted.clone(), wanted]);
    }
}

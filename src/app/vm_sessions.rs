//! The connections that are authenticated as a VM, by VM.

use std::collections::BTreeSet;

use crate::clock::UnixSeconds;
use crate::ids::{ConnId, VmId};

/// The connections on which a VM authenticated, with the time of the login.
#[derive(Default)]
pub struct VmSessions {
    sessions: BTreeSet<(VmId, UnixSeconds, ConnId)>,
    vm_count: usize,
}

impl VmSessions {
    /// Notes that `conn` authenticated as `vm` at `since`.
    pub fn begin(&mut self, vm: VmId, since: UnixSeconds, conn: ConnId) {
        self.vm_count += usize::from(self.oldest(vm).is_none());
        self.sessions.insert((vm, since, conn));
    }

    /// Notes the end of that login.
    pub fn end(&mut self, vm: VmId, since: UnixSeconds, conn: ConnId) {
        let was_there = self.sessions.remove(&(vm, since, conn));
        self.vm_count -= usize::from(was_there && self.oldest(vm).is_none());
    }

    /// When the oldest login of `vm` began; `None` if it has none.
    pub fn oldest(&self, vm: VmId) -> Option<UnixSeconds> {
        self.range(vm).map(|(since, _)| since).next()
    }

    /// The number of VMs with a login.
    pub fn vm_count(&self) -> usize {
        self.vm_count
    }

    /// The connections of `vm`, in the order of their logins.
    pub fn of(&self, vm: VmId) -> impl Iterator<Item = ConnId> {
        self.range(vm).map(|(_, conn)| conn)
    }

    fn range(&self, vm: VmId) -> impl Iterator<Item = (UnixSeconds, ConnId)> {
        let first = (vm, UnixSeconds(i64::MIN), ConnId { index: 0, generation: 0 });
        let rest = self.sessions.range(first..);
        rest.take_while(move |(of, ..)| *of == vm).map(|&(_, since, conn)| (since, conn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sessions_of_a_vm_are_in_the_order_of_their_logins() {
        let mut sessions = VmSessions::default();
        let conn = |index| ConnId { index, generation: 1 };
        for (vm, since, index) in [(1, 50, 0), (2, 40, 1), (1, 30, 2), (3, 10, 3), (1, 30, 4)] {
            sessions.begin(VmId(vm), UnixSeconds(since), conn(index));
        }
        let of = |sessions: &VmSessions, vm| sessions.of(VmId(vm)).map(|conn| conn.index).collect::<Vec<_>>();
        assert_eq!((of(&sessions, 1), sessions.vm_count()), (vec![2, 4, 0], 3));
        sessions.begin(VmId(1), UnixSeconds(30), conn(2));
        sessions.end(VmId(9), UnixSeconds(30), conn(2));
        assert_eq!(sessions.oldest(VmId(1)), Some(UnixSeconds(30)));
        sessions.end(VmId(1), UnixSeconds(30), conn(2));
        sessions.end(VmId(1), UnixSeconds(30), conn(4));
        assert_eq!((of(&sessions, 1), sessions.oldest(VmId(1))), (vec![0], Some(UnixSeconds(50))));
        sessions.end(VmId(2), UnixSeconds(40), conn(1));
        assert_eq!((of(&sessions, 2), sessions.oldest(VmId(2))), (vec![], None));
        assert_eq!((of(&sessions, 3), sessions.vm_count()), (vec![3], 2));
    }
}

//! The rows of the table of VMs.

use crate::model::{Cursor, Vm, VmPresence, VmTable};

/// Keeps those of `vms` that are rows of the table. `next` is where the VMs after them begin; the result, where the
/// table goes on.
pub(super) fn select(
    table: &mut VmTable,
    vms: &mut Vec<(Vm, VmPresence)>,
    next: Option<Cursor>,
) -> Option<Cursor> {
    vms.retain(|(vm, presence)| {
        table.state.is_none_or(|state| state == presence.state())
            && vm.name.as_str().to_lowercase().contains(&*table.filter)
    });
    let is_cut = vms.len() > table.rows_left;
    vms.truncate(table.rows_left);
    table.rows_left -= vms.len();
    if table.rows_left > 0 || !is_cut && next.is_none() {
        return next;
    }
    table.full_at = vms.last().map(|(vm, _)| vm.id);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixSeconds;
    use crate::ids::VmId;
    use crate::model::{VmName, VmShape, VmState};

    fn vm(id: i64, name: &str, is_online: bool) -> (Vm, VmPresence) {
        let vm = Vm {
            id: VmId(id),
            name: VmName::from_store(name),
            shape: VmShape { ram_mib: 1, cpus: 1 },
            has_password: true,
            is_managed: false,
            last_seen: None,
            last_address: None,
            disks: Vec::new(),
        };
        let connected_since = is_online.then_some(UnixSeconds(1));
        (vm, VmPresence { connected_since, ..VmPresence::default() })
    }

    fn table(filter: &str, state: Option<VmState>, rows_left: usize) -> VmTable {
        VmTable { after: VmId(0), filter: filter.into(), state, rows_left, full_at: None }
    }

    #[test]
    fn a_table_has_the_rows_that_match_and_ends_when_it_is_full() {
        let all = || vec![vm(1, "Web-1", true), vm(2, "db", false), vm(3, "WEB-2", false), vm(4, "x", true)];
        let next = Some(Cursor::AfterVm(VmId(4)));
        let cases = [
            (table("", None, 9), vec![1, 2, 3, 4], next, None),
            (table("web", None, 9), vec![1, 3], next, None),
            (table("", Some(VmState::Online), 9), vec![1, 4], next, None),
            (table("web", Some(VmState::Offline), 9), vec![3], next, None),
            (table("none", None, 9), vec![], next, None),
            (table("", None, 3), vec![1, 2, 3], None, Some(VmId(3))),
            (table("", None, 4), vec![1, 2, 3, 4], None, Some(VmId(4))),
        ];
        for (mut table, ids, wanted, full_at) in cases {
            let mut vms = all();
            assert_eq!(select(&mut table, &mut vms, next), wanted, "{table:?}");
            assert_eq!(vms.iter().map(|(vm, _)| vm.id.0).collect::<Vec<_>>(), ids, "{table:?}");
            assert_eq!(table.full_at, full_at, "{table:?}");
        }
        let mut full = table("", None, 4);
        assert_eq!((select(&mut full, &mut all(), None), full.full_at), (None, None), "nothing follows");
    }
}

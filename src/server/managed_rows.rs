//! The registry's rows of VMs that this server manages, while no reactor runs.

use std::collections::HashSet;

use crate::ids::{ContainerId, ServerId};
use crate::limits;
use crate::model::VmName;
use crate::store::{StoreError, StoreFactory, Write, write_one};

/// Removes the VMs of `server` whose containers are not `running`. Before it writes, `may_write` is asked: not any more
/// if a reactor runs meanwhile, which may add rows.
pub(super) fn remove_dead(
    factory: &dyn StoreFactory,
    server: ServerId,
    running: &[ContainerId],
    may_write: impl FnOnce() -> bool,
) -> Result<(), StoreError> {
    let mut store = factory.connect_worker()?;
    let mut names = store.registry().managed_vms(server, limits::MANAGED_VMS_READ_MAX)?;
    let running: HashSet<ContainerId> = running.iter().copied().collect();
    let runs = |name: &VmName| ContainerId::parse(name.as_str()).is_some_and(|id| running.contains(&id));
    names.retain(|name| !runs(name));
    if names.is_empty() || !may_write() {
        return Ok(());
    }
    log::info!("removing {} VMs from the registry whose containers do not run", names.len());
    write_one(&mut *store, &Write::RemoveManaged { server, names }).map(drop)
}

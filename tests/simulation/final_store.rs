//! What the store must hold, and what it must not, when a world has ended.

use super::environment::Environment;
use super::point_oracle::read_lines;
use super::reference_model::ModelVm;
use super::verification::Verification;
use vmherd::internals::clock::{Instant, UnixSeconds};
use vmherd::internals::ids::{DiskId, VmId};
use vmherd::internals::model::{PointFilter, VmName};
use vmherd::internals::store::Store;

/// Acknowledged VMs and points are there, refused ones are not.
pub(super) fn check(env: &Environment) -> Verification {
    let mut store = env.store.connect().map_err(|error| error.to_string())?;
    for vm in env.knowledge.model.vms.iter().filter(|vm| !vm.is_changed_by_operator) {
        let name = VmName::from_store(&vm.name);
        let credentials = store.registry().credentials(&name).map_err(|error| error.to_string())?;
        let Some(credentials) = credentials else {
            if vm.exists_since.is_some() {
                return Err(format!("{name} was acknowledged and is not there"));
            }
            continue;
        };
        if vm.cannot_exist() {
            return Err(format!("{name} was refused and is there"));
        }
        let found = store.registry().vms(&[credentials.login.id]).map_err(|error| error.to_string())?;
        let ram = found.first().map(|found| found.shape.ram_mib);
        if !ram.is_some_and(|ram| vm.possible_rams.contains(&ram)) {
            return Err(format!("{name} has {ram:?} MiB, not one of {:?}", vm.possible_rams));
        }
        check_last_seen(env, vm, found.first().and_then(|found| found.last_seen))?;
    }
    check_managed_vms(env, &mut *store)?;
    check_points(env, &mut *store)?;
    let disks = store.registry().disks_after(DiskId(0), usize::MAX).map_err(|error| error.to_string())?;
    match disks.is_sorted_by_key(|disk| disk.disk.id) {
        true => Ok(()),
        false => Err("disks out of order".to_owned()),
    }
}

/// A VM that was issued a token was seen, at a time that the clock has shown.
fn check_last_seen(env: &Environment, vm: &ModelVm, last_seen: Option<UnixSeconds>) -> Verification {
    let config = &env.config;
    // The last write may fail, or the stop does not wait for it.
    let is_cut = env.shutdown.stopped.is_some_and(|stopped| env.now >= stopped + config.grace);
    let is_sure = !config.is_failure_possible() && !config.is_busy_possible() && !is_cut;
    match last_seen {
        Some(seen) if !env.wall_clock.range(Instant::ORIGIN, env.now).contains(&seen) => {
            Err(format!("{} was seen at {seen:?}, which the clock has never shown", vm.name))
        }
        None if is_sure && env.knowledge.model.has_token_of(&vm.name) => {
            Err(format!("{} has a token, and was never seen", vm.name))
        }
        _ => Ok(()),
    }
}

/// The same for added VMs, and for those that were connected.
fn check_managed_vms(env: &Environment, store: &mut dyn Store) -> Verification {
    let connected =
        store.registry().ever_connected_after(VmId(0), usize::MAX).map_err(|error| error.to_string())?.vms;
    for vm in &env.knowledge.model.managed_vms {
        let id = vm.id;
        let found = store.registry().vms(&[VmId(id)]).map_err(|error| error.to_string())?.pop();
        let Some(found) = found.filter(|found| found.name.as_str() == id.to_string()) else {
            return Err(format!("the VM {id} was acknowledged and is not there"));
        };
        if !vm.rams.may_have_been(found.shape.ram_mib) {
            return Err(format!("the VM {id} has memory that no client has set"));
        }
        if vm.connected_since.is_some() && connected.iter().all(|vm| vm.id != VmId(id)) {
            return Err(format!("the VM {id} was connected and is not listed"));
        }
    }
    Ok(())
}

/// The same for points.
fn check_points(env: &Environment, store: &mut dyn Store) -> Verification {
    let all = PointFilter::default();
    let page = store.points().points_after(&all, None, usize::MAX).map_err(|error| error.to_string())?;
    let mut lines = String::new();
    for series in &page.series {
        for point in &series.points {
            lines += &format!("{} {} {}\n", series.key, point.value, point.timestamp);
        }
    }
    env.knowledge.points.check_store(&read_lines(&lines)?, &env.wall_clock, env.now)
}

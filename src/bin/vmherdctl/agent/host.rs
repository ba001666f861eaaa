//! What the host is and does, by the crate sysinfo.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use log::warn;
use sysinfo::{Disk, DiskRefreshKind, Disks, MemoryRefreshKind, Networks, System};
use vmherd::client::NewVm;

use super::key::metric_key;
use super::limits;
use super::sample::Sample;

/// Takes samples.
pub struct Host {
    /// The name of the VM, which begins each key.
    name: String,
    system: System,
    disks: Disks,
    networks: Networks,
    /// When the counters of processors and networks were read last.
    counted: Option<Instant>,
    /// Whether it was logged that there are too many mounts or interfaces.
    is_cut_logged: bool,
}

impl Host {
    pub fn new(name: String) -> Host {
        let (system, disks, networks) = (System::new(), Disks::new(), Networks::new());
        Host { name, system, disks, networks, counted: None, is_cut_logged: false }
    }

    /// The current values. Those that are differences are missing in the first sample.
    pub fn sample(&mut self, timestamp: i64) -> Sample {
        let now = Instant::now();
        let since = self.counted.replace(now).map(|counted| now - counted).filter(|since| !since.is_zero());
        let mut values = Values { name: &self.name, values: Vec::new() };

        self.system.refresh_cpu_usage();
        if since.is_some() {
            values.add(&["cpu"], self.system.global_cpu_usage().into());
        }
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (total, available) = (self.system.total_memory(), self.system.available_memory());
        values.add(&["memory"], used_percent(total, available));
        values.add(&["load"], System::load_average().one);

        self.disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        let mounts = mounts(&self.disks);
        let mount_count = mounts.len();
        for (mount, disk) in mounts.into_iter().take(limits::MOUNTS_MAX) {
            values.add(&["disk", &mount, "used"], used_percent(disk.total_space(), disk.available_space()));
        }

        self.networks.refresh(true);
        let interfaces: BTreeMap<_, _> = self.networks.iter().filter(|(name, _)| is_reported(name)).collect();
        let interface_count = interfaces.len();
        for (interface, data) in interfaces.into_iter().take(limits::INTERFACES_MAX) {
            if let Some(since) = since {
                values.add(&["net", interface, "rx"], rate(data.received(), since));
                values.add(&["net", interface, "tx"], rate(data.transmitted(), since));
            }
        }

        let is_cut = mount_count > limits::MOUNTS_MAX || interface_count > limits::INTERFACES_MAX;
        if is_cut && !self.is_cut_logged {
            let (mounts, interfaces) = (limits::MOUNTS_MAX, limits::INTERFACES_MAX);
            warn!(
                "this host has more than {mounts} mounts or {interfaces} interfaces; the others are left out"
            );
            self.is_cut_logged = true;
        }
        Sample { timestamp, values: values.values }
    }

    /// The host as a VM to register, without a password.
    pub fn registration(&mut self) -> NewVm {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        self.disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        let disks = mounts(&self.disks).into_values().map(|disk| disk.total_space().div_ceil(1 << 30));
        NewVm {
            vm_id: self.name.clone(),
            ram: u32::try_from(self.system.total_memory() >> 20).unwrap_or(u32::MAX).max(1),
            cpu: u16::try_from(self.system.cpus().len()).unwrap_or(u16::MAX).max(1),
            password: None,
            disks: disks.take(limits::MOUNTS_MAX).collect(),
        }
    }
}

/// The values of a sample.
struct Values<'a> {
    name: &'a str,
    values: Vec<(String, f64)>,
}

impl Values<'_> {
    /// Adds a value, to two decimal places; the key is the VM's name and `parts`.
    fn add(&mut self, parts: &[&str], value: f64) {
        if value.is_finite() {
            let parts: Vec<&str> = [self.name].into_iter().chain(parts.iter().copied()).collect();
            self.values.push((metric_key(&parts), (100.0 * value).round() / 100.0));
        }
    }
}

/// The name of this host; `None` if it has none that is text.
pub fn host_name() -> Option<String> {
    System::host_name().filter(|name| !name.is_empty())
}

/// The disks by their mounts, the shortest mount of each.
fn mounts(disks: &Disks) -> BTreeMap<String, &Disk> {
    let mut by_device: BTreeMap<&OsStr, &Disk> = BTreeMap::new();
    for disk in disks.list().iter().filter(|disk| is_on_a_device(disk)) {
        let shortest = by_device.entry(disk.name()).or_insert(disk);
        if disk.mount_point().as_os_str().len() < shortest.mount_point().as_os_str().len() {
            *shortest = disk;
        }
    }
    let mount = |disk: &Disk| disk.mount_point().to_string_lossy().into_owned();
    by_device.into_values().map(|disk| (mount(disk), disk)).collect()
}

/// Whether a file system is one of a device. The root is always reported: a container's is not of a device. In containers,
/// single files are mounts too.
fn is_on_a_device(disk: &Disk) -> bool {
    let is_device = disk.name().as_encoded_bytes().starts_with(b"/dev/") || disk.file_system() == "zfs";
    let mount = disk.mount_point();
    disk.total_space() > 0 && (mount == Path::new("/") || is_device && mount.is_dir())
}

/// Whether an interface is reported: not the loopback and its like, and not those that come and go with containers and VMs,
/// whose names would fill the server with keys.
fn is_reported(interface: &str) -> bool {
    !TEMPORARY.iter().chain(INTERNAL).any(|prefix| interface.starts_with(prefix))
}

/// Percent that are not available.
fn used_percent(total: u64, available: u64) -> f64 {
    100.0 * total.saturating_sub(available) as f64 / total as f64
}

/// Bytes a second.
fn rate(bytes: u64, since: Duration) -> f64 {
    bytes as f64 / since.as_secs_f64()
}

/// The beginnings of the names of interfaces of containers and guests.
const TEMPORARY: &[&str] = &["veth", "tap", "vnet", "cali", "lxc"];
/// The beginnings of the names of interfaces that no other host is behind.
const INTERNAL: &[&str] = &["lo", "ifb", "dummy"];

#[cfg(test)]
mod tests {
    use super::*;

    fn value(sample: &Sample, key: &str) -> Option<f64> {
        sample.values.iter().find(|(found, _)| found == key).map(|(_, value)| *value)
    }

    #[test]
    fn samples_have_the_values_of_this_host() {
        let mut host = Host::new("web-1".into());
        let first = host.sample(7);
        assert_eq!((first.timestamp, value(&first, "web-1.cpu")), (7, None));
        for key in ["web-1.memory", "web-1.disk./.used"] {
            let percent = value(&first, key).expect(key);
            assert!((0.0..=100.0).contains(&percent), "{key} {percent}");
        }
        assert!(value(&first, "web-1.load").is_some_and(|load| load >= 0.0));
        let second = host.sample(8);
        assert!(value(&second, "web-1.cpu").is_some_and(|cpu| (0.0..=100.0).contains(&cpu)), "{second:?}");
        assert!(second.values.len() <= limits::VALUES_MAX);
        let interfaces = second.values.iter().filter(|(key, _)| key.starts_with("web-1.net.")).count();
        assert!(interfaces % 2 == 0 && !second.values.iter().any(|(key, _)| key.contains(".net.lo.")));
    }

    #[test]
    fn this_host_can_be_registered() {
        let vm = Host::new("web-1".into()).registration();
        assert!(vm.vm_id == "web-1" && vm.ram > 64 && vm.cpu > 0 && !vm.disks.is_empty(), "{vm:?}");
        assert!(vm.disks.iter().all(|gib| *gib > 0) && vm.password.is_none());
    }

    #[test]
    fn interfaces_of_containers_and_the_loopback_are_left_out() {
        assert!(["eth0", "ens3", "bond0", "wg0", "eth0.5"].into_iter().all(is_reported));
        assert!(!["lo", "ifb0", "veth12ab", "tap0", "vnet3", "cali1"].into_iter().any(is_reported));
    }

    #[test]
    fn values_are_rounded_and_finite() {
        let mut values = Values { name: "a b", values: Vec::new() };
        values.add(&["disk", "/x y", "used"], used_percent(3, 2));
        values.add(&["memory"], used_percent(0, 0));
        values.add(&["rx"], rate(1000, Duration::from_millis(3)));
        assert_eq!(values.values, [("a_b.disk./x_y.used".into(), 33.33), ("a_b.rx".into(), 333_333.33)]);
    }
}

//! The costs of stored password hashes. After a change of the configured cost there are several, and a failed login
//! runs one hash of each, so that its time does not reveal which VMs exist.
//!
//! The costs are read from the store once, before the first password check. A cost that another process adds later is
//! learned at the first login of such a VM. Clients can't add costs, since only stored hashes count. Unused costs
//! disappear at the next start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits;
use crate::store::RegistryStore;

/// The cost of one argon2id hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Degree of parallelism.
    pub lanes: u32,
}

/// The parameters of one run of argon2id, without its input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Run {
    /// The cost.
    pub cost: Cost,
    /// The argon2 version, as in PHC strings.
    pub version: u32,
}

/// The runs of a failed login; shared by all hashing threads.
#[derive(Debug)]
pub struct StoredCosts {
    configured: Cost,
    /// The first is the run of new hashes.
    runs: Mutex<Vec<Run>>,
    is_complete: AtomicBool,
}

impl StoredCosts {
    /// Knows only `run`, the one of new hashes.
    pub fn new(run: Run) -> StoredCosts {
        StoredCosts { configured: run.cost, runs: Mutex::new(vec![run]), is_complete: AtomicBool::new(false) }
    }

    /// The cost of new hashes.
    pub fn configured(&self) -> Cost {
        self.configured
    }

    /// The known runs, in the order learned.
    pub fn runs(&self) -> Vec<Run> {
        self.lock().clone()
    }

    /// Adds the run of a stored hash.
    pub fn learn(&self, run: Run) {
        let mut runs = self.lock();
        if runs.contains(&run) {
            return;
        }
        let Cost { memory_kib, passes, lanes } = run.cost;
        if runs.len() >= limits::PASSWORD_COSTS_MAX {
            log::warn!(
                "stored password hashes have more than {} different costs: the time of a failed login reveals VMs \
                 with m={memory_kib},t={passes},p={lanes}",
                limits::PASSWORD_COSTS_MAX
            );
            return;
        }
        runs.push(run);
        drop(runs);
        log::info!(
            "some stored password hashes have m={memory_kib},t={passes},p={lanes}: each failed login runs one hash of \
             that cost too"
        );
    }

    /// Reads the costs of all stored hashes from `store`, once, so that verifying takes the same time for every name.
    /// `run_of` parses the prefix of a hash.
    pub fn complete(&self, store: &mut dyn RegistryStore, run_of: impl Fn(&str) -> Option<Run>) {
        if self.is_complete.load(Ordering::Acquire) {
            return;
        }
        // Takes no lock, since the store may hang; concurrent calls learn the same costs.
        match store.password_hash_prefixes(limits::PASSWORD_HASH_PREFIXES_MAX) {
            Ok(prefixes) => {
                prefixes.iter().filter_map(|prefix| run_of(prefix)).for_each(|run| self.learn(run));
                self.is_complete.store(true, Ordering::Release);
            }
            Err(error) => log::warn!("reading the costs of stored password hashes failed: {error}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::UnixSeconds;
    use crate::model::{NewVm, Secret, VmName, VmShape};
    use crate::store::{self, Location, Store, Write, Written};
    use crate::work::password::{Hasher, PasswordCheck, known_costs};
    use crate::work::{Hash, Read, Work, WorkResult, WorkerContext};

    const OLD: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    const NEW: Cost = Cost { memory_kib: 32, passes: 2, lanes: 1 };

    fn add(store: &mut dyn Store, name: &str, cost: Cost) {
        let vm = NewVm {
            name: VmName::parse(name).unwrap(),
            shape: VmShape { ram_mib: 512, cpus: 1 },
            disk_sizes_gib: Vec::new(),
            password_hash: Some(Hasher::new(cost).hash(&Secret::new("securePass123")).unwrap()),
            management: None,
        };
        let write = Write::Register { vm, vms_max: 100, now: UnixSeconds(1_800_000_000) };
        assert!(matches!(store.write(&[&write])[..], [Ok(Written::Registered(_))]));
    }

    fn run(worker: &mut WorkerContext, work: Work) -> WorkResult {
        worker.run([&work]).remove(0).expect("the work succeeds")
    }

    #[test]
    fn the_first_login_takes_all_stored_costs_for_every_name() {
        let factory = store::open(&Location::Memory).expect("memory");
        let mut store = factory.connect().expect("memory");
        add(&mut *store, "old", OLD);
        add(&mut *store, "new", NEW);
        let version = 0x13;
        let both = [Run { cost: NEW, version }, Run { cost: OLD, version }];
        for name in ["unknown", "new", "old"] {
            let costs = known_costs(NEW);
            assert_eq!(costs.runs(), both[..1]);
            let mut worker = WorkerContext::new(Arc::clone(&factory), Arc::clone(&costs));
            let name = VmName::parse(name).unwrap();
            let WorkResult::Credentials(found) = run(&mut worker, Work::Read(Read::FindCredentials { name }))
            else {
                panic!("no credentials")
            };
            assert_eq!(costs.runs(), both, "before the password is checked");
            let stored = found.and_then(|found| found.password_hash);
            let password = Secret::new("wrong");
            let verified = run(&mut worker, Work::Hash(Hash::Verify { password, stored }));
            assert!(matches!(verified, WorkResult::Verified(PasswordCheck::Wrong)));
            assert_eq!(costs.runs(), both);
        }
    }

    #[test]
    fn the_store_is_read_once() {
        let factory = store::open(&Location::Memory).expect("memory");
        let mut store = factory.connect().expect("memory");
        let costs = known_costs(NEW);
        costs.complete(store.registry(), |_| None);
        add(&mut *store, "old", OLD);
        costs.complete(store.registry(), |_| panic!("asked again"));
        assert_eq!(costs.runs().len(), 1);
    }
}

//! Which costs stored password hashes have. After the configured cost was changed there are several, and a failed
//! login takes a hash of each: else its time would tell which VMs exist.
//!
//! The store is asked for them once, before the first password is checked; one that another process brings in later
//! is learned with the first login of such a VM. Clients can't add any, since only what is stored counts. A cost that
//! no hash has any more is forgotten at the next start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits;
use crate::store::{RegistryStore, StoreError};

/// What one argon2id hash costs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// One run of argon2id, but for what it is run on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Run {
    /// How much it takes.
    pub cost: Cost,
    /// The algorithm's version, as PHC strings have it.
    pub version: u32,
}

/// The runs that a failed login takes; shared by all threads that hash.
#[derive(Debug)]
pub struct StoredCosts {
    configured: Cost,
    /// The first is that of new hashes.
    runs: Mutex<Vec<Run>>,
    is_complete: AtomicBool,
}

impl StoredCosts {
    /// Only that of new hashes is known, which is `run`.
    pub fn new(run: Run) -> StoredCosts {
        StoredCosts { configured: run.cost, runs: Mutex::new(vec![run]), is_complete: AtomicBool::new(false) }
    }

    /// The cost of new hashes.
    pub fn configured(&self) -> Cost {
        self.configured
    }

    /// What is known, in the order in which it was learned.
    pub fn runs(&self) -> Vec<Run> {
        self.lock().clone()
    }

    /// A stored hash takes `run`.
    pub fn learn(&self, run: Run) {
        let mut runs = self.lock();
        if runs.contains(&run) {
            return;
        }
        let Cost { memory_kib, passes, lanes } = run.cost;
        if runs.len() >= limits::PASSWORD_COSTS_MAX {
            log::warn!(
                "stored password hashes have more than {} costs: the time of a failed login tells of VMs with \
                 m={memory_kib},t={passes},p={lanes}",
                limits::PASSWORD_COSTS_MAX
            );
            return;
        }
        runs.push(run);
        drop(runs);
        log::info!(
            "there are stored password hashes of m={memory_kib},t={passes},p={lanes}: each failed login takes one of \
             that cost too"
        );
    }

    /// Asks `store` for the costs of what is stored, unless that was done. `run_of` reads the start of a hash.
    pub fn complete(
        &self,
        store: &mut dyn RegistryStore,
        run_of: impl Fn(&str) -> Option<Run>,
    ) -> Result<(), StoreError> {
        if self.is_complete.load(Ordering::Acquire) {
            return Ok(());
        }
        // Without a lock, which one that hangs in the store would hold: two that ask learn the same.
        let starts = store.password_hash_prefixes(limits::PASSWORD_HASH_STARTS_MAX)?;
        starts.iter().filter_map(|start| run_of(start)).for_each(|run| self.learn(run));
        self.is_complete.store(true, Ordering::Release);
        Ok(())
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
        };
        let write = Write::Register { vm, vms_max: 100, now: UnixSeconds(1_800_000_000) };
        assert!(matches!(store.write(&[write])[..], [Ok(Written::Registered(_))]));
    }

    fn run(tools: &mut WorkerContext, work: Work) -> WorkResult {
        let mut results = Vec::new();
        tools.run(vec![work], &mut results);
        results.pop().expect("one result").expect("it works")
    }

    #[test]
    fn the_first_login_after_a_start_takes_what_is_stored_whoever_it_is_for() {
        let factory = store::open(&Location::Memory).expect("memory");
        let mut store = factory.connect().expect("memory");
        add(&mut *store, "old", OLD);
        add(&mut *store, "new", NEW);
        let version = 0x13;
        let both = [Run { cost: NEW, version }, Run { cost: OLD, version }];
        for name in ["unknown", "new", "old"] {
            let costs = known_costs(NEW);
            assert_eq!(costs.runs(), both[..1]);
            let mut tools = WorkerContext::new(Arc::clone(&factory), Arc::clone(&costs));
            let name = VmName::parse(name).unwrap();
            let WorkResult::Credentials(found) = run(&mut tools, Work::Read(Read::FindCredentials { name }))
            else {
                panic!("no credentials")
            };
            assert_eq!(costs.runs(), both, "before the password is checked");
            let stored = found.and_then(|found| found.password_hash);
            let password = Secret::new("wrong");
            let verified = run(&mut tools, Work::Hash(Hash::Verify { password, stored }));
            assert!(matches!(verified, WorkResult::Verified(PasswordCheck::Wrong)));
            assert_eq!(costs.runs(), both);
        }
    }

    #[test]
    fn the_store_is_asked_once() {
        let factory = store::open(&Location::Memory).expect("memory");
        let mut store = factory.connect().expect("memory");
        let costs = known_costs(NEW);
        costs.complete(store.registry(), |_| None).unwrap();
        add(&mut *store, "old", OLD);
        costs.complete(store.registry(), |_| panic!("asked again")).unwrap();
        assert_eq!(costs.runs().len(), 1);
    }
}

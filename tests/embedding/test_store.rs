//! A store in memory that fails, waits or opens late as a test wants.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use vmherd::custom_store::{
    Management, NewVm, OpenFailure, PointRemoval, PointStore, RegistryStore, RemovedPoints, Store,
    StoreFactory, UnixSeconds, Write, WriteOutcome, open,
};
use vmherd::{ServerId, StoreError, Vm, VmId, VmName, VmShape};

use crate::running::LatchedThreads;

/// Makes connections to the store. Clones are handles to the same one.
#[derive(Clone)]
pub struct TestStore(Arc<Shared>);

struct Shared {
    inner: Arc<dyn StoreFactory>,
    is_open: AtomicBool,
    fault: Mutex<Option<Fault>>,
}

/// What happens to writes.
#[derive(Clone)]
pub enum Fault {
    /// Each fails, until [`TestStore::recover`].
    Down,
    /// The next has an unknown outcome: it is done, or not.
    Unknown { is_done: bool },
    /// The next waits at the latch before it is done.
    Wait(LatchedThreads),
}

/// One connection.
struct Connection(Box<dyn Store>, TestStore);

impl TestStore {
    pub fn new() -> TestStore {
        let inner = open(&"memory:".parse().expect("a store")).expect("memory");
        TestStore(Arc::new(Shared { inner, is_open: true.into(), fault: Mutex::default() }))
    }

    /// Has writes meet this from now on.
    pub fn fail(&self, fault: Fault) {
        *self.0.fault.lock().expect("no panic") = Some(fault);
    }

    /// Has the next write wait; returns the latch.
    pub fn hold(&self) -> LatchedThreads {
        let latch = LatchedThreads::default();
        self.fail(Fault::Wait(latch.clone()));
        latch
    }

    pub fn recover(&self) {
        *self.0.fault.lock().expect("no panic") = None;
    }

    /// Whether a server can open it.
    pub fn set_open(&self, is_open: bool) {
        self.0.is_open.store(is_open, Ordering::Release);
    }

    pub fn vms(&self) -> Vec<Vm> {
        let mut store = self.0.inner.connect().expect("memory");
        store.registry().vms_after(VmId(0), usize::MAX).expect("memory").vms
    }

    pub fn names(&self) -> Vec<String> {
        self.vms().iter().map(|vm| vm.name.to_string()).collect()
    }

    /// Writes without faults.
    pub fn write(&self, write: &Write) {
        let outcomes = self.0.inner.connect().expect("memory").write(&[write]);
        assert!(outcomes[0].is_ok(), "{outcomes:?}");
    }

    /// Adds a VM that a server manages.
    pub fn add_managed(&self, name: &str, server: ServerId) {
        let vm = NewVm {
            name: VmName::parse(name).expect(name),
            shape: VmShape { ram_mib: 1, cpus: 1 },
            disk_sizes_gib: vec![1],
            password_hash: None,
            management: Some(Management { server, token: None }),
        };
        self.write(&Write::Register { vm, vms_max: 100, now: UnixSeconds(0) });
    }
}

impl StoreFactory for TestStore {
    fn open(&self) -> Result<(), OpenFailure> {
        match self.0.is_open.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(OpenFailure { error: away(), is_transient: true }),
        }
    }

    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        self.open().map_err(|failure| failure.error)?;
        Ok(Box::new(Connection(self.0.inner.connect()?, self.clone())))
    }
}

impl Store for Connection {
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        let fault = {
            let mut fault = self.1.0.fault.lock().expect("no panic");
            match &*fault {
                Some(Fault::Down) => Some(Fault::Down),
                _ => fault.take(),
            }
        };
        let all = |error: StoreError| vec![Err(error); writes.len()];
        match fault {
            None => self.0.write(writes),
            Some(Fault::Down) => all(away()),
            Some(Fault::Unknown { is_done }) => {
                if is_done {
                    self.0.write(writes);
                }
                all(StoreError::OutcomeUnknown("the test wants it".to_owned()))
            }
            Some(Fault::Wait(latch)) => {
                latch.wait();
                self.0.write(writes)
            }
        }
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        self.0.remove_points(removal)
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self.0.registry()
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self.0.points()
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("the test wants it".to_owned())
}

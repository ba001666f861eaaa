//! The contract of all stores: one suite of tests that runs on each store.
//!
//! [`registry`] tests VMs and disks, [`by_id`] VMs named by their ids, [`managed`] those that servers run, [`tokens`]
//! tokens and logins, [`access_tokens`] access tokens, [`last_seen`] when VMs were last seen, [`changes`] those of other processes, [`points`] points, [`concurrency`] batches and concurrent connections, [`point_filters`] which points are read, [`point_concurrency`] connections that put and remove points.

mod access_tokens;
mod by_id;
mod changes;
#[path = "../../../tests/common/postgres.rs"]
pub(super) mod cluster;
mod concurrency;
mod last_seen;
mod managed;
mod point_concurrency;
mod point_filters;
pub(super) mod points;
mod registry;
mod tokens;

use std::sync::Arc;

use super::{Location, Store, StoreError, StoreFactory, Write, WriteOutcome, Written, open};
use crate::clock::UnixSeconds;
use crate::ids::VmId;
use crate::model::{Credentials, Login, NewVm, TokenHash, Vm, VmChange, VmName, VmShape};
use cluster::{Cluster, Database};

/// Makes a test of each function for each store. A function that is not listed is dead code and so an error.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[test] fn $name() { super::$name(&super::Fixture::memory()); })+
        }
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[test] fn $name() { super::$name(&super::Fixture::sqlite()); })+
        }
        mod postgres {
            $(#[test] fn $name() { super::$name(&super::Fixture::postgres()); })+
        }
        mod postgres_serializable {
            $(#[test] fn $name() { super::$name(&super::Fixture::postgres_serializable()); })+
        }
    };
}
use contract;

/// A new, empty store.
pub(super) struct Fixture {
    factory: Arc<dyn StoreFactory>,
    location: Location,
    /// The folder of its file; removed with the fixture.
    #[cfg(feature = "sqlite")]
    _directory: Option<Directory>,
    _database: Option<Database<'static>>,
}

impl Fixture {
    fn memory() -> Fixture {
        Fixture {
            factory: open(&Location::Memory).expect("memory is always there"),
            location: Location::Memory,
            #[cfg(feature = "sqlite")]
            _directory: None,
            _database: None,
        }
    }

    fn postgres() -> Fixture {
        Fixture::on(Cluster::shared().database())
    }

    /// A database whose transactions are serializable by default.
    fn postgres_serializable() -> Fixture {
        let database = Cluster::shared().database();
        let sql =
            format!("ALTER DATABASE {} SET default_transaction_isolation = serializable", database.name());
        database.client().batch_execute(&sql).expect("its owner may");
        Fixture::on(database)
    }

    fn on(database: Database<'static>) -> Fixture {
        let location = Location::parse(&database.url()).expect("a URL");
        Fixture {
            factory: open(&location).expect("an empty database"),
            location,
            #[cfg(feature = "sqlite")]
            _directory: None,
            _database: Some(database),
        }
    }

    #[cfg(feature = "sqlite")]
    fn sqlite() -> Fixture {
        let directory = Directory::new();
        let location = Location::Sqlite(directory.path("vmherd.db"));
        let factory = open(&location).expect("a new file");
        Fixture { factory, location, _directory: Some(directory), _database: None }
    }

    fn connect(&self) -> Box<dyn Store> {
        self.factory.connect().expect("a connection")
    }

    /// A connection as another process has it; `None` if no other process can.
    fn of_other_process(&self) -> Option<Box<dyn Store>> {
        let is_shared = self.location != Location::Memory;
        is_shared.then(|| open(&self.location).and_then(|factory| factory.connect()).expect("a connection"))
    }
}

/// The directory of one test, removed on drop.
#[cfg(feature = "sqlite")]
pub(super) struct Directory(std::path::PathBuf);

#[cfg(feature = "sqlite")]
impl Directory {
    pub(super) fn new() -> Directory {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vmherd-store-{}-{number}", std::process::id()));
        // A process with the same id may have left one.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a directory for temporary files");
        Directory(path)
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

#[cfg(feature = "sqlite")]
impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const SHAPE: VmShape = VmShape { ram_mib: 2048, cpus: 2 };

pub(super) fn name(text: &str) -> VmName {
    VmName::parse(text).expect(text)
}

pub(super) fn registration(text: &str, disk_sizes_gib: &[u64]) -> Write {
    registration_up_to(text, disk_sizes_gib, 1_000_000)
}

pub(super) fn registration_up_to(text: &str, disk_sizes_gib: &[u64], vms_max: u64) -> Write {
    let vm = NewVm {
        name: name(text),
        shape: SHAPE,
        disk_sizes_gib: disk_sizes_gib.to_vec(),
        password_hash: Some(format!("hash of {text}")),
        management: None,
    };
    Write::Register { vm, vms_max, now: NOW }
}

pub(super) fn token(number: u8) -> TokenHash {
    TokenHash([number; 32])
}

pub(super) fn issue(login: &Login, token: TokenHash, expires: i64) -> Write {
    let (login, expires) = (login.clone(), UnixSeconds(expires));
    Write::IssueToken { login, token, expires, replaces: None, rehash: None, now: NOW }
}

fn update(login: &Login, change: VmChange) -> Write {
    Write::Update { login: login.clone(), token: None, change }
}

fn ram(mib: u32) -> VmChange {
    VmChange { ram_mib: Some(mib), ..VmChange::default() }
}

fn password(text: &str, password_hash: &str) -> Write {
    Write::ChangePassword { name: name(text), password_hash: password_hash.to_owned() }
}

/// Writes with one owner, which tests have.
pub(super) trait WriteAll {
    fn write_all(&mut self, writes: &[Write]) -> Vec<WriteOutcome>;
}

impl<S: Store + ?Sized> WriteAll for S {
    fn write_all(&mut self, writes: &[Write]) -> Vec<WriteOutcome> {
        self.write(&writes.iter().collect::<Vec<_>>())
    }
}

/// Runs one write.
pub(super) fn run(store: &mut dyn Store, write: Write) -> WriteOutcome {
    let mut outcomes = store.write(&[&write]);
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Registers a VM and returns its login.
pub(super) fn register(store: &mut dyn Store, text: &str, disk_sizes_gib: &[u64]) -> Login {
    let Ok(Written::Registered(id)) = run(store, registration(text, disk_sizes_gib)) else {
        panic!("{text} is not registered");
    };
    let login = credentials(store, text).expect("it was just registered").login;
    assert_eq!(login.id, id);
    login
}

pub(super) fn credentials(store: &mut dyn Store, text: &str) -> Option<Credentials> {
    store.registry().credentials(&name(text)).expect("a working store")
}

pub(super) fn all_vms(store: &mut dyn Store) -> Vec<Vm> {
    store.registry().vms_after(VmId(0), usize::MAX).expect("a working store").vms
}

pub(super) fn vm(store: &mut dyn Store, id: VmId) -> Vm {
    store.registry().vms(&[id]).expect("a working store").pop().expect("a VM of that id")
}

fn sizes(vm: &Vm) -> Vec<u64> {
    vm.disks.iter().map(|disk| disk.size_gib).collect()
}

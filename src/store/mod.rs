//! Storage of VMs, disks, tokens and points: the trait [`Store`], its reads
//! ([`RegistryStore`], [`PointStore`]) and its implementations.
//!
//! Stores block; each worker thread has its own connection. The traits have one method per need, not one per
//! table. Stores read no clock (`now` is an argument), hash no passwords and check no permissions.

mod changes;
#[cfg(test)]
mod contract;
mod error;
mod location;
mod memory;
mod migration_records;
mod monitored;
mod points;
mod postgres;
mod registry;
mod series;
#[cfg(feature = "sqlite")]
mod sqlite;
mod token_sweep;
mod wrapped;
mod write;
mod write_behind;
mod write_health;

use std::sync::Arc;
use std::time::Duration;

use crate::limits;

pub use self::changes::{ChangeKind, ChangesPage, ChangesPosition, StoredChange};
pub use self::error::StoreError;
pub use self::location::{Location, ends_in_directory};
pub use self::monitored::with_write_health;
pub use self::points::{PointPage, PointPosition, PointRemoval, PointStore, RemovedPoints, ScanRange};
pub use self::postgres::PostgresUrl;
pub use self::registry::{RegistryStore, VmPage};
pub use self::write::{TokenProof, Write, WriteOutcome, Written, write_one};
pub use self::write_behind::{WriteBehindBuffer, with_write_behind};
pub use self::write_health::WriteHealth;

/// One connection to a store.
///
/// All writes pass through it, since writes of both kinds share commits. Reads are separate traits: a decorator
/// hands out the inner store's where it changes nothing.
pub trait Store: Send {
    /// Runs `writes` in order and returns one result for each, in order. Each write is atomic. `Ok` means
    /// that the write is as durable as the store promises. The writes share one commit where the store
    /// supports it; a failing write does not fail the others.
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome>;

    /// Removes old points, in a commit of its own.
    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError>;

    /// The reads of VMs, disks, logins and tokens.
    fn registry(&mut self) -> &mut dyn RegistryStore;

    /// The reads of points.
    fn points(&mut self) -> &mut dyn PointStore;
}

/// Makes connections to one store.
pub trait StoreFactory: Send + Sync {
    /// Tries once to open the store, unless it is open. Until then its connections report that it is unavailable.
    fn open(&self) -> Result<(), OpenFailure> {
        Ok(())
    }

    /// Makes one more connection.
    fn connect(&self) -> Result<Box<dyn Store>, StoreError>;

    /// Makes a connection for a worker, which waits for a lock only briefly. After [`StoreError::Busy`] the
    /// caller may retry.
    fn connect_worker(&self) -> Result<Box<dyn Store>, StoreError> {
        self.connect()
    }

    /// How a worker retries [`StoreError::Busy`]; `None`: it does not, since the connection has already
    /// waited long enough.
    fn lock_retry_policy(&self) -> Option<LockRetryPolicy> {
        None
    }

    /// Whether its connections answer at once: they wait for no disk and no network, only for each other.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// The number of connections that can usefully write concurrently.
    fn writers_max(&self) -> usize {
        1
    }
}

/// Why a store is not open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenFailure {
    /// What is wrong.
    pub error: StoreError,
    /// Whether a later attempt may succeed without a change of the settings.
    pub is_transient: bool,
}

/// How a worker waits for a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockRetryPolicy {
    /// The lock timeout of one attempt, approximately.
    pub lock_timeout: Duration,
    /// The time that must remain until the job's deadline for another attempt.
    pub reserve: Duration,
}

/// Opens the store at `location`, creates it if it does not exist, and migrates an older schema. Several
/// processes may open one store concurrently.
pub fn open(location: &Location) -> Result<Arc<dyn StoreFactory>, StoreError> {
    #[cfg(feature = "sqlite")]
    if let Location::Sqlite(path) = location {
        return Ok(Arc::new(sqlite::SqliteFactory::open(path)?));
    }
    let factory = open_for_server(location, limits::STORE_CONNECTIONS_LIMIT)?;
    factory.open().map_err(|failure| failure.error)?;
    Ok(factory)
}

/// Like [`open`], for a server. An SQLite file is locked against other servers and monitored as long as the
/// server runs. A PostgreSQL database is opened later, by the caller ([`StoreFactory::open`]), and gets at most
/// `connections_max` connections.
pub fn open_for_server(
    location: &Location,
    connections_max: usize,
) -> Result<Arc<dyn StoreFactory>, StoreError> {
    let factory: Arc<dyn StoreFactory> = match location {
        Location::Memory => Arc::new(memory::MemoryStore::default()),
        #[cfg(feature = "sqlite")]
        Location::Sqlite(path) => Arc::new(sqlite::SqliteFactory::open_exclusive(path)?),
        Location::Postgres(url) => Arc::new(self::postgres::PostgresFactory::new(url, connections_max)),
    };
    Ok(factory)
}

/// Copies the store at `location` to the file `to`, as of one moment. A failed copy leaves no file. `on_start`
/// receives a handle that interrupts the copy.
pub fn back_up(
    location: &Location,
    to: &std::path::Path,
    on_start: impl FnOnce(Interrupt),
) -> Result<(), StoreError> {
    #[cfg(not(feature = "sqlite"))]
    let _ = (to, on_start);
    let elsewhere = match location {
        Location::Memory => "memory: is inside the daemon's process, where nothing can be copied",
        #[cfg(feature = "sqlite")]
        Location::Sqlite(path) if !path.exists() => {
            return Err(StoreError::Refused(format!("there is no store {location}")));
        }
        #[cfg(feature = "sqlite")]
        Location::Sqlite(path) => return sqlite::back_up(path, to, on_start),
        Location::Postgres(_) => {
            "the store is a PostgreSQL database: copy it with pg_dump --format=custom --file=FILE URL, and restore it \
             with pg_restore"
        }
    };
    Err(StoreError::Refused(elsewhere.to_owned()))
}

/// Converts a limit for SQL; one that is too large means no limit.
fn as_i64(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Interrupts a running operation, from any thread.
pub type Interrupt = Box<dyn Fn() + Send>;

//! Storage of VMs, disks, tokens and points: the trait [`Store`] and its implementations.
//!
//! Stores block; each worker thread has its own connection. The trait has one method per need, not one per
//! table. Stores read no clock (`now` is an argument), hash no passwords and check no permissions.

#[cfg(test)]
mod contract;
mod hash_prefixes;
mod memory;
mod migration_records;
mod monitored;
mod postgres;
mod series;
#[cfg(feature = "sqlite")]
mod sqlite;
mod token_sweep;
mod write_behind;
mod write_health;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::ids::{DiskId, SeriesId, VmId};
use crate::limits;
use crate::model::{
    Credentials, DiskOfVm, Login, MetricKey, NewPoint, NewVm, PointFilter, Series, TokenHash, Vm, VmChange,
    VmName, VmShape,
};

pub use self::monitored::MonitoredFactory;
pub use self::postgres::PostgresUrl;
pub use self::write_behind::{WriteBehindBuffer, WriteBehindFactory};
pub use self::write_health::WriteHealth;

/// One connection to a store.
pub trait Store: Send {
    /// Runs `writes` in order and returns one result for each, in order. Each write is atomic. `Ok` means
    /// that the write is as durable as the store promises. The writes share one commit where the store
    /// supports it; a failing write does not fail the others.
    fn write(&mut self, writes: &[Write]) -> Vec<Result<Written, StoreError>>;

    /// The credentials of the VM `name`; `None` if there is no such VM.
    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError>;

    /// Like [`Store::credentials`], by id.
    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError>;

    /// The distinct prefixes of the stored PHC password hashes, up to the `$` before the salt; at most
    /// `count_max`. Scans all VMs.
    fn password_hash_prefixes(&mut self, count_max: usize) -> Result<Vec<String>, StoreError>;

    /// The owner of `token`; `None` if it is unknown or has expired at `now`.
    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError>;

    /// Like [`Store::token_owner`] for each of `tokens`, in order.
    fn token_owners(
        &mut self,
        tokens: &[(TokenHash, UnixSeconds)],
    ) -> Result<Vec<Option<Login>>, StoreError> {
        tokens.iter().map(|(token, now)| self.token_owner(token, *now)).collect()
    }

    /// Begins a group of reads that ends with [`Store::end_reads`]. A store may run them in one
    /// transaction, so that they see one state.
    fn begin_reads(&mut self) {}

    /// Ends the group that [`Store::begin_reads`] began.
    fn end_reads(&mut self) {}

    /// Whether the VM of `login` still exists and still has the same password.
    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError>;

    /// VMs with an id above `after`, in ascending order: as many as fit in `rows_max` rows (each VM and
    /// each disk is a row), but at least one if there is one.
    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError>;

    /// Like [`Store::vms_after`], of VMs that have ever been connected.
    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError>;

    /// The VMs with these ids that exist, in no particular order.
    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError>;

    /// Disks with an id above `after`, in ascending order, at most `count_max`. A shorter result is the
    /// last.
    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError>;

    /// Writes everything that [`Store::write`] has acknowledged but not yet stored.
    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Points that match `filter`, after the position `after`, at most `count_max`: series in the order of
    /// their creation, the points of each in ascending order of time. A series without matching points
    /// counts as one point; so a page may be short or empty although more points follow.
    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointPosition>,
        count_max: usize,
    ) -> Result<PointPage, StoreError>;
}

/// The position of a point in the order of all points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PointPosition {
    /// Its series.
    pub series: SeriesId,
    /// Its time, in seconds since 1970.
    pub timestamp: i64,
}

/// A page of points.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PointPage {
    /// The points, grouped by series; no group is empty.
    pub series: Vec<Series>,
    /// Where the next page starts; `None` on the last page. The next page may be empty.
    pub next: Option<PointPosition>,
}

/// A page of VMs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VmPage {
    /// The VMs, in ascending order of id.
    pub vms: Vec<Vm>,
    /// Whether this is the last page.
    pub is_last: bool,
}

/// Makes connections to one store.
pub trait StoreFactory: Send + Sync {
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

    /// The number of connections that can usefully write concurrently.
    fn writers_max(&self) -> usize {
        1
    }
}

/// A store that may not be reachable yet. Until it is open, its connections report that it is unavailable.
pub trait DeferredOpen: Send + Sync {
    /// Tries once.
    fn open(&self) -> Result<(), OpenFailure>;
}

/// Why a store is not open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenFailure {
    /// What is wrong.
    pub error: StoreError,
    /// Whether a later attempt may succeed without a change of the settings.
    pub is_transient: bool,
}

/// A store that may still have to be opened.
pub struct PreparedStore {
    /// Makes connections to it.
    pub factory: Arc<dyn StoreFactory>,
    /// `None` if it is open already.
    pub deferred_open: Option<Arc<dyn DeferredOpen>>,
}

/// How a worker waits for a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockRetryPolicy {
    /// The lock timeout of one attempt, approximately.
    pub lock_timeout: Duration,
    /// The time that must remain until the job's deadline for another attempt.
    pub reserve: Duration,
}

/// Which store to use: the value of `--store`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// `memory:`, gone with the process.
    Memory,
    /// `sqlite:PATH`, one file.
    #[cfg(feature = "sqlite")]
    Sqlite(std::path::PathBuf),
    /// `postgresql://…`, a database on a server.
    Postgres(PostgresUrl),
}

/// A change to the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Adds a VM; at most `vms_max` may exist.
    Register {
        /// The VM.
        vm: NewVm,
        /// The most VMs that the store may hold.
        vms_max: u64,
        /// When.
        now: UnixSeconds,
    },
    /// Adds a VM without a password whose name is its number; at most `vms_max` may exist.
    AddVm {
        /// Memory and processors.
        shape: VmShape,
        /// The sizes of its disks in GiB.
        disk_sizes_gib: Vec<u64>,
        /// The most VMs that the store may hold.
        vms_max: u64,
        /// When.
        now: UnixSeconds,
    },
    /// Changes the VM `login`.
    Update {
        /// Whose request it is: must be current.
        login: Login,
        /// What to change.
        change: VmChange,
    },
    /// Adds a token for a VM that has just given its password, and records that the VM has been connected.
    /// Also removes up to [`crate::limits::TOKENS_SWEPT_PER_ISSUE`] expired tokens and the VM's oldest
    /// tokens beyond [`crate::limits::TOKENS_PER_VM_MAX`].
    IssueToken {
        /// The VM: must be current.
        login: Login,
        /// The new token.
        token: TokenHash,
        /// When it expires.
        expires: UnixSeconds,
        /// The token that the new one replaces.
        replaces: Option<TokenHash>,
        /// A stronger hash of the same password, to store instead of the old one. Does not change the
        /// epoch.
        rehash: Option<String>,
        /// When.
        now: UnixSeconds,
    },
    /// Records that a VM has been connected.
    Connect {
        /// The VM: must be current.
        login: Login,
        /// As with [`Write::IssueToken`].
        rehash: Option<String>,
        /// When.
        now: UnixSeconds,
    },
    /// Revokes tokens of any owner: one connection may hold tokens of several logins. Unknown tokens are
    /// ignored.
    RevokeTokens {
        /// Whose request it is: must be current.
        login: Login,
        /// The tokens.
        tokens: Vec<TokenHash>,
    },
    /// Stores points; each replaces the point of the same key and time. At most `keys_max` keys may exist.
    Put {
        /// The login of the request, which must be current; `None` if the request needs no login.
        login: Option<Login>,
        /// The points; of two with the same key and time, the later wins.
        points: Arc<Vec<NewPoint>>,
        /// The maximum number of keys; [`Write::KEYS_UNBOUNDED`] for points that were acknowledged
        /// before.
        keys_max: u64,
        /// Whether to store all points or none: [`StoreError::KeyLimitReached`]. Otherwise only the
        /// points whose key would exceed the limit are refused.
        is_atomic: bool,
    },
    /// Removes points older than `before`, about `count_max` at most, and series that become empty.
    RemovePoints {
        /// In seconds since 1970; points of this second stay.
        before: i64,
        /// Scan series with an id above this one.
        after: SeriesId,
        /// The maximum number of points to remove and of series to scan.
        count_max: usize,
    },
    /// Removes a VM with its disks and tokens. For the operator.
    Remove(VmName),
    /// Changes a VM's password: revokes its tokens and makes its logins stale. For the operator.
    ChangePassword {
        /// The VM.
        name: VmName,
        /// The PHC hash of the new password.
        password_hash: String,
    },
}

impl Write {
    /// For points that were acknowledged before: they are stored regardless of the key limit.
    pub const KEYS_UNBOUNDED: u64 = u64::MAX;

    /// The number of points or disks that it writes.
    pub fn rows(&self) -> usize {
        match self {
            Write::Register { vm, .. } => vm.disk_sizes_gib.len(),
            Write::AddVm { disk_sizes_gib, .. } => disk_sizes_gib.len(),
            Write::Update { change, .. } => change.rows(),
            Write::Put { points, .. } => points.len(),
            _ => 0,
        }
    }

    /// The total size of the keys of its points, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Write::Put { points, .. } => points.iter().map(|new| new.key.as_str().len()).sum(),
            _ => 0,
        }
    }
}

/// The result of a [`Write`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Written {
    Registered(VmId),
    Updated,
    TokenIssued,
    Connected,
    TokensRevoked,
    Removed,
    PasswordChanged,
    /// The points at the indexes `refused` (ascending) exceeded the key limit; the others are stored.
    Put {
        refused: Vec<usize>,
    },
    /// `count` points were removed. `next` is where to continue; `None` at the end. The series of
    /// `removed_keys` became empty and were removed.
    PointsRemoved {
        count: usize,
        next: Option<SeriesId>,
        removed_keys: Vec<MetricKey>,
    },
}

/// Why a store operation failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// The name is taken.
    AlreadyRegistered,
    /// The maximum number of VMs exists.
    VmLimitReached,
    /// The maximum number of keys exists; the point at this index has a new one.
    KeyLimitReached(usize),
    /// The VM has no disk of that id.
    UnknownDisk(DiskId),
    /// The login is stale: its VM was removed or has another password.
    NotCurrent,
    /// There is no VM of that name; only operator commands get this.
    UnknownVm,
    /// A lock was not released in time; nothing was done.
    Busy,
    /// The store cannot be reached or has failed; nothing was done. The text is for the log.
    Unavailable(String),
    /// The commit was sent but not confirmed. The text is for the log.
    OutcomeUnknown(String),
    /// The store cannot be opened or is not ours to use. The text is for the log.
    Refused(String),
}

/// Opens the store at `location`, creates it if it does not exist, and migrates an older schema. Several
/// processes may open one store concurrently.
pub fn open(location: &Location) -> Result<Arc<dyn StoreFactory>, StoreError> {
    match location {
        Location::Memory => Ok(Arc::new(memory::MemoryFactory::new())),
        #[cfg(feature = "sqlite")]
        Location::Sqlite(path) => Ok(Arc::new(sqlite::SqliteFactory::open(path)?)),
        Location::Postgres(address) => {
            let factory = self::postgres::PostgresFactory::new(address, limits::STORE_CONNECTIONS_LIMIT);
            factory.open().map_err(|not_open| not_open.error)?;
            Ok(Arc::new(factory))
        }
    }
}

/// Like [`open`], for a server. An SQLite file is locked against other servers and monitored as long as the
/// server runs. A PostgreSQL database is opened later, by the caller, and gets at most `connections_max`
/// connections.
pub fn open_for_server(location: &Location, connections_max: usize) -> Result<PreparedStore, StoreError> {
    match location {
        #[cfg(feature = "sqlite")]
        Location::Sqlite(path) => Ok(PreparedStore {
            factory: Arc::new(sqlite::SqliteFactory::open_exclusive(path)?),
            deferred_open: None,
        }),
        Location::Postgres(address) => {
            let factory = Arc::new(self::postgres::PostgresFactory::new(address, connections_max));
            let opening: Arc<dyn DeferredOpen> = Arc::<self::postgres::PostgresFactory>::clone(&factory);
            Ok(PreparedStore { factory, deferred_open: Some(opening) })
        }
        Location::Memory => Ok(PreparedStore { factory: open(location)?, deferred_open: None }),
    }
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

/// Interrupts a running operation, from any thread.
pub type Interrupt = Box<dyn Fn() + Send>;

impl Location {
    /// Parses the value of `--store`. The error lists what is allowed and does not repeat `text`: a URL may
    /// hold a password.
    pub fn parse(text: &str) -> Result<Location, String> {
        if text == "memory:" {
            return Ok(Location::Memory);
        }
        if PostgresUrl::has_scheme(text) {
            return PostgresUrl::parse(text).map(Location::Postgres);
        }
        match text.strip_prefix("sqlite:") {
            Some(path) => Location::parse_sqlite(path),
            None => Err(ALLOWED.to_owned()),
        }
    }

    #[cfg(feature = "sqlite")]
    fn parse_sqlite(path: &str) -> Result<Location, String> {
        match path {
            "" => Err(format!("sqlite: needs the path of a file: {ALLOWED}")),
            // SQLite's own name for what is called `memory:` here.
            ":memory:" => Err(format!("a store in memory is called memory: here: {ALLOWED}")),
            _ if ends_in_directory(path) => Err(format!("sqlite: needs the path of a file: {ALLOWED}")),
            _ if path.contains("://") => {
                Err(format!("sqlite: needs the path of a file, not a URL: {ALLOWED}"))
            }
            path => Ok(Location::Sqlite(path.into())),
        }
    }

    #[cfg(not(feature = "sqlite"))]
    fn parse_sqlite(_path: &str) -> Result<Location, String> {
        Err(format!("this build has no SQLite: {ALLOWED}"))
    }
}

#[cfg(feature = "sqlite")]
const ALLOWED: &str = "allowed are sqlite:PATH (one file), postgresql://… (a database) and memory: (gone with the \
                       process)";
#[cfg(not(feature = "sqlite"))]
const ALLOWED: &str = "allowed are postgresql://… (a database) and memory: (gone with the process)";

/// Whether the path `text` can only name a directory.
pub fn ends_in_directory(text: &str) -> bool {
    matches!(text.rsplit('/').next(), Some("" | "." | "..")) && !text.is_empty()
}

/// Returns the name in `last` if it is that of the VM `id`, and otherwise the result of `read`. Disks of one VM
/// usually follow each other and so share one copy.
fn reuse_name<E>(
    last: &mut Option<(VmId, VmName)>,
    id: VmId,
    read: impl FnOnce() -> Result<VmName, E>,
) -> Result<VmName, E> {
    match last {
        Some((of, name)) if *of == id => Ok(name.clone()),
        _ => Ok(last.insert((id, read()?)).1.clone()),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Memory => f.write_str("memory:"),
            #[cfg(feature = "sqlite")]
            Location::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Location::Postgres(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::AlreadyRegistered => f.write_str("a VM of that name is already registered"),
            StoreError::VmLimitReached => f.write_str("the store holds as many VMs as --vms-max allows"),
            StoreError::KeyLimitReached(at) => {
                write!(f, "the store holds as many keys of metrics as it may; point {at} has another")
            }
            StoreError::UnknownDisk(id) => write!(f, "the VM has no disk {}", id.0),
            StoreError::NotCurrent => f.write_str("the VM was removed or its password changed"),
            StoreError::UnknownVm => f.write_str("there is no VM of that name"),
            StoreError::Busy => f.write_str("the store is locked"),
            StoreError::Unavailable(why) => write!(f, "the store is unavailable: {why}"),
            StoreError::OutcomeUnknown(why) => write!(f, "the store did not confirm a commit: {why}"),
            StoreError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_round_trips() {
        for text in [
            "memory:",
            "sqlite:/var/lib/vmherd/vmherd.db",
            "sqlite:a file",
            "sqlite:file:x?mode=ro",
            "postgresql://me@localhost/herd",
        ] {
            if cfg!(feature = "sqlite") || !text.starts_with("sqlite:") {
                assert_eq!(Location::parse(text).expect(text).to_string(), text);
            }
        }
    }

    #[test]
    fn an_invalid_location_lists_what_is_allowed_without_repeating_it() {
        let bad = ["", "memory", "Memory:", "memory:x", "sqlite", "sqlite:", "sqlite::memory:", "/var/x.db"];
        for text in bad.into_iter().chain([
            "mysql://u:hunter2@h/d",
            "Postgresql://u:hunter2@h/d",
            "sqlite:postgresql://u:hunter2@h/d",
        ]) {
            let error = Location::parse(text).expect_err(text);
            assert!(error.contains("memory:") && !error.contains("hunter2"), "{text}: {error}");
        }
        let error = Location::parse("postgres://u:hunter2@h/d").unwrap_err();
        assert!(error.contains("sslmode") && !error.contains("hunter2"), "{error}");
    }

    #[cfg(not(feature = "sqlite"))]
    #[test]
    fn a_store_missing_from_this_build_is_named() {
        assert!(Location::parse("sqlite:x").unwrap_err().starts_with("this build has no SQLite"));
    }
}

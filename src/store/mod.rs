//! Where VMs, disks and tokens are kept: the trait that every store implements, and the stores.
//!
//! A store blocks; each worker thread has one of its own. One method per need, not one per table.
//! Nothing here reads a clock to decide what counts (`now` is an argument), hashes a password or knows who
//! may ask for what.

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
    /// Runs `writes` in order and answers each, in order. Each is done whole or not at all; an `Ok` is
    /// durable as the store promises. They share one commit where the store has one; one that fails
    /// does not take the others with it.
    fn write(&mut self, writes: &[Write]) -> Vec<Result<Written, StoreError>>;

    /// What to check the password of the VM `name` against; `None` where there is no such VM.
    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError>;

    /// As [`Store::credentials`], of the VM of number `id`.
    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError>;

    /// What password hashes in PHC form begin with, up to the `$` of the salt: each once, at most `count_max`. Looks
    /// at every VM.
    fn password_hash_prefixes(&mut self, count_max: usize) -> Result<Vec<String>, StoreError>;

    /// Whose token it is, if it is one and has not expired at `now`.
    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError>;

    /// The same of each of `tokens`, in order.
    fn token_owners(
        &mut self,
        tokens: &[(TokenHash, UnixSeconds)],
    ) -> Result<Vec<Option<Login>>, StoreError> {
        tokens.iter().map(|(token, now)| self.token_owner(token, *now)).collect()
    }

    /// Reads from here to [`Store::end_reads`] follow each other at once: where beginning one costs something,
    /// they share it, and then see one state of the store.
    fn begin_reads(&mut self) {}

    /// The last of these reads was made.
    fn end_reads(&mut self) {}

    /// Whether `login` still holds: its VM exists and has the password it had.
    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError>;

    /// VMs with an id above `after` in ascending order: as many as fit in `rows_max` rows (each VM and
    /// each of its disks is a row), at least one if there is any.
    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError>;

    /// As [`Store::vms_after`], of the VMs that have been connected once.
    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError>;

    /// Those of the VMs `ids` that exist, in no particular order.
    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError>;

    /// Disks with an id above `after` in ascending order, at most `count_max`. Fewer: there are no more.
    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError>;

    /// Keeps in the store what [`Store::write`] has answered before that.
    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Those of the points that `filter` means which stand behind `after`, at most `count_max`: series in the order
    /// in which they were first put, the points of each in ascending order of time. A series that is looked at in
    /// vain counts as a point: a page may be short, or empty, and others follow.
    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointPosition>,
        count_max: usize,
    ) -> Result<PointPage, StoreError>;
}

/// The place of a point among all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PointPosition {
    /// Its series.
    pub series: SeriesId,
    /// Its time, in seconds since 1970.
    pub timestamp: i64,
}

/// Some of the points that there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PointPage {
    /// The points, by series; none is empty.
    pub series: Vec<Series>,
    /// Where to go on; `None`: there was none behind them. Where it is given there may be none, too.
    pub next: Option<PointPosition>,
}

/// Some of the VMs that there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VmPage {
    /// The VMs, in ascending order of id.
    pub vms: Vec<Vm>,
    /// There was none behind them.
    pub is_last: bool,
}

/// Makes connections to one store.
pub trait StoreFactory: Send + Sync {
    /// Makes one more connection.
    fn connect(&self) -> Result<Box<dyn Store>, StoreError>;

    /// Makes one more connection, for a worker that has other things to do than to wait: it waits for locks
    /// of others a moment only, and who is told [`StoreError::Busy`] may ask again.
    fn connect_worker(&self) -> Result<Box<dyn Store>, StoreError> {
        self.connect()
    }

    /// How patient such a worker is to be; `None`: what is [`StoreError::Busy`] was waited for long enough.
    fn lock_retry_policy(&self) -> Option<LockRetryPolicy> {
        None
    }

    /// How many connections gain from writing at the same time.
    fn writers_max(&self) -> usize {
        1
    }
}

/// A store that is elsewhere, and perhaps not there yet: until it is open, who connects to it is told that it is
/// unavailable.
pub trait DeferredOpen: Send + Sync {
    /// Tries once.
    fn open(&self) -> Result<(), OpenFailure>;
}

/// Why a store is not open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenFailure {
    /// What is wrong.
    pub error: StoreError,
    /// It may be otherwise a moment later, without anybody's doing anything to the settings.
    pub is_transient: bool,
}

/// A store that may have to be opened.
pub struct PreparedStore {
    /// Makes connections to it.
    pub factory: Arc<dyn StoreFactory>,
    /// `None`: it is open.
    pub deferred_open: Option<Arc<dyn DeferredOpen>>,
}

/// How long to wait for what somebody else has locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockRetryPolicy {
    /// At a time, about.
    pub lock_timeout: Duration,
    /// What has to be left until the deadline of a job that is tried again.
    pub reserve: Duration,
}

/// Which store: what `--store` says.
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

/// A change to what is kept.
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
    /// Adds a token of a VM that has just given its password. Also: the VM has been connected once;
    /// up to [`crate::limits::TOKENS_SWEPT_PER_ISSUE`] expired tokens go; the VM's oldest tokens beyond
    /// [`crate::limits::TOKENS_PER_VM_MAX`] go.
    IssueToken {
        /// The VM: must be current.
        login: Login,
        /// The new token.
        token: TokenHash,
        /// When it stops to count.
        expires: UnixSeconds,
        /// A token that the new one takes the place of.
        replaces: Option<TokenHash>,
        /// A stronger hash of the same password, to be kept instead. Not a password change: the epoch
        /// stays.
        rehash: Option<String>,
        /// When.
        now: UnixSeconds,
    },
    /// Notes that a VM is connected: it has been, from now on.
    Connect {
        /// The VM: must be current.
        login: Login,
        /// As with [`Write::IssueToken`].
        rehash: Option<String>,
        /// When.
        now: UnixSeconds,
    },
    /// Ends tokens, whosever they are: the connection that asks was given them under several logins,
    /// maybe. Those that don't exist are ended already.
    RevokeTokens {
        /// Whose request it is: must be current.
        login: Login,
        /// The tokens.
        tokens: Vec<TokenHash>,
    },
    /// Keeps points; each takes the place of one of the same key and second. At most `keys_max` keys may exist.
    Put {
        /// Whose request it is: must be current; `None`: somebody's who needs no login.
        login: Option<Login>,
        /// The points, in the order in which they take each other's place.
        points: Arc<Vec<NewPoint>>,
        /// The most keys that the store may hold; [`Write::KEYS_UNBOUNDED`]: the points were acknowledged before.
        keys_max: u64,
        /// Whether none is kept unless all are: [`StoreError::KeyLimitReached`]. Else those are left out whose key
        /// would be one too many.
        is_atomic: bool,
    },
    /// Removes points that are older than `before`, at most about `count_max`, and series that have none left.
    RemovePoints {
        /// In seconds since 1970; points of this second stay.
        before: i64,
        /// Series up to this one have been looked at.
        after: SeriesId,
        /// Points to remove, and series to look at, at most.
        count_max: usize,
    },
    /// Removes a VM with its disks and tokens; the operator's.
    Remove(VmName),
    /// Gives a VM another password: its tokens go and its logins are not current any more; the
    /// operator's.
    ChangePassword {
        /// The VM.
        name: VmName,
        /// The PHC hash of the new password.
        password_hash: String,
    },
}

impl Write {
    /// What is put so was acknowledged before: it is kept whatever keys there are.
    pub const KEYS_UNBOUNDED: u64 = u64::MAX;

    /// How many points or disks it writes.
    pub fn rows(&self) -> usize {
        match self {
            Write::Register { vm, .. } => vm.disk_sizes_gib.len(),
            Write::AddVm { disk_sizes_gib, .. } => disk_sizes_gib.len(),
            Write::Update { change, .. } => change.rows(),
            Write::Put { points, .. } => points.len(),
            _ => 0,
        }
    }

    /// How many bytes the keys of its points have.
    pub fn bytes(&self) -> usize {
        match self {
            Write::Put { points, .. } => points.iter().map(|new| new.key.as_str().len()).sum(),
            _ => 0,
        }
    }
}

/// What a [`Write`] has done.
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
    /// But for those at these places, whose key would have been one too many; ascending.
    Put {
        refused: Vec<usize>,
    },
    /// So many; `next` is what to go on with, where there may be more. Series of the keys `gone` had none left.
    PointsRemoved {
        count: usize,
        next: Option<SeriesId>,
        removed_keys: Vec<MetricKey>,
    },
}

/// Why a store did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// The name is taken.
    AlreadyRegistered,
    /// As many VMs as may be.
    VmLimitReached,
    /// As many keys of metrics as may be; the point at this place has one too many.
    KeyLimitReached(usize),
    /// The VM has no disk of that id.
    UnknownDisk(DiskId),
    /// The login that asks does not hold any more: its VM was removed or has another password.
    NotCurrent,
    /// There is no VM of that name; only what the operator asks gets this.
    UnknownVm,
    /// Somebody else holds a lock for too long; nothing was done.
    Busy,
    /// The store can't be reached, or failed; nothing was done. For the log.
    Unavailable(String),
    /// The store was asked to commit and did not answer. For the log.
    OutcomeUnknown(String),
    /// What was asked for can't be opened or is not ours to use. For the log.
    Refused(String),
}

/// Opens the store at `location`, made first where there is none and brought up to date where it is
/// older than this program. Several processes may do this to one store at the same time.
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

/// As [`open`], for a server: a file has one, and is watched as long as that runs; a database is left to be opened
/// by whoever asks, and used by `connections_max` connections at a time.
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

/// Copies the store at `location` to the file `to`, as it is at one moment. Nothing is left of a copy that fails.
/// `begun` gets what breaks it off.
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

/// What breaks off what goes on, from any thread.
pub type Interrupt = Box<dyn Fn() + Send>;

impl Location {
    /// Reads what `--store` says. The error tells what is allowed, without repeating `text`: a URL may
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
            // To SQLite itself this means what is called `memory:` here.
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

/// Whether the path `text` can only be a directory's.
pub fn ends_in_directory(text: &str) -> bool {
    matches!(text.rsplit('/').next(), Some("" | "." | "..")) && !text.is_empty()
}

/// The name of the VM `id`: the `last` one's again where that was the same VM, else what `read` says. Disks of
/// one VM mostly follow each other, and then share one copy.
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
            StoreError::Busy => f.write_str("the store is locked by somebody else"),
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

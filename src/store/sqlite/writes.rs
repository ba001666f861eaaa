//! Writes to the file: many writes share one transaction and so one sync.
//!
//! Each write runs in a savepoint, so that a refused one is rolled back alone, except those of [`points`],
//! which check before they write. Success is reported only after SQLite has confirmed the commit. No
//! transaction is open when [`write()`] returns or panics.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::super::{PointRemoval, RemovedPoints, StoreError, Write, WriteOutcome, Written, token_sweep};
use super::points::{self, SeriesCache};
use super::served_file::ServedFile;
use super::statements::{WriteError, as_i64, execute, query, sqlite_integer};
use super::{describe, reads, to_store_error};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Disk, DiskChange, Login, NewVm, TokenHash, VmChange, VmName, VmShape};

/// What a connection caches.
#[derive(Default, Debug)]
pub(super) struct Cache {
    /// The number of VMs when it was last counted.
    pub(super) vms: Option<VmCount>,
    /// The series as of the last put.
    series: SeriesCache,
}

/// The number of VMs at one state of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct VmCount {
    pub(super) vms: u64,
    /// SQLite's counter of commits by other connections, of any process.
    data_version: i64,
}

/// Why a transaction failed.
enum TransactionError {
    /// The store failed: other writes would fail too.
    Store(StoreError),
    /// A write caused an unexpected error; others may succeed.
    Write(StoreError),
}

impl TransactionError {
    fn into_store_error(self) -> StoreError {
        match self {
            TransactionError::Store(error) | TransactionError::Write(error) => error,
        }
    }
}

/// Runs `writes` in one transaction, or separately if one of them fails it.
pub(super) fn write(
    connection: &Connection,
    served_file: Option<&ServedFile>,
    cache: &mut Cache,
    writes: &[Write],
) -> Vec<WriteOutcome> {
    if writes.is_empty() {
        return Vec::new();
    }
    match write_batch(connection, served_file, cache, writes) {
        Ok(outcomes) => outcomes,
        Err(TransactionError::Write(_)) if writes.len() > 1 => {
            write_separately(connection, served_file, cache, writes)
        }
        Err(error) => vec![Err(error.into_store_error()); writes.len()],
    }
}

/// Runs each of `writes` in its own transaction. After a failure of the store the rest is not tried: each would
/// wait for the same lock or disk again.
fn write_separately(
    connection: &Connection,
    served_file: Option<&ServedFile>,
    cache: &mut Cache,
    writes: &[Write],
) -> Vec<WriteOutcome> {
    let mut outcomes = Vec::with_capacity(writes.len());
    for one in writes {
        match write_batch(connection, served_file, cache, std::slice::from_ref(one)) {
            Ok(outcome) => outcomes.extend(outcome),
            Err(TransactionError::Write(error)) => outcomes.push(Err(error)),
            Err(TransactionError::Store(error)) => {
                outcomes.push(Err(error.clone()));
                outcomes.resize(writes.len(), Err(as_not_tried(error)));
            }
        }
        if outcomes.len() == writes.len() {
            break;
        }
    }
    outcomes
}

/// The error of a write that was not tried because an earlier one got `error`.
fn as_not_tried(error: StoreError) -> StoreError {
    match error {
        StoreError::OutcomeUnknown(why) => StoreError::Unavailable(why),
        other => other,
    }
}

/// Removes old points in one transaction.
pub(super) fn remove_points(
    connection: &Connection,
    served_file: Option<&ServedFile>,
    cache: &mut Cache,
    removal: PointRemoval,
) -> Result<RemovedPoints, StoreError> {
    run_transaction(connection, served_file, cache, |connection, cache| {
        points::remove(connection, &mut cache.series, removal)
    })
    .map_err(TransactionError::into_store_error)
}

fn write_batch(
    connection: &Connection,
    served_file: Option<&ServedFile>,
    cache: &mut Cache,
    writes: &[Write],
) -> Result<Vec<WriteOutcome>, TransactionError> {
    run_transaction(connection, served_file, cache, |connection, cache| {
        writes.iter().map(|one| write_one(connection, cache, one)).collect()
    })
}

/// Runs `work` in one transaction and commits it.
fn run_transaction<T>(
    connection: &Connection,
    served_file: Option<&ServedFile>,
    cache: &mut Cache,
    work: impl FnOnce(&Connection, &mut Cache) -> rusqlite::Result<T>,
) -> Result<T, TransactionError> {
    // The cache is updated only if the transaction commits.
    let mut new_cache = Cache { vms: cache.vms, series: cache.series.take() };
    // IMMEDIATE takes the write lock at once: what is checked below cannot change before it is used, and
    // nothing later waits for a lock. Dropping the transaction, also by a panic, rolls it back.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
        .map_err(|error| TransactionError::Store(to_store_error(error)))?;
    let result = work(&transaction, &mut new_cache).map_err(|error| {
        let failed = if is_store_failure(&error) { TransactionError::Store } else { TransactionError::Write };
        failed(to_store_error(error))
    })?;
    if let Some(served_file) = served_file {
        served_file.check_now().map_err(TransactionError::Store)?;
    }
    transaction.commit().map_err(|error| TransactionError::Store(to_commit_error(&error)))?;
    // The file may have been removed during a slow commit.
    if let Some(Err(error)) = served_file.map(ServedFile::check_last) {
        return Err(TransactionError::Store(StoreError::OutcomeUnknown(error.to_string())));
    }
    *cache = new_cache;
    Ok(result)
}

/// Whether `error` concerns the disk, the file or a lock, and not the data of one write.
fn is_store_failure(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OutOfMemory
        )
    )
}

/// What a failed COMMIT means.
///
/// SQLite appends the changed pages to its log, the last one marked as the commit, syncs the log, and
/// only then moves the end of the log in the index that all processes share. Whatever fails, it rolls
/// back (and what it leaves open, dropping the transaction does): no reader sees the changes then. But if
/// the sync or something after it failed, the mark may be in the log already. As long as a process has
/// the file open, that is harmless: the next commit writes over it. After a crash before that, recovery
/// reads the log itself, finds the mark in order, and the changes are there. So the outcome is unknown.
/// It is certain only where the mark can't have been written: the disk was full (only writing says so,
/// and the mark is written last; a sync that finds no room reports an I/O error), or a lock was missing.
pub(super) fn to_commit_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DiskFull) => StoreError::Unavailable(describe(error)),
        _ => StoreError::OutcomeUnknown(describe(error)),
    }
}

/// Runs one write atomically.
fn write_one(connection: &Connection, cache: &mut Cache, write: &Write) -> rusqlite::Result<WriteOutcome> {
    // A savepoint costs as much as writing a point.
    let needs_savepoint = !write.is_put();
    if needs_savepoint {
        execute(connection, "SAVEPOINT one_write", [])?;
    }
    let outcome = match run(connection, cache, write) {
        Ok(written) => Ok(written),
        Err(WriteError::Refused(error)) => Err(error),
        Err(WriteError::Sqlite(error)) => return Err(error),
    };
    if needs_savepoint && outcome.is_err() {
        execute(connection, "ROLLBACK TO one_write", [])?;
    }
    if needs_savepoint {
        execute(connection, "RELEASE one_write", [])?;
    }
    if let (Ok(_), Some(count)) = (&outcome, &mut cache.vms) {
        match write {
            Write::Register { .. } | Write::AddVm { .. } => count.vms += 1,
            Write::Remove(_) => count.vms = count.vms.saturating_sub(1),
            _ => {}
        }
    }
    Ok(outcome)
}

fn run(connection: &Connection, cache: &mut Cache, write: &Write) -> Result<Written, WriteError> {
    match write {
        Write::Register { vm, vms_max, now } => {
            let id = register(connection, &mut cache.vms, vm, *vms_max, *now)?;
            return Ok(Written::Registered(id));
        }
        Write::AddVm { shape, disk_sizes_gib, vms_max, now } => {
            let id = add_vm(connection, &mut cache.vms, *shape, disk_sizes_gib, *vms_max, *now)?;
            return Ok(Written::Registered(id));
        }
        Write::Update { login, change } => update(connection, login, change)?,
        Write::IssueToken { login, token, expires, replaces, rehash, now } => {
            require_current(connection, login)?;
            sweep_tokens(connection, *now)?;
            if let Some(replaced) = replaces {
                execute(connection, "DELETE FROM tokens WHERE hash = ?1", [replaced.0])?;
            }
            add_token(connection, login.id, token, *expires)?;
            record_login(connection, login.id, rehash.as_deref(), *now)?;
        }
        Write::Connect { login, rehash, now } => {
            require_current(connection, login)?;
            record_login(connection, login.id, rehash.as_deref(), *now)?;
        }
        Write::RevokeTokens { login, tokens } => {
            require_current(connection, login)?;
            for token in tokens {
                execute(connection, "DELETE FROM tokens WHERE hash = ?1", [token.0])?;
            }
        }
        Write::Put { login, points, keys_max, is_atomic } => {
            if let Some(login) = login {
                require_current(connection, login)?;
            }
            return points::put(connection, &mut cache.series, points, *keys_max, *is_atomic);
        }
        Write::Remove(name) => remove(connection, name)?,
        Write::ChangePassword { name, password_hash } => change_password(connection, name, password_hash)?,
    }
    Ok(Written::Done)
}

fn require_current(connection: &Connection, login: &Login) -> Result<(), WriteError> {
    if reads::is_current(connection, login)? { Ok(()) } else { Err(StoreError::NotCurrent.into()) }
}

fn register(
    connection: &Connection,
    count: &mut Option<VmCount>,
    vm: &NewVm,
    vms_max: u64,
    now: UnixSeconds,
) -> Result<VmId, WriteError> {
    if id_of(connection, &vm.name)?.is_some() {
        return Err(StoreError::AlreadyRegistered.into());
    }
    if !has_room(connection, count, vms_max)? {
        return Err(StoreError::VmLimitReached.into());
    }
    execute(
        connection,
        "INSERT INTO vms (name, ram_mib, cpus, password_hash, registered_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![vm.name.as_str(), vm.shape.ram_mib, vm.shape.cpus, vm.password_hash, now.0],
    )?;
    let id = VmId(connection.last_insert_rowid());
    add_disks(connection, id, &vm.disk_sizes_gib)?;
    Ok(id)
}

fn add_vm(
    connection: &Connection,
    count: &mut Option<VmCount>,
    shape: VmShape,
    disk_sizes_gib: &[u64],
    vms_max: u64,
    now: UnixSeconds,
) -> Result<VmId, WriteError> {
    // The id is known only after the insert. No VM keeps the empty name.
    let vm = NewVm {
        name: VmName::from_store(""),
        shape,
        disk_sizes_gib: disk_sizes_gib.to_vec(),
        password_hash: None,
    };
    let id = register(connection, count, &vm, vms_max, now)?;
    execute(connection, "UPDATE vms SET name = CAST(id AS TEXT) WHERE id = ?1", [id.0])?;
    Ok(id)
}

/// Whether there are fewer than `vms_max` VMs.
fn has_room(connection: &Connection, count: &mut Option<VmCount>, vms_max: u64) -> rusqlite::Result<bool> {
    // Ids are 1, 2, 3 … with gaps after removals, so the highest id bounds the number of VMs. Below the
    // limit this one look-up is enough.
    let highest: Option<i64> =
        query(connection, "SELECT max(id) FROM vms")?.query_row([], |row| row.get(0))?;
    if highest.unwrap_or(0).unsigned_abs() < vms_max {
        return Ok(true);
    }
    // Counting scans an index. The count is cached until another connection has written.
    let data_version: i64 = query(connection, "PRAGMA data_version")?.query_row([], |row| row.get(0))?;
    if let Some(cache) = count
        && cache.data_version == data_version
    {
        return Ok(cache.vms < vms_max);
    }
    let vms: i64 = query(connection, "SELECT count(*) FROM vms")?.query_row([], |row| row.get(0))?;
    let counted = VmCount { vms: vms.unsigned_abs(), data_version };
    *count = Some(counted);
    Ok(counted.vms < vms_max)
}

fn update(connection: &Connection, login: &Login, change: &VmChange) -> Result<(), WriteError> {
    require_current(connection, login)?;
    if change.ram_mib.is_some() || change.cpus.is_some() {
        execute(
            connection,
            "UPDATE vms SET ram_mib = coalesce(?2, ram_mib), cpus = coalesce(?3, cpus) WHERE id = ?1",
            params![login.id.0, change.ram_mib, change.cpus],
        )?;
    }
    match &change.disks {
        None => {}
        Some(DiskChange::Replace(sizes)) => replace_disks(connection, login.id, sizes)?,
        Some(DiskChange::Resize(changes)) => {
            for (id, size) in changes {
                let sql = "UPDATE disks SET size_gib = ?3 WHERE id = ?1 AND vm = ?2";
                if execute(connection, sql, params![id.0, login.id.0, sqlite_integer(*size)?])? == 0 {
                    return Err(StoreError::UnknownDisk(*id).into());
                }
            }
        }
    }
    Ok(())
}

fn replace_disks(connection: &Connection, vm: VmId, sizes: &[u64]) -> Result<(), WriteError> {
    let present: Vec<Disk> = query(connection, "SELECT id, size_gib FROM disks WHERE vm = ?1 ORDER BY id")?
        .query_map([vm.0], |row| reads::disk(row, 0))?
        .collect::<Result<_, _>>()?;
    for (disk, size) in present.iter().zip(sizes) {
        if disk.size_gib != *size {
            let sql = "UPDATE disks SET size_gib = ?2 WHERE id = ?1";
            execute(connection, sql, params![disk.id.0, sqlite_integer(*size)?])?;
        }
    }
    for Disk { id: DiskId(surplus), .. } in present.iter().skip(sizes.len()) {
        execute(connection, "DELETE FROM disks WHERE id = ?1", [surplus])?;
    }
    add_disks(connection, vm, sizes.get(present.len()..).unwrap_or_default())
}

fn add_disks(connection: &Connection, vm: VmId, sizes: &[u64]) -> Result<(), WriteError> {
    for size in sizes {
        let sql = "INSERT INTO disks (vm, size_gib) VALUES (?1, ?2)";
        execute(connection, sql, params![vm.0, sqlite_integer(*size)?])?;
    }
    Ok(())
}

fn sweep_tokens(connection: &Connection, now: UnixSeconds) -> Result<(), WriteError> {
    let sql = "DELETE FROM tokens WHERE hash IN
               (SELECT hash FROM tokens WHERE expires <= ?1 ORDER BY expires LIMIT ?2)";
    let count = execute(connection, sql, params![now.0, as_i64(limits::TOKENS_SWEPT_PER_ISSUE)])?;
    token_sweep::record_removed(count, now);
    Ok(())
}

fn add_token(
    connection: &Connection,
    vm: VmId,
    token: &TokenHash,
    expires: UnixSeconds,
) -> Result<(), WriteError> {
    execute(
        connection,
        "INSERT INTO tokens (hash, vm, number, expires)
         VALUES (?1, ?2, 1 + coalesce((SELECT max(number) FROM tokens WHERE vm = ?2), 0), ?3)",
        params![token.0, vm.0, expires.0],
    )?;
    // The subquery finds the newest of the surplus tokens, or nothing.
    execute(
        connection,
        "DELETE FROM tokens WHERE vm = ?1 AND number <=
         (SELECT number FROM tokens WHERE vm = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        params![vm.0, as_i64(limits::TOKENS_PER_VM_MAX)],
    )?;
    Ok(())
}

fn record_login(
    connection: &Connection,
    vm: VmId,
    rehash: Option<&str>,
    now: UnixSeconds,
) -> Result<(), WriteError> {
    execute(
        connection,
        "UPDATE vms SET ever_connected = 1, last_login_at = ?2, password_hash = coalesce(?3, password_hash)
         WHERE id = ?1",
        params![vm.0, now.0, rehash],
    )?;
    Ok(())
}

fn remove(connection: &Connection, name: &VmName) -> Result<(), WriteError> {
    let id = id_of(connection, name)?.ok_or(StoreError::UnknownVm)?;
    execute(connection, "DELETE FROM tokens WHERE vm = ?1", [id.0])?;
    execute(connection, "DELETE FROM disks WHERE vm = ?1", [id.0])?;
    execute(connection, "DELETE FROM vms WHERE id = ?1", [id.0])?;
    Ok(())
}

fn change_password(connection: &Connection, name: &VmName, password_hash: &str) -> Result<(), WriteError> {
    let id = id_of(connection, name)?.ok_or(StoreError::UnknownVm)?;
    execute(connection, "DELETE FROM tokens WHERE vm = ?1", [id.0])?;
    execute(
        connection,
        "UPDATE vms SET password_hash = ?2, epoch = epoch + 1 WHERE id = ?1",
        params![id.0, password_hash],
    )?;
    Ok(())
}

fn id_of(connection: &Connection, name: &VmName) -> rusqlite::Result<Option<VmId>> {
    query(connection, "SELECT id FROM vms WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0).map(VmId))
        .optional()
}

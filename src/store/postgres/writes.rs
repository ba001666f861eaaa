//! Writes to the database: many writes share one transaction and so one commit.
//!
//! Each write is one statement that does everything or nothing (a second statement, if any, cannot be refused),
//! so none needs its own rollback. Success is reported only after PostgreSQL has confirmed the commit.
//!
//! All transactions take locks in one order, which avoids deadlocks: the row of `vm_total`; the rows of the
//! VMs, by id, which also protect their disks and tokens; existing series, shared; the row of `series_total`,
//! if series are added or removed; the points, by series and time. A removal of points waits for `series_total`
//! only and skips other locked rows. These locks are sufficient at every isolation level; a stricter one than
//! READ COMMITTED fails where this waits, and is retried.

use std::collections::HashSet;

use super::super::{StoreError, Write, WriteOutcome, Written, token_sweep};
use super::locking::{LockPolicy, RowTotal};
use super::parameters::{Unlogged, as_i64, disk_sizes};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use super::points::{self, PointBatch};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{DiskChange, Login, NewVm, TokenHash, VmChange, VmName, VmShape};

/// Rows that other transactions have locked.
#[derive(Default)]
struct LockedByOthers {
    /// Whether the row of `vm_total` is locked.
    vm_total: bool,
    ids: HashSet<i64>,
    names: HashSet<VmName>,
}

/// Runs `writes` in order and commits them. A result of `None` means that the write was skipped and not done.
/// After an error the transaction may still be open.
pub(super) fn commit(
    session: &mut PgSession,
    writes: &[&Write],
    lock_policy: LockPolicy,
) -> Result<Vec<Option<WriteOutcome>>, PgError> {
    if points::put_autocommit(session, writes)? {
        return Ok(vec![Some(Ok(Written::Put { refused: Vec::new() })); writes.len()]);
    }
    let mut blocked = LockedByOthers::default();
    let mut total = begin(session, writes, lock_policy, &mut blocked)?;
    lock_vms(session, writes, lock_policy, &mut blocked)?;
    let mut batch = PointBatch::lock(session, writes, lock_policy)?;

    let mut outcomes = Vec::with_capacity(writes.len());
    for write in writes {
        let is_held = blocked.blocks(write) || batch.is_blocked(write);
        outcomes.push(match is_held {
            true => None,
            false => Some(run(session, write, writes, &mut total, &mut batch)?),
        });
    }
    let is_refused = |outcome: &Option<WriteOutcome>| !matches!(outcome, Some(Ok(_)));
    if outcomes.iter().all(is_refused) {
        session.run("ROLLBACK")?;
        return Ok(outcomes);
    }
    let mut commit = String::new();
    if let Some(series) = batch.write_points(session)? {
        commit.push_str(&format!("UPDATE series_total SET series = {series}; "));
    }
    if let Some(vms) = total.as_ref().and_then(RowTotal::changed) {
        commit.push_str(&format!("UPDATE vm_total SET vms = {vms}; "));
    }
    commit.push_str("COMMIT");
    session.commit(&commit)?;
    Ok(outcomes)
}

/// Begins a transaction and, in the same round trip, locks the number of VMs if a write may change it.
fn begin(
    session: &mut PgSession,
    writes: &[&Write],
    lock_policy: LockPolicy,
    blocked: &mut LockedByOthers,
) -> Result<Option<RowTotal>, PgError> {
    let begin = match writes.iter().any(|write| write.is_put()) {
        true => points::BEGIN,
        false => "BEGIN",
    };
    if !writes.iter().any(|write| changes_total(write)) {
        session.run(begin)?;
        return Ok(None);
    }
    let text = session.query_text(&match lock_policy {
        LockPolicy::Wait => format!("{begin}; SELECT vms FROM vm_total FOR UPDATE"),
        LockPolicy::SkipLocked => format!("{begin}; SELECT vms FROM vm_total FOR UPDATE SKIP LOCKED"),
    })?;
    match text.map(|text| text.parse::<i64>()) {
        Some(Ok(vms)) => Ok(Some(RowTotal::new(vms))),
        None if lock_policy == LockPolicy::SkipLocked => {
            blocked.vm_total = true;
            Ok(None)
        }
        _ => Err(PgError::Failed("the table vm_total has lost its row: start vmherd anew".to_owned())),
    }
}

/// Locks the VMs of `writes` and the owners of the tokens that they revoke.
fn lock_vms(
    session: &mut PgSession,
    writes: &[&Write],
    lock_policy: LockPolicy,
    blocked: &mut LockedByOthers,
) -> Result<(), PgError> {
    let (mut ids, mut names, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for write in writes {
        match write {
            Write::Register { .. } | Write::AddVm { .. } => {}
            Write::Update { login, .. } | Write::Connect { login, .. } => ids.push(login.id.0),
            Write::IssueToken { login, replaces, .. } => {
                ids.push(login.id.0);
                tokens.extend(replaces.iter().map(|token| &token.0[..]));
            }
            Write::RevokeTokens { login, tokens: ended } => {
                ids.push(login.id.0);
                tokens.extend(ended.iter().map(|token| &token.0[..]));
            }
            Write::Put { .. } => {}
            Write::Remove(name) | Write::ChangePassword { name, .. } => names.push(name.as_str()),
        }
    }
    if ids.is_empty() && names.is_empty() {
        return Ok(());
    }
    let sql = match lock_policy {
        LockPolicy::Wait => {
            "SELECT id, name FROM vms WHERE id IN (
                SELECT unnest($1::bigint[])
                UNION SELECT id FROM vms WHERE name = ANY ($2::text[])
                UNION SELECT vm FROM tokens WHERE hash = ANY ($3::bytea[]))
             ORDER BY id FOR NO KEY UPDATE"
        }
        LockPolicy::SkipLocked => {
            "WITH wanted AS MATERIALIZED (
                SELECT id, name FROM vms WHERE id IN (
                    SELECT unnest($1::bigint[])
                    UNION SELECT id FROM vms WHERE name = ANY ($2::text[])
                    UNION SELECT vm FROM tokens WHERE hash = ANY ($3::bytea[]))),
             locked AS MATERIALIZED (
                SELECT id FROM vms WHERE id IN (SELECT id FROM wanted)
                ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
             SELECT id, name FROM wanted WHERE id NOT IN (SELECT id FROM locked)"
        }
    };
    let rows = session.query(sql, &[&ids, &names, &Unlogged(tokens)])?;
    if lock_policy == LockPolicy::SkipLocked {
        for row in rows {
            blocked.ids.insert(row.try_get(0)?);
            blocked.names.insert(VmName::from_store(row.try_get(1)?));
        }
    }
    Ok(())
}

impl LockedByOthers {
    fn blocks(&self, write: &Write) -> bool {
        self.vm_total && changes_total(write)
            || match write {
                Write::Register { vm, .. } => self.names.contains(&vm.name),
                Write::AddVm { .. } => false,
                Write::Update { login, .. }
                | Write::Connect { login, .. }
                | Write::IssueToken { login, .. }
                | Write::RevokeTokens { login, .. } => self.ids.contains(&login.id.0),
                Write::Put { .. } => false,
                Write::Remove(name) | Write::ChangePassword { name, .. } => self.names.contains(name),
            }
    }
}

fn changes_total(write: &Write) -> bool {
    matches!(write, Write::Register { .. } | Write::AddVm { .. } | Write::Remove(_))
}

/// Runs one write atomically.
fn run(
    session: &mut PgSession,
    write: &Write,
    writes: &[&Write],
    total: &mut Option<RowTotal>,
    batch: &mut PointBatch,
) -> Result<WriteOutcome, PgError> {
    match write {
        Write::Register { vm, vms_max, now } => {
            Ok(register(session, vm, *vms_max, *now, total)?.map(Written::Registered))
        }
        Write::AddVm { shape, disk_sizes_gib, vms_max, now } => {
            Ok(add_vm(session, *shape, disk_sizes_gib, *vms_max, *now, total)?.map(Written::Registered))
        }
        Write::Update { login, change } => update(session, login, change),
        Write::Connect { login, rehash, now } => connect(session, login, rehash.as_deref(), *now),
        Write::IssueToken { login, token, expires, replaces, rehash, now } => {
            issue_token(session, login, token, *expires, replaces.as_ref(), rehash.as_deref(), *now)
        }
        Write::RevokeTokens { login, tokens } => end_tokens(session, login, tokens),
        Write::Put { login, points, keys_max, is_atomic } => {
            if let Some(login) = login
                && !batch.is_current(session, login, writes)?
            {
                return Ok(Err(StoreError::NotCurrent));
            }
            Ok(batch.put(points, *keys_max, *is_atomic))
        }
        Write::Remove(name) => {
            batch.invalidate_logins();
            remove(session, name, total)
        }
        Write::ChangePassword { name, password_hash } => {
            batch.invalidate_logins();
            change_password(session, name, password_hash)
        }
    }
}

fn register(
    session: &mut PgSession,
    vm: &NewVm,
    vms_max: u64,
    now: UnixSeconds,
    total: &mut Option<RowTotal>,
) -> Result<Result<VmId, StoreError>, PgError> {
    let total = total.as_mut().expect("locked for every batch that registers");
    let has_room = total.now.unsigned_abs() < vms_max;
    // An id is used only for an added row: selecting none uses none.
    let sql = "WITH known AS (SELECT id FROM vms WHERE name = $1),
         added AS (
            INSERT INTO vms (name, ram_mib, cpus, password_hash, registered_at)
            SELECT $1, $2, $3, $4, $5 WHERE $7 AND NOT EXISTS (SELECT FROM known)
            RETURNING id),
         disks AS (
            INSERT INTO disks (vm, size_gib)
            SELECT added.id, size FROM added, unnest($6::bigint[]) WITH ORDINALITY AS new (size, place)
            ORDER BY place)
         SELECT (SELECT id FROM known), (SELECT id FROM added)";
    let rows = session.query(
        sql,
        &[
            &vm.name.as_str(),
            &i64::from(vm.shape.ram_mib),
            &i32::from(vm.shape.cpus),
            &Unlogged(&vm.password_hash),
            &now.0,
            &disk_sizes(vm.disk_sizes_gib.iter().copied())?,
            &has_room,
        ],
    )?;
    let (known, added): (Option<i64>, Option<i64>) = match rows.first() {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (None, None),
    };
    Ok(match (known, added) {
        (_, Some(id)) => {
            total.now += 1;
            Ok(VmId(id))
        }
        (Some(_), None) => Err(StoreError::AlreadyRegistered),
        (None, None) => Err(StoreError::VmLimitReached),
    })
}

/// Two statements, since the id is known only after the insert. No VM keeps the empty name, and only one
/// transaction at a time adds VMs.
fn add_vm(
    session: &mut PgSession,
    shape: VmShape,
    disk_sizes_gib: &[u64],
    vms_max: u64,
    now: UnixSeconds,
    total: &mut Option<RowTotal>,
) -> Result<Result<VmId, StoreError>, PgError> {
    let vm = NewVm {
        name: VmName::from_store(""),
        shape,
        disk_sizes_gib: disk_sizes_gib.to_vec(),
        password_hash: None,
    };
    let outcome = register(session, &vm, vms_max, now, total)?;
    if let Ok(id) = outcome {
        session.query("UPDATE vms SET name = id::text WHERE id = $1", &[&id.0])?;
    }
    Ok(outcome)
}

fn update(session: &mut PgSession, login: &Login, change: &VmChange) -> Result<WriteOutcome, PgError> {
    let (id, epoch) = (&login.id.0, &login.epoch);
    let (ram, cpus) = (&change.ram_mib.map(i64::from), &change.cpus.map(i32::from));
    let rows = match &change.disks {
        None => {
            let sql = "UPDATE vms SET ram_mib = coalesce($3, ram_mib), cpus = coalesce($4, cpus)
                       WHERE id = $1 AND epoch = $2 RETURNING null::bigint";
            session.query(sql, &[id, epoch, ram, cpus])?
        }
        Some(DiskChange::Replace(wanted)) => {
            session.query(REPLACE_DISKS, &[id, epoch, ram, cpus, &disk_sizes(wanted.iter().copied())?])?
        }
        Some(DiskChange::Resize(changes)) => {
            let disks: Vec<i64> = changes.iter().map(|(disk, _)| disk.0).collect();
            let sizes = disk_sizes(changes.iter().map(|(_, size)| *size))?;
            session.query(RESIZE_DISKS, &[id, epoch, ram, cpus, &disks, &sizes])?
        }
    };
    Ok(match rows.first().map(|row| row.try_get::<_, Option<i64>>(0)).transpose()? {
        None => Err(StoreError::NotCurrent),
        Some(Some(unknown)) => Err(StoreError::UnknownDisk(DiskId(unknown))),
        Some(None) => Ok(Written::Done),
    })
}

/// Returns a row if the login is current and all was done.
const REPLACE_DISKS: &str = "
    WITH vm AS (
        UPDATE vms SET ram_mib = coalesce($3, ram_mib), cpus = coalesce($4, cpus)
        WHERE id = $1 AND epoch = $2 RETURNING id),
    present AS (
        SELECT id, row_number() OVER (ORDER BY id) AS place FROM disks WHERE vm IN (SELECT id FROM vm)),
    wanted AS (SELECT size, place FROM unnest($5::bigint[]) WITH ORDINALITY AS wanted (size, place)),
    resized AS (
        UPDATE disks SET size_gib = wanted.size FROM present JOIN wanted USING (place)
        WHERE disks.id = present.id AND disks.vm = $1 AND disks.size_gib <> wanted.size),
    removed AS (
        DELETE FROM disks
        WHERE vm = $1 AND id IN (SELECT id FROM present WHERE place > cardinality($5::bigint[]))),
    added AS (
        INSERT INTO disks (vm, size_gib)
        SELECT vm.id, wanted.size FROM vm, wanted WHERE wanted.place > (SELECT count(*) FROM present)
        ORDER BY wanted.place)
    SELECT null::bigint FROM vm";

/// Returns a row if the login is current: the first disk that the VM does not have; null if all was done.
const RESIZE_DISKS: &str = "
    WITH vm AS (SELECT id FROM vms WHERE id = $1 AND epoch = $2),
    wanted AS (
        SELECT id, size, place FROM unnest($5::bigint[], $6::bigint[]) WITH ORDINALITY AS w (id, size, place)),
    unknown AS (
        SELECT id FROM wanted WHERE id NOT IN (SELECT id FROM disks WHERE vm = $1) ORDER BY place LIMIT 1),
    reshaped AS (
        UPDATE vms SET ram_mib = coalesce($3, ram_mib), cpus = coalesce($4, cpus)
        WHERE id IN (SELECT id FROM vm) AND NOT EXISTS (SELECT FROM unknown)),
    resized AS (
        UPDATE disks SET size_gib = wanted.size FROM wanted
        WHERE disks.id = wanted.id AND disks.vm IN (SELECT id FROM vm) AND NOT EXISTS (SELECT FROM unknown))
    SELECT (SELECT id FROM unknown) FROM vm";

fn issue_token(
    session: &mut PgSession,
    login: &Login,
    token: &TokenHash,
    expires: UnixSeconds,
    replaces: Option<&TokenHash>,
    rehash: Option<&str>,
    now: UnixSeconds,
) -> Result<WriteOutcome, PgError> {
    // All parts see the tokens as of the start, so the oldest are counted without the expired ones. Expired
    // tokens may belong to any VM; locked ones are skipped.
    let sql = "WITH vm AS (
            UPDATE vms SET ever_connected = true, last_login_at = $5,
                password_hash = coalesce($6, password_hash)
            WHERE id = $1 AND epoch = $2 RETURNING id),
         expired AS MATERIALIZED (
            SELECT hash FROM tokens WHERE expires <= $5 ORDER BY expires LIMIT $8 FOR UPDATE SKIP LOCKED),
         surplus AS (
            SELECT hash FROM tokens
            WHERE vm = $1 AND hash IS DISTINCT FROM $7 AND hash NOT IN (SELECT hash FROM expired)
            ORDER BY number DESC OFFSET $9),
         ended AS (
            DELETE FROM tokens USING vm WHERE hash = ANY (ARRAY (
                SELECT hash FROM expired UNION ALL SELECT hash FROM surplus UNION ALL SELECT $7::bytea))),
         added AS (
            INSERT INTO tokens (hash, vm, number, expires)
            SELECT $3, id, 1 + coalesce((SELECT max(number) FROM tokens WHERE vm = $1), 0), $4 FROM vm)
         SELECT (SELECT count(*) FROM expired) FROM vm";
    let rows = session.query(
        sql,
        &[
            &login.id.0,
            &login.epoch,
            &Unlogged(&token.0[..]),
            &expires.0,
            &now.0,
            &Unlogged(rehash),
            &Unlogged(replaces.map(|token| &token.0[..])),
            &as_i64(limits::TOKENS_SWEPT_PER_ISSUE),
            &as_i64(limits::TOKENS_PER_VM_MAX - 1),
        ],
    )?;
    let Some(row) = rows.first() else { return Ok(Err(StoreError::NotCurrent)) };
    let count: i64 = row.try_get(0)?;
    token_sweep::record_removed(usize::try_from(count).unwrap_or(0), now);
    Ok(Ok(Written::Done))
}

fn connect(
    session: &mut PgSession,
    login: &Login,
    rehash: Option<&str>,
    now: UnixSeconds,
) -> Result<WriteOutcome, PgError> {
    let sql = "UPDATE vms SET ever_connected = true, last_login_at = $3,
                   password_hash = coalesce($4, password_hash)
               WHERE id = $1 AND epoch = $2 RETURNING id";
    let rows = session.query(sql, &[&login.id.0, &login.epoch, &now.0, &Unlogged(rehash)])?;
    Ok(if rows.is_empty() { Err(StoreError::NotCurrent) } else { Ok(Written::Done) })
}

fn end_tokens(session: &mut PgSession, login: &Login, tokens: &[TokenHash]) -> Result<WriteOutcome, PgError> {
    let tokens: Vec<&[u8]> = tokens.iter().map(|token| &token.0[..]).collect();
    let sql = "WITH vm AS (SELECT id FROM vms WHERE id = $1 AND epoch = $2),
         ended AS (DELETE FROM tokens USING vm AS asking WHERE hash = ANY ($3::bytea[]))
         SELECT FROM vm";
    let rows = session.query(sql, &[&login.id.0, &login.epoch, &Unlogged(tokens)])?;
    Ok(if rows.is_empty() { Err(StoreError::NotCurrent) } else { Ok(Written::Done) })
}

fn remove(
    session: &mut PgSession,
    name: &VmName,
    total: &mut Option<RowTotal>,
) -> Result<WriteOutcome, PgError> {
    // Foreign keys are checked at the end of the statement.
    let sql = "WITH gone AS (SELECT id FROM vms WHERE name = $1),
         gone_tokens AS (DELETE FROM tokens WHERE vm IN (SELECT id FROM gone)),
         gone_disks AS (DELETE FROM disks WHERE vm IN (SELECT id FROM gone)),
         gone_vms AS (DELETE FROM vms WHERE id IN (SELECT id FROM gone))
         SELECT FROM gone";
    if session.query(sql, &[&name.as_str()])?.is_empty() {
        return Ok(Err(StoreError::UnknownVm));
    }
    let total = total.as_mut().expect("locked for every batch that removes");
    total.now = (total.now - 1).max(0);
    Ok(Ok(Written::Done))
}

fn change_password(
    session: &mut PgSession,
    name: &VmName,
    password_hash: &str,
) -> Result<WriteOutcome, PgError> {
    let sql = "WITH vm AS (
            UPDATE vms SET password_hash = $2, epoch = epoch + 1 WHERE name = $1 RETURNING id),
         ended AS (DELETE FROM tokens WHERE vm IN (SELECT id FROM vm))
         SELECT FROM vm";
    let rows = session.query(sql, &[&name.as_str(), &Unlogged(password_hash)])?;
    Ok(if rows.is_empty() { Err(StoreError::UnknownVm) } else { Ok(Written::Done) })
}

//! Writes to the database: many writes share one transaction and so one commit.
//!
//! Each write is one statement, or a part of one, that does everything or nothing (a second statement, if any, cannot be
//! refused), so none needs its own rollback. Success is reported only after PostgreSQL has confirmed the commit.
//!
//! All transactions take locks in one order, which avoids deadlocks: the table of access tokens; the row of `vm_total`;
//! the rows of the VMs, by id, which also protect their disks and tokens; existing series, shared; the row of
//! `series_total`, if series are added or removed; the points, by series and time. A removal of points waits for
//! `series_total` only and skips other locked rows. These locks are sufficient at READ COMMITTED, which all of them use.
//!
//! Many commits are one statement that is its own transaction, with the same locks in the same order: puts of known series,
//! and registrations. At a stricter level, which may be the database's default, it can fail; then a transaction follows.

use std::collections::HashSet;

use super::super::{StoreError, Write, WriteOutcome, Written, as_i64, token_sweep};
use super::access_tokens;
use super::locking::{BEGIN, LockPolicy, RowTotal, VM_TOTAL};
use super::parameters::{Parameters, Unlogged};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use super::points::{PointBatch, put_autocommit};
use super::registrations::{self, register_autocommit};
use super::updates;
use crate::limits;
use crate::model::{PeerIp, VmChange, VmName};

/// The result of one write; an error fails the transaction.
type Outcome = Result<WriteOutcome, PgError>;

/// A transaction under way.
struct Transaction<'b> {
    session: &'b mut PgSession,
    writes: &'b [&'b Write],
    lock_policy: LockPolicy,
    /// The number of this process in the changes that it records.
    origin: i64,
    /// The VMs that other transactions have locked.
    locked_ids: HashSet<i64>,
    locked_names: HashSet<VmName>,
    /// Whether it has locked the number of VMs: a write may change that, and no other transaction has locked it.
    has_vm_total: bool,
    points: PointBatch<'b>,
}

/// Runs `writes` in order and commits them. A result of `None` means that the write was skipped and not done.
/// After an error the transaction may still be open.
pub(super) fn commit(
    session: &mut PgSession,
    writes: &[&Write],
    lock_policy: LockPolicy,
    origin: i64,
) -> Result<Vec<Option<WriteOutcome>>, PgError> {
    if put_autocommit(session, writes)? {
        return Ok(vec![Some(Ok(Written::Put { refused: Vec::new() })); writes.len()]);
    }
    if let Some(outcomes) = register_autocommit(session, writes, origin)? {
        return Ok(outcomes.into_iter().map(Some).collect());
    }
    let mut transaction = Transaction {
        session,
        writes,
        lock_policy,
        origin,
        locked_ids: HashSet::new(),
        locked_names: HashSet::new(),
        has_vm_total: false,
        points: PointBatch::default(),
    };
    transaction.begin()?;
    transaction.lock_vms()?;
    transaction.points.lock(transaction.session, writes, lock_policy)?;
    transaction.run_all()
}

impl<'b> Transaction<'b> {
    /// Begins and, in the same round trip, locks the number of VMs if a write may change it.
    fn begin(&mut self) -> Result<(), PgError> {
        let changes_access_tokens = |write: &&Write| matches!(write, Write::ChangeAccessTokens(_));
        let begin = match self.writes.iter().any(changes_access_tokens) {
            true => format!("{BEGIN}; {}", access_tokens::LOCK),
            false => BEGIN.to_owned(),
        };
        if !self.writes.iter().any(|write| changes_total(write)) {
            return Ok(self.session.run(&begin)?);
        }
        let total = RowTotal::lock(self.session, &format!("{begin}; "), VM_TOTAL, self.lock_policy)?;
        self.has_vm_total = total.is_some();
        Ok(())
    }

    /// Locks the VMs of the writes and the owners of the tokens that they revoke.
    fn lock_vms(&mut self) -> Result<(), PgError> {
        let (mut ids, mut names, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        for write in self.writes {
            match write {
                Write::Register { .. }
                | Write::AddVm { .. }
                | Write::Put { .. }
                | Write::ChangeAccessTokens(_) => {}
                Write::Seen { vms } => ids.extend(vms.iter().map(|seen| seen.vm.0)),
                Write::Update { login, .. } | Write::Connect { login, .. } | Write::EndLogins { login } => {
                    ids.push(login.id.0)
                }
                Write::IssueToken { login, replaces, .. } => {
                    ids.push(login.id.0);
                    tokens.extend(replaces.iter().map(|token| &token.0[..]));
                }
                Write::RevokeTokens { login, tokens: ended } => {
                    ids.push(login.id.0);
                    tokens.extend(ended.iter().map(|token| &token.0[..]));
                }
                Write::Remove(name) | Write::ChangePassword { name, .. } => names.push(name.as_str()),
                Write::RemoveManaged { names: gone, .. } => names.extend(gone.iter().map(VmName::as_str)),
            }
        }
        if ids.is_empty() && names.is_empty() {
            return Ok(());
        }
        let sql = match self.lock_policy {
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
        let rows = self.session.query(sql, &[&ids, &names, &Unlogged(tokens)])?;
        if self.lock_policy == LockPolicy::SkipLocked {
            for row in rows {
                self.locked_ids.insert(row.try_get(0)?);
                self.locked_names.insert(VmName::from_store(row.try_get(1)?));
            }
        }
        Ok(())
    }

    /// Runs the writes and commits.
    fn run_all(mut self) -> Result<Vec<Option<WriteOutcome>>, PgError> {
        let is_blocked: Vec<bool> = self.writes.iter().map(|write| self.block(write)).collect();
        let free = self.writes.iter().zip(&is_blocked).filter(|(_, is_blocked)| !**is_blocked);
        let free: Vec<&Write> = free.map(|(write, _)| *write).collect();
        let mut done = Vec::with_capacity(free.len());
        for alike in free.chunk_by(|one, next| may_share_statement(one, next)) {
            done.extend(self.run_together(alike)?);
        }
        let mut done = done.into_iter();
        let outcomes: Vec<_> =
            is_blocked.into_iter().map(|is_blocked| if is_blocked { None } else { done.next() }).collect();
        let is_refused = |outcome: &Option<WriteOutcome>| !matches!(outcome, Some(Ok(_)));
        if outcomes.iter().all(is_refused) {
            self.session.run("ROLLBACK")?;
            return Ok(outcomes);
        }
        self.points.write_points(self.session)?;
        let update = self.points.series_total.as_ref().map(RowTotal::update_sql).unwrap_or_default();
        self.session.commit(&format!("{update}COMMIT"))?;
        Ok(outcomes)
    }

    /// Whether `write` is skipped; then later puts of its keys are, too.
    fn block(&mut self, write: &Write) -> bool {
        let is_blocked = self.is_blocked(write);
        if is_blocked {
            self.points.block_keys_of(write);
        }
        is_blocked
    }

    /// Whether `write` needs a row that another transaction has locked.
    fn is_blocked(&self, write: &Write) -> bool {
        if self.lock_policy == LockPolicy::Wait {
            return false;
        }
        !self.has_vm_total && changes_total(write)
            || match write {
                Write::Register { vm, .. } => self.locked_names.contains(&vm.name),
                Write::AddVm { .. } | Write::ChangeAccessTokens(_) => false,
                Write::Update { login, .. }
                | Write::Connect { login, .. }
                | Write::EndLogins { login }
                | Write::IssueToken { login, .. }
                | Write::RevokeTokens { login, .. } => self.locked_ids.contains(&login.id.0),
                Write::Seen { vms } => vms.iter().any(|seen| self.locked_ids.contains(&seen.vm.0)),
                Write::Put { .. } => self.points.is_blocked(write),
                Write::Remove(name) | Write::ChangePassword { name, .. } => self.locked_names.contains(name),
                Write::RemoveManaged { names, .. } => {
                    names.iter().any(|name| self.locked_names.contains(name))
                }
            }
    }

    /// Runs `writes`, which [`may_share_statement`].
    fn run_together(&mut self, writes: &[&'b Write]) -> Result<Vec<WriteOutcome>, PgError> {
        match writes {
            [Write::Register { .. } | Write::AddVm { .. }, ..] => {
                registrations::register(self.session, writes, self.origin)
            }
            [write, ..] if updates::is_of_shape(write) => updates::reshape(self.session, writes, self.origin),
            _ => writes.iter().map(|write| self.run(write)).collect(),
        }
    }

    /// Runs one write atomically.
    fn run(&mut self, write: &'b Write) -> Outcome {
        match write {
            Write::Update { login, token, change: change @ VmChange { disks: Some(disks), .. } } => {
                if let Some(proof) = token
                    && !updates::is_proven(self.session, login, proof)?
                {
                    return Ok(Err(StoreError::NotCurrent));
                }
                updates::update(self.session, login, change, disks, self.origin)
            }
            Write::Register { .. } | Write::AddVm { .. } | Write::Update { .. } => {
                Err(PgError::Failed("this write runs together with others".to_owned()))
            }
            Write::Connect { login, rehash, now } => {
                let sql = "UPDATE vms SET ever_connected = true, last_login_at = $3,
                               password_hash = coalesce($4, password_hash)
                           WHERE id = $1 AND epoch = $2 RETURNING id";
                let parameters: Parameters<'_> = &[&login.id.0, &login.epoch, &now.0, &Unlogged(rehash)];
                self.change(sql, parameters, StoreError::NotCurrent)
            }
            Write::IssueToken { login, token, expires, replaces, rehash, now } => {
                let replaced = replaces.as_ref().map(|token| &token.0[..]);
                let parameters: Parameters<'_> = &[
                    &login.id.0,
                    &login.epoch,
                    &Unlogged(&token.0[..]),
                    &expires.0,
                    &now.0,
                    &Unlogged(rehash),
                    &Unlogged(replaced),
                    &as_i64(limits::TOKENS_SWEPT_PER_ISSUE),
                    &as_i64(limits::TOKENS_PER_VM_MAX - 1),
                ];
                let rows = self.session.query(ISSUE_TOKEN, parameters)?;
                let Some(row) = rows.first() else { return Ok(Err(StoreError::NotCurrent)) };
                let swept: i64 = row.try_get(0)?;
                token_sweep::record_removed(usize::try_from(swept).unwrap_or(0), *now);
                Ok(Ok(Written::Done))
            }
            Write::RevokeTokens { login, tokens } => {
                let sql = "WITH vm AS (SELECT id FROM vms WHERE id = $1 AND epoch = $2),
                     ended AS (DELETE FROM tokens USING vm AS asking WHERE hash = ANY ($3::bytea[]))
                     SELECT FROM vm";
                let tokens: Vec<&[u8]> = tokens.iter().map(|token| &token.0[..]).collect();
                self.change(sql, &[&login.id.0, &login.epoch, &Unlogged(tokens)], StoreError::NotCurrent)
            }
            Write::EndLogins { login } => {
                self.points.invalidate_logins();
                let origin = self.origin;
                let sql = "WITH vm AS (
                        UPDATE vms SET epoch = epoch + 1 WHERE id = $1 AND epoch = $2 RETURNING id, name, managed_by),
                     ended AS (DELETE FROM tokens WHERE vm IN (SELECT id FROM vm WHERE managed_by IS NULL)),
                     logged AS (
                        INSERT INTO changes (origin, kind, subject, name)
                        SELECT $3, 'logins ended', id, name FROM vm)
                     SELECT FROM vm";
                self.change(sql, &[&login.id.0, &login.epoch, &origin], StoreError::NotCurrent)
            }
            Write::Seen { vms } => {
                let sql =
                    "UPDATE vms SET last_seen = new.seen, last_address = coalesce(new.address, last_address)
                           FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS new (id, seen, address)
                           WHERE vms.id = new.id AND (last_seen IS NULL OR last_seen <= new.seen)";
                let (ids, seen): (Vec<i64>, Vec<i64>) = vms.iter().map(|seen| (seen.vm.0, seen.at.0)).unzip();
                let address = |address: PeerIp| address.0.to_string();
                let addresses: Vec<_> = vms.iter().map(|seen| seen.address.map(address)).collect();
                self.session.query(sql, &[&ids, &seen, &Unlogged(addresses)])?;
                Ok(Ok(Written::Done))
            }
            Write::Put { login, points, keys_max, is_atomic } => {
                if let Some(login) = login
                    && !self.points.is_current(self.session, login, self.writes)?
                {
                    return Ok(Err(StoreError::NotCurrent));
                }
                Ok(self.points.put(points, *keys_max, *is_atomic))
            }
            Write::Remove(name) => match self.remove(&[name.as_str()], None)? {
                0 => Ok(Err(self.refusal_of(name)?)),
                _ => Ok(Ok(Written::Done)),
            },
            Write::RemoveManaged { server, names } => {
                let names: Vec<&str> = names.iter().map(VmName::as_str).collect();
                self.remove(&names, Some(server.to_string()))?;
                Ok(Ok(Written::Done))
            }
            Write::ChangePassword { name, password_hash } => {
                self.points.invalidate_logins();
                let sql = "WITH vm AS (
                        UPDATE vms SET password_hash = $2, epoch = epoch + 1
                        WHERE name = $1 AND managed_by IS NULL RETURNING id),
                     ended AS (DELETE FROM tokens WHERE vm IN (SELECT id FROM vm)),
                     logged AS (
                        INSERT INTO changes (origin, kind, subject, name) SELECT $3, 'logins ended', id, $1 FROM vm)
                     SELECT FROM vm";
                let parameters: Parameters<'_> = &[&name.as_str(), &Unlogged(password_hash), &self.origin];
                match self.session.query(sql, parameters)?.is_empty() {
                    true => Ok(Err(self.refusal_of(name)?)),
                    false => Ok(Ok(Written::Done)),
                }
            }
            Write::ChangeAccessTokens(change) => access_tokens::change(self.session, change, self.origin),
        }
    }

    /// Removes the VMs of these names that `server` manages, or that are not managed; returns how many.
    fn remove(&mut self, names: &[&str], server: Option<String>) -> Result<i64, PgError> {
        self.points.invalidate_logins();
        // Foreign keys are checked at the end of the statement.
        let sql = "WITH gone AS (
                SELECT id, name FROM vms WHERE name = ANY ($1::text[]) AND managed_by IS NOT DISTINCT FROM $2),
             gone_tokens AS (DELETE FROM tokens WHERE vm IN (SELECT id FROM gone)),
             gone_disks AS (DELETE FROM disks WHERE vm IN (SELECT id FROM gone)),
             gone_vms AS (DELETE FROM vms WHERE id IN (SELECT id FROM gone)),
             counted AS (
                UPDATE vm_total SET vms = greatest(vms - (SELECT count(*) FROM gone), 0)
                WHERE EXISTS (SELECT FROM gone)),
             logged AS (
                INSERT INTO changes (origin, kind, subject, name) SELECT $3, 'removed', id, name FROM gone)
             SELECT count(*) FROM gone";
        let rows = self.session.query(sql, &[&names, &server, &self.origin])?;
        Ok(rows.first().map_or(Ok(0), |row| row.try_get(0))?)
    }

    /// Why the VM `name` was not found among those that are not managed.
    fn refusal_of(&mut self, name: &VmName) -> Result<StoreError, PgError> {
        let rows = self.session.query("SELECT FROM vms WHERE name = $1", &[&name.as_str()])?;
        Ok(if rows.is_empty() { StoreError::UnknownVm } else { StoreError::Managed })
    }

    /// Runs a statement that returns a row if it has done its work; if not, the result is `refusal`.
    fn change(&mut self, sql: &'static str, parameters: Parameters<'_>, refusal: StoreError) -> Outcome {
        let rows = self.session.query(sql, parameters)?;
        Ok(if rows.is_empty() { Err(refusal) } else { Ok(Written::Done) })
    }
}

/// Whether two writes that follow each other can be parts of one statement.
fn may_share_statement(one: &Write, next: &Write) -> bool {
    match registrations::limit_of(one) {
        Some(limit) => registrations::limit_of(next) == Some(limit),
        None => updates::is_of_shape(one) && updates::is_of_shape(next),
    }
}

fn changes_total(write: &Write) -> bool {
    matches!(
        write,
        Write::Register { .. } | Write::AddVm { .. } | Write::Remove(_) | Write::RemoveManaged { .. }
    )
}

/// Returns a row if the login is current. All parts see the tokens as of the start, so the oldest are counted without the
/// expired ones. Expired tokens may belong to any VM; locked ones are skipped.
const ISSUE_TOKEN: &str = "
    WITH vm AS (
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

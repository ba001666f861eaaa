//! Updates of VMs: each does everything or nothing. Those without disks share a statement if they follow each other.

use std::collections::{HashMap, HashSet};

use super::super::{StoreError, TokenProof, Write, WriteOutcome, Written};
use super::parameters::{Parameters, Unlogged, disk_sizes};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::ids::DiskId;
use crate::model::{DiskChange, Login, VmChange};

/// Changes the VM of `login` and its disks if it is current and the VM is not managed; `origin` makes the change.
pub(super) fn update(
    session: &mut PgSession,
    login: &Login,
    change: &VmChange,
    disks: &DiskChange,
    origin: i64,
) -> Result<WriteOutcome, PgError> {
    let (id, epoch) = (&login.id.0, &login.epoch);
    let (ram, cpus) = (&change.ram_mib.map(i64::from), &change.cpus.map(i32::from));
    let rows = match disks {
        DiskChange::Replace(wanted) => {
            let sizes = disk_sizes(wanted.iter().copied())?;
            session.query(REPLACE_DISKS, &[id, epoch, ram, cpus, &sizes, &origin])?
        }
        DiskChange::Resize(changes) => {
            let disks: Vec<i64> = changes.iter().map(|(disk, _)| disk.0).collect();
            let sizes = disk_sizes(changes.iter().map(|(_, size)| *size))?;
            session.query(RESIZE_DISKS, &[id, epoch, ram, cpus, &disks, &sizes, &origin])?
        }
    };
    Ok(match rows.first().map(|row| row.try_get::<_, Option<i64>>(0)).transpose()? {
        None => Err(refusal_of(session, login)?),
        Some(Some(unknown)) => Err(StoreError::UnknownDisk(DiskId(unknown))),
        Some(None) => Ok(Written::Done),
    })
}

/// Whether `write` changes the memory and processors of a VM only.
pub(super) fn is_of_shape(write: &Write) -> bool {
    matches!(write, Write::Update { change: VmChange { disks: None, .. }, .. })
}

/// Whether the token is one of the login's VM, which is locked, and not expired.
pub(super) fn is_proven(session: &mut PgSession, login: &Login, proof: &TokenProof) -> Result<bool, PgError> {
    let sql = "SELECT FROM tokens WHERE hash = $1 AND vm = $2 AND expires > $3";
    let TokenProof { token, now } = proof;
    Ok(!session.query(sql, &[&Unlogged(&token.0[..]), &login.id.0, &now.0])?.is_empty())
}

/// Changes of shapes, column by column: one of each VM.
#[derive(Default)]
struct Shapes {
    ids: Vec<i64>,
    epochs: Vec<i64>,
    tokens: Vec<Option<Vec<u8>>>,
    times: Vec<Option<i64>>,
    ram_mib: Vec<Option<i64>>,
    cpus: Vec<Option<i32>>,
    /// The place of each VM, and what its writes rely on.
    places: HashMap<i64, (usize, i64, Option<TokenProof>)>,
    logins: Vec<Login>,
}

/// Runs `writes`, for which [`is_of_shape`] holds; `origin` makes the changes. Those of one login that follow each other
/// are one change.
pub(super) fn reshape(
    session: &mut PgSession,
    writes: &[&Write],
    origin: i64,
) -> Result<Vec<WriteOutcome>, PgError> {
    let (mut shapes, mut outcomes) = (Shapes::default(), Vec::with_capacity(writes.len()));
    for write in writes {
        let Write::Update { login, token, change } = write else {
            return Err(PgError::Failed("another write among updates".to_owned()));
        };
        if !shapes.add(login, *token, change) {
            outcomes.extend(std::mem::take(&mut shapes).run(session, origin)?);
            shapes.add(login, *token, change);
        }
    }
    outcomes.extend(shapes.run(session, origin)?);
    Ok(outcomes)
}

impl Shapes {
    /// Adds a change; false if another one of the same VM relies on something else.
    fn add(&mut self, login: &Login, token: Option<TokenProof>, change: &VmChange) -> bool {
        let new = (self.ids.len(), login.epoch, token);
        let (place, epoch, of_place) = *self.places.entry(login.id.0).or_insert(new);
        if (epoch, of_place) != (login.epoch, token) {
            return false;
        }
        if place == self.ids.len() {
            self.ids.push(login.id.0);
            self.epochs.push(login.epoch);
            self.tokens.push(token.map(|proof| proof.token.0.to_vec()));
            self.times.push(token.map(|proof| proof.now.0));
            self.ram_mib.push(None);
            self.cpus.push(None);
        }
        self.ram_mib[place] = change.ram_mib.map(i64::from).or(self.ram_mib[place]);
        self.cpus[place] = change.cpus.map(i32::from).or(self.cpus[place]);
        self.logins.push(login.clone());
        true
    }

    fn run(self, session: &mut PgSession, origin: i64) -> Result<Vec<WriteOutcome>, PgError> {
        let parameters: Parameters<'_> = &[
            &self.ids,
            &self.epochs,
            &Unlogged(&self.tokens),
            &self.times,
            &self.ram_mib,
            &self.cpus,
            &origin,
        ];
        let rows = session.query(RESHAPE, parameters)?;
        let done: HashSet<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let outcome = |login: &Login| match done.contains(&login.id.0) {
            true => Ok(Ok(Written::Done)),
            false => {
                let (_, _, token) = self.places[&login.id.0];
                let is_proven = token.map_or(Ok(true), |proof| is_proven(session, login, &proof))?;
                Ok(Err(if is_proven { refusal_of(session, login)? } else { StoreError::NotCurrent }))
            }
        };
        self.logins.iter().map(outcome).collect()
    }
}

/// Why the VM of `login` is not to be updated.
fn refusal_of(session: &mut PgSession, login: &Login) -> Result<StoreError, PgError> {
    let sql = "SELECT FROM vms WHERE id = $1 AND epoch = $2";
    let is_current = !session.query(sql, &[&login.id.0, &login.epoch])?.is_empty();
    Ok(if is_current { StoreError::Managed } else { StoreError::NotCurrent })
}

/// Returns the id of each VM whose login is current, and which is not managed. By ctid, since the rows are locked: a plan
/// for a small table would read all of a large one. The planner does not see the arrays' lengths, so it plans once.
const RESHAPE: &str = "
    WITH vm AS (
        UPDATE vms SET ram_mib = coalesce(($5::bigint[])[array_position($1, id)], ram_mib),
            cpus = coalesce(($6::integer[])[array_position($1, id)], cpus)
        WHERE ctid = ANY (ARRAY (
            SELECT (
                SELECT ctid FROM vms WHERE id = new.id AND epoch = new.epoch AND managed_by IS NULL AND (
                    new.token IS NULL
                    OR (SELECT true FROM tokens WHERE hash = new.token AND vm = new.id AND expires > new.now)))
            FROM unnest((SELECT $1::bigint[]), (SELECT $2::bigint[]), (SELECT $3::bytea[]), (SELECT $4::bigint[]))
                AS new (id, epoch, token, now)))
        RETURNING id, name),
    logged AS (INSERT INTO changes (origin, kind, subject, name) SELECT $7, 'updated', id, name FROM vm)
    SELECT id FROM vm";

/// Returns a row if the login is current, the VM is not managed, and all was done.
const REPLACE_DISKS: &str = "
    WITH vm AS (
        UPDATE vms SET ram_mib = coalesce($3, ram_mib), cpus = coalesce($4, cpus)
        WHERE id = $1 AND epoch = $2 AND managed_by IS NULL RETURNING id, name),
    logged AS (INSERT INTO changes (origin, kind, subject, name) SELECT $6, 'updated', id, name FROM vm),
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

/// Returns a row if the login is current and the VM is not managed: the first disk that the VM does not have; null if all was done.
const RESIZE_DISKS: &str = "
    WITH vm AS (SELECT id, name FROM vms WHERE id = $1 AND epoch = $2 AND managed_by IS NULL),
    wanted AS (
        SELECT id, size, place FROM unnest($5::bigint[], $6::bigint[]) WITH ORDINALITY AS w (id, size, place)),
    unknown AS (
        SELECT id FROM wanted WHERE id NOT IN (SELECT id FROM disks WHERE vm = $1) ORDER BY place LIMIT 1),
    logged AS (
        INSERT INTO changes (origin, kind, subject, name)
        SELECT $7, 'updated', id, name FROM vm WHERE NOT EXISTS (SELECT FROM unknown)),
    reshaped AS (
        UPDATE vms SET ram_mib = coalesce($3, ram_mib), cpus = coalesce($4, cpus)
        WHERE id IN (SELECT id FROM vm) AND NOT EXISTS (SELECT FROM unknown)),
    resized AS (
        UPDATE disks SET size_gib = wanted.size FROM wanted
        WHERE disks.id = wanted.id AND disks.vm IN (SELECT id FROM vm) AND NOT EXISTS (SELECT FROM unknown))
    SELECT (SELECT id FROM unknown) FROM vm";

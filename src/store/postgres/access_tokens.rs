//! Access tokens in the database.

use postgres::Row;

use super::super::{StoreError, WriteOutcome, Written, as_i64};
use super::parameters::{Parameters, Unlogged};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::clock::UnixSeconds;
use crate::ids::AccessTokenId;
use crate::model::{AccessToken, AccessTokenChange, Reader, TokenHash, VmName};

/// Locks the table against other writers, as every transaction with a change does before all else. Only operators change
/// access tokens, and seldom: so it waits, whatever the policy for locks.
pub(super) const LOCK: &str = "LOCK TABLE access_tokens IN SHARE ROW EXCLUSIVE MODE";

/// Whether an enabled token for verbs has this hash.
pub(super) fn contains(session: &mut PgSession, token: &TokenHash) -> Result<bool, PgError> {
    let sql = "SELECT FROM access_tokens WHERE token_sha256 = $1 AND enabled AND reader_name IS NULL";
    Ok(!session.query(sql, &[&Unlogged(&token.0[..])])?.is_empty())
}

pub(super) fn reader(session: &mut PgSession, token: &TokenHash) -> Result<Option<Reader>, PgError> {
    let sql = "SELECT id, reader_name FROM access_tokens
               WHERE token_sha256 = $1 AND enabled AND reader_name IS NOT NULL";
    let rows = session.query(sql, &[&Unlogged(&token.0[..])])?;
    let reader = |row: &Row| {
        let name = VmName::from_store(row.try_get(1)?);
        Ok(Reader { token: AccessTokenId(row.try_get(0)?), name })
    };
    rows.first().map(reader).transpose()
}

pub(super) fn all(session: &mut PgSession) -> Result<Vec<AccessToken>, PgError> {
    let token = |row: &Row| {
        let (id, created_at) = (AccessTokenId(row.try_get(0)?), UnixSeconds(row.try_get(1)?));
        let reader_name = row.try_get::<_, Option<&str>>(3)?.map(VmName::from_store);
        Ok(AccessToken { id, created_at, is_enabled: row.try_get(2)?, reader_name })
    };
    let sql = "SELECT id, created_at, enabled, reader_name FROM access_tokens ORDER BY id";
    session.query(sql, &[])?.iter().map(token).collect()
}

/// Runs a change under the lock; `origin` makes it.
pub(super) fn change(
    session: &mut PgSession,
    change: &AccessTokenChange,
    origin: i64,
) -> Result<WriteOutcome, PgError> {
    let rows = match change {
        AccessTokenChange::Add { token, is_enabled, reader_name, count_max, now } => {
            let sql = "INSERT INTO access_tokens (token_sha256, created_at, enabled, reader_name)
                 SELECT $1, $2, $3, $5 WHERE (SELECT count(*) FROM access_tokens) < $4 RETURNING id";
            let reader = reader_name.as_ref().map(VmName::as_str);
            let parameters: Parameters<'_> =
                &[&Unlogged(&token.0[..]), &now.0, is_enabled, &as_i64(*count_max), &reader];
            let rows = session.query(sql, parameters)?;
            return Ok(match rows.first() {
                None => Err(StoreError::AccessTokenLimitReached),
                Some(row) => Ok(Written::AccessTokenAdded(AccessTokenId(row.try_get(0)?))),
            });
        }
        AccessTokenChange::SetEnabled { id, is_enabled } => {
            let sql = "WITH changed AS (UPDATE access_tokens SET enabled = $2 WHERE id = $1 RETURNING id),
                 logged AS (
                    INSERT INTO changes (origin, kind, subject)
                    SELECT $3, 'token ended', id FROM changed WHERE NOT $2)
                 SELECT FROM changed";
            session.query(sql, &[&id.0, is_enabled, &origin])?
        }
        AccessTokenChange::Remove(id) => {
            let sql = "WITH gone AS (DELETE FROM access_tokens WHERE id = $1 RETURNING id),
                 logged AS (
                    INSERT INTO changes (origin, kind, subject) SELECT $2, 'token ended', id FROM gone)
                 SELECT FROM gone";
            session.query(sql, &[&id.0, &origin])?
        }
    };
    Ok(if rows.is_empty() { Err(StoreError::UnknownAccessToken) } else { Ok(Written::Done) })
}

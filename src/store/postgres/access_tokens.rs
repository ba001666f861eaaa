//! Access tokens in the database.

use postgres::Row;

use super::super::{StoreError, WriteOutcome, Written, as_i64};
use super::parameters::{Parameters, Unlogged};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::clock::UnixSeconds;
use crate::ids::AccessTokenId;
use crate::model::{AccessToken, AccessTokenChange, TokenHash};

/// Locks the table against other writers, as every transaction with a change does before all else. Only operators change
/// access tokens, and seldom: so it waits, whatever the policy for locks.
pub(super) const LOCK: &str = "LOCK TABLE access_tokens IN SHARE ROW EXCLUSIVE MODE";

/// Whether an enabled token has this hash.
pub(super) fn contains(session: &mut PgSession, token: &TokenHash) -> Result<bool, PgError> {
    let sql = "SELECT FROM access_tokens WHERE token_sha256 = $1 AND enabled";
    Ok(!session.query(sql, &[&Unlogged(&token.0[..])])?.is_empty())
}

pub(super) fn all(session: &mut PgSession) -> Result<Vec<AccessToken>, PgError> {
    let token = |row: &Row| {
        let (id, created_at) = (AccessTokenId(row.try_get(0)?), UnixSeconds(row.try_get(1)?));
        Ok(AccessToken { id, created_at, is_enabled: row.try_get(2)? })
    };
    let sql = "SELECT id, created_at, enabled FROM access_tokens ORDER BY id";
    session.query(sql, &[])?.iter().map(token).collect()
}

/// Runs a change under the lock.
pub(super) fn change(session: &mut PgSession, change: &AccessTokenChange) -> Result<WriteOutcome, PgError> {
    let rows = match change {
        AccessTokenChange::Add { token, is_enabled, count_max, now } => {
            let sql = "INSERT INTO access_tokens (token_sha256, created_at, enabled)
                 SELECT $1, $2, $3 WHERE (SELECT count(*) FROM access_tokens) < $4 RETURNING id";
            let parameters: Parameters<'_> =
                &[&Unlogged(&token.0[..]), &now.0, is_enabled, &as_i64(*count_max)];
            let rows = session.query(sql, parameters)?;
            return Ok(match rows.first() {
                None => Err(StoreError::AccessTokenLimitReached),
                Some(row) => Ok(Written::AccessTokenAdded(AccessTokenId(row.try_get(0)?))),
            });
        }
        AccessTokenChange::SetEnabled { id, is_enabled } => {
            let sql = "UPDATE access_tokens SET enabled = $2 WHERE id = $1 RETURNING id";
            session.query(sql, &[&id.0, is_enabled])?
        }
        AccessTokenChange::Remove(id) => {
            session.query("DELETE FROM access_tokens WHERE id = $1 RETURNING id", &[&id.0])?
        }
    };
    Ok(if rows.is_empty() { Err(StoreError::UnknownAccessToken) } else { Ok(Written::Done) })
}

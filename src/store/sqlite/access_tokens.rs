//! Access tokens in the file.

use rusqlite::{Connection, Result, Row, params};

use super::super::{StoreError, Written, as_i64};
use super::statements::{WriteError, execute, query};
use crate::clock::UnixSeconds;
use crate::ids::AccessTokenId;
use crate::model::{AccessToken, AccessTokenChange, TokenHash};

/// Whether an enabled token has this hash.
pub(super) fn contains(connection: &Connection, token: &TokenHash) -> Result<bool> {
    query(connection, "SELECT 1 FROM access_tokens WHERE token_sha256 = ?1 AND enabled = 1")?
        .exists(params![token.0])
}

pub(super) fn all(connection: &Connection) -> Result<Vec<AccessToken>> {
    let token = |row: &Row<'_>| {
        let (id, created_at) = (AccessTokenId(row.get(0)?), UnixSeconds(row.get(1)?));
        Ok(AccessToken { id, created_at, is_enabled: row.get(2)? })
    };
    let sql = "SELECT id, created_at, enabled FROM access_tokens ORDER BY id";
    query(connection, sql)?.query_map([], token)?.collect()
}

pub(super) fn change(
    connection: &Connection,
    change: &AccessTokenChange,
) -> std::result::Result<Written, WriteError> {
    let changed = match change {
        AccessTokenChange::Add { token, is_enabled, count_max, now } => {
            let sql = "INSERT INTO access_tokens (token_sha256, created_at, enabled)
             SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM access_tokens) < ?4";
            return match execute(connection, sql, params![token.0, now.0, is_enabled, as_i64(*count_max)])? {
                0 => Err(StoreError::AccessTokenLimitReached.into()),
                _ => Ok(Written::AccessTokenAdded(AccessTokenId(connection.last_insert_rowid()))),
            };
        }
        AccessTokenChange::SetEnabled { id, is_enabled } => {
            let sql = "UPDATE access_tokens SET enabled = ?2 WHERE id = ?1";
            execute(connection, sql, params![id.0, is_enabled])?
        }
        AccessTokenChange::Remove(id) => {
            execute(connection, "DELETE FROM access_tokens WHERE id = ?1", [id.0])?
        }
    };
    if changed == 0 { Err(StoreError::UnknownAccessToken.into()) } else { Ok(Written::Done) }
}

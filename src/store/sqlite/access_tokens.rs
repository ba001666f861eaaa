//! Access tokens in the file.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::super::{StoreError, Written, as_i64};
use super::statements::{Statements, WriteError, query};
use crate::clock::UnixSeconds;
use crate::ids::AccessTokenId;
use crate::model::{AccessToken, AccessTokenChange, Reader, TokenHash, VmName};

/// Whether an enabled token for verbs has this hash.
pub(super) fn contains(connection: &Connection, token: &TokenHash) -> Result<bool> {
    let sql = "SELECT 1 FROM access_tokens WHERE token_sha256 = ?1 AND enabled = 1 AND reader_name IS NULL";
    query(connection, sql)?.exists(params![token.0])
}

pub(super) fn reader(connection: &Connection, token: &TokenHash) -> Result<Option<Reader>> {
    let sql = "SELECT id, reader_name FROM access_tokens
         WHERE token_sha256 = ?1 AND enabled = 1 AND reader_name IS NOT NULL";
    let reader = |row: &Row<'_>| {
        let name = VmName::from_store(row.get_ref(1)?.as_str()?);
        Ok(Reader { token: AccessTokenId(row.get(0)?), name })
    };
    query(connection, sql)?.query_row(params![token.0], reader).optional()
}

pub(super) fn all(connection: &Connection) -> Result<Vec<AccessToken>> {
    let token = |row: &Row<'_>| {
        let (id, created_at) = (AccessTokenId(row.get(0)?), UnixSeconds(row.get(1)?));
        let reader_name = row.get_ref(3)?.as_str_or_null()?.map(VmName::from_store);
        Ok(AccessToken { id, created_at, is_enabled: row.get(2)?, reader_name })
    };
    let sql = "SELECT id, created_at, enabled, reader_name FROM access_tokens ORDER BY id";
    query(connection, sql)?.query_map([], token)?.collect()
}

pub(super) fn change(
    statements: &mut Statements<'_>,
    change: &AccessTokenChange,
) -> std::result::Result<Written, WriteError> {
    let changed = match change {
        AccessTokenChange::Add { token, is_enabled, reader_name, count_max, now } => {
            let sql = "INSERT INTO access_tokens (token_sha256, created_at, enabled, reader_name)
             SELECT ?1, ?2, ?3, ?5 WHERE (SELECT count(*) FROM access_tokens) < ?4";
            let reader = reader_name.as_ref().map(VmName::as_str);
            let parameters = params![token.0, now.0, is_enabled, as_i64(*count_max), reader];
            return match statements.execute(sql, parameters)? {
                0 => Err(StoreError::AccessTokenLimitReached.into()),
                _ => Ok(Written::AccessTokenAdded(AccessTokenId(statements.last_insert_rowid()))),
            };
        }
        AccessTokenChange::SetEnabled { id, is_enabled } => {
            let sql = "UPDATE access_tokens SET enabled = ?2 WHERE id = ?1";
            statements.execute(sql, params![id.0, is_enabled])?
        }
        AccessTokenChange::Remove(id) => {
            statements.execute("DELETE FROM access_tokens WHERE id = ?1", [id.0])?
        }
    };
    if changed == 0 { Err(StoreError::UnknownAccessToken.into()) } else { Ok(Written::Done) }
}

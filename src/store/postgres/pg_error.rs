//! Classifies database errors: whether the work may be retried, and whether anything may have been done.

use std::error::Error as _;
use std::io;

use postgres::error::{DbError, Severity};

use super::super::StoreError;

/// Why work on a connection failed. Nothing was done, except possibly for `OutcomeUnknown`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum PgError {
    /// A conflict with another transaction; a retry may succeed.
    Conflict(String),
    /// The connection is unusable: it ended, or its server is shutting down or read-only.
    ConnectionLost(String),
    /// The database does not accept us as the URL says.
    Misconfigured(String),
    /// The database is not ours to use.
    Refused(String),
    /// A lock, or all available connections, were held for too long.
    LockTimeout,
    /// A temporary failure: a timeout, or no resources. Other work would fail too.
    Exhausted(String),
    /// A permanent failure: missing rights, or an unexpected schema. Other work would fail too.
    Failed(String),
    /// The database rejects the data; other writes may succeed.
    Rejected(String),
    /// The commit was sent but not answered.
    OutcomeUnknown(String),
}

impl PgError {
    /// Classifies the error of a statement that does not commit.
    pub(super) fn from_statement(error: &postgres::Error) -> PgError {
        let why = describe(error);
        let Some(database) = error.as_db_error() else {
            return match is_connection_error(error) {
                true => PgError::ConnectionLost(why),
                // For example an unexpected column type, which another connection would have
                // too.
                false => PgError::Failed(why),
            };
        };
        match database.code().code() {
            "40001" | "40P01" => PgError::Conflict(why),
            "55P03" => PgError::LockTimeout,
            code if is_session_error(code) => PgError::ConnectionLost(why),
            code if code.starts_with("08") || code.starts_with("57P") => PgError::ConnectionLost(why),
            _ if ends_connection(database) => PgError::ConnectionLost(why),
            // A lock timeout that fires while the lock is granted cancels the statement in its next
            // wait, and PostgreSQL reports it as a user's cancel. A real cancel affects this
            // statement only.
            "57014" if database.message().contains("user request") => PgError::LockTimeout,
            "57014" => PgError::Exhausted(why),
            code if code.starts_with("53") || code.starts_with("58") => PgError::Exhausted(why),
            code if code.starts_with("22") || code.starts_with("23") => PgError::Rejected(why),
            _ => PgError::Failed(why),
        }
    }

    /// Classifies the error of a commit, or of a statement that is its own transaction. An error that keeps
    /// the connection open means that PostgreSQL rolled back; after any other error the outcome is unknown.
    pub(super) fn from_commit(error: postgres::Error) -> PgError {
        match error.as_db_error() {
            Some(database) if !ends_connection(database) => match PgError::from_statement(&error) {
                PgError::ConnectionLost(why) if !is_session_error(database.code().code()) => {
                    PgError::OutcomeUnknown(why)
                }
                failure => failure,
            },
            _ => PgError::OutcomeUnknown(describe(&error)),
        }
    }

    /// Whether the connection can be used again after a rollback.
    pub(super) fn is_connection_usable(&self) -> bool {
        !matches!(self, PgError::ConnectionLost(_) | PgError::OutcomeUnknown(_))
    }

    /// The error for the caller when there is no retry.
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            PgError::Conflict(_) | PgError::LockTimeout => StoreError::Busy,
            PgError::ConnectionLost(why)
            | PgError::Misconfigured(why)
            | PgError::Exhausted(why)
            | PgError::Failed(why)
            | PgError::Rejected(why) => StoreError::Unavailable(why),
            PgError::Refused(why) => StoreError::Refused(why),
            PgError::OutcomeUnknown(why) => StoreError::OutcomeUnknown(why),
        }
    }
}

impl From<postgres::Error> for PgError {
    fn from(error: postgres::Error) -> PgError {
        PgError::from_statement(&error)
    }
}

/// Whether an error without a server message means that the connection is unusable: closed, an I/O error, or an
/// invalid answer.
pub(super) fn is_connection_error(error: &postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(|source| source.is::<io::Error>())
}

/// Errors that another connection would not have: a standby, a failed transaction that we do not know of, and
/// prepared statements that are missing or outdated. Nothing was done.
fn is_session_error(code: &str) -> bool {
    matches!(code, "25006" | "25P02" | "26000" | "42P05" | "0A000")
}

fn ends_connection(error: &DbError) -> bool {
    // Servers before 9.6 report the severity in their own language only.
    error.parsed_severity() != Some(Severity::Error)
}

/// Advice about a pooler that shares server sessions between transactions.
pub(super) const POOLER_HINT: &str = "a pooler before the database that pools transactions or statements can't be used: \
                                 set PgBouncer's pool_mode to session for it";

/// Formats an error for the log, without its detail, which may repeat a row and its password hash.
pub(super) fn describe(error: &postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        let code = database.code().code();
        let hint = match code {
            "26000" | "42P05" => format!("; {POOLER_HINT}"),
            _ => String::new(),
        };
        return format!("{} (SQLSTATE {code}){hint}", database.message());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

//! What an error of the database means for the work that met it: may it be tried again, and is anything
//! known to have been done?

use std::error::Error as _;
use std::io;

use postgres::error::{DbError, Severity};

use super::super::StoreError;
use super::hosts::{ConnectError, ConnectErrorKind};

/// Why work on a connection came to nothing. Everywhere but in `Unknown` nothing was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum PgError {
    /// It lost against another transaction; the same again may work.
    Conflict(String),
    /// The connection is of no use any more: it ended, its server is going down or takes no writes.
    ConnectionLost(String),
    /// The database does not have us as the URL says.
    Misconfigured(String),
    /// Somebody holds a lock, or all connections that there may be, for too long.
    LockTimeout,
    /// The database could not, for now: it took too long, has no room. Others would fail as well.
    Exhausted(String),
    /// The database could not: it lets us not, or is not as it should be. Others would fail as well.
    Failed(String),
    /// The database does not take what was to be written; other writes are another matter.
    Rejected(String),
    /// The commit was sent and not answered.
    OutcomeUnknown(String),
}

impl PgError {
    /// The failure of a statement that commits nothing.
    pub(super) fn from_statement(error: &postgres::Error) -> PgError {
        let why = describe(error);
        let Some(database) = error.as_db_error() else {
            return match is_connection_error(error) {
                true => PgError::ConnectionLost(why),
                // A value of another type than we expect, say: another connection would have it as well.
                false => PgError::Failed(why),
            };
        };
        match database.code().code() {
            "40001" | "40P01" => PgError::Conflict(why),
            "55P03" => PgError::LockTimeout,
            code if is_session_error(code) => PgError::ConnectionLost(why),
            code if code.starts_with("08") || code.starts_with("57P") => PgError::ConnectionLost(why),
            _ if ends_connection(database) => PgError::ConnectionLost(why),
            // A lock timeout that fires while the lock is being granted cancels the statement later, in the next
            // wait for a lock, and PostgreSQL then takes the signal for a user's. A user's own cancel, too, concerns this
            // statement alone.
            "57014" if database.message().contains("user request") => PgError::LockTimeout,
            "57014" => PgError::Exhausted(why),
            code if code.starts_with("53") || code.starts_with("58") => PgError::Exhausted(why),
            code if code.starts_with("22") || code.starts_with("23") => PgError::Rejected(why),
            _ => PgError::Failed(why),
        }
    }

    /// The failure of a commit that was sent, or of a statement that is its own. An error that leaves the
    /// connection open is PostgreSQL's word that it rolled back; whatever else happens leaves open what was done.
    pub(super) fn from_commit(error: &postgres::Error) -> PgError {
        match error.as_db_error() {
            Some(database) if !ends_connection(database) => match PgError::from_statement(error) {
                PgError::ConnectionLost(why) if !is_session_error(database.code().code()) => {
                    PgError::OutcomeUnknown(why)
                }
                failure => failure,
            },
            _ => PgError::OutcomeUnknown(describe(error)),
        }
    }

    /// Whether the connection can be used again, once the transaction is rolled back.
    pub(super) fn is_connection_usable(&self) -> bool {
        !matches!(self, PgError::ConnectionLost(_) | PgError::OutcomeUnknown(_))
    }

    /// What it means to whoever asked, when it is not tried again.
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            PgError::Conflict(_) | PgError::LockTimeout => StoreError::Busy,
            PgError::ConnectionLost(why)
            | PgError::Misconfigured(why)
            | PgError::Exhausted(why)
            | PgError::Failed(why)
            | PgError::Rejected(why) => StoreError::Unavailable(why),
            PgError::OutcomeUnknown(why) => StoreError::OutcomeUnknown(why),
        }
    }
}

impl From<ConnectError> for PgError {
    fn from(ConnectError { why, kind: reason }: ConnectError) -> PgError {
        match reason {
            ConnectErrorKind::Misconfigured => PgError::Misconfigured(why),
            ConnectErrorKind::TooManyConnections | ConnectErrorKind::Timeout | ConnectErrorKind::Other => {
                PgError::Failed(why)
            }
        }
    }
}

impl From<postgres::Error> for PgError {
    fn from(error: postgres::Error) -> PgError {
        PgError::from_statement(&error)
    }
}

/// Whether an error that is not the database's word is an end, an I/O error, or an answer that is no answer:
/// nothing more can be said on that connection.
pub(super) fn is_connection_error(error: &postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(|source| source.is::<io::Error>())
}

/// A standby; a transaction that we do not know to have failed; statements that we think are prepared and are
/// not, or not for these tables any more. Nothing was done, and a new connection has none of these.
fn is_session_error(code: &str) -> bool {
    matches!(code, "25006" | "25P02" | "26000" | "42P05" | "0A000")
}

fn ends_connection(error: &DbError) -> bool {
    // Servers before 9.6 say their severity in their own language only.
    error.parsed_severity() != Some(Severity::Error)
}

/// What is to be done about a pooler that gives each transaction another of the server's sessions.
pub(super) const POOLER_HINT: &str = "a pooler before the database that pools transactions or statements can't be used: \
                                 set PgBouncer's pool_mode to session for it";

/// An error for the log. Never its detail, which may repeat a whole row, password hash included.
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

//! Parameters of statements.

use std::error::Error;
use std::fmt;

// Where the crate's own macro finds the type that its trait names.
use postgres::types::private::BytesMut;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::pg_error::PgError;

/// The parameters of a statement.
pub(super) type Parameters<'p> = &'p [&'p (dyn ToSql + Sync)];

/// A parameter that is hidden from logs: the crate can log the parameters of every statement.
pub(super) struct Unlogged<T>(pub(super) T);

impl<T> fmt::Debug for Unlogged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl<T: ToSql> ToSql for Unlogged<T> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        T::accepts(ty)
    }

    to_sql_checked!();
}

/// Converts disk sizes. Validation lets no larger number through.
pub(super) fn disk_sizes(sizes: impl IntoIterator<Item = u64>) -> Result<Vec<i64>, PgError> {
    let sizes: Result<_, _> = sizes.into_iter().map(i64::try_from).collect();
    sizes.map_err(|_| PgError::Rejected("a disk is larger than the database can tell".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlogged_parameters_are_hidden_in_debug_output() {
        let parameters: [&(dyn ToSql + Sync); 2] = [&Unlogged("hunter2"), &Unlogged(Some("hunter2"))];
        assert_eq!(format!("{parameters:?}"), "[…, …]");
    }
}

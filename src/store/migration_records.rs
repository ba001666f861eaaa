//! What the migrations of all databases share: steps are numbered from 1, done forward only and each once,
//! and a database tells which were done to it, by their numbers and checksums.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Holds what the database says was done to it against what this program would have done.
pub(super) fn check_recorded(
    recorded: &[(i64, String)],
    migrations: &[&str],
    elsewhere: &str,
) -> Result<(), String> {
    let newest = recorded.last().map_or(0, |(version, _)| *version);
    let known = version(migrations.len() - 1);
    if newest > known {
        return Err(format!(
            "a newer vmherd has written this database (schema version {newest}, this program knows up to \
             {known}): run that version of vmherd, or restore a copy made before the upgrade"
        ));
    }
    for (index, (found, recorded_checksum)) in recorded.iter().enumerate() {
        if *found != version(index) {
            return Err(format!(
                "schema version {} is missing from this database's records: restore a copy of it",
                version(index)
            ));
        }
        if *recorded_checksum != checksum(migrations[index]) {
            return Err(format!(
                "schema version {found} of this database was made by another text than this program's \
                 (checksum {recorded_checksum} instead of {}): run the vmherd that made it, or {elsewhere}",
                checksum(migrations[index])
            ));
        }
    }
    Ok(())
}

/// The number of the migration at `index`.
pub(super) fn version(index: usize) -> i64 {
    i64::try_from(index + 1).expect("few migrations")
}

/// What is recorded of a migration's text, so that one that was edited is noticed.
pub(super) fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    })
}

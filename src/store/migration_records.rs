//! Shared by the migrations of all databases: steps are numbered from 1 and applied forward only, each once.
//! The database records the applied steps by number and checksum.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The number of applied migrations; an error if the recorded ones are not those of this program.
pub(super) fn count_recorded(
    recorded: &[(i64, String)],
    migrations: &[&str],
    elsewhere: &str,
) -> Result<usize, String> {
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
                "schema version {found} of this database was made by other SQL than that of this program's \
                 (checksum {recorded_checksum} instead of {}): run the vmherd that made it, or {elsewhere}",
                checksum(migrations[index])
            ));
        }
    }
    Ok(recorded.len())
}

/// The number of the migration at `index`.
pub(super) fn version(index: usize) -> i64 {
    i64::try_from(index + 1).expect("few migrations")
}

/// The checksum of a migration's text, which detects edits.
pub(super) fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    })
}

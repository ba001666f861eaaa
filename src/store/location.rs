//! Which store to use: the value of `--store`.

use std::fmt;

use super::PostgresUrl;

/// Which store to use: the value of `--store`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// `memory:`, gone with the process.
    Memory,
    /// `sqlite:PATH`, one file.
    #[cfg(feature = "sqlite")]
    Sqlite(std::path::PathBuf),
    /// `postgresql://…`, a database on a server.
    Postgres(PostgresUrl),
}

impl Location {
    /// Parses the value of `--store`. The error lists what is allowed and does not repeat `text`: a URL may
    /// hold a password.
    pub fn parse(text: &str) -> Result<Location, String> {
        if text == "memory:" {
            return Ok(Location::Memory);
        }
        if PostgresUrl::has_scheme(text) {
            return PostgresUrl::parse(text).map(Location::Postgres);
        }
        match text.strip_prefix("sqlite:") {
            Some(path) => Location::parse_sqlite(path),
            None => Err(ALLOWED.to_owned()),
        }
    }

    #[cfg(feature = "sqlite")]
    fn parse_sqlite(path: &str) -> Result<Location, String> {
        match path {
            "" => Err(format!("sqlite: needs the path of a file: {ALLOWED}")),
            // SQLite's own name for what is called `memory:` here.
            ":memory:" => Err(format!("a store in memory is called memory: here: {ALLOWED}")),
            _ if ends_in_directory(path) => Err(format!("sqlite: needs the path of a file: {ALLOWED}")),
            _ if path.contains("://") => {
                Err(format!("sqlite: needs the path of a file, not a URL: {ALLOWED}"))
            }
            path => Ok(Location::Sqlite(path.into())),
        }
    }

    #[cfg(not(feature = "sqlite"))]
    fn parse_sqlite(_path: &str) -> Result<Location, String> {
        Err(format!("this build has no SQLite: {ALLOWED}"))
    }
}

#[cfg(feature = "sqlite")]
const ALLOWED: &str = "allowed are sqlite:PATH (one file), postgresql://… (a database) and memory: (gone with the \
                       process)";
#[cfg(not(feature = "sqlite"))]
const ALLOWED: &str = "allowed are postgresql://… (a database) and memory: (gone with the process)";

/// Whether the path `text` can only name a directory.
pub fn ends_in_directory(text: &str) -> bool {
    matches!(text.rsplit('/').next(), Some("" | "." | "..")) && !text.is_empty()
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Memory => f.write_str("memory:"),
            #[cfg(feature = "sqlite")]
            Location::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Location::Postgres(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_round_trips() {
        for text in [
            "memory:",
            "sqlite:/var/lib/vmherd/vmherd.db",
            "sqlite:a file",
            "sqlite:file:x?mode=ro",
            "postgresql://me@localhost/herd",
        ] {
            if cfg!(feature = "sqlite") || !text.starts_with("sqlite:") {
                assert_eq!(Location::parse(text).expect(text).to_string(), text);
            }
        }
    }

    #[test]
    fn an_invalid_location_lists_what_is_allowed_without_repeating_it() {
        let bad = ["", "memory", "Memory:", "memory:x", "sqlite", "sqlite:", "sqlite::memory:", "/var/x.db"];
        for text in bad.into_iter().chain([
            "mysql://u:hunter2@h/d",
            "Postgresql://u:hunter2@h/d",
            "sqlite:postgresql://u:hunter2@h/d",
        ]) {
            let error = Location::parse(text).expect_err(text);
            assert!(error.contains("memory:") && !error.contains("hunter2"), "{text}: {error}");
        }
        let error = Location::parse("postgres://u:hunter2@h/d").unwrap_err();
        assert!(error.contains("sslmode") && !error.contains("hunter2"), "{error}");
    }

    #[cfg(not(feature = "sqlite"))]
    #[test]
    fn a_store_missing_from_this_build_is_named() {
        assert!(Location::parse("sqlite:x").unwrap_err().starts_with("this build has no SQLite"));
    }
}

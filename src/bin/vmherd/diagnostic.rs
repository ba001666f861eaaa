//! Messages on standard error for a person at a terminal, one line each.

use std::fmt;
use std::io::{self, Write as _};

use vmherd::Escaped;

/// Prints `message`, prefixed with the name of the program.
pub fn print_diagnostic(program: &str, message: fmt::Arguments<'_>) {
    // An error can't be reported: standard error is closed.
    let _ = io::stderr().write_all(format!("{program}: {}\n", Escaped(message)).as_bytes());
}

//! What the program says on standard error while there is no log: to the person at the terminal, in one line.

use std::fmt;
use std::io::{self, Write as _};

use crate::escape::Escaped;

/// Prints `message` after the name of the program that says it.
pub(super) fn print_diagnostic(program: &str, message: fmt::Arguments<'_>) {
    // Nobody is left to be told that standard error is closed.
    let _ = io::stderr().write_all(format!("{program}: {}\n", Escaped(message)).as_bytes());
}

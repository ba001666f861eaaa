//! Standard input as a whole, within a limit.

use std::io::{self, Read};

use crate::failure::Failure;
use crate::limits;

/// Reads standard input, which has `what`.
pub fn read_input(what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().lock().take(limits::INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    if text.len() as u64 > limits::INPUT_BYTES_MAX {
        let most = limits::INPUT_BYTES_MAX >> 20;
        return Err(Failure::usage(format!("standard input has more than {most} MiB of {what}")));
    }
    Ok(text)
}

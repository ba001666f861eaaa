//! Safe wrappers of system calls that the standard library lacks, for the process of the daemon. Only this module and
//! the library's module of the same name contain `unsafe` code.

pub mod inherited;
pub mod memory;
pub mod poll;
pub mod process;
pub mod signals;
pub mod terminal;

use std::io;

/// The result of a call that reports failure by -1 and `errno`.
fn check_result(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

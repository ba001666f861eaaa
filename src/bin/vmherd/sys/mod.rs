//! Small safe wrappers over what the standard library lacks of the system, for the process of the daemon. Beside the
//! library's module of this name the only `unsafe` there is, by the same rules.

pub mod inherited;
pub mod poll;
pub mod process;
pub mod signals;
pub mod terminal;

use std::io;

/// The result of a call that tells failure by -1 and `errno`.
fn check_result(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

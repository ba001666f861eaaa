//! Small safe wrappers over what the standard library lacks of the system. The only `unsafe` there is.
//!
//! Each call into libc stands alone in a function whose types leave the caller no way to misuse it, with
//! the reason why it is sound beside it.

pub mod memory;
pub mod owner;
pub mod process;
pub mod socket;

pub use memory::wipe;

use std::io;

/// The result of a call that tells failure by -1 and `errno`.
fn check_result(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

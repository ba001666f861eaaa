//! Small safe wrappers for system calls that the standard library lacks. The only module with `unsafe` code.
//!
//! Each libc call has a function of its own, whose types rule out misuse, with a SAFETY comment beside the call.

#[cfg(feature = "qemu")]
pub mod child;
pub mod epoll;
pub mod memory;
pub mod owner;
#[cfg(feature = "qemu")]
pub mod pidfd;
pub mod process;
pub mod socket;

pub use memory::wipe;

use std::io;

/// Maps -1 of a call to the error in `errno`.
fn check_result(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

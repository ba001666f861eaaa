//! The allocator of the C library.

use std::ffi::c_int;

/// Has the allocator of the whole process return freed memory to the system from `bytes` of it on, where the C library
/// supports it. By default it keeps up to twice the largest block freed so far, and in memory that is not the main
/// thread's `malloc_trim` does not return that.
pub fn keep_at_most(bytes: c_int) {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes numbers only; the allocator does so under its own lock.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}

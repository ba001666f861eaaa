//! Descriptors inherited from the parent process.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes the inherited descriptors from 3 to 2 + `count`, and sets close-on-exec. A second call is an error, and so is a
/// descriptor that this process has opened itself.
pub fn take_inherited(count: usize) -> io::Result<Vec<OwnedFd>> {
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    if IS_TAKEN.swap(true, Ordering::SeqCst) {
        return Err(io::Error::other("the descriptors passed in were taken before"));
    }
    let end = RawFd::try_from(count).ok().and_then(|count| FIRST.checked_add(count));
    let end = end.ok_or_else(|| io::Error::other("there can't be so many descriptors"))?;
    (FIRST..end).try_for_each(check_inherited)?;
    let descriptors = (FIRST..end).map(|descriptor| {
        // SAFETY: takes numbers only.
        super::check_result(unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: the descriptor is open and inherited (`check_inherited`), so nothing in this process owns it. Only this
        // function takes such descriptors, and only once.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    });
    descriptors.collect()
}

/// An error if this process has opened `descriptor`: the standard library sets close-on-exec on everything that it opens,
/// and such a descriptor is never inherited.
fn check_inherited(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers only.
    let flags = super::check_result(unsafe { libc::fcntl(descriptor, libc::F_GETFD) })?;
    match flags & libc::FD_CLOEXEC {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("descriptor {descriptor} was not passed in"))),
    }
}

/// The first descriptor after standard input, output and error.
const FIRST: RawFd = 3;

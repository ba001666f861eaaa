//! The descriptor of mio's poll, which mio has as a number only.

use std::os::fd::{AsRawFd, BorrowedFd};

/// The epoll descriptor of `poll`. It is readable while an event waits.
pub fn descriptor(poll: &mio::Poll) -> BorrowedFd<'_> {
    // SAFETY: the poll owns the descriptor and closes it on drop only; the result borrows the poll.
    unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_is_open_and_can_be_duplicated() {
        let poll = mio::Poll::new().unwrap();
        let duplicate = descriptor(&poll).try_clone_to_owned().unwrap();
        drop(poll);
        let link = std::fs::read_link(format!("/proc/self/fd/{}", duplicate.as_raw_fd())).unwrap();
        assert!(link.to_string_lossy().contains("eventpoll"), "{link:?}");
    }
}

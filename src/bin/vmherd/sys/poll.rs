//! Waits for a few descriptors, without a reactor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Waits until one of `descriptors` is readable (or has ended, or failed), at most for `timeout`. Returns which are; none
/// after the timeout or if a signal handler ran.
pub fn wait_readable<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = descriptors.map(|descriptor| libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: `polled` is an array of N initialized structures that outlives the call; the descriptors in it are borrowed,
    // so they are open.
    let count = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, milliseconds(timeout)) };
    match super::check_result(count) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok([false; N]),
        Err(error) => Err(error),
        Ok(_) => Ok(polled.map(|descriptor| descriptor.revents != 0)),
    }
}

/// Rounds up, so that a wait does not end before its deadline.
fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    match timeout {
        None => -1,
        Some(timeout) => {
            libc::c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn readable_descriptors_are_reported() {
        let (one, _one_far) = UnixStream::pair().unwrap();
        let (other, mut other_far) = UnixStream::pair().unwrap();
        let wait = |timeout| wait_readable([one.as_fd(), other.as_fd()], timeout).unwrap();
        assert_eq!(wait(Some(Duration::from_millis(1))), [false, false]);
        other_far.write_all(b"x").unwrap();
        assert_eq!(wait(None), [false, true]);
        drop(other_far);
        assert_eq!(wait(None), [false, true], "an end can be read");
    }

    #[test]
    fn timeouts_are_rounded_up() {
        assert_eq!(milliseconds(Some(Duration::from_micros(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_millis(2))), 2);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::MAX)), libc::c_int::MAX);
        assert_eq!(milliseconds(None), -1);
    }
}

//! What the system is asked directly: the size of a terminal, and the user.

use std::os::fd::{AsFd, AsRawFd};

/// The columns of the terminal that `output` is; `None` if it is none or does not say.
pub fn terminal_columns(output: &impl AsFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is borrowed, so it is open, and `size` has the type that the call writes.
    let result = unsafe { libc::ioctl(output.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // SAFETY: has no arguments and always succeeds.
    unsafe { libc::geteuid() == 0 }
}

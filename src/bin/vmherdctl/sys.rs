//! What the system is asked directly: the size of a terminal; and what the daemon asks it, too.

#[path = "../vmherd/sys/poll.rs"]
pub mod poll;
// The daemon uses all of these.
#[allow(dead_code)]
#[path = "../vmherd/sys/process.rs"]
pub mod process;
#[allow(dead_code)]
#[path = "../vmherd/sys/signals.rs"]
pub mod signals;

use std::io;
use std::os::fd::{AsFd, AsRawFd};

pub use process::is_root;

/// The columns of the terminal that `output` is; `None` if it is none or does not say.
pub fn terminal_columns(output: &impl AsFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is borrowed, so it is open, and `size` has the type that the call writes.
    let result = unsafe { libc::ioctl(output.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// The result of a call that reports failure by -1 and `errno`.
fn check_result(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Runs `run` while signals to interrupt are ignored.
pub fn without_interrupts<T>(run: impl FnOnce() -> T) -> T {
    // SAFETY: ignoring a signal runs no code of this process, and `before` is what the same call has returned.
    let before = unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    let result = run();
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGINT, before) };
    result
}

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
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;

pub use process::is_root;

/// The columns of the terminal that `output` is; `None` if it is none or does not say.
pub fn terminal_columns(output: &impl AsFd) -> Option<usize> {
    terminal_size(output).map(|(columns, _)| columns)
}

/// The columns and lines of the terminal that `output` is; `None` if it is none or does not say.
pub fn terminal_size(output: &impl AsFd) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is borrowed, so it is open, and `size` has the type that the call writes.
    let result = unsafe { libc::ioctl(output.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (result == 0 && size.ws_col > 0).then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// A terminal that gives each key at once, does not show it, and makes no signals of keys, until this is dropped.
pub struct RawMode {
    terminal: OwnedFd,
    before: libc::termios,
}

impl RawMode {
    pub fn enter(terminal: &impl AsFd) -> io::Result<RawMode> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        // SAFETY: the structure consists of numbers, for which zeros are valid.
        let mut before: libc::termios = unsafe { mem::zeroed() };
        // SAFETY: the descriptor is open, and `before` has the type that the call writes.
        check_result(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut before) })?;
        let mut raw = before;
        // SAFETY: changes the structure only.
        unsafe { libc::cfmakeraw(&mut raw) };
        // SAFETY: the descriptor is open, and `raw` has the type that the call reads.
        check_result(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw) })?;
        Ok(RawMode { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open, and `before` has the type that the call reads.
        unsafe { libc::tcsetattr(self.terminal.as_raw_fd(), libc::TCSANOW, &self.before) };
    }
}

/// Lets signals that [`signals::Signals::block`] has blocked arrive in this thread as before.
pub fn unblock(signals: &[signals::Signal]) {
    // SAFETY: the structure consists of numbers, for which zeros are valid.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the reference is valid during the call.
    unsafe { libc::sigemptyset(&mut set) };
    for signal in signals {
        // SAFETY: `set` is initialized, and the number is a signal's.
        unsafe { libc::sigaddset(&mut set, signal.number()) };
    }
    // SAFETY: `set` is initialized; a null pointer is valid for the old set.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut()) };
}

/// Ends the process as `signal` would have done, which was received instead.
pub fn end_by(signal: signals::Signal) {
    // SAFETY: takes a number only.
    unsafe { libc::raise(signal.number()) };
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

//! Modes of the terminal.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Turns off the terminal's echo, except for line breaks, until it is dropped.
pub struct EchoOff<'a> {
    _mode: ChangedMode<'a>,
}

/// Passes each key as it is typed, without echo and without signals, until it is dropped.
#[cfg(feature = "qemu")]
pub struct RawMode<'a> {
    _mode: ChangedMode<'a>,
}

/// Another mode of a terminal than before. Input that was typed before and not read is discarded.
struct ChangedMode<'a> {
    terminal: BorrowedFd<'a>,
    before: libc::termios,
}

impl<'a> EchoOff<'a> {
    /// Turns off the echo of `terminal`. Discards input that was typed before and not read.
    pub fn new(terminal: &'a impl AsFd) -> io::Result<EchoOff<'a>> {
        let change = |mode: &mut libc::termios| {
            mode.c_lflag &= !libc::ECHO;
            mode.c_lflag |= libc::ECHONL;
        };
        Ok(EchoOff { _mode: ChangedMode::new(terminal.as_fd(), change)? })
    }
}

#[cfg(feature = "qemu")]
impl<'a> RawMode<'a> {
    /// Changes the mode of `terminal`. Discards input that was typed before and not read.
    pub fn new(terminal: &'a impl AsFd) -> io::Result<RawMode<'a>> {
        // SAFETY: the reference is valid for the structure that the call changes.
        let _mode = ChangedMode::new(terminal.as_fd(), |mode| unsafe { libc::cfmakeraw(mode) })?;
        Ok(RawMode { _mode })
    }
}

impl<'a> ChangedMode<'a> {
    fn new(terminal: BorrowedFd<'a>, change: impl FnOnce(&mut libc::termios)) -> io::Result<ChangedMode<'a>> {
        // SAFETY: the structure consists of numbers, for which zeros are valid.
        let mut before: libc::termios = unsafe { mem::zeroed() };
        // SAFETY: the reference is valid for the structure that the call writes; the descriptor is borrowed, so it is
        // open.
        super::check_result(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut before) })?;
        let mut changed = before;
        change(&mut changed);
        set(terminal, &changed)?;
        Ok(ChangedMode { terminal, before })
    }
}

impl Drop for ChangedMode<'_> {
    fn drop(&mut self) {
        // An error means that the terminal has gone.
        let _ = set(self.terminal, &self.before);
    }
}

fn set(terminal: BorrowedFd<'_>, attributes: &libc::termios) -> io::Result<()> {
    // SAFETY: `attributes` comes from tcgetattr and outlives the call, which only reads it.
    super::check_result(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, attributes) })?;
    Ok(())
}

/// A pseudo-terminal for tests: its master and its terminal.
#[cfg(test)]
pub fn open_pair() -> (std::os::fd::OwnedFd, std::os::fd::OwnedFd) {
    use std::os::fd::{FromRawFd, OwnedFd};

    let (mut master, mut terminal) = (-1, -1);
    let (name, size) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the first two pointers are valid for descriptors; the others may be null.
    let result = unsafe { libc::openpty(&mut master, &mut terminal, name, std::ptr::null_mut(), size) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: the call has opened both descriptors, and nothing else owns them.
    unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(terminal)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::mem::MaybeUninit;

    #[test]
    fn the_echo_is_off_while_the_guard_lives() {
        let (_master, terminal) = open_pair();
        let echoes = || attributes(terminal.as_fd()).c_lflag & libc::ECHO != 0;
        assert!(echoes());
        let guard = EchoOff::new(&terminal).unwrap();
        assert!(!echoes());
        drop(guard);
        assert!(echoes());
    }

    #[cfg(feature = "qemu")]
    #[test]
    fn keys_are_raw_while_the_guard_lives() {
        let (_master, terminal) = open_pair();
        let is_raw = || attributes(terminal.as_fd()).c_lflag & (libc::ICANON | libc::ISIG | libc::ECHO) == 0;
        assert!(!is_raw());
        let guard = RawMode::new(&terminal).unwrap();
        assert!(is_raw());
        drop(guard);
        assert!(!is_raw());
    }

    #[test]
    fn non_terminal_is_an_error() {
        assert!(EchoOff::new(&File::open("/dev/null").unwrap()).is_err());
    }

    fn attributes(terminal: BorrowedFd<'_>) -> libc::termios {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: as in `EchoOff::new`.
        unsafe {
            assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), attributes.as_mut_ptr()), 0);
            attributes.assume_init()
        }
    }
}

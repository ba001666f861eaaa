//! The terminal's echo.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Turns off the terminal's echo, except for line breaks, until it is dropped.
pub struct EchoOff<'a> {
    terminal: BorrowedFd<'a>,
    before: libc::termios,
}

impl<'a> EchoOff<'a> {
    /// Turns off the echo of `terminal`. Discards input that was typed before and not read.
    pub fn new(terminal: &'a impl AsFd) -> io::Result<EchoOff<'a>> {
        let terminal = terminal.as_fd();
        // SAFETY: the structure consists of numbers, for which zeros are valid.
        let mut before: libc::termios = unsafe { mem::zeroed() };
        // SAFETY: the reference is valid for the structure that the call writes; the descriptor is borrowed, so it is
        // open.
        super::check_result(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut before) })?;
        let mut silent = before;
        silent.c_lflag &= !libc::ECHO;
        silent.c_lflag |= libc::ECHONL;
        set(terminal, &silent)?;
        Ok(EchoOff { terminal, before })
    }
}

impl Drop for EchoOff<'_> {
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

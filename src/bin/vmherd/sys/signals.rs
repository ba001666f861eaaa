//! Signals as events to read from a descriptor, instead of interrupts.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// A signal that can be waited for, with the system's number and name for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal {
    number: i32,
    name: &'static str,
}

/// The descriptor on which blocked signals arrive.
#[derive(Debug)]
pub struct Signals {
    descriptor: File,
}

impl Signal {
    /// Ctrl-C.
    pub const INTERRUPT: Signal = Signal { number: libc::SIGINT, name: "SIGINT" };
    /// The system or an operator asks the process to end.
    pub const TERMINATE: Signal = Signal { number: libc::SIGTERM, name: "SIGTERM" };
    /// The settings are to be read again.
    pub const HANGUP: Signal = Signal { number: libc::SIGHUP, name: "SIGHUP" };
    /// An operator wants to see the counters.
    pub const USER1: Signal = Signal { number: libc::SIGUSR1, name: "SIGUSR1" };
    /// The process has used up its limit of processor time, and is killed if it goes on.
    pub const PROCESSOR_TIME: Signal = Signal { number: libc::SIGXCPU, name: "SIGXCPU" };
    /// An alarm that the parent process has set, which survives `exec`.
    pub const ALARM: Signal = Signal { number: libc::SIGALRM, name: "SIGALRM" };
    /// The power fails, or the container whose first process this is must end.
    pub const POWER: Signal = Signal { number: libc::SIGPWR, name: "SIGPWR" };

    /// All signals.
    pub const ALL: [Signal; 7] = [
        Signal::INTERRUPT,
        Signal::TERMINATE,
        Signal::HANGUP,
        Signal::USER1,
        Signal::PROCESSOR_TIME,
        Signal::ALARM,
        Signal::POWER,
    ];
    /// The signals that end the process.
    pub const ENDING: [Signal; 5] =
        [Signal::INTERRUPT, Signal::TERMINATE, Signal::PROCESSOR_TIME, Signal::ALARM, Signal::POWER];
    /// The signals that may arrive before the process can handle them; they stay pending until then.
    pub const EARLY: [Signal; 2] = [Signal::HANGUP, Signal::USER1];

    /// The system's number for it.
    pub fn number(self) -> i32 {
        self.number
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Signals {
    /// Blocks `signals` in this thread and in those that it starts from now on, and receives them instead. Call it
    /// before the first thread is started: a signal would end the process in a thread that does not block it.
    pub fn block(signals: &[Signal]) -> io::Result<Signals> {
        // SAFETY: the structure consists of numbers, for which zeros are valid.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: the reference is valid during the call, which does not fail.
        unsafe { libc::sigemptyset(&mut set) };
        for signal in signals {
            // SAFETY: `set` is initialized, and the number is a signal's.
            super::check_result(unsafe { libc::sigaddset(&mut set, signal.number()) })?;
        }
        // SAFETY: `set` is initialized; a null pointer is valid for the old set.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) } {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        // SAFETY: `set` is initialized; -1 requests a new descriptor.
        let descriptor =
            super::check_result(unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
        // SAFETY: the descriptor is open and owned by nothing else.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Signals { descriptor: descriptor.into() })
    }

    /// Takes the next pending signal, if there is one.
    pub fn receive(&mut self) -> io::Result<Option<Signal>> {
        let mut bytes = [0; mem::size_of::<libc::signalfd_siginfo>()];
        match self.descriptor.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            received => received?,
        }
        // The structure begins with the signal's number.
        let number = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(Signal::ALL.into_iter().find(|signal| signal.number() == number))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Ignores the signals that would end the process although they mean nothing to it. Programs that it starts inherit this.
/// The remaining signals end the process on purpose (SIGQUIT, SIGABRT, SIGKILL) or after a fatal fault.
pub fn ignore_unused() -> io::Result<()> {
    for number in UNUSED.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
        // SAFETY: no handler is set, so none can be called; the number is a signal's.
        if unsafe { libc::signal(number, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Signals that must not end the process. With the first two ignored, a write beyond the file-size limit or to a closed
/// pipe fails with an error. The process uses no timers, no signals of descriptors, and not the second user signal.
const UNUSED: [i32; 7] = [
    libc::SIGXFSZ,
    libc::SIGPIPE,
    libc::SIGUSR2,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGSTKFLT,
];

const _: () = assert!(mem::offset_of!(libc::signalfd_siginfo, ssi_signo) == 0);

/// Sends `signal` to the calling thread only, for tests, whose process has other threads.
#[cfg(test)]
pub fn raise(signal: Signal) {
    // SAFETY: takes numbers only; the test has blocked the signal in this thread.
    unsafe { libc::pthread_kill(libc::pthread_self(), signal.number()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll::wait_readable;

    #[test]
    fn blocked_signals_arrive_on_the_descriptor() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        assert_eq!(signals.receive().unwrap(), None);
        for signal in Signal::ALL {
            raise(signal);
            assert_eq!(wait_readable([signals.as_fd()], None).unwrap(), [true]);
            assert_eq!(signals.receive().unwrap(), Some(signal));
            assert_eq!(signals.receive().unwrap(), None);
        }
    }

    #[test]
    fn threads_started_later_block_them_too() {
        let _signals = Signals::block(&[Signal::TERMINATE]).unwrap();
        let survivor = std::thread::spawn(|| {
            raise(Signal::TERMINATE);
            true
        });
        assert!(survivor.join().unwrap());
    }
}

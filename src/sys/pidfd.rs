//! Processes by descriptor (pidfd): a handle that never names another process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::check_result;

/// A process, also after its end. The descriptor is readable when it has ended.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// The process `pid`. If it is not a child of this process, check afterwards that it is the one that was meant.
    pub fn open(pid: u32) -> io::Result<Pidfd> {
        // SAFETY: takes numbers only. The kernel closes the new descriptor on exec.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        let descriptor = check_result(descriptor as libc::c_int)?;
        // SAFETY: the call has just returned it, and nothing else owns it.
        Ok(Pidfd(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Kills the process. Succeeds if it has ended already.
    pub fn kill(&self) -> io::Result<()> {
        let (descriptor, none) = (self.0.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: without a siginfo the call takes numbers only.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, libc::SIGKILL, none, 0) };
        match check_result(sent as libc::c_int) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// Waits until the process has ended, at most this long; returns whether it has. A child of this process is released.
    pub fn wait(&self, time_max: Duration) -> io::Result<bool> {
        let mut polled = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = time_max.as_millis().try_into().unwrap_or(libc::c_int::MAX);
        // SAFETY: the array has one element, which is borrowed for the call.
        let ready = check_result(unsafe { libc::poll(&mut polled, 1, milliseconds) })?;
        self.reap()?;
        Ok(ready == 1)
    }

    /// Releases a child that has ended, and returns how. `None`: it runs, or is no child of this process.
    pub fn reap(&self) -> io::Result<Option<ExitStatus>> {
        // SAFETY: all zeros are a valid siginfo.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let id = self.0.as_raw_fd() as libc::id_t;
        // SAFETY: `info` has the type that the call fills in, and is borrowed for the call.
        let waited = unsafe { libc::waitid(libc::P_PIDFD, id, &mut info, libc::WEXITED | libc::WNOHANG) };
        match check_result(waited) {
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            waited => waited?,
        };
        // SAFETY: after a successful call these fields are set; the pid is zero if the process runs.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        let is_code = info.si_code == libc::CLD_EXITED;
        Ok((pid != 0).then(|| ExitStatus::from_raw(if is_code { status << 8 } else { status })))
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    // Reaped through the descriptor.
    #[allow(clippy::zombie_processes)]
    #[test]
    fn a_child_is_killed_and_reaped() {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Pidfd::open(child.id()).unwrap();
        assert_eq!(process.reap().unwrap(), None, "it runs");
        process.kill().unwrap();
        let status = loop {
            if let Some(status) = process.reap().unwrap() {
                break status;
            }
        };
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert_eq!(process.reap().unwrap(), None, "it is gone");
        process.kill().unwrap();
    }

    // Reaped through the descriptor.
    #[allow(clippy::zombie_processes)]
    #[test]
    fn an_exit_code_is_returned() {
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let process = Pidfd::open(child.id()).unwrap();
        let status = loop {
            if let Some(status) = process.reap().unwrap() {
                break status;
            }
        };
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn a_process_of_another_parent_is_not_reaped() {
        assert_eq!(Pidfd::open(1).unwrap().reap().unwrap(), None);
        assert!(Pidfd::open(u32::from(u16::MAX) << 12).is_err(), "there is no such process");
    }
}

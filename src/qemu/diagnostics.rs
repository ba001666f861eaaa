//! Why a VM has ended or did not become ready, for the log and for errors.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, ExitStatus};

use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use serde_json::Value;

use super::serial_log::SerialLog;
use crate::escape::Escaped;
use crate::ids::ContainerId;
use crate::limits;

/// What QEMU writes on standard error: the last of it.
pub(super) struct ErrorOutput {
    pipe: Option<Receiver>,
    /// There may be something to read.
    is_ready: bool,
    last: Vec<u8>,
}

impl ErrorOutput {
    /// Of a QEMU of an earlier server: nothing.
    pub(super) fn none() -> ErrorOutput {
        ErrorOutput { pipe: None, is_ready: false, last: Vec::new() }
    }

    pub(super) fn new(pipe: ChildStderr, registry: &Registry, token: Token) -> io::Result<ErrorOutput> {
        let mut pipe = Receiver::from(pipe);
        pipe.set_nonblocking(true)?;
        registry.register(&mut pipe, token, Interest::READABLE)?;
        Ok(ErrorOutput { pipe: Some(pipe), is_ready: true, last: Vec::new() })
    }

    /// Notes an event of the pipe, or that all is to be read.
    pub(super) fn set_ready(&mut self) {
        self.is_ready = true;
    }

    /// Reads what has arrived.
    pub(super) fn read(&mut self, buffer: &mut [u8]) {
        while let (true, Some(pipe)) = (self.is_ready, &mut self.pipe) {
            match pipe.read(buffer) {
                Ok(count) if count > 0 => {
                    self.last.extend_from_slice(&buffer[..count]);
                    let surplus = self.last.len().saturating_sub(limits::QEMU_ERROR_BYTES);
                    self.last.drain(..surplus);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_ready = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => self.pipe = None,
            }
        }
    }

    /// The last line that is an error, without the program's name: QEMU's warnings come first.
    fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.last);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(Escaped(line.split_once(": ").map_or(line, |(_, message)| message)).to_string())
    }
}

/// What QEMU's event about a shutdown means.
pub(super) fn describe_shutdown(data: &Value) -> Option<&'static str> {
    match data["reason"].as_str()? {
        "guest-shutdown" => Some("the guest has powered off"),
        "guest-reset" => Some("the guest has rebooted"),
        "guest-panic" => Some(GUEST_PANIC),
        _ => None,
    }
}

/// How QEMU has ended. `guest` is what the guest did before; the status of a process that this one did not start is
/// unknown.
pub(super) fn describe_end(
    guest: Option<&'static str>,
    status: Option<ExitStatus>,
    errors: &ErrorOutput,
) -> String {
    if let Some(guest) = guest {
        return guest.to_owned();
    }
    let how = match status {
        None => "QEMU has ended".to_owned(),
        Some(status) => match (status.code(), status.signal()) {
            (Some(0), _) => "QEMU has ended".to_owned(),
            (Some(code), _) => format!("QEMU has failed with the exit code {code}"),
            (None, signal) => format!("QEMU was ended by signal {}", signal.unwrap_or_default()),
        },
    };
    match errors.last_line() {
        Some(line) => format!("{how}: {line}"),
        None => how,
    }
}

/// Logs the last lines of the serial console of a VM that did not become ready.
pub(super) fn log_console(id: ContainerId, log: &SerialLog) {
    let lines = log.last_lines(limits::SERIAL_LINES_LOGGED);
    if lines.is_empty() {
        // KVM may hang on hosts that are VMs themselves.
        log::warn!("the VM {id} has written nothing to its serial console; try --vm-accel tcg");
    }
    for line in lines {
        log::warn!("the VM {id} has written: {}", Escaped(&line));
    }
}

pub(super) const GUEST_PANIC: &str = "the guest has crashed";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(text: &str) -> ErrorOutput {
        ErrorOutput { last: text.as_bytes().to_vec(), ..ErrorOutput::none() }
    }

    #[test]
    fn an_end_is_described_by_its_cause() {
        let exit = |code: i32| Some(ExitStatus::from_raw(code << 8));
        let killed = Some(ExitStatus::from_raw(9));
        let no_file = "qemu-system-x86_64: warning: a\nqemu-system-x86_64: -drive x: Could not open 'x'\n\n";
        for (guest, status, text, wanted) in [
            (Some(GUEST_PANIC), exit(0), "noise", "the guest has crashed"),
            (None, exit(0), "", "QEMU has ended"),
            (None, None, "", "QEMU has ended"),
            (None, exit(1), no_file, "QEMU has failed with the exit code 1: -drive x: Could not open 'x'"),
            (None, killed, "", "QEMU was ended by signal 9"),
            (None, killed, "\x1b[2Jx", "QEMU was ended by signal 9: \\u001b[2Jx"),
        ] {
            assert_eq!(describe_end(guest, status, &errors(text)), wanted);
        }
    }

    #[test]
    fn a_shutdown_by_the_guest_has_a_reason() {
        for (reason, wanted) in [
            ("guest-shutdown", Some("the guest has powered off")),
            ("guest-reset", Some("the guest has rebooted")),
            ("guest-panic", Some(GUEST_PANIC)),
            ("host-qmp-quit", None),
        ] {
            assert_eq!(describe_shutdown(&json!({"guest": true, "reason": reason})), wanted);
        }
        assert_eq!(describe_shutdown(&Value::Null), None);
    }
}

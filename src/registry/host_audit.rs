//! Audit of changes by the host's tools. The daemon does not see them, so the tools log them to the system log.
//!
//! A line has the format of the daemon's audit log, with the facility `authpriv`. Without a system log, as in a
//! container, only the line is missing.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process;

use crate::app::audit::{Line, Subject, TARGET};
use crate::model::LoggedPeer;
use crate::sys::process::effective_uid;

/// Logs that `command` has changed `subject`.
pub(super) fn log_change(event: &'static str, command: &'static str, subject: &Subject) {
    // The change is done; a failure to log it must not fail the command.
    let _ = send(Path::new(SYSTEM_LOG), &line(event, command, effective_uid(), subject));
}

fn line<'s>(event: &'static str, command: &'static str, uid: u32, subject: &'s Subject) -> Line<'s> {
    let peer = LoggedPeer::user(Some(uid));
    Line { event, peer, dialect: "host", command: Some(command), detail: None, subject }
}

fn send(socket: &Path, change: &Line<'_>) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    // A blocked system log must not block the command.
    sender.set_nonblocking(true)?;
    let line = format!("<{AUTHPRIV_INFO}>vmherd[{}]: {TARGET}: {change}", process::id());
    sender.send_to(line.as_bytes(), socket).map(drop)
}

/// The socket of the system log, see syslog(3).
const SYSTEM_LOG: &str = "/dev/log";
/// Facility 10, severity 6 (RFC 5424, 6.2.1).
const AUTHPRIV_INFO: u8 = 10 * 8 + 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AccessTokenId;
    use crate::model::VmName;

    #[test]
    fn change_is_one_line_in_the_system_log() {
        let path = std::env::temp_dir().join(format!("vmherd-system-log-{}", process::id()));
        let _ = std::fs::remove_file(&path);
        let log = UnixDatagram::bind(&path).unwrap();
        let vm = Subject::Name(VmName::from_store("a\"\u{200b}\nb"));
        send(&path, &line("change", "passwd", 7, &vm)).unwrap();
        let mut bytes = [0; 512];
        let length = log.recv(&mut bytes).unwrap();
        std::fs::remove_file(&path).unwrap();
        let expected = format!(
            "<86>vmherd[{}]: vmherd::audit: event=change peer=unix uid=7 dialect=host command=passwd \
             vm=\"a\\\"\\u200b\\nb\"",
            process::id()
        );
        assert_eq!(std::str::from_utf8(&bytes[..length]), Ok(&*expected));
    }

    #[test]
    fn a_line_names_an_access_token_by_its_id() {
        let subject = Subject::AccessToken(AccessTokenId(12));
        let wanted = "event=remove peer=unix uid=7 dialect=host command=token_remove access_token=12";
        assert_eq!(line("remove", "token_remove", 7, &subject).to_string(), wanted);
    }

    #[test]
    fn missing_system_log_is_an_error() {
        let vm = Subject::Name(VmName::from_store("a"));
        assert!(send(Path::new("/nonexistent/log"), &line("remove", "remove", 7, &vm)).is_err());
    }
}

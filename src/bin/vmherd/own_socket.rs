//! Requests of the host's tools to the daemon, over its own socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vmherd::SOCKET_NAME;

use crate::limits;
use crate::tool::ToolError;

/// The daemon of a state directory.
pub struct OwnSocket(PathBuf);

impl OwnSocket {
    /// The socket in `state_dir`.
    pub fn new(state_dir: &Path) -> OwnSocket {
        OwnSocket(state_dir.join(SOCKET_NAME))
    }

    /// Sends `request`, a line, and returns the line of the reply, for which it waits this long.
    pub fn ask(&self, request: &[u8], wait: Duration) -> Result<String, ToolError> {
        let mut stream = UnixStream::connect(&self.0).map_err(|error| self.connect_error(&error))?;
        let mut line = String::new();
        let asked = stream
            .set_read_timeout(Some(wait))
            .and_then(|()| stream.set_write_timeout(Some(wait)))
            .and_then(|()| stream.write_all(request))
            .and_then(|()| BufReader::new(stream.take(limits::ANSWER_BYTES_MAX)).read_line(&mut line));
        match asked {
            Ok(_) if line.ends_with('\n') => Ok(line),
            Ok(_) => Err(self.invalid("it is incomplete")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(self.invalid(&format!("no reply for {} s", wait.as_secs())))
            }
            Err(error) => Err(self.invalid(&error.to_string())),
        }
    }

    /// The error for an answer that is missing or invalid.
    pub fn invalid(&self, why: &str) -> ToolError {
        ToolError::new(1, format!("invalid answer on {}: {why}", self.0.display()))
    }

    fn connect_error(&self, error: &io::Error) -> ToolError {
        let socket = self.0.display();
        // 69 and 77 are `EX_UNAVAILABLE` and `EX_NOPERM` of sysexits.h.
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ToolError::new(
                69,
                format!(
                    "no daemon answers on {socket}; start one, or give the state directory of a running one with \
                     --state-dir (the system service uses /var/lib/vmherd)"
                ),
            ),
            io::ErrorKind::PermissionDenied => {
                ToolError::new(77, format!("{socket} is for root and the daemon's own user only"))
            }
            _ => self.invalid(&error.to_string()),
        }
    }
}

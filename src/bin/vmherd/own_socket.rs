//! Requests of the host's tools to the daemon, over its own socket.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use vmherd::client::{Client, ClientError, ServerAddress};
use vmherd::{Escaped, SOCKET_NAME};

use crate::tool::ToolError;

/// Calls the daemon of `state_dir`, and waits this long for it.
pub fn ask<T>(
    state_dir: &Path,
    wait: Duration,
    call: impl FnOnce(&mut Client) -> Result<T, ClientError>,
) -> Result<T, ToolError> {
    let path = state_dir.join(SOCKET_NAME);
    let client = Client::connect_to(&ServerAddress::Unix(path.clone()), Some(wait));
    client.and_then(|mut client| call(&mut client)).map_err(|error| tool_error(error, &path, wait))
}

fn tool_error(error: ClientError, socket: &Path, wait: Duration) -> ToolError {
    let socket = socket.display();
    let why = match error {
        ClientError::Server { message, .. } => return ToolError::new(1, Escaped(message).to_string()),
        ClientError::Connect { source, .. } => match source.kind() {
            // 69 and 77 are `EX_UNAVAILABLE` and `EX_NOPERM` of sysexits.h.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                return ToolError::new(
                    69,
                    format!(
                        "no daemon answers on {socket}; start one, or give the state directory of a running one \
                         with --state-dir (the system service uses /var/lib/vmherd)"
                    ),
                );
            }
            ErrorKind::PermissionDenied => {
                return ToolError::new(77, format!("{socket} is for root and the daemon's own user only"));
            }
            _ => source.to_string(),
        },
        ClientError::Timeout => format!("no reply for {} s", wait.as_secs()),
        ClientError::Closed => "it is incomplete".to_owned(),
        ClientError::BadReply(why) => format!("it is not a reply: {why}"),
        other => other.to_string(),
    };
    ToolError::new(1, format!("invalid answer on {socket}: {why}"))
}

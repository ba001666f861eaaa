//! What is wrong with settings that are each in order: what can only be told of several, or of all values
//! of one together.

use std::path::Path;

use super::shown::shown;
use super::{Config, ConfigError, Listen, ListenAddress, SOCKET_NAME};
use crate::limits;

/// Checks the listeners; `origin` is who names them.
pub(super) fn check_listeners(config: &Config, origin: &str) -> Result<(), ConfigError> {
    let listen = &config.listen;
    // One is the state directory's.
    let count_max = limits::LISTENERS_MAX - 1;
    if listen.len() > count_max {
        let count = listen.len();
        return Err(ConfigError::Value(format!(
            "{origin}: {count} listeners; at most {count_max} are allowed"
        )));
    }
    for (index, Listen { address, .. }) in listen.iter().enumerate() {
        let name = shown(&address.to_string()).into_owned();
        let is_repeated = listen[..index].iter().any(|other| other.address == *address);
        if is_repeated && !address.has_any_port() {
            return Err(ConfigError::Value(format!("{origin}: {name} stands there twice")));
        }
        if *address == ListenAddress::Unix(config.state_dir.join(SOCKET_NAME)) {
            return Err(ConfigError::Value(format!(
                "{origin}: {name} is the daemon's own socket, which is always there; leave it out"
            )));
        }
        if !address.is_local() && !config.is_plaintext_allowed {
            return Err(ConfigError::Value(plaintext_refusal(address, origin)));
        }
    }
    Ok(())
}

fn plaintext_refusal(address: &ListenAddress, origin: &str) -> String {
    let port = match address {
        ListenAddress::Tcp(address) => address.port(),
        ListenAddress::Unix(_) => 0,
    };
    format!(
        "{origin}: {address} can be reached from other hosts, and passwords and tokens would cross the \
         network in clear text, so vmherd does not start. Do one of these: (1) listen on this host only, \
         --listen tcp://127.0.0.1:{port}; (2) do that and let clients come through a tunnel (ssh -L, \
         WireGuard, stunnel); (3) if nobody can listen in on that network, say so: --allow-plaintext (or \
         VMHERD_ALLOW_PLAINTEXT=yes)."
    )
}

/// The daemon's own socket lies in the state directory, and the system's addresses are short.
pub(super) fn check_socket_path(state_dir: &Path) -> Result<(), ConfigError> {
    let socket = state_dir.join(SOCKET_NAME);
    let bytes = socket.as_os_str().len();
    if bytes <= limits::UNIX_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(ConfigError::Value(format!(
        "--state-dir: {} has {bytes} bytes, and a socket's path may have {}; choose a shorter directory",
        shown(&socket.to_string_lossy()),
        limits::UNIX_PATH_BYTES_MAX
    )))
}

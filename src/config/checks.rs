//! Checks that involve several settings, or all values of one setting.

use std::path::Path;

use super::redact::redact;
use super::{Config, InvalidSetting, ListenAddress, ListenerSpec, SOCKET_NAME};
use crate::limits;
#[cfg(feature = "sqlite")]
use crate::store::Location;

/// Checks the listeners; errors begin with `origin`.
pub(super) fn check_listeners(config: &Config, origin: &str) -> Result<(), InvalidSetting> {
    let listen = &config.listen;
    // One more is the socket in the state directory.
    let count_max = limits::LISTENERS_MAX - 1;
    if listen.len() > count_max {
        let count = listen.len();
        return Err(InvalidSetting(format!("{origin}: {count} listeners; at most {count_max} are allowed")));
    }
    for (index, ListenerSpec { address, .. }) in listen.iter().enumerate() {
        let name = redact(&address.to_string()).into_owned();
        match listen[..index].iter().map(|other| &other.address).find(|other| other.conflicts_with(address)) {
            Some(other) if other == address => {
                return Err(InvalidSetting(format!("{origin}: {name} stands there twice")));
            }
            Some(other) => {
                return Err(InvalidSetting(format!(
                    "{origin}: {other} and {name} can't both be listened on: one of them is all addresses"
                )));
            }
            None => {}
        }
        if *address == ListenAddress::Unix(config.state_dir.join(SOCKET_NAME)) {
            return Err(InvalidSetting(format!(
                "{origin}: {name} is the daemon's own socket, which is always there; leave it out"
            )));
        }
        if is_own_file(address, config) {
            return Err(InvalidSetting(format!("{origin}: {name} is a file of the daemon's own")));
        }
        if !address.is_local() && !config.is_plaintext_allowed {
            return Err(InvalidSetting(plaintext_refusal(address, origin)));
        }
    }
    Ok(())
}

/// Whether `address` is the path of the store, the lock or another file that the daemon creates.
fn is_own_file(address: &ListenAddress, config: &Config) -> bool {
    let ListenAddress::Unix(path) = address else { return false };
    let is_store = match &config.store {
        #[cfg(feature = "sqlite")]
        Location::Sqlite(store) => path == store,
        _ => false,
    };
    is_store || ["vmherd.lock", "vmherd.new"].iter().any(|name| *path == config.state_dir.join(name))
}

fn plaintext_refusal(address: &ListenAddress, origin: &str) -> String {
    let port = match address {
        ListenAddress::Tcp(address) => address.port(),
        ListenAddress::Unix(_) => 0,
    };
    // Clients of a tunnel or proxy connect from this host, so loopback alone does not authenticate them.
    format!(
        "{origin}: {address} can be reached from other hosts, and passwords and tokens would cross the \
         network in clear text, so vmherd does not start. Do one of these: (1) listen on this host only, \
         --listen tcp://127.0.0.1:{port}; (2) let clients come through a tunnel or proxy on this host (ssh, \
         stunnel, nginx, HAProxy), and open nothing to those who come out of it: --listen \
         tcp://127.0.0.1:{port}?open=none --registration closed (see docs/security.md); (3) if nobody can listen \
         in on that network (WireGuard), say so: --allow-plaintext (or VMHERD_ALLOW_PLAINTEXT=yes)."
    )
}

/// Checks that the path of the daemon's own socket fits into a socket address.
pub(super) fn check_socket_path(state_dir: &Path) -> Result<(), InvalidSetting> {
    let socket = state_dir.join(SOCKET_NAME);
    let bytes = socket.as_os_str().len();
    if bytes <= limits::UNIX_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(InvalidSetting(format!(
        "--state-dir: {} has {bytes} bytes, and a socket's path may have {}; choose a shorter directory",
        redact(&socket.to_string_lossy()),
        limits::UNIX_PATH_BYTES_MAX
    )))
}

//! `--listen`: the texts of addresses to listen on.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::{Listen, ListenAddress};
use crate::limits;
use crate::model::Groups;

/// What a listener may be, in words.
pub(super) const ALLOWED: &str = "tcp://ADDRESS:PORT (an IPv4 address, an IPv6 address in brackets, or localhost) \
     or unix:PATH, and perhaps ?open= with any of action, metrics, convert, verb, separated by commas";

impl Listen {
    /// Reads `tcp://ADDRESS:PORT` or `unix:PATH`, each perhaps with `?open=…`.
    pub(super) fn parse(text: &str) -> Result<Listen, String> {
        let (place, query) = match text.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (text, None),
        };
        let address = if let Some(host_and_port) = place.strip_prefix("tcp://") {
            ListenAddress::Tcp(socket_address(host_and_port).ok_or_else(|| format!("must be {ALLOWED}"))?)
        } else if let Some(path) = place.strip_prefix("unix:") {
            ListenAddress::Unix(socket_path(path)?)
        } else {
            return Err(format!("must be {ALLOWED}"));
        };
        let opens = match query {
            Some(query) => open_groups(query).ok_or_else(|| format!("must be {ALLOWED}"))?,
            None if address.is_local() => Groups::ALL,
            None => Groups::NONE,
        };
        Ok(Listen { address, opens })
    }
}

impl ListenAddress {
    /// Whether only this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }

    /// Whether the system chooses the port.
    pub(super) fn has_any_port(&self) -> bool {
        matches!(self, ListenAddress::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "tcp://{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn socket_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        // `parse` alone would take a plus sign.
        Some(port) if port.starts_with('+') => None,
        Some(port) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
        None => text.parse().ok(),
    }
}

fn socket_path(text: &str) -> Result<PathBuf, String> {
    let bytes = text.len();
    if bytes == 0 || bytes > limits::UNIX_PATH_BYTES_MAX || text.contains('\0') {
        return Err(format!("its path must have 1 to {} bytes", limits::UNIX_PATH_BYTES_MAX));
    }
    Ok(PathBuf::from(text))
}

/// What `open=…` names; nothing if nothing stands there.
fn open_groups(query: &str) -> Option<Groups> {
    Groups::parse(query.strip_prefix("open=")?).ok()
}

//! Listeners: their addresses, and what they open to anonymous clients.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::invalid_setting::InvalidSetting;
use crate::limits;
use crate::model::{AccessGroup, AnonymousAccess};
use crate::store::ends_in_directory;

/// One listener: `tcp://ADDRESS:PORT` or `unix:PATH`, with `?open=` for what it opens. Without that, a listener that only
/// this host reaches opens everything, any other nothing. Or `sealed://ADDRESS:PORT`, which opens the verbs to every
/// client, in the sealed framing only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerSpec {
    /// Its address.
    pub address: ListenAddress,
    /// What clients may do without authentication.
    pub anonymous_access: AnonymousAccess,
    /// Whether a sealed listener that other hosts reach accepts clients of the first generation: `?generation1`.
    pub first_generation: bool,
}

/// The address of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Sealed(SocketAddr),
}

impl ListenerSpec {
    /// The allowed texts, for messages.
    pub const ALLOWED: &str = "tcp://ADDRESS:PORT (an IPv4 address, an IPv6 address in brackets, or localhost) or \
        unix:PATH, and perhaps ?open= with none, or any of action, metrics, convert, verb, page, separated by commas; or \
        sealed://ADDRESS:PORT, and perhaps ?generation1";
}

impl FromStr for ListenerSpec {
    type Err = InvalidSetting;

    /// Parses `tcp://ADDRESS:PORT` or `unix:PATH`, with an optional `?open=…`; or `sealed://ADDRESS:PORT`.
    fn from_str(text: &str) -> Result<ListenerSpec, InvalidSetting> {
        let not_allowed = || InvalidSetting(format!("must be {}", ListenerSpec::ALLOWED));
        let mut parts = text.splitn(2, '?');
        let (address, query) = (parts.next().unwrap_or_default(), parts.next());
        let socket_address = |text| {
            let address = parse_socket_address(text).ok_or_else(not_allowed)?;
            normalize(address).map_err(InvalidSetting)
        };
        if let Some(host_and_port) = address.strip_prefix("sealed://") {
            let address = ListenAddress::Sealed(socket_address(host_and_port)?);
            let first_generation = match query {
                None => false,
                Some("generation1") => true,
                Some(_) => return Err(not_allowed()),
            };
            if !cfg!(feature = "sealed") {
                return Err(InvalidSetting("this vmherd is built without the feature sealed".into()));
            }
            let anonymous_access = [AccessGroup::Verb].into_iter().collect();
            return Ok(ListenerSpec { address, anonymous_access, first_generation });
        }
        let address = if let Some(host_and_port) = address.strip_prefix("tcp://") {
            ListenAddress::Tcp(socket_address(host_and_port)?)
        } else if let Some(path) = address.strip_prefix("unix:") {
            ListenAddress::Unix(parse_socket_path(path).map_err(InvalidSetting)?)
        } else {
            return Err(not_allowed());
        };
        let anonymous_access = match query {
            Some(query) => parse_open(query).ok_or_else(not_allowed)?,
            None if address.is_local() => AnonymousAccess::ALL,
            None => AnonymousAccess::NONE,
        };
        Ok(ListenerSpec { address, anonymous_access, first_generation: false })
    }
}

impl ListenAddress {
    /// Whether only this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) | ListenAddress::Sealed(address) => {
                address.ip().to_canonical().is_loopback()
            }
            ListenAddress::Unix(_) => true,
        }
    }

    /// Its address and port, unless it is a path.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Tcp(address) | ListenAddress::Sealed(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Whether a socket on `self` prevents one on `other`. IPv6 sockets are IPv6-only.
    pub(crate) fn conflicts_with(&self, other: &ListenAddress) -> bool {
        match (self.socket(), other.socket()) {
            (Some(one), Some(other)) => {
                let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
                let is_same_port = one.port() == other.port() && one.port() != 0;
                is_same_port && (one == other || is_any && one.is_ipv4() == other.is_ipv4())
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "tcp://{address}"),
            ListenAddress::Sealed(address) => write!(f, "sealed://{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn parse_socket_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        // `parse` alone would take a plus sign.
        Some(port) if port.starts_with('+') => None,
        Some(port) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
        None => text.parse().ok(),
    }
}

/// `address` in the form to bind to: an IPv4-mapped IPv6 address becomes IPv4.
fn normalize(address: SocketAddr) -> Result<SocketAddr, String> {
    if let SocketAddr::V6(v6) = address
        && v6.ip().is_unicast_link_local()
        && v6.scope_id() == 0
    {
        return Err("needs the number of its interface (ip link), as in tcp://[fe80::1%2]:8888".into());
    }
    let ip = address.ip().to_canonical();
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("is a multicast or broadcast address: no client can connect to it".into());
    }
    Ok(if ip.is_ipv4() { (ip, address.port()).into() } else { address })
}

fn parse_socket_path(text: &str) -> Result<PathBuf, String> {
    if ends_in_directory(text) {
        return Err("must end with the name of the socket".into());
    }
    let bytes = text.len();
    if bytes == 0 || bytes > limits::UNIX_PATH_BYTES_MAX || text.contains('\0') {
        return Err(format!("its path must have 1 to {} bytes", limits::UNIX_PATH_BYTES_MAX));
    }
    Ok(PathBuf::from(text))
}

/// Parses `open=…`.
fn parse_open(query: &str) -> Option<AnonymousAccess> {
    AnonymousAccess::parse(query.strip_prefix("open=")?)
}

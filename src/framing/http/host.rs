//! Allowed hosts and origins, so that foreign web pages cannot reach a server on the user's machine.
//!
//! A browser marks requests of foreign pages with `Origin` and `Sec-Fetch-Site`. With DNS rebinding, a foreign page has
//! the server's own origin, and only `Host` reveals it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::model::{CustomCommands, VerbPath};

/// Hosts and origins that are allowed in addition to IP addresses, `localhost` and the server's own origin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpRules {
    /// Names that are allowed in `Host`, with any port.
    pub hosts: Vec<AllowedHost>,
    /// Origins whose pages may send requests.
    pub origins: Vec<AllowedOrigin>,
    /// The verbs of the embedding program, which have paths of their own.
    pub customs: Arc<CustomCommands>,
}

/// A host name of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowedHost(Box<str>);

/// An origin (RFC 6454) whose pages may send requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowedOrigin(Box<str>);

/// A host with or without a port, as in `Host` (RFC 9110, 7.2) and in an absolute target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authority<'a> {
    /// The host.
    pub host: Host<'a>,
    /// The port; `None` means the scheme's default.
    pub port: Option<u16>,
}

/// A host by address or name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

/// The origin of a web page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

impl HttpRules {
    /// What `path` means for verbs.
    pub fn verb_path(&self, path: &str) -> Option<VerbPath> {
        VerbPath::parse(path, &self.customs)
    }

    /// Whether `host` is an allowed name of the server.
    pub fn allow_host(&self, host: &Host<'_>) -> bool {
        match host {
            Host::Address(_) => true,
            Host::Name(name) => {
                let name = without_final_dot(name);
                name.eq_ignore_ascii_case("localhost")
                    || self.hosts.iter().any(|allowed| allowed.0.eq_ignore_ascii_case(name))
            }
        }
    }

    /// Whether a rule allows requests of pages from `origin` (the header's value).
    pub fn allow_origin(&self, origin: &[u8]) -> bool {
        let Some(origin) = Origin::parse(origin) else { return false };
        let mut allowed = self.origins.iter().filter_map(|allowed| Origin::parse(allowed.0.as_bytes()));
        allowed.any(|allowed| allowed.is_same(&origin))
    }
}

/// Whether `origin` (the header's value) is the own origin of a server that was addressed as `authority`.
pub fn is_own_origin(origin: &[u8], authority: Authority<'_>) -> bool {
    let own = Origin { scheme: "http", authority };
    Origin::parse(origin).is_some_and(|origin| origin.is_same(&own))
}

impl AllowedHost {
    /// Parses a name without a port, such as `vms.example.org`. The error says what is wrong.
    pub fn parse(text: &str) -> Result<AllowedHost, &'static str> {
        match Authority::parse(text.as_bytes()) {
            None => Err(HOST_IS_NONE),
            Some(_) if !text.ends_with(']') && text.contains(':') => Err(HOST_HAS_PORT),
            Some(_) => Ok(AllowedHost(without_final_dot(text).into())),
        }
    }
}

impl AllowedOrigin {
    /// Parses a scheme, a host and an optional port, such as `https://vms.example.org`. The error says what is wrong.
    pub fn parse(text: &str) -> Result<AllowedOrigin, &'static str> {
        if text.eq_ignore_ascii_case("null") {
            return Err(ORIGIN_IS_NULL);
        }
        if Origin::parse(text.as_bytes()).is_some() {
            return Ok(AllowedOrigin(text.into()));
        }
        let has_path = text.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?', '#']));
        Err(if has_path { ORIGIN_HAS_PATH } else { ORIGIN_IS_NONE })
    }
}

impl<'a> Authority<'a> {
    /// Parses `HOST` or `HOST:PORT`; an IPv6 address is in brackets.
    pub fn parse(text: &'a [u8]) -> Option<Authority<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        let host_length = match text.strip_prefix('[') {
            Some(_) => text.find(']')? + 1,
            None => text.bytes().position(|byte| byte == b':').unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at(host_length);
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        Some(Authority { host: Host::parse(host)?, port })
    }
}

impl<'a> Host<'a> {
    fn parse(text: &'a str) -> Option<Host<'a>> {
        if let Some(bracketed) = text.strip_prefix('[') {
            let address: Ipv6Addr = bracketed.strip_suffix(']')?.parse().ok()?;
            return Some(Host::Address(address.into()));
        }
        let may_be_address = text.starts_with(|first: char| first.is_ascii_digit());
        if may_be_address && let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Host::Address(address.into()));
        }
        let is_name = (1..=NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        is_name.then_some(Host::Name(text))
    }

    fn is_same(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Address(one), Host::Address(other)) => one == other,
            (Host::Name(one), Host::Name(other)) => one.eq_ignore_ascii_case(other),
            (Host::Address(_), Host::Name(_)) | (Host::Name(_), Host::Address(_)) => false,
        }
    }
}

impl<'a> Origin<'a> {
    fn parse(text: &'a [u8]) -> Option<Origin<'a>> {
        let (scheme, rest) = std::str::from_utf8(text).ok()?.split_once("://")?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let authority = Authority::parse(rest.as_bytes())?;
        is_scheme.then_some(Origin { scheme, authority })
    }

    fn is_same(&self, other: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.authority.host.is_same(&other.authority.host)
            && self.port() == other.port()
    }

    fn port(&self) -> Option<u16> {
        let usual = || USUAL_PORTS.iter().find(|(scheme, _)| self.scheme.eq_ignore_ascii_case(scheme));
        self.authority.port.or_else(|| usual().map(|&(_, port)| port))
    }
}

/// Removes the final dot of a fully qualified name.
fn without_final_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

const HOST_IS_NONE: &str = "not the name of a host, such as vms.example.org";
const HOST_HAS_PORT: &str = "a host without a port: it is allowed with any";
const ORIGIN_IS_NONE: &str = "not an origin, such as https://vms.example.org or http://10.0.0.1:3000";
const ORIGIN_IS_NULL: &str = "null is the origin of any page that hides its own: it can't be allowed";
const ORIGIN_HAS_PATH: &str = "an origin ends with its host or port: nothing may follow";

const USUAL_PORTS: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// The maximum length of a DNS name, including the final dot.
const NAME_BYTES_MAX: usize = 254;

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;

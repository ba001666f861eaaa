//! Where a server is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::ClientError;
use crate::escape::Escaped;

/// The address of a server.
///
/// As text: `HOST:PORT`, `tcp://HOST:PORT` or `unix:PATH`; an IPv6 address is in brackets: `[::1]:8888`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ServerAddress {
    /// `HOST:PORT`, resolved when a client connects.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl FromStr for ServerAddress {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<ServerAddress, ClientError> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(ServerAddress::Unix(path.into()));
        }
        let host_and_port = text.strip_prefix("tcp://").unwrap_or(text);
        match is_host_and_port(host_and_port) {
            true => Ok(ServerAddress::Tcp(host_and_port.to_owned())),
            false => Err(ClientError::InvalidArgument(format!(
                "{text:?} is not the address of a server: HOST:PORT, tcp://HOST:PORT or unix:PATH"
            ))),
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or_else(|| {
        // Only brackets tell an IPv6 address from a port.
        if host.contains(':') { "" } else { host }
    });
    let is_in_host = |c: char| !c.is_whitespace() && !c.is_control() && !"/[]?#@".contains(c);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_port && !host.is_empty() && host.chars().all(is_in_host)
}

/// The text that parses to the same address, except that invisible characters are escaped.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Tcp(host_and_port) => write!(f, "tcp://{}", Escaped(host_and_port)),
            ServerAddress::Unix(path) => write!(f, "unix:{}", Escaped(path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port_or_a_path() {
        for (text, shown) in [
            ("127.0.0.1:8888", "tcp://127.0.0.1:8888"),
            ("tcp://localhost:1", "tcp://localhost:1"),
            ("tcp://[::1]:8888", "tcp://[::1]:8888"),
            ("[fe80::1%eth0]:80", "tcp://[fe80::1%eth0]:80"),
            ("unix:/run/vmherd.sock", "unix:/run/vmherd.sock"),
            ("unix:a b", "unix:a b"),
        ] {
            let address: ServerAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse::<ServerAddress>().expect(shown), address);
        }
        for wrong in [
            "",
            "localhost",
            ":8888",
            "localhost:",
            "localhost:+1",
            "localhost:65536",
            "::1:8888",
            "[]:1",
            "http://localhost:80",
            "tcp://a b:1",
            "unix:",
            "user@host:1",
        ] {
            let error = wrong.parse::<ServerAddress>().expect_err(wrong);
            assert!(matches!(&error, ClientError::InvalidArgument(_)), "{error}");
        }
    }
}

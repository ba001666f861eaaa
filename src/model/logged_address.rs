//! How log lines show the addresses of clients. Only what this file makes has a text with an address in it: neither
//! [`Peer`] nor [`Source`] has one, so that no log line shows more than the operator wants.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

use super::{Peer, Source};

/// How log lines show the addresses of clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogAddresses {
    /// As they are, with the port.
    #[default]
    Full,
    /// As seven hexadecimal digits: the same for the same address while the server runs, others after that.
    Hashed,
    /// As `-`.
    None,
}

/// Makes the texts of addresses for log lines.
#[derive(Clone, Copy, Default)]
pub enum AddressFormat {
    /// See [`LogAddresses::Full`].
    #[default]
    Full,
    /// See [`LogAddresses::Hashed`]. Without the key, which must be random, all addresses could be tried.
    Hashed([u8; 32]),
    /// See [`LogAddresses::None`].
    None,
}

/// The fields of a log line that show a client: `peer=192.0.2.7 port=40122`, `peer=1f0c3aa`, `peer=-` or
/// `peer=unix uid=7`.
pub struct LoggedPeer {
    address: LoggedAddress,
    port: Option<u16>,
}

/// The text of an address, a network or a user.
pub struct LoggedAddress(Text);

enum Text {
    Address(IpAddr),
    Network(Ipv6Addr),
    Digest(u32),
    Hidden,
    User(Option<u32>),
}

impl AddressFormat {
    /// The client at the other end of a connection.
    pub fn peer(&self, peer: Peer) -> LoggedPeer {
        match peer {
            Peer::Tcp(address, port) => LoggedPeer {
                address: match address {
                    IpAddr::V4(v4) => self.address(Text::Address(address), &v4.octets()),
                    IpAddr::V6(v6) => self.address(Text::Address(address), &v6.octets()),
                },
                port: matches!(self, AddressFormat::Full).then_some(port),
            },
            Peer::Unix { uid } => LoggedPeer::user(uid),
        }
    }

    /// What clients are counted by: an IPv4 address is shown as that of a peer is.
    pub fn source(&self, source: Source) -> LoggedAddress {
        match source {
            Source::V4(v4) => self.address(Text::Address(v4.into()), &v4.octets()),
            Source::V6(network) => {
                let first = Ipv6Addr::from_bits(u128::from(network) << 64);
                self.address(Text::Network(first), &network.to_be_bytes())
            }
            Source::User(uid) => LoggedAddress(Text::User(uid)),
        }
    }

    fn address(&self, full: Text, bytes: &[u8]) -> LoggedAddress {
        LoggedAddress(match self {
            AddressFormat::Full => full,
            AddressFormat::Hashed(key) => {
                let hash = Sha256::new().chain_update(key).chain_update(bytes).finalize();
                let first = [hash[0], hash[1], hash[2], hash[3]];
                Text::Digest(u32::from_be_bytes(first) >> 4)
            }
            AddressFormat::None => Text::Hidden,
        })
    }
}

impl LoggedPeer {
    /// A user of this host, who has no address.
    pub fn user(uid: Option<u32>) -> LoggedPeer {
        LoggedPeer { address: LoggedAddress(Text::User(uid)), port: None }
    }
}

impl fmt::Display for LoggedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address.0, self.port) {
            (Text::User(Some(uid)), _) => write!(f, "peer=unix uid={uid}"),
            (Text::User(None), _) => f.write_str("peer=unix uid=unknown"),
            (_, Some(port)) => write!(f, "peer={} port={port}", self.address),
            (_, None) => write!(f, "peer={}", self.address),
        }
    }
}

impl fmt::Display for LoggedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Text::Address(address) => address.fmt(f),
            Text::Network(first) => write!(f, "{first}/64"),
            Text::Digest(digest) => write!(f, "{digest:07x}"),
            Text::Hidden => f.write_str("-"),
            Text::User(Some(uid)) => write!(f, "uid:{uid}"),
            Text::User(None) => f.write_str("uid:unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::from(address.parse::<SocketAddr>().expect("an address"))
    }

    fn texts(format: AddressFormat, peer: Peer) -> [String; 2] {
        [format.peer(peer).to_string(), format.source(peer.source()).to_string()]
    }

    #[test]
    fn each_format_shows_peers_and_sources() {
        let cases = [
            (AddressFormat::Full, "192.0.2.7:5", ["peer=192.0.2.7 port=5", "192.0.2.7"]),
            (AddressFormat::Full, "[::ffff:192.0.2.7]:5", ["peer=192.0.2.7 port=5", "192.0.2.7"]),
            (AddressFormat::Full, "[2001:db8::1]:5", ["peer=2001:db8::1 port=5", "2001:db8::/64"]),
            (AddressFormat::None, "192.0.2.7:5", ["peer=-", "-"]),
            (AddressFormat::None, "[2001:db8::1]:5", ["peer=-", "-"]),
        ];
        for (format, address, expected) in cases {
            assert_eq!(texts(format, peer(address)), expected);
        }
        for format in [AddressFormat::Full, AddressFormat::Hashed([1; 32]), AddressFormat::None] {
            assert_eq!(texts(format, Peer::Unix { uid: Some(7) }), ["peer=unix uid=7", "uid:7"]);
            assert_eq!(texts(format, Peer::Unix { uid: None }), ["peer=unix uid=unknown", "uid:unknown"]);
        }
    }

    #[test]
    fn a_digest_depends_on_the_address_and_the_key_only() {
        let hashed = AddressFormat::Hashed([1; 32]);
        let [shown, source] = texts(hashed, peer("192.0.2.7:5"));
        assert_eq!(shown, format!("peer={source}"), "an IPv4 source is an address");
        assert!(source.len() == 7 && source.bytes().all(|byte| byte.is_ascii_hexdigit()), "{source}");
        assert_eq!(texts(hashed, peer("[::ffff:192.0.2.7]:6")), [shown.clone(), source]);
        let [first, network] = texts(hashed, peer("[2001:db8::1]:5"));
        let [second, same_network] = texts(hashed, peer("[2001:db8::2]:5"));
        assert!(first != second && network == same_network, "{first} {second} {network}");
        for (format, address) in [(hashed, "192.0.2.8:5"), (AddressFormat::Hashed([2; 32]), "192.0.2.7:5")] {
            assert_ne!(texts(format, peer(address))[0], shown, "{address}");
        }
        // Zeros in front are shown, too.
        let digests = (0..=255).map(|last| texts(hashed, peer(&format!("192.0.2.{last}:1")))[1].clone());
        assert!(
            digests.clone().all(|digest| digest.len() == 7)
                && digests.clone().any(|digest| digest.starts_with('0'))
        );
    }
}

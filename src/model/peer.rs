//! Client addresses. None of these types shows one, in case a log line contains it: see [`super::logged_address`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The client's end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client; IPv4-mapped IPv6 addresses are converted to IPv4.
    Tcp(IpAddr, u16),
    /// A client of a Unix socket.
    Unix {
        /// The client's effective user id when it connected.
        uid: Option<u32>,
    },
}

/// The IP address of a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIp(pub IpAddr);

/// The unit by which clients are counted and throttled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// One IPv4 address.
    V4(Ipv4Addr),
    /// The upper half of an IPv6 address: one network usually controls a whole /64.
    V6(u64),
    /// A user of this host.
    User(Option<u32>),
}

impl Peer {
    /// The client's IP address; `None` on a Unix socket.
    pub fn ip(self) -> Option<PeerIp> {
        match self {
            Peer::Tcp(address, _) => Some(PeerIp(address)),
            Peer::Unix { .. } => None,
        }
    }

    /// The client's source.
    pub fn source(self) -> Source {
        match self {
            Peer::Tcp(IpAddr::V4(address), _) => Source::V4(address),
            Peer::Tcp(IpAddr::V6(address), _) => Source::V6((address.to_bits() >> 64) as u64),
            Peer::Unix { uid } => Source::User(uid),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(..) => f.write_str("Tcp"),
            Peer::Unix { uid } => f.debug_struct("Unix").field("uid", uid).finish(),
        }
    }
}

impl PeerIp {
    /// Parses an address of a store.
    pub fn parse(text: &str) -> Option<PeerIp> {
        text.parse().ok().map(PeerIp)
    }
}

impl fmt::Debug for PeerIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerIp")
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::V4(_) => f.write_str("V4"),
            Source::V6(_) => f.write_str("V6"),
            Source::User(uid) => f.debug_tuple("User").field(uid).finish(),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        Peer::Tcp(address.ip().to_canonical(), address.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_a_network_or_a_user() {
        let source = |address: &str| {
            let address: SocketAddr = address.parse().expect("an address");
            Peer::from(address).source()
        };
        assert_eq!(source("192.0.2.1:5"), Source::V4([192, 0, 2, 1].into()));
        assert_eq!(source("192.0.2.1:6"), source("192.0.2.1:5"));
        assert_eq!(source("[::ffff:192.0.2.1]:5"), source("192.0.2.1:5"));
        assert_eq!(source("[2001:db8::1]:5"), Source::V6(0x2001_0db8 << 32));
        assert_eq!(source("[2001:db8::ffff:1:2:3]:5"), source("[2001:db8::1]:5"));
        assert_ne!(source("[2001:db8:0:1::1]:5"), source("[2001:db8::1]:5"));
        assert_eq!(Peer::Unix { uid: Some(7) }.source(), Source::User(Some(7)));
        assert_eq!(Peer::Unix { uid: None }.source(), Source::User(None));
    }

    #[test]
    fn no_address_is_shown() {
        let peer = Peer::from("192.0.2.1:4711".parse::<SocketAddr>().expect("an address"));
        let v6 = Peer::from("[2001:db8::1]:4711".parse::<SocketAddr>().expect("an address"));
        let shown = format!("{peer:?} {v6:?} {:?} {:?} {:?}", peer.source(), v6.source(), v6.ip());
        assert_eq!(shown, "Tcp Tcp V4 V6 Some(PeerIp)");
    }
}

//! Who is at the other end of a connection, as the network knows it.

use std::net::{IpAddr, SocketAddr};

/// The client's end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// A TCP client; an IPv4 address is never in its IPv6 form.
    Tcp(IpAddr, u16),
    /// A client of a unix socket and its user id, where the system tells it.
    Unix {
        /// The client's effective user id when it connected.
        uid: Option<u32>,
    },
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        Peer::Tcp(address.ip().to_canonical(), address.port())
    }
}

//! Socket options that the standard library lacks.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

/// The effective user id that the peer of the unix stream `socket` had when it connected.
pub fn peer_uid(socket: impl AsFd) -> io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointer is to a `ucred`, the type that SO_PEERCRED fills in, and `length` is its size; both live
    // through the call. The descriptor is borrowed, so it is open.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &mut length,
        )
    };
    super::check_result(result)?;
    // For a peer that it does not know (another user namespace, a TCP socket) the system reports an invalid uid.
    if length as usize != mem::size_of::<libc::ucred>() || credentials.uid == u32::MAX {
        return Err(io::Error::other("the system does not report the peer's user"));
    }
    Ok(credentials.uid)
}

/// The bytes written to the TCP socket `socket` that its peer has not acknowledged. The end of the output counts as a byte.
pub fn unacknowledged(socket: impl AsFd) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request, which has this name for sockets, too (tcp(7)), fills in an `int`, which lives through the call.
    // The descriptor is borrowed, so it is open.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    super::check_result(result)?;
    u32::try_from(bytes).map_err(io::Error::other)
}

/// Those among them that were never transmitted.
pub fn untransmitted(socket: impl AsFd) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: as for `unacknowledged`.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCOUTQNSD, &raw mut bytes) };
    super::check_result(result)?;
    u32::try_from(bytes).map_err(io::Error::other)
}

/// Whether the TCP connection of `socket` is over: the peer has reset it or does not answer, or both sides have closed.
pub fn is_closed(socket: impl AsFd) -> io::Result<bool> {
    // The first field of `tcp_info`; the system fills in as much as there is room for.
    let mut state: u8 = 0;
    let mut length = mem::size_of::<u8>() as libc::socklen_t;
    // SAFETY: the pointer is to a byte, and `length` is its size; both live through the call. The descriptor is borrowed,
    // so it is open.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &mut length,
        )
    };
    super::check_result(result)?;
    Ok(state == TCP_CLOSE)
}

/// The state of a socket without a connection (netinet/tcp.h).
const TCP_CLOSE: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn socket_pair_peer_is_this_process() {
        let (near, _far) = UnixStream::pair().unwrap();
        assert_eq!(peer_uid(&near).unwrap(), crate::sys::process::effective_uid());
    }

    #[test]
    fn a_tcp_socket_has_no_peer_user() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(peer_uid(&listener).is_err());
    }

    #[test]
    fn a_socket_tells_what_its_peer_has_not_received_and_when_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        // Until the peer's buffer and the client's are full.
        let mut sent = 0;
        while let Ok(count) = client.write(&[0; 4096]) {
            sent += count as u32;
        }
        let (unacknowledged, untransmitted) =
            (unacknowledged(&client).unwrap(), untransmitted(&client).unwrap());
        assert!(0 < untransmitted && untransmitted <= unacknowledged && unacknowledged < sent);
        assert!(!is_closed(&client).unwrap());
        // With unread input, this is a reset.
        drop(server);
        assert!(is_closed(&client).unwrap());
    }

    #[test]
    fn a_unix_socket_has_no_tcp_state() {
        let (near, _far) = UnixStream::pair().unwrap();
        assert!(is_closed(&near).is_err());
    }
}

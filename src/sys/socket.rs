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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
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
}

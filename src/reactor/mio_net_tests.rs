//! The real network: what its events promise, and what it knows of what a client has received.

use std::net::Shutdown;
use std::os::fd::AsRawFd;

use socket2::{MsgHdr, SockRef};

use super::*;

const ID: ConnId = ConnId { index: 7, generation: 1 };

/// The readiness that the first event after `send` reports, and the results of two reads.
fn event_and_reads(
    net: &mut MioNet,
    send: impl FnOnce(&mut MioNet) -> Socket,
) -> (Readable, [Option<Received>; 2]) {
    let mut socket = send(net);
    let mut events = Vec::new();
    for _ in 0..3 {
        if !events.is_empty() {
            break;
        }
        net.poll(Some(Duration::from_secs(10)), &mut events).unwrap();
        events.retain(|event| matches!(event, Event::Ready { readable, .. } if *readable != Readable::No));
    }
    let [Event::Ready { readable, .. }] = events[..] else { panic!("{events:?}") };
    let mut bytes = [0; 100];
    (readable, [0; 2].map(|_| net.read(&mut socket, &mut bytes).ok()))
}

/// Runs `event_and_reads` over loopback TCP, where all bytes have arrived when `send` returns.
fn over_tcp(send: impl FnOnce(&SockRef<'_>)) -> (Readable, [Option<Received>; 2]) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut net = MioNet::new(vec![listener.into()]).unwrap();
    event_and_reads(&mut net, |net| {
        let (mut socket, _) = net.accept(0).unwrap();
        send(&SockRef::from(&client));
        net.register(&mut socket, ID).unwrap();
        socket
    })
}

fn received(count: usize, is_drained: bool) -> Option<Received> {
    Some(Received { count, is_drained })
}

#[test]
fn a_short_read_drains_a_tcp_socket() {
    let (readable, reads) = over_tcp(|client| assert_eq!(client.send(b"abc").unwrap(), 3));
    assert_eq!((readable, reads), (Readable::UntilDrained, [received(3, true), None]));
}

#[test]
fn an_end_of_input_is_reported_with_the_bytes_before_it() {
    let (readable, reads) = over_tcp(|client| {
        client.send(b"abc").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(readable, Readable::UntilRefused);
    assert_eq!(reads, [received(3, true), received(0, true)]);
}

#[test]
fn an_urgent_byte_that_cuts_a_read_short_is_reported() {
    let (readable, reads) = over_tcp(|client| {
        client.send(b"abc").unwrap();
        client.send_out_of_band(b"!").unwrap();
        client.send(b"defg").unwrap();
    });
    assert_eq!(readable, Readable::UntilRefused);
    assert_eq!(reads, [received(3, true), received(4, true)]);
}

/// A client, and a server's socket, on which 10 bytes were read and 20 written; the client has done `leave` between.
fn written(leave: impl FnOnce(&mut std::net::TcpStream)) -> (std::net::TcpStream, MioNet, Socket) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut net = MioNet::new(vec![listener.into()]).unwrap();
    let (mut socket, _) = net.accept(0).unwrap();
    client.write_all(&[0; 10]).unwrap();
    assert_eq!(net.read(&mut socket, &mut [0; 100]).unwrap().count, 10);
    leave(&mut client);
    assert_eq!(net.write(&mut socket, &[0; 20]).unwrap(), 20);
    (client, net, socket)
}

/// Waits for a receipt that `is_wanted`.
fn wait_for(net: &MioNet, socket: &Socket, is_wanted: impl Fn(Receipt) -> bool) {
    let end = crate::clock::monotonic_now() + Duration::from_secs(10);
    while !is_wanted(net.receipt(socket)) {
        assert!(crate::clock::monotonic_now() < end, "{:?}", net.receipt(socket));
        std::thread::yield_now();
    }
}

#[test]
fn what_the_system_of_a_client_receives_is_not_missing() {
    for half_closes in [false, true] {
        let (client, mut net, mut socket) = written(|client| {
            if half_closes {
                client.shutdown(Shutdown::Write).unwrap();
            }
        });
        let is_all = |receipt: Receipt| receipt.missing == 0;
        wait_for(&net, &socket, is_all);
        net.shutdown_write(&mut socket).unwrap();
        wait_for(&net, &socket, is_all);
        // The client has it, whatever happens then.
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        wait_for(&net, &socket, |receipt| receipt == Receipt { missing: 0, is_last: true });
    }
}

#[test]
fn what_finds_no_client_stays_missing() {
    let (mut client, net, socket) = written(|client| {
        let other = std::net::TcpStream::connect(client.peer_addr().unwrap()).unwrap();
        drop(std::mem::replace(client, other));
    });
    wait_for(&net, &socket, |receipt| receipt == Receipt { missing: 20, is_last: true });
    client.write_all(b"the other one").unwrap();
}

#[test]
fn what_is_acknowledged_late_is_not_missing_after_a_reset() {
    for is_noticed in [false, true] {
        let (mut client, mut net, mut socket) = written(|_| {});
        // Acknowledgements are delayed once the two have exchanged something.
        client.read_exact(&mut [0; 20]).unwrap();
        client.write_all(&[0; 10]).unwrap();
        assert_eq!(net.read(&mut socket, &mut [0; 100]).unwrap().count, 10);
        assert_eq!(net.write(&mut socket, &[0; 30]).unwrap(), 30);
        client.read_exact(&mut [0; 30]).unwrap();
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        if is_noticed {
            let error = net.read(&mut socket, &mut [0; 100]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        wait_for(&net, &socket, |receipt| receipt == Receipt { missing: 0, is_last: true });
    }
}

#[test]
fn a_read_cut_short_by_descriptors_does_not_drain_the_socket() {
    let path = std::env::temp_dir().join(format!("vmherd-mio-net-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut net = MioNet::new(vec![listener.into()]).unwrap();
    let (readable, reads) = event_and_reads(&mut net, |net| {
        let (mut socket, _) = net.accept(0).unwrap();
        // A control message (unix(7), cmsg(3)): its length, SOL_SOCKET, SCM_RIGHTS, a descriptor.
        let mut control = 20usize.to_ne_bytes().to_vec();
        for number in [libc::SOL_SOCKET, libc::SCM_RIGHTS, client.as_raw_fd(), 0] {
            control.extend(number.to_ne_bytes());
        }
        let bytes = [io::IoSlice::new(b"abc")];
        let message = MsgHdr::new().with_buffers(&bytes).with_control(&control);
        assert_eq!(SockRef::from(&client).sendmsg(&message, 0).unwrap(), 3);
        assert_eq!(SockRef::from(&client).send(b"defg").unwrap(), 4);
        net.register(&mut socket, ID).unwrap();
        socket
    });
    assert_eq!(readable, Readable::UntilDrained);
    assert_eq!(reads, [received(3, false), received(4, false)]);
}

//! Clients that send without a pause: without an end, or many requests whose answers are read meanwhile.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufWriter, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::DEADLINE;

/// Bytes that a client means to send.
const ENDLESS: usize = 1 << 30;
/// The client keeps at least so many of the last bytes that it has received: more than any answer takes.
const RECEIVED_MIN: usize = 4 << 10;

/// A client that has sent without an end and read meanwhile, until the daemon closed.
pub struct Flood {
    pub sent: usize,
    pub took: Duration,
    /// The last of what the daemon sent.
    pub received: Vec<u8>,
}

impl Flood {
    /// Sends `start` and then `more` again and again on a new connection, whose reads and writes have a deadline.
    #[track_caller]
    pub fn send(mut stream: TcpStream, start: &[u8], more: &[u8]) -> Flood {
        let begin = Instant::now();
        let reader = stream.try_clone().expect("a socket can be shared");
        let reader = thread::spawn(move || read_to_end(reader));
        let chunk = more.repeat((64 << 10) / more.len());
        let (mut sent, mut next) = (0, [start, &chunk].concat());
        while sent < ENDLESS {
            match stream.write(&next) {
                Ok(count) => {
                    sent += count;
                    next.drain(..count);
                }
                Err(error) => {
                    let is_closed =
                        matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
                    assert!(is_closed, "after {sent} bytes: {error}");
                    break;
                }
            }
            if next.is_empty() {
                next.extend_from_slice(&chunk);
            }
        }
        let received = reader.join().expect("the reader does not panic");
        Flood { sent, took: begin.elapsed(), received }
    }

    /// The whole lines that the daemon sent, without their line breaks.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.received);
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.map(str::to_owned).collect()
    }
}

/// Sends `requests` on a new connection from a thread of its own, and then ends the output. Returns the connection, to
/// read the answers from, and the thread.
pub fn send_in_background(
    address: SocketAddr,
    requests: impl Iterator<Item = String> + Send + 'static,
) -> (TcpStream, JoinHandle<()>) {
    let stream = TcpStream::connect(address).expect("the daemon accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
    let output = stream.try_clone().expect("a socket can be shared");
    let sender = thread::spawn(move || {
        let mut output = BufWriter::with_capacity(64 << 10, output);
        requests.for_each(|request| output.write_all(request.as_bytes()).expect("it is taken"));
        output.flush().expect("it is taken");
        output.get_ref().shutdown(Shutdown::Write).expect("it is open");
    });
    (stream, sender)
}

/// The last bytes before the end, whether the connection is closed in good order or reset.
fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let (mut received, mut chunk) = (Vec::new(), [0; 16 << 10]);
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        received.drain(..received.len().saturating_sub(RECEIVED_MIN));
        received.extend_from_slice(&chunk[..count]);
    }
    received
}

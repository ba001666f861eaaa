//! The limit: the rate of this machine's sockets through mio, without any work on the bytes, or with the least work that a
//! put takes.
//!
//! Waits, reads and writes as the daemon does: edge-triggered, registered once for both directions, with
//! chunks of the same size, and as many events at once.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::str;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use vmherd::internals::limits;

/// Serves at `address` until it is killed. `answering` is [`ECHO`], [`PUTS`], or the number of bytes of the line with
/// which each line is answered.
pub fn serve(address: SocketAddr, answering: &str) -> io::Result<()> {
    let mut service = match answering {
        ECHO => Service::Echo,
        PUTS => Service::Puts(Points::default(), Answers::new("ok\n\n")),
        bytes => Service::Lines(Answers::of_bytes(bytes.parse().expect("a number"))),
    };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(limits::EVENTS_PER_TICK_MAX);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut chunk = vec![0; limits::READ_CHUNK_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let slot = &mut connections[event.token().0];
            let Some(connection) = slot else { continue };
            if event.is_readable() && !service.answer_all(connection, &mut chunk) {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Option<Connection>>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                // Long answers fit as well.
                socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(connections.len()), both)?;
                connections.push(Some(Connection { stream, line: Vec::new() }));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// The start of a line of puts.
    line: Vec<u8>,
}

enum Service {
    /// The input is the answer.
    Echo,
    Lines(Answers),
    Puts(Points, Answers),
}

impl Service {
    /// Answers all input; false at the end of the connection.
    fn answer_all(&mut self, connection: &mut Connection, chunk: &mut [u8]) -> bool {
        let Connection { stream, line } = connection;
        loop {
            let input = match stream.read(chunk) {
                Ok(0) => return false,
                Ok(count) => &chunk[..count],
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            // The generator never has more in flight than a socket's buffer takes.
            let is_sent = match self {
                Service::Echo => is_written(stream, input),
                Service::Lines(answers) => {
                    answers.are_written(stream, input.iter().filter(|&&byte| byte == b'\n').count())
                }
                Service::Puts(points, answers) if line.is_empty() && input.ends_with(b"\n") => {
                    answers.are_written(stream, points.put_lines(input))
                }
                Service::Puts(points, answers) => {
                    line.extend_from_slice(input);
                    let end = line.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                    let lines = points.put_lines(&line[..end]);
                    line.drain(..end);
                    answers.are_written(stream, lines)
                }
            };
            if !is_sent {
                return false;
            }
        }
    }
}

/// Points by key, in the order of time: the least that a store of them does.
#[derive(Default)]
struct Points(HashMap<String, Vec<(i64, f64)>>);

impl Points {
    /// Puts a point for each line of `lines`; how many.
    fn put_lines(&mut self, lines: &[u8]) -> usize {
        let put = |line: &[u8]| {
            let mut words = str::from_utf8(line).expect("text").trim_end().split(' ');
            let mut next = || words.next().expect("a line has four words");
            assert_eq!(next(), "put");
            let (key, value, second) = (next(), next(), next());
            let (value, second) = (value.parse().expect("a number"), second.parse().expect("a second"));
            match self.0.get_mut(key) {
                Some(points) => match points.last() {
                    Some(last) if last.0 >= second => {
                        let at = points.partition_point(|point| point.0 < second);
                        points.insert(at, (second, value));
                    }
                    _ => points.push((second, value)),
                },
                None => drop(self.0.insert(key.to_owned(), vec![(second, value)])),
            }
        };
        lines.split_inclusive(|&byte| byte == b'\n').map(put).count()
    }
}

/// Answers for one write.
struct Answers {
    text: Vec<u8>,
    answer_bytes: usize,
}

impl Answers {
    fn new(answer: &str) -> Answers {
        let text = answer.repeat((WRITTEN_AT_ONCE / answer.len()).max(1)).into_bytes();
        Answers { text, answer_bytes: answer.len() }
    }

    fn of_bytes(answer_bytes: usize) -> Answers {
        Answers::new(&format!("{}\n", "x".repeat(answer_bytes - 1)))
    }

    fn are_written(&self, stream: &mut TcpStream, mut count: usize) -> bool {
        while count > 0 {
            let at_once = count.min(self.text.len() / self.answer_bytes);
            if !is_written(stream, &self.text[..at_once * self.answer_bytes]) {
                return false;
            }
            count -= at_once;
        }
        true
    }
}

fn is_written(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write(bytes).is_ok_and(|written| written == bytes.len())
}

/// What `serve` does.
pub const ECHO: &str = "input";
pub const PUTS: &str = "puts";

const LISTENER: Token = Token(usize::MAX);
const WRITTEN_AT_ONCE: usize = 64 << 10;
const SEND_BUFFER_BYTES: usize = 1 << 20;

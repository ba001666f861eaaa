//! Sends every WebSocket message back, through the framing that the daemon uses: what suites for
//! conformance talk to. One thread a connection, which is fine here and nowhere else.
//!
//! `websocket_echo [ADDRESS]` listens on `127.0.0.1:0` unless told otherwise, says on which port, and goes on
//! until it is killed. Unlike the daemon it takes binary messages as well.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use vmherd::internals::buffer::Buffer;
use vmherd::internals::framing::http::{self, Http, HttpRules};
use vmherd::internals::framing::websocket::{self, MessageKind, WebSocket, WebSocketEvent};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    for stream in listener.incoming() {
        let stream = stream?;
        // A client that goes away is no trouble of ours.
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    if !switch(&mut stream, &mut input, &mut output)? {
        return stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }
    let mut socket = WebSocket::with_binary();
    loop {
        match socket.next(&mut input, &mut output, MESSAGE_BYTES_MAX) {
            WebSocketEvent::NeedMore => {
                flush(&mut stream, &mut output)?;
                if read(&mut stream, &mut input)? == 0 {
                    return Ok(());
                }
            }
            WebSocketEvent::Message(kind) => {
                let message = socket.message(&input);
                match kind {
                    MessageKind::Text => websocket::write_message(message, &mut output),
                    MessageKind::Binary => websocket::write_binary(message, &mut output),
                }
                socket.consume(&mut input);
            }
            WebSocketEvent::Frame => {}
            WebSocketEvent::Closed | WebSocketEvent::Failed(_) => {
                flush(&mut stream, &mut output)?;
                return linger(&mut stream);
            }
        }
        if output.len() > OUTPUT_BYTES_PAUSE {
            flush(&mut stream, &mut output)?;
        }
    }
}

/// Reads a handshake and answers it; false if it is none.
fn switch(stream: &mut TcpStream, input: &mut Buffer, output: &mut Buffer) -> io::Result<bool> {
    let mut http = Http::default();
    loop {
        match http.next(input, output, 0, &HttpRules::default()) {
            http::HttpEvent::Upgrade(key) => {
                http::write_upgrade(&websocket::accept(key.as_bytes()), output);
                return Ok(true);
            }
            http::HttpEvent::NeedMore if read(stream, input)? > 0 => {}
            _ => return Ok(false),
        }
    }
}

fn read(stream: &mut TcpStream, input: &mut Buffer) -> io::Result<usize> {
    let mut chunk = [0; 16 << 10];
    let count = stream.read(&mut chunk)?;
    input.push(&chunk[..count]);
    Ok(count)
}

fn flush(stream: &mut TcpStream, output: &mut Buffer) -> io::Result<()> {
    stream.write_all(output.as_slice())?;
    output.clear();
    Ok(())
}

/// Ends the connection so that the client gets what was sent: closing with unread input would reset it.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    io::copy(&mut stream.take(64 << 20), &mut io::sink())?;
    Ok(())
}

/// More than the suites send.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

const OUTPUT_BYTES_PAUSE: usize = 64 << 10;

//! Echoes every WebSocket message, through the framing that the daemon uses, for conformance suites. It has a thread
//! for each connection.
//!
//! `websocket_echo [ADDRESS]` listens on the address (default: `127.0.0.1:0`), prints its port, and runs until it is
//! killed. Unlike the daemon, it accepts binary messages.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use vmherd::internals::buffer::Buffer;
use vmherd::internals::framing::http::{self, BodyBytesMax, Http, HttpListener};
use vmherd::internals::framing::websocket::{self, MessageKind, WebSocket, WebSocketEvent};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    for stream in listener.incoming() {
        let stream = stream?;
        // An error ends only its own connection.
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
                let (message, start) = (socket.message(&input), output.len());
                websocket::append_fragment(true, true, &mut output, |bytes| bytes.extend_from_slice(message));
                if kind == MessageKind::Binary {
                    output.as_mut_slice()[start] = FINAL_BINARY;
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

/// Reads a handshake and answers it; returns false if the request is not one.
fn switch(stream: &mut TcpStream, input: &mut Buffer, output: &mut Buffer) -> io::Result<bool> {
    let (mut http, no_body) = (Http::default(), BodyBytesMax { direct: 0, forwarded: 0 });
    loop {
        match http.next(input, output, no_body, &HttpListener::default()) {
            http::HttpEvent::Upgrade(key) => {
                http::response::write_upgrade(&websocket::accept(key.as_bytes()), output);
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

/// Ends the connection after the client has read the output: closing with unread input would reset it.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    io::copy(&mut stream.take(64 << 20), &mut io::sink())?;
    Ok(())
}

/// The first byte of a frame with a whole binary message.
const FINAL_BINARY: u8 = 0x82;

/// Larger than any message of the suites.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

const OUTPUT_BYTES_PAUSE: usize = 64 << 10;

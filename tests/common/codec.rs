//! The client's side of the protocols: requests to bytes, and bytes to replies, in raw JSON, metrics text, HTTP and
//! WebSocket.
//!
//! Pure: push the bytes that were received into a [`Decoder`] and take the replies that they complete. Strict: input
//! that is not as the protocols have it is an error, never skipped; after an error the connection is unusable. No
//! input panics.
//!
//! One framing is decoded by one method, so a connection may change it: HTTP before WebSocket. Each returns `None`
//! until the input has a whole reply. What a reply says is up to the caller.
//!
//! Raw JSON and metrics text are split by the decoder of the client library, [`Input`]. Targets include the file so:
//!
//! - `tests/*/main.rs` with `tests/common`: `common::codec`, declared in `tests/common/mod.rs` as `pub mod codec;`
//! - `tests/simulation/main.rs`: `#[path = "../common/codec.rs"] mod codec;`
//! - `fuzz/src/lib.rs`: `#[path = "../../tests/common/codec.rs"] pub mod codec;`, and `tests/fuzz_seeds.rs`, which
//!   compiles the files of `fuzz/src`: `#[path = "common/codec.rs"] mod codec;`
//! - `benches/measure/main.rs`: `#[path = "../../tests/common/codec.rs"] mod codec;`

// Each target uses a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

// By path: the file that declares it is included by path too.
#[path = "codec/replies.rs"]
mod replies;

use vmherd::internals::client::{Input, utf8};

pub use replies::{BodyLength, HttpHead, PointLine, TextReply, point_lines};
pub use vmherd::internals::client::Malformed;

/// Decodes the output of a server.
#[derive(Debug, Default)]
pub struct Decoder {
    input: Input,
    /// The server has closed its direction.
    is_ended: bool,
    /// The HTTP response whose body is incomplete.
    response: Option<(HttpResponse, BodyLength)>,
    /// The payloads of the WebSocket message whose last frame is missing.
    message: Option<Vec<u8>>,
    /// A response or frame has announced that nothing follows it.
    is_finished: bool,
}

/// `None`: the input has no whole reply yet.
pub type Decoded<T> = Result<Option<T>, Malformed>;

/// A response of HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpResponse {
    /// The status line and the header.
    pub head: HttpHead,
    /// The content; empty in an interim response.
    pub body: Vec<u8>,
}

/// A frame of WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub is_final: bool,
    /// One of [`CONTINUATION`], [`TEXT`], [`BINARY`], [`CLOSE`], [`PING`] and [`PONG`].
    pub opcode: u8,
    /// The content.
    pub payload: Vec<u8>,
}

/// A message of a WebSocket server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A reply, whole.
    Text(String),
    /// The content of a ping of the client.
    Pong(Vec<u8>),
    /// The end of the server's direction: code and reason, unless it gives none.
    Close(Option<(u16, String)>),
}

/// Opcode of the frames of a message after its first.
pub const CONTINUATION: u8 = 0;
/// Opcode of a text message.
pub const TEXT: u8 = 1;
/// Opcode of a binary message.
pub const BINARY: u8 = 2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

/// A WebSocket handshake, with the key of RFC 6455, 1.3.
pub const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// The value of `Sec-WebSocket-Accept` in the response to [`HANDSHAKE`].
pub const HANDSHAKE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The end of a chunked body.
pub const LAST_CHUNK: &str = "0\r\n\r\n";

// ── Requests ──

/// The head of an HTTP request, its empty line included.
pub fn request_head(method: &str, target: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\n{fields}\r\n")
}

/// A POST of `body`, as simple programs send it.
pub fn post(body: &str) -> String {
    let length = body.len().to_string();
    request_head("POST", "/", &[("Host", "localhost"), ("Content-Length", &length)]) + body
}

/// Appends a chunk of a body. Empty chunks would end the body and are left out; `extension` follows the size.
pub fn write_chunk(chunk: &[u8], extension: &str, bytes: &mut Vec<u8>) {
    if !chunk.is_empty() {
        bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
}

/// Appends the header of a client's frame with `length` bytes of payload.
pub fn write_frame_header(is_final: bool, opcode: u8, length: u64, mask: [u8; 4], bytes: &mut Vec<u8>) {
    bytes.push(u8::from(is_final) << 7 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=FRAME_LENGTH_SHORT_MAX), _) => bytes.push(MASKED | length),
        (_, Ok(length)) => {
            bytes.push(MASKED | FRAME_LENGTH_16);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(MASKED | FRAME_LENGTH_64);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(mask);
}

/// Appends a client's frame.
pub fn write_frame(is_final: bool, opcode: u8, payload: &[u8], mask: [u8; 4], bytes: &mut Vec<u8>) {
    write_frame_header(is_final, opcode, payload.len() as u64, mask, bytes);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// The frame of `text`, as simple programs send it.
pub fn text_frame(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(true, TEXT, text.as_bytes(), [0x37, 0xfa, 0x21, 0x3d], &mut bytes);
    bytes
}

// ── Replies ──

impl Decoder {
    /// Adds input.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// The input has ended.
    pub fn end_input(&mut self) {
        self.is_ended = true;
    }

    /// The input that is not decoded.
    pub fn rest(&self) -> &[u8] {
        self.input.rest()
    }

    /// Takes the input that is not decoded.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.rest().to_vec();
        self.input.consume(rest.len());
        rest
    }

    /// Whether a message of WebSocket is partly received, in whole frames or not.
    pub fn is_in_message(&self) -> bool {
        self.message.is_some()
    }

    /// How the body of the HTTP response ends that is partly received.
    pub fn pending_body(&self) -> Option<BodyLength> {
        self.response.as_ref().map(|(_, length)| *length)
    }

    /// Whether no reply is partly received.
    pub fn is_between_replies(&self) -> bool {
        self.rest().is_empty() && self.response.is_none() && self.message.is_none()
    }

    /// Whether the server has announced that nothing follows: `Connection: close`, or a close frame.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The next reply of raw JSON, without its newline.
    pub fn line(&mut self) -> Decoded<String> {
        self.input.line()
    }

    /// The next reply of metrics text, without the newline of its last line and the empty line after it.
    pub fn text_reply(&mut self) -> Decoded<String> {
        self.input.text_until("\n\n")
    }

    /// The head of the next HTTP response. A body follows, unless the request was HEAD: see [`Decoder::response`].
    pub fn head(&mut self) -> Decoded<HttpHead> {
        if self.is_finished && !self.rest().is_empty() {
            return Err(Malformed("input after the last response"));
        }
        let Some(text) = self.input.text_until("\r\n\r\n")? else { return Ok(None) };
        let head = HttpHead::parse(text)?;
        self.is_finished = head.closes();
        Ok(Some(head))
    }

    /// The next HTTP response. Interim responses and those that switch protocols have a status below 200.
    pub fn response(&mut self) -> Decoded<HttpResponse> {
        if self.response.is_none() {
            let Some(head) = self.head()? else { return Ok(None) };
            let length = head.body_length()?;
            self.response = Some((HttpResponse { head, body: Vec::new() }, length));
        }
        self.body()
    }

    /// The response to a head that was taken before, with its body.
    pub fn response_of(&mut self, head: HttpHead) -> Decoded<HttpResponse> {
        let length = head.body_length()?;
        self.response = Some((HttpResponse { head, body: Vec::new() }, length));
        self.body()
    }

    /// The next frame of WebSocket.
    pub fn frame(&mut self) -> Decoded<Frame> {
        if self.is_finished && !self.rest().is_empty() {
            return Err(Malformed("input after the close frame"));
        }
        let Some((header, length)) = self.frame_header()? else { return Ok(None) };
        let end = header.checked_add(length).ok_or(Malformed("a frame larger than memory"))?;
        let Some(frame) = self.rest().get(..end) else { return Ok(None) };
        let (first, payload) = (frame[0], frame[header..].to_vec());
        self.input.consume(end);
        let frame = Frame { is_final: first & FINAL != 0, opcode: first & 0x0f, payload };
        self.is_finished |= frame.opcode == CLOSE;
        Ok(Some(frame))
    }

    /// The next message of a WebSocket server: frames of text are put together.
    pub fn message(&mut self) -> Decoded<Message> {
        while let Some(Frame { is_final, opcode, payload }) = self.frame()? {
            match (opcode, &mut self.message) {
                (TEXT, None) => self.message = Some(payload),
                (CONTINUATION, Some(text)) => text.extend(payload),
                (TEXT, Some(_)) => return Err(Malformed("a message inside another")),
                (CONTINUATION, None) => return Err(Malformed("a continuation of nothing")),
                (CLOSE, _) => return Ok(Some(Message::Close(close_reason(&payload)?))),
                (PONG, _) => return Ok(Some(Message::Pong(payload))),
                _ => return Err(Malformed("a frame that this server does not send")),
            }
            if is_final && let Some(text) = self.message.take() {
                return Ok(Some(Message::Text(utf8(text)?)));
            }
        }
        Ok(None)
    }

    /// Takes the response whose head is known, if the input has the rest of its body.
    fn body(&mut self) -> Decoded<HttpResponse> {
        let Some((mut response, length)) = self.response.take() else { return Ok(None) };
        let is_whole = match length {
            BodyLength::Sized(length) => self.take_sized(length, &mut response.body),
            BodyLength::Chunked => self.take_chunks(&mut response.body)?,
            BodyLength::UntilClose => {
                response.body.extend(self.take_rest());
                self.is_ended
            }
        };
        if is_whole {
            return Ok(Some(response));
        }
        self.response = Some((response, length));
        Ok(None)
    }

    fn take_sized(&mut self, length: usize, body: &mut Vec<u8>) -> bool {
        let Some(bytes) = self.rest().get(..length) else { return false };
        body.extend(bytes);
        self.input.consume(length);
        true
    }

    /// Appends whole chunks; whether the last one was among them.
    fn take_chunks(&mut self, body: &mut Vec<u8>) -> Result<bool, Malformed> {
        loop {
            let rest = self.rest();
            let Some(line) = rest.windows(2).take(CHUNK_SIZE_LINE_MAX).position(|pair| pair == b"\r\n")
            else {
                let is_too_long = rest.len() > CHUNK_SIZE_LINE_MAX;
                return if is_too_long { Err(Malformed("a chunk without a size")) } else { Ok(false) };
            };
            let size = chunk_size(&rest[..line])?;
            let end = size.checked_add(line + 2).ok_or(Malformed("a chunk larger than memory"))?;
            let Some(terminator) = rest.get(end..).and_then(<[u8]>::first_chunk::<2>) else {
                return Ok(false);
            };
            if terminator != b"\r\n" {
                return Err(Malformed("a chunk without an end"));
            }
            body.extend(&rest[line + 2..end]);
            self.input.consume(end + 2);
            if size == 0 {
                return Ok(true);
            }
        }
    }

    /// The lengths of the next frame's header and payload.
    fn frame_header(&self) -> Decoded<(usize, usize)> {
        let Some((&[first, second], rest)) = self.rest().split_first_chunk::<2>() else { return Ok(None) };
        let is_control = first & 0x08 != 0;
        if first & RESERVED != 0 || second & MASKED != 0 || !matches!(first & 0x0f, 0..=2 | 8..=10) {
            return Err(Malformed("a wrong header of a frame"));
        }
        if is_control && (first & FINAL == 0 || second > FRAME_LENGTH_SHORT_MAX) {
            return Err(Malformed("a control frame in parts, or too long"));
        }
        let (wide, least) = match second {
            FRAME_LENGTH_16 => (2, u64::from(FRAME_LENGTH_16)),
            FRAME_LENGTH_64 => (8, 1 << 16),
            length => return Ok(Some((2, usize::from(length)))),
        };
        let Some(length) = rest.get(..wide) else { return Ok(None) };
        let length = length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        if length < least {
            return Err(Malformed("a length of a frame in too many bytes"));
        }
        let length = usize::try_from(length).map_err(|_| Malformed("a frame larger than memory"))?;
        Ok(Some((2 + wide, length)))
    }
}

/// Reads the payload of a close frame.
fn close_reason(payload: &[u8]) -> Decoded<(u16, String)> {
    match payload.split_first_chunk() {
        Some((code, reason)) => Ok(Some((u16::from_be_bytes(*code), utf8(reason.to_vec())?))),
        None if payload.is_empty() => Ok(None),
        None => Err(Malformed("half a code in a close frame")),
    }
}

fn chunk_size(text: &[u8]) -> Result<usize, Malformed> {
    let is_hexadecimal = text.iter().all(u8::is_ascii_hexdigit);
    let size = std::str::from_utf8(text).ok().filter(|_| is_hexadecimal);
    size.and_then(|size| usize::from_str_radix(size, 16).ok()).ok_or(Malformed("no size of a chunk"))
}

/// Reads digits: no sign, no blanks.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// The longest payload whose length is in the second byte of a frame.
const FRAME_LENGTH_SHORT_MAX: u8 = 125;
/// The second byte of a frame whose length is in the next two bytes.
const FRAME_LENGTH_16: u8 = 126;
/// The second byte of a frame whose length is in the next eight bytes.
const FRAME_LENGTH_64: u8 = 127;
/// Bytes within which the size of a chunk ends.
const CHUNK_SIZE_LINE_MAX: usize = 20;

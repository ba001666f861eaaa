//! The client's side of the framings: encodes requests and splits the server's output into responses.
//!
//! Strict: any output that a client need not understand is an error. Independent of the requests' content.

use std::collections::VecDeque;

use super::random::Random;

/// The framing of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    RawJson,
    /// Lines of metrics text.
    Text,
    Http,
    WebSocket,
}

/// A client's encoder and decoder.
pub(super) struct ClientCodec {
    pub(super) framing: Framing,
    /// Input that is not decoded yet.
    input: Vec<u8>,
    /// Length of its prefix without the end of a text response.
    searched: usize,
    state: DecodeState,
    /// The part of an HTTP body or of a fragmented WebSocket message received so far.
    body: Vec<u8>,
    status: u16,
    /// Inside a fragmented WebSocket message.
    pub(super) is_in_message: bool,
    /// The response to the handshake is pending.
    pub(super) awaits_handshake: bool,
    /// Payloads of unanswered pings.
    pings: VecDeque<Vec<u8>>,
    /// The server has announced its last response.
    pub(super) is_finished: bool,
    /// The code expected in the server's close frame.
    pub(super) close_code: Option<u16>,
    /// Further responses are allowed but not required.
    pub(super) responses_are_optional: bool,
}

/// A decoded message of the server.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum ServerMessage {
    /// A response without its terminator, with its status where the framing has one.
    Response(Vec<u8>, Option<u16>),
    /// `100 Continue`: the body may be sent.
    Continue,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DecodeState {
    /// Before a line, a head or a frame.
    Boundary,
    Sized {
        left: usize,
    },
    ChunkSize,
    Chunk {
        left: usize,
    },
    ChunkEnd,
    /// After the last chunk.
    Trailer,
}

/// How an HTTP request is encoded.
#[derive(Clone, Debug, Default)]
pub(super) struct HttpStyle {
    pub(super) bearer_token: Option<String>,
    pub(super) is_chunked: bool,
    /// The client sends `Expect: 100-continue`.
    pub(super) expects_continue: bool,
    pub(super) is_last: bool,
}

impl ClientCodec {
    pub(super) fn new(framing: Framing) -> ClientCodec {
        ClientCodec {
            framing,
            input: Vec::new(),
            searched: 0,
            state: DecodeState::Boundary,
            body: Vec::new(),
            status: 0,
            is_in_message: false,
            awaits_handshake: framing == Framing::WebSocket,
            pings: VecDeque::new(),
            is_finished: false,
            close_code: None,
            responses_are_optional: false,
        }
    }

    // ── What is said ──

    /// The opening bytes of a connection.
    pub(super) fn handshake(&self) -> &'static [u8] {
        match self.framing {
            Framing::RawJson | Framing::Text | Framing::Http => b"",
            Framing::WebSocket => HANDSHAKE,
        }
    }

    /// Encodes a message as frames.
    pub(super) fn frames(&mut self, text: &[u8], random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        let mut opcode = TEXT;
        loop {
            if random.chance(10) {
                let payload: Vec<u8> = (0..random.between(0, 20)).map(|_| random.number() as u8).collect();
                frame(true, PING, &payload, random, &mut bytes);
                self.pings.push_back(payload);
            }
            let count = if random.chance(70) { rest.len() } else { random.between(0, rest.len()) };
            let is_final = count == rest.len();
            frame(is_final, opcode, &rest[..count], random, &mut bytes);
            if is_final {
                return bytes;
            }
            (rest, opcode) = (&rest[count..], CONTINUATION);
        }
    }

    /// Encodes the client's close frame; further responses become optional.
    pub(super) fn close(&mut self, code: Option<u16>, random: &mut Random) -> Vec<u8> {
        self.responses_are_optional = true;
        self.close_code = code;
        let mut bytes = Vec::new();
        let payload = code.map(u16::to_be_bytes);
        frame(true, CLOSE, payload.as_ref().map_or(&[], |code| code), random, &mut bytes);
        bytes
    }

    /// Encodes an HTTP request: its head, and its body.
    pub(super) fn request(text: &str, http_style: &HttpStyle, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
        let path = random.pick(&["/", "/api", "/x?y=z", "http://127.0.0.1:8888/"]);
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: localhost:8888\r\n");
        if let Some(token) = &http_style.bearer_token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if http_style.is_last {
            head += "Connection: close\r\n";
        }
        if http_style.expects_continue {
            head += "Expect: 100-continue\r\n";
        }
        if !http_style.is_chunked {
            head += &format!("Content-Length: {}\r\n\r\n", text.len());
            return (head.into_bytes(), text.as_bytes().to_vec());
        }
        head += "Transfer-Encoding: chunked\r\n\r\n";
        let (mut body, mut rest) = (Vec::new(), text.as_bytes());
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(random.between(1, rest.len()));
            let extension = random.pick(&["", "", ";a", " ; a=\"b\""]);
            body.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
            rest = others;
        }
        body.extend(random.pick(&[&b"0\r\n\r\n"[..], b"0\r\nA: b\r\n\r\n"]));
        (head.into_bytes(), body)
    }

    // ── What is heard ──

    /// Adds input; returns the messages it completes.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<Vec<ServerMessage>, String> {
        self.input.extend_from_slice(bytes);
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let (used, message) = match (self.framing, self.awaits_handshake) {
                (Framing::RawJson, _) => self.decode_line(at),
                (Framing::Text, _) => self.decode_text_response(at),
                (Framing::Http, _) | (_, true) => self.decode_http(at)?,
                (Framing::WebSocket, false) => self.decode_frame(at)?,
            };
            if used == 0 && message.is_none() {
                break;
            }
            at += used;
            found.extend(message);
        }
        self.input.drain(..at);
        self.searched = self.searched.saturating_sub(at);
        Ok(found)
    }

    /// Whether no message is partly received.
    pub(super) fn is_at_boundary(&self) -> bool {
        let is_open = self.is_in_message && !self.responses_are_optional && !self.is_finished;
        self.input.is_empty() && self.state == DecodeState::Boundary && !is_open
    }

    /// Whether neither a handshake nor a pong is pending.
    pub(super) fn has_nothing_pending(&self) -> bool {
        self.responses_are_optional || !self.awaits_handshake && self.pings.is_empty()
    }

    fn decode_line(&self, at: usize) -> (usize, Option<ServerMessage>) {
        let rest = &self.input[at..];
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, Some(ServerMessage::Response(rest[..end].to_vec(), None))),
            None => (0, None),
        }
    }

    /// A text response ends with an empty line.
    fn decode_text_response(&mut self, at: usize) -> (usize, Option<ServerMessage>) {
        let from = self.searched.max(at);
        match self.input[from..].windows(2).position(|pair| pair == b"\n\n") {
            Some(end) => {
                let end = from + end;
                self.searched = end + 2;
                (end + 2 - at, Some(ServerMessage::Response(self.input[at..end].to_vec(), None)))
            }
            None => {
                self.searched = self.input.len().saturating_sub(1).max(at);
                (0, None)
            }
        }
    }

    fn decode_http(&mut self, at: usize) -> Result<(usize, Option<ServerMessage>), String> {
        let rest = &self.input[at..];
        if self.is_finished && self.state == DecodeState::Boundary && !rest.is_empty() {
            return Err("something follows the last answer".to_owned());
        }
        let line_end = || rest.windows(2).position(|pair| pair == b"\r\n");
        match self.state {
            DecodeState::Boundary => match rest.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => {
                    let head = String::from_utf8_lossy(&rest[..end]).into_owned();
                    Ok((end + 4, self.read_head(&head)?))
                }
                None => Ok((0, None)),
            },
            DecodeState::Sized { left: 0 } => Ok((0, Some(self.end_body()?))),
            DecodeState::Sized { left } | DecodeState::Chunk { left } => {
                let count = left.min(rest.len());
                self.body.extend_from_slice(&self.input[at..at + count]);
                let left = left - count;
                self.state = match self.state {
                    DecodeState::Chunk { .. } if left == 0 => DecodeState::ChunkEnd,
                    DecodeState::Chunk { .. } => DecodeState::Chunk { left },
                    _ => DecodeState::Sized { left },
                };
                Ok((count, None))
            }
            DecodeState::ChunkSize => {
                let Some(end) = line_end() else { return Ok((0, None)) };
                let size = std::str::from_utf8(&rest[..end]).map_err(|error| error.to_string())?;
                let left = usize::from_str_radix(size, 16).map_err(|error| error.to_string())?;
                self.state = if left == 0 { DecodeState::Trailer } else { DecodeState::Chunk { left } };
                Ok((end + 2, None))
            }
            DecodeState::ChunkEnd | DecodeState::Trailer if rest.len() < 2 => Ok((0, None)),
            DecodeState::ChunkEnd | DecodeState::Trailer => {
                if !rest.starts_with(b"\r\n") {
                    return Err("a chunk does not end".to_owned());
                }
                if self.state == DecodeState::Trailer {
                    return Ok((2, Some(self.end_body()?)));
                }
                self.state = DecodeState::ChunkSize;
                Ok((2, None))
            }
        }
    }

    fn read_head(&mut self, head: &str) -> Result<Option<ServerMessage>, String> {
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        self.status = status.ok_or_else(|| format!("no status: {head}"))?;
        let field = |name: &str| {
            let mut lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
            lines.find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        match self.status {
            100 => return Ok(Some(ServerMessage::Continue)),
            101 if self.awaits_handshake && field("Sec-WebSocket-Accept") == Some(ACCEPTED) => {
                self.awaits_handshake = false;
                return Ok(None);
            }
            101 => return Err("another protocol".to_owned()),
            _ if self.awaits_handshake => return Err(format!("no handshake: {head}")),
            _ => {}
        }
        self.is_finished = field("Connection").is_some_and(|value| value.starts_with("close"));
        self.state = match (field("Content-Length"), field("Transfer-Encoding")) {
            (Some(length), None) => {
                DecodeState::Sized { left: length.parse().map_err(|_| format!("no length: {length}"))? }
            }
            (None, Some("chunked")) => DecodeState::ChunkSize,
            _ => return Err(format!("a body without a length: {head}")),
        };
        Ok(None)
    }

    fn end_body(&mut self) -> Result<ServerMessage, String> {
        self.state = DecodeState::Boundary;
        let mut body = std::mem::take(&mut self.body);
        if body.pop() != Some(b'\n') {
            return Err("a body without a newline at its end".to_owned());
        }
        Ok(ServerMessage::Response(body, Some(self.status)))
    }

    fn decode_frame(&mut self, at: usize) -> Result<(usize, Option<ServerMessage>), String> {
        let rest = &self.input[at..];
        if self.is_finished && !rest.is_empty() {
            return Err("something follows the close frame".to_owned());
        }
        let Some(&[first, second]) = rest.first_chunk::<2>() else { return Ok((0, None)) };
        let wide = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if first & 0x70 != 0 || second & 0x80 != 0 || rest.len() < 2 + wide {
            let is_wrong = first & 0x70 != 0 || second & 0x80 != 0;
            return if is_wrong { Err("a frame with a wrong header".to_owned()) } else { Ok((0, None)) };
        }
        let length = rest[2..2 + wide].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let length = if wide == 0 { usize::from(second) } else { length };
        let Some(payload) = rest.get(2 + wide..2 + wide + length) else { return Ok((0, None)) };
        let payload = payload.to_vec();
        let message = self.take_frame(first & 0x80 != 0, first & 0x0f, payload)?;
        Ok((2 + wide + length, message))
    }

    fn take_frame(
        &mut self,
        is_final: bool,
        opcode: u8,
        payload: Vec<u8>,
    ) -> Result<Option<ServerMessage>, String> {
        match (opcode, self.is_in_message) {
            (TEXT, false) | (CONTINUATION, true) => {
                self.body.extend(payload);
                self.is_in_message = !is_final;
                Ok(is_final.then(|| ServerMessage::Response(std::mem::take(&mut self.body), None)))
            }
            (TEXT, true) => Err("a message in the middle of another".to_owned()),
            (PONG, _) if self.pings.pop_front().as_ref() == Some(&payload) => Ok(None),
            (PONG, _) => Err("a pong that is not due".to_owned()),
            (CLOSE, _) => {
                self.is_finished = true;
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                let is_right = match self.responses_are_optional {
                    true => code == self.close_code || matches!(code, Some(GOING_AWAY | POLICY)),
                    false => matches!(code, Some(GOING_AWAY | POLICY)),
                };
                if is_right { Ok(None) } else { Err(format!("closed with the code {code:?}")) }
            }
            _ => Err(format!("a frame with the opcode {opcode}")),
        }
    }
}

/// A client's frame.
pub(super) fn frame(is_final: bool, opcode: u8, payload: &[u8], random: &mut Random, bytes: &mut Vec<u8>) {
    let mask = (random.number() as u32).to_be_bytes();
    bytes.push(u8::from(is_final) << 7 | opcode);
    match payload.len() {
        few @ 0..126 => bytes.push(0x80 | few as u8),
        some @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((some as u16).to_be_bytes());
        }
        many => {
            bytes.push(0x80 | 127);
            bytes.extend((many as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// RFC 6455, 1.2 and 1.3: the handshake and its answer in the example.
const HANDSHAKE: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ACCEPTED: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

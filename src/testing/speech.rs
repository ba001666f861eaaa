//! How a fake client says what it asks and cuts replies out of what comes: the framings from their other end.
//!
//! Strict: what no client would have to understand is an error. Knows nothing of what is asked.

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

/// One end of a conversation.
pub(super) struct Speech {
    pub(super) framing: Framing,
    /// What has come and is not cut yet.
    heard: Vec<u8>,
    /// Bytes of it in which no reply of metrics text ends.
    searched: usize,
    place: Place,
    /// What of HTTP's answer, or of a message of WebSocket in several frames, has come.
    body: Vec<u8>,
    status: u16,
    /// In a message of WebSocket that is not whole.
    pub(super) is_inside: bool,
    /// The answer to the handshake has to come.
    pub(super) awaits_switch: bool,
    /// Payloads of the pings that are not answered.
    pings: VecDeque<Vec<u8>>,
    /// The server has said that nothing follows.
    pub(super) is_over: bool,
    /// What a close frame may say.
    pub(super) close_code: Option<u16>,
    /// Nothing more needs to come, though it may.
    pub(super) is_forgiven: bool,
}

/// Something that the server has said.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// A reply, without what ends it; with its status where the framing has one.
    Reply(Vec<u8>, Option<u16>),
    /// The body may be sent.
    Continue,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Before a line, a head or a frame.
    Between,
    Sized {
        left: usize,
    },
    ChunkSize,
    Chunk {
        left: usize,
    },
    ChunkEnd,
    /// Behind the last chunk.
    Trailer,
}

/// How a request is made in HTTP.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    pub(super) bearer: Option<String>,
    pub(super) is_chunked: bool,
    /// The client asks before it sends the body.
    pub(super) asks_first: bool,
    pub(super) is_last: bool,
}

impl Speech {
    pub(super) fn new(framing: Framing) -> Speech {
        Speech {
            framing,
            heard: Vec::new(),
            searched: 0,
            place: Place::Between,
            body: Vec::new(),
            status: 0,
            is_inside: false,
            awaits_switch: framing == Framing::WebSocket,
            pings: VecDeque::new(),
            is_over: false,
            close_code: None,
            is_forgiven: false,
        }
    }

    // ── What is said ──

    /// What a conversation begins with.
    pub(super) fn greeting(&self) -> &'static [u8] {
        match self.framing {
            Framing::RawJson | Framing::Text | Framing::Http => b"",
            Framing::WebSocket => HANDSHAKE,
        }
    }

    /// A message, in frames.
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

    /// The client's close frame: nothing more needs to come.
    pub(super) fn close(&mut self, code: Option<u16>, random: &mut Random) -> Vec<u8> {
        self.is_forgiven = true;
        self.close_code = code;
        let mut bytes = Vec::new();
        let payload = code.map(u16::to_be_bytes);
        frame(true, CLOSE, payload.as_ref().map_or(&[], |code| code), random, &mut bytes);
        bytes
    }

    /// A request of HTTP: its head, and its body.
    pub(super) fn request(text: &str, manner: &Manner, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
        let path = random.pick(&["/", "/api", "/x?y=z", "http://127.0.0.1:8888/"]);
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: localhost:8888\r\n");
        if let Some(token) = &manner.bearer {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if manner.is_last {
            head += "Connection: close\r\n";
        }
        if manner.asks_first {
            head += "Expect: 100-continue\r\n";
        }
        if !manner.is_chunked {
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

    /// Takes what has come; what it says.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, String> {
        self.heard.extend_from_slice(bytes);
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let (used, heard) = match (self.framing, self.awaits_switch) {
                (Framing::RawJson, _) => self.hear_line(at),
                (Framing::Text, _) => self.hear_lines(at),
                (Framing::Http, _) | (_, true) => self.hear_http(at)?,
                (Framing::WebSocket, false) => self.hear_frame(at)?,
            };
            if used == 0 && heard.is_none() {
                break;
            }
            at += used;
            found.extend(heard);
        }
        self.heard.drain(..at);
        self.searched = self.searched.saturating_sub(at);
        Ok(found)
    }

    /// Whether nothing has begun and not ended.
    pub(super) fn is_between(&self) -> bool {
        let is_open = self.is_inside && !self.is_forgiven && !self.is_over;
        self.heard.is_empty() && self.place == Place::Between && !is_open
    }

    /// Whether nothing is due beside replies.
    pub(super) fn is_owed_nothing(&self) -> bool {
        self.is_forgiven || !self.awaits_switch && self.pings.is_empty()
    }

    fn hear_line(&self, at: usize) -> (usize, Option<Heard>) {
        let rest = &self.heard[at..];
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, Some(Heard::Reply(rest[..end].to_vec(), None))),
            None => (0, None),
        }
    }

    /// A reply of metrics text ends with an empty line.
    fn hear_lines(&mut self, at: usize) -> (usize, Option<Heard>) {
        let from = self.searched.max(at);
        match self.heard[from..].windows(2).position(|pair| pair == b"\n\n") {
            Some(end) => {
                let end = from + end;
                self.searched = end + 2;
                (end + 2 - at, Some(Heard::Reply(self.heard[at..end].to_vec(), None)))
            }
            None => {
                self.searched = self.heard.len().saturating_sub(1).max(at);
                (0, None)
            }
        }
    }

    fn hear_http(&mut self, at: usize) -> Result<(usize, Option<Heard>), String> {
        let rest = &self.heard[at..];
        if self.is_over && self.place == Place::Between && !rest.is_empty() {
            return Err("something follows the last answer".to_owned());
        }
        let line_end = || rest.windows(2).position(|pair| pair == b"\r\n");
        match self.place {
            Place::Between => match rest.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => {
                    let head = String::from_utf8_lossy(&rest[..end]).into_owned();
                    Ok((end + 4, self.read_head(&head)?))
                }
                None => Ok((0, None)),
            },
            Place::Sized { left: 0 } => Ok((0, Some(self.end_answer()?))),
            Place::Sized { left } | Place::Chunk { left } => {
                let count = left.min(rest.len());
                self.body.extend_from_slice(&self.heard[at..at + count]);
                let left = left - count;
                self.place = match self.place {
                    Place::Chunk { .. } if left == 0 => Place::ChunkEnd,
                    Place::Chunk { .. } => Place::Chunk { left },
                    _ => Place::Sized { left },
                };
                Ok((count, None))
            }
            Place::ChunkSize => {
                let Some(end) = line_end() else { return Ok((0, None)) };
                let size = std::str::from_utf8(&rest[..end]).map_err(|error| error.to_string())?;
                let left = usize::from_str_radix(size, 16).map_err(|error| error.to_string())?;
                self.place = if left == 0 { Place::Trailer } else { Place::Chunk { left } };
                Ok((end + 2, None))
            }
            Place::ChunkEnd | Place::Trailer if rest.len() < 2 => Ok((0, None)),
            Place::ChunkEnd | Place::Trailer => {
                if !rest.starts_with(b"\r\n") {
                    return Err("a chunk does not end".to_owned());
                }
                if self.place == Place::Trailer {
                    return Ok((2, Some(self.end_answer()?)));
                }
                self.place = Place::ChunkSize;
                Ok((2, None))
            }
        }
    }

    fn read_head(&mut self, head: &str) -> Result<Option<Heard>, String> {
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        self.status = status.ok_or_else(|| format!("no status: {head}"))?;
        let field = |name: &str| {
            let mut lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
            lines.find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        match self.status {
            100 => return Ok(Some(Heard::Continue)),
            101 if self.awaits_switch && field("Sec-WebSocket-Accept") == Some(ACCEPTED) => {
                self.awaits_switch = false;
                return Ok(None);
            }
            101 => return Err("another protocol".to_owned()),
            _ if self.awaits_switch => return Err(format!("no handshake: {head}")),
            _ => {}
        }
        self.is_over = field("Connection").is_some_and(|value| value.starts_with("close"));
        self.place = match (field("Content-Length"), field("Transfer-Encoding")) {
            (Some(length), None) => {
                Place::Sized { left: length.parse().map_err(|_| format!("no length: {length}"))? }
            }
            (None, Some("chunked")) => Place::ChunkSize,
            _ => return Err(format!("a body without a length: {head}")),
        };
        Ok(None)
    }

    fn end_answer(&mut self) -> Result<Heard, String> {
        self.place = Place::Between;
        let mut body = std::mem::take(&mut self.body);
        if body.pop() != Some(b'\n') {
            return Err("a body without a newline at its end".to_owned());
        }
        Ok(Heard::Reply(body, Some(self.status)))
    }

    fn hear_frame(&mut self, at: usize) -> Result<(usize, Option<Heard>), String> {
        let rest = &self.heard[at..];
        if self.is_over && !rest.is_empty() {
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
        let heard = self.take_frame(first & 0x80 != 0, first & 0x0f, payload)?;
        Ok((2 + wide + length, heard))
    }

    fn take_frame(&mut self, is_final: bool, opcode: u8, payload: Vec<u8>) -> Result<Option<Heard>, String> {
        match (opcode, self.is_inside) {
            (TEXT, false) | (CONTINUATION, true) => {
                self.body.extend(payload);
                self.is_inside = !is_final;
                Ok(is_final.then(|| Heard::Reply(std::mem::take(&mut self.body), None)))
            }
            (TEXT, true) => Err("a message in the middle of another".to_owned()),
            (PONG, _) if self.pings.pop_front().as_ref() == Some(&payload) => Ok(None),
            (PONG, _) => Err("a pong that is not due".to_owned()),
            (CLOSE, _) => {
                self.is_over = true;
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                let is_right = match self.is_forgiven {
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

/// RFC 6455, 1.2 and 1.3: the handshake and its answer as they stand there.
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

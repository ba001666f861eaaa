//! What fake clients send and receive: requests in the varied forms that clients may use, and the server's messages
//! with what a client knows of its connection: the handshake, the pongs and the close code that are due.

use std::collections::VecDeque;

use super::codec::{self, BodyLength, Decoder, HttpResponse, Message};
use super::framing::Framing;
use super::random::Random;
#[cfg(feature = "sealed")]
use super::sealed_client::{SealedClient, SealedMessage};

/// The encoder and decoder of one connection.
pub(super) struct ClientCodec {
    pub(super) framing: Framing,
    decoder: Decoder,
    /// The response to the handshake is pending.
    pub(super) awaits_handshake: bool,
    /// Payloads of unanswered pings.
    pings: VecDeque<Vec<u8>>,
    /// The code expected in the server's close frame.
    close_code: Option<u16>,
    /// Further responses are allowed but not required.
    pub(super) responses_are_optional: bool,
    #[cfg(feature = "sealed")]
    pub(super) sealed: Option<Box<SealedClient>>,
}

/// A decoded message of the server.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum ServerMessage {
    /// A response without its terminator, with its status where the framing has one.
    Response(String, Option<u16>),
    /// `100 Continue`: the body may be sent.
    Continue,
    /// The server has refused a step of a sealed client.
    #[cfg(feature = "sealed")]
    Refusal { has_broken_rule: bool },
}

/// How an HTTP request is encoded.
#[derive(Clone, Debug, Default)]
pub(super) struct HttpStyle {
    /// Any other than that of a verb if `None`.
    pub(super) path: Option<&'static str>,
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
            decoder: Decoder::default(),
            awaits_handshake: framing == Framing::WebSocket,
            pings: VecDeque::new(),
            close_code: None,
            responses_are_optional: false,
            #[cfg(feature = "sealed")]
            sealed: None,
        }
    }

    // ── Output ──

    /// The opening bytes of a connection.
    pub(super) fn handshake(&self) -> &'static [u8] {
        match self.framing {
            Framing::RawJson | Framing::Text | Framing::Http => b"",
            Framing::WebSocket => codec::HANDSHAKE.as_bytes(),
            #[cfg(feature = "sealed")]
            Framing::Sealed => b"",
        }
    }

    /// Encodes a message as frames.
    pub(super) fn frames(&mut self, text: &[u8], random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        let mut opcode = codec::TEXT;
        loop {
            if random.chance(10) {
                let payload: Vec<u8> = (0..random.between(0, 20)).map(|_| random.number() as u8).collect();
                frame(true, codec::PING, &payload, random, &mut bytes);
                self.pings.push_back(payload);
            }
            let count = if random.chance(70) { rest.len() } else { random.between(0, rest.len()) };
            let is_final = count == rest.len();
            frame(is_final, opcode, &rest[..count], random, &mut bytes);
            if is_final {
                return bytes;
            }
            (rest, opcode) = (&rest[count..], codec::CONTINUATION);
        }
    }

    /// Encodes the client's close frame; further responses become optional.
    pub(super) fn close(&mut self, code: Option<u16>, random: &mut Random) -> Vec<u8> {
        self.responses_are_optional = true;
        self.close_code = code;
        let mut bytes = Vec::new();
        let payload = code.map(u16::to_be_bytes);
        frame(true, codec::CLOSE, payload.as_ref().map_or(&[], |code| code), random, &mut bytes);
        bytes
    }

    /// Encodes an HTTP request: its head, and its body.
    pub(super) fn request(text: &str, http_style: &HttpStyle, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
        let any = random.pick(&["/", "/api", "/x?y=z", "http://127.0.0.1:8888/"]);
        let path = http_style.path.unwrap_or(any);
        let authorization = http_style.bearer_token.as_ref().map(|token| format!("Bearer {token}"));
        let length = text.len().to_string();
        let mut fields = vec![("Host", "localhost:8888")];
        fields.extend(authorization.as_deref().map(|authorization| ("Authorization", authorization)));
        fields.extend(http_style.is_last.then_some(("Connection", "close")));
        fields.extend(http_style.expects_continue.then_some(("Expect", "100-continue")));
        match http_style.is_chunked {
            true => fields.push(("Transfer-Encoding", "chunked")),
            // Only the path of a verb needs no body.
            false if text.is_empty() && http_style.path.is_some() && random.chance(50) => {}
            false => fields.push(("Content-Length", &length)),
        }
        let head = codec::request_head("POST", path, &fields).into_bytes();
        if !http_style.is_chunked {
            return (head, text.as_bytes().to_vec());
        }
        let (mut body, mut rest) = (Vec::new(), text.as_bytes());
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(random.between(1, rest.len()));
            codec::write_chunk(chunk, random.pick(&["", "", ";a", " ; a=\"b\""]), &mut body);
            rest = others;
        }
        body.extend(random.pick(&[codec::LAST_CHUNK, "0\r\nA: b\r\n\r\n"]).bytes());
        (head, body)
    }

    /// Encodes an HTTP request without a body.
    pub(super) fn get(http_style: &HttpStyle) -> Vec<u8> {
        let authorization = http_style.bearer_token.as_ref().map(|token| format!("Bearer {token}"));
        let mut fields = vec![("Host", "[::1]")];
        fields.extend(authorization.as_deref().map(|authorization| ("Authorization", authorization)));
        fields.extend(http_style.is_last.then_some(("Connection", "close")));
        codec::request_head("GET", http_style.path.unwrap_or("/"), &fields).into_bytes()
    }

    // ── Input ──

    /// Adds input; returns the messages it completes.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<Vec<ServerMessage>, String> {
        #[cfg(feature = "sealed")]
        if let Some(sealed) = &mut self.sealed {
            let messages = sealed.receive(bytes)?.into_iter();
            let message = |message| match message {
                SealedMessage::Answer(text) => ServerMessage::Response(text, None),
                SealedMessage::Refusal { has_broken_rule } => ServerMessage::Refusal { has_broken_rule },
            };
            return Ok(messages.map(message).collect());
        }
        self.decoder.push(bytes);
        let mut found = Vec::new();
        while let Some(message) = self.next()? {
            found.push(message);
        }
        match self.decoder.pending_body() {
            Some(BodyLength::UntilClose) => Err("a body without a length".to_owned()),
            _ => Ok(found),
        }
    }

    /// Whether no message is partly received, or only one that a close frame may leave unfinished.
    pub(super) fn is_at_boundary(&self) -> bool {
        #[cfg(feature = "sealed")]
        if let Some(sealed) = &self.sealed {
            return sealed.is_at_boundary();
        }
        let may_be_unfinished = self.responses_are_optional || self.is_finished();
        self.decoder.is_between_replies()
            || may_be_unfinished && self.is_in_message() && self.decoder.rest().is_empty()
    }

    /// Whether a fragmented message of WebSocket is partly received.
    pub(super) fn is_in_message(&self) -> bool {
        self.decoder.is_in_message()
    }

    /// Whether the server has announced its last response.
    pub(super) fn is_finished(&self) -> bool {
        #[cfg(feature = "sealed")]
        if let Some(sealed) = &self.sealed {
            return sealed.is_finished();
        }
        self.decoder.is_finished()
    }

    /// Whether neither a handshake nor a pong is pending.
    pub(super) fn has_nothing_pending(&self) -> bool {
        #[cfg(feature = "sealed")]
        if let Some(sealed) = &self.sealed {
            return sealed.has_nothing_pending();
        }
        self.responses_are_optional || !self.awaits_handshake && self.pings.is_empty()
    }

    fn next(&mut self) -> Result<Option<ServerMessage>, String> {
        let response = match self.framing {
            Framing::RawJson => self.decoder.line()?,
            Framing::Text => self.decoder.text_reply()?,
            Framing::Http => return self.next_of_http(),
            Framing::WebSocket => return self.next_of_websocket(),
            #[cfg(feature = "sealed")]
            Framing::Sealed => unreachable!("decoded above"),
        };
        Ok(response.map(|text| ServerMessage::Response(text, None)))
    }

    fn next_of_http(&mut self) -> Result<Option<ServerMessage>, String> {
        let Some(HttpResponse { head, body }) = self.decoder.response()? else { return Ok(None) };
        match head.status {
            100 => return Ok(Some(ServerMessage::Continue)),
            101 => return Err("another protocol".to_owned()),
            _ => {}
        }
        let mut text = String::from_utf8(body).map_err(|error| error.to_string())?;
        match text.pop() {
            Some('\n') => Ok(Some(ServerMessage::Response(text, Some(head.status)))),
            _ => Err("a body without a newline at its end".to_owned()),
        }
    }

    fn next_of_websocket(&mut self) -> Result<Option<ServerMessage>, String> {
        if self.awaits_handshake {
            let Some(head) = self.decoder.head()? else { return Ok(None) };
            if !head.accepts_handshake() {
                return Err(format!("no handshake: {}", head.text));
            }
            self.awaits_handshake = false;
        }
        while let Some(message) = self.decoder.message()? {
            match message {
                Message::Text(text) => return Ok(Some(ServerMessage::Response(text, None))),
                Message::Pong(payload) if self.pings.pop_front().as_ref() == Some(&payload) => {}
                Message::Pong(_) => return Err("an unexpected pong".to_owned()),
                Message::Close(reason) => self.check_close_code(reason.map(|(code, _)| code))?,
            }
        }
        Ok(None)
    }

    fn check_close_code(&self, code: Option<u16>) -> Result<(), String> {
        let is_reply = self.responses_are_optional && code == self.close_code;
        match is_reply || matches!(code, Some(GOING_AWAY | POLICY)) {
            true => Ok(()),
            false => Err(format!("closed with the code {code:?}")),
        }
    }
}

/// Appends a client's frame, masked with a random key.
pub(super) fn frame(is_final: bool, opcode: u8, payload: &[u8], random: &mut Random, bytes: &mut Vec<u8>) {
    codec::write_frame(is_final, opcode, payload, (random.number() as u32).to_be_bytes(), bytes);
}

const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

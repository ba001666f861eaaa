//! Decodes all that a server has sent with the client's codec: strictly, so that nothing else passes.

use crate::codec::{BodyLength, Decoded, Decoder, Malformed, Message};

/// What a WebSocket server has sent.
#[derive(Debug, Default)]
pub struct Messages {
    pub texts: Vec<String>,
    pub is_closed: bool,
}

/// Bodies, and the bytes after a change of the protocol.
pub type Responses = (Vec<Vec<u8>>, Option<Vec<u8>>);

/// The replies of a whole stream of raw JSON or metrics text; the last one may be cut short if `may_be_cut`.
pub fn lines(
    stream: &[u8],
    next: fn(&mut Decoder) -> Decoded<String>,
    may_be_cut: bool,
) -> Result<Vec<String>, Malformed> {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    decoder.push(stream);
    while let Some(reply) = next(&mut decoder)? {
        found.push(reply);
    }
    match may_be_cut || decoder.is_between_replies() {
        true => Ok(found),
        false => Err(Malformed("a reply has no end")),
    }
}

/// The bodies of the final responses of a whole stream, and what follows one that changes the protocol.
/// `has_head_requests`: a response may come without its body.
pub fn responses(stream: &[u8], has_head_requests: bool) -> Result<Responses, Malformed> {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    decoder.push(stream);
    decoder.end_input();
    while let Some(head) = decoder.head()? {
        match head.status {
            100 => continue,
            101 => return Ok((found, Some(decoder.take_rest()))),
            _ => {}
        }
        let is_end = decoder.rest().is_empty() || decoder.rest().starts_with(b"HTTP/1.1 ");
        if has_head_requests
            && is_end
            && matches!(head.body_length()?, BodyLength::Sized(_) | BodyLength::Chunked)
        {
            found.push(Vec::new());
            continue;
        }
        let response = decoder.response_of(head)?.ok_or(Malformed("a body is cut short"))?;
        found.push(response.body);
    }
    match decoder.is_between_replies() {
        true => Ok((found, None)),
        false => Err(Malformed("a head is cut short")),
    }
}

/// The messages of a whole stream of frames.
pub fn messages(stream: &[u8]) -> Result<Messages, Malformed> {
    let (mut decoder, mut found) = (Decoder::default(), Messages::default());
    decoder.push(stream);
    while let Some(message) = decoder.message()? {
        match message {
            Message::Text(text) => found.texts.push(text),
            Message::Pong(_) => {}
            Message::Close(_) => found.is_closed = true,
        }
    }
    match decoder.is_between_replies() {
        true => Ok(found),
        false => Err(Malformed("a message is cut short")),
    }
}

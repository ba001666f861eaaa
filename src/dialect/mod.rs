//! Messages to requests, and answers to replies. No framing, no socket.
//!
//! [`decode_json`] reads the envelope, which the JSON dialects have in common, and passes it to the dialect of the
//! request; [`decode_front`] does so before the message is cut; [`text`] is read a line at a time. A dialect
//! does not depend on the others.

mod action;
mod command;
mod conversion;
mod envelope;
mod fields;
mod json;
mod json_writer;
mod number;
mod page_progress;
mod ping;
mod put;
pub mod text;
mod verb;
#[cfg(feature = "page")]
mod web;

pub use command::watch::{points_put, vm_changed, vm_offline, vm_online, vm_removed};
pub use conversion::convert;
use envelope::Envelope;
pub use page_progress::PageProgress;
pub use ping::ping_length;
pub use put::read_plain_puts;
#[cfg(feature = "page")]
pub use web::decode as decode_web;

use crate::model::{
    Answer, Change, CustomCommands, Dialect, Failure, Page, Refusal, Request, RequestId, Revision, Verb,
    VerbPath, WatchFilter,
};

/// Parses one JSON message in any dialect. An array is rejected. `customs`: the commands that the embedding program adds.
pub fn decode_json(text: &[u8], customs: &CustomCommands) -> Result<Box<Request>, Refusal> {
    let mut envelope = Envelope::new();
    envelope.read(text)?;
    decode(&mut envelope, customs)
}

/// Parses the JSON message at the front of `input`, and returns its length. `None` is no verdict: it is incomplete, or has
/// to be cut and passed to [`decode_json`].
pub fn decode_front(
    input: &[u8],
    customs: &CustomCommands,
) -> Option<(usize, Result<Box<Request>, Refusal>)> {
    // Between messages there is no input.
    if !input.starts_with(b"{") {
        return None;
    }
    let mut envelope = Envelope::new();
    let length = envelope.read_front(input)?;
    Some((length, envelope.check().and_then(|()| decode(&mut envelope, customs))))
}

/// As [`decode_json`], but with the full reader only, with which the quick one has to agree.
#[cfg(any(test, feature = "internals"))]
pub fn decode_in_full(text: &[u8], customs: &CustomCommands) -> Result<Box<Request>, Refusal> {
    let mut envelope = Envelope::new();
    envelope.read_full(text)?;
    decode(&mut envelope, customs)
}

fn decode(envelope: &mut Envelope<'_>, customs: &CustomCommands) -> Result<Box<Request>, Refusal> {
    let decoded = match envelope.dialect_key()? {
        "command" => command::decode(envelope, customs),
        "action" => action::decode(envelope),
        "verb" => verb::decode(envelope, customs),
        // A request id alone.
        _ => conversion::decode(envelope),
    };
    decoded.map(Box::new)
}

/// Parses a message that came for `path`, if that names a verb, or in any dialect.
pub fn decode_message(
    text: &[u8],
    path: Option<VerbPath>,
    customs: &CustomCommands,
) -> Result<Box<Request>, Refusal> {
    match path {
        Some(VerbPath::Of(verb)) => decode_body(Some(verb), text, customs),
        Some(VerbPath::Below) => decode_body(None, text, customs),
        None => decode_json(text, customs),
    }
}

/// Parses a message in any dialect. Without a dialect it is the parameters of `verb`, nothing for none; it is malformed
/// if there is no verb.
fn decode_body(verb: Option<Verb>, text: &[u8], customs: &CustomCommands) -> Result<Box<Request>, Refusal> {
    let text = if text.is_empty() { b"{}" } else { text };
    let mut envelope = Envelope::new();
    match envelope.read(text) {
        Ok(()) if envelope.names_dialect() => decode(&mut envelope, customs),
        Err(refusal) if envelope.names_dialect() => Err(refusal),
        result => match (result, verb) {
            (Ok(()), Some(_)) => {
                let parameters = envelope.text;
                Ok(Box::new(verb::decode_parameters(verb, &mut envelope, parameters)))
            }
            _ => Err(verb::malformed(&envelope)),
        },
    }
}

/// Writes the paths of the verbs, as programs get them over HTTP, with the newline.
pub fn encode_links(customs: &CustomCommands, output: &mut Vec<u8>) {
    verb::encode_links(customs, output);
}

/// Writes the reply to any request of a client whose address is refused, with the newline.
pub fn encode_refusal(output: &mut Vec<u8>) {
    verb::encode_refusal(output);
}

/// Writes a complete reply without framing. JSON is one compact line without the newline.
pub fn encode_answer(dialect: Dialect, id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    match dialect {
        // An error has the schema of `command`.
        Dialect::Command | Dialect::Web => command::encode_answer(id, answer, output),
        Dialect::Action => action::encode_answer(id, answer, output),
        Dialect::Verb => verb::encode_answer(id, answer, output),
        Dialect::Conversion => conversion::encode_answer(id, answer, output),
        Dialect::Text => text::encode_answer(answer, 1, output),
    }
}

/// Writes the `count` replies to requests that came together, a line each; only a put has more than one.
pub fn encode_lines(
    dialect: Dialect,
    id: Option<&RequestId>,
    answer: &Answer,
    count: usize,
    output: &mut Vec<u8>,
) {
    if let Answer::Put { refused } = answer
        && !refused.is_empty()
    {
        for index in 0..count {
            let answer = match refused.binary_search(&index) {
                Ok(_) => Answer::Failed(Failure::KeyLimitReached(None)),
                Err(_) => Answer::Put { refused: Vec::new() },
            };
            encode_lines(dialect, id, &answer, 1, output);
        }
        return;
    }
    let first = output.len();
    encode_answer(dialect, id, answer, output);
    output.push(b'\n');
    let others = output.len();
    (1..count).for_each(|_| output.extend_from_within(first..others));
}

/// Writes one page of a reply: the head with the first page, the tail with the last.
pub fn encode_page(
    dialect: Dialect,
    id: Option<&RequestId>,
    page: &Page,
    progress: &mut PageProgress,
    output: &mut Vec<u8>,
) {
    match dialect {
        Dialect::Command => command::encode_page(id, page, progress, output),
        #[cfg(feature = "page")]
        Dialect::Web => web::encode_page(page, progress, output),
        #[cfg(not(feature = "page"))]
        Dialect::Web => debug_assert!(false, "there is no page"),
        Dialect::Action => action::encode_page(id, page, progress, output),
        Dialect::Verb => debug_assert!(false, "a verb is answered whole"),
        Dialect::Conversion => debug_assert!(false, "a conversion is answered whole"),
        Dialect::Text => text::encode_page(page, progress, output),
    }
}

/// Writes the message of a change to a client that wants it, in the dialect `command`.
pub fn encode_change(
    id: Option<&RequestId>,
    revision: Revision,
    change: &Change,
    filter: &WatchFilter,
    output: &mut Vec<u8>,
) {
    command::watch::write_change(id, revision, change, filter, output);
}

//! The sealed framing: what it does must not depend on the chunks in which a stream arrives, and its output is nothing but
//! what the steps allow.

use vmherd::internals::buffer::Buffer;
use vmherd::internals::crypto::{BLOCK_BYTES, Exchanged, MessageKeys};
use vmherd::internals::framing::sealed::{Sealed, SealedEvent, SealedRules};

use crate::decisions::Decisions;

const CLIENT_KEY: &str = include_str!("../../tests/common/client_key.pem");
const SERVER_KEY: &str = "the server's key\n";
const BLOCK: [u8; 32] = [b'B'; 32];
const ANSWER: &[u8] = br#"{"success":true}"#;

/// Five decisions, of which the first is about what follows: the stream itself, or what a client sends after the exchange
/// of keys, as it is or encrypted as a message of one of the generations.
pub fn sealed(input: &[u8]) {
    let (mut decisions, rest) = Decisions::split_off(input, 5);
    let keys = keys();
    let stream = match decisions.take() % 8 {
        0 => rest.to_vec(),
        1 => [&handshake()[..], rest].concat(),
        of => [&handshake()[..], &message(&keys, rest, of % 2 == 0, of / 2)].concat(),
    };
    let whole = replay(&[&stream]);
    let cut = replay(&decisions.cut(&stream));
    assert_eq!(whole, cut, "whole, and in chunks");
}

fn keys() -> MessageKeys {
    MessageKeys::from_bytes(&std::array::from_fn(|index| index as u8))
}

/// What a client sends until it has its keys.
fn handshake() -> Vec<u8> {
    let length = format!("{:=<8}", CLIENT_KEY.len());
    [length.as_bytes(), CLIENT_KEY.as_bytes(), b"11", &BLOCK, b"1"].concat()
}

/// The message with the text `text`, and the acknowledgement of an answer. `is_padded`: a wrong padding is not tried.
fn message(keys: &MessageKeys, text: &[u8], is_padded: bool, generation: u8) -> Vec<u8> {
    let mut body = text.to_vec();
    if !is_padded {
        body.resize(text.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    let unpadded = body.len();
    keys.key.encrypt(keys.iv, &mut body);
    if !is_padded {
        body.truncate(unpadded);
    }
    if generation != 1 {
        body.extend_from_slice(&keys.next_iv);
    }
    let mut length = format!("{:=<8}", body.len()).into_bytes();
    if generation == 3 {
        length = body.len().to_string().into_bytes();
        keys.key.encrypt(keys.iv, &mut length);
    }
    [length, body, b"1".to_vec()].concat()
}

/// The events and the output.
fn replay(chunks: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let (mut sealed, mut input, mut output) = (Sealed::default(), Buffer::new(), Buffer::new());
    let rules = SealedRules {
        public_key_pem: SERVER_KEY,
        block_bytes: BLOCK.len(),
        first_generation: true,
        request_bytes_max: BYTES_MAX,
    };
    let mut events = Vec::new();
    for chunk in chunks {
        input.push(chunk);
        loop {
            let before = output.len();
            match sealed.next(&mut input, &mut output, rules) {
                SealedEvent::NeedMore => break,
                SealedEvent::Step => {}
                SealedEvent::Exchange(key, block) => {
                    assert_eq!((key.block_bytes(), block.len()), (256, BLOCK.len()));
                    sealed.exchanged(Exchanged { block: BLOCK.into(), keys: Box::new(keys()) }, &mut output);
                    events.push("exchange".into());
                }
                SealedEvent::Request(text) => {
                    assert!(
                        text.len() <= BYTES_MAX
                            && serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok()
                    );
                    sealed.answer(ANSWER.to_vec(), &mut output);
                    assert!(sealed.owes_answer());
                    events.push(text.escape_ascii().to_string());
                }
                SealedEvent::Answered => events.push("answered".into()),
                SealedEvent::Failed => {
                    assert_eq!(&output.as_slice()[before..], b"0");
                    events.push("failed".into());
                }
                SealedEvent::Refused => {
                    assert_eq!(output.len(), before, "a client that has refused gets nothing more");
                    events.push("refused".into());
                }
            }
            assert!(events.len() <= 3, "one exchange, one request, one end");
        }
    }
    (events, output.as_slice().to_vec())
}

/// The most bytes of a request.
const BYTES_MAX: usize = 2048;

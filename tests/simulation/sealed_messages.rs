//! The messages of a sealed client, right ones and wrong ones, and those that it gets.

use std::array;

use super::fake_keys::{self, CLIENT_KEY, OFFERED_BYTES};
use super::random::Random;
use super::sealed_script::{ClientStep, Generation};
use super::verification::{Verification, ensure};
use vmherd::internals::crypto::{BLOCK_BYTES, MessageKeys, without_padding};

/// What the messages of one client need.
pub(super) struct SealedMessages {
    generation: Generation,
    request: String,
    offered: [u8; OFFERED_BYTES],
    /// The vector that its request announces.
    next_iv: [u8; BLOCK_BYTES],
    keys: Option<MessageKeys>,
}

impl SealedMessages {
    /// Those of a client without a request.
    pub(super) fn new(generation: Generation) -> SealedMessages {
        let (offered, next_iv) = ([0; OFFERED_BYTES], [0; BLOCK_BYTES]);
        SealedMessages { generation, request: String::new(), offered, next_iv, keys: None }
    }

    /// Those of a client with this request.
    pub(super) fn draw(generation: Generation, request: String, random: &mut Random) -> SealedMessages {
        let offered = array::from_fn(|_| random.number() as u8);
        let next_iv = array::from_fn(|_| random.number() as u8);
        SealedMessages { generation, request, offered, next_iv, keys: None }
    }

    /// The bytes of a step.
    pub(super) fn bytes_of(&self, step: ClientStep) -> Vec<u8> {
        match step {
            ClientStep::KeyLength => clear_length(CLIENT_KEY.len()),
            ClientStep::Key => CLIENT_KEY.into(),
            ClientStep::Block => fake_keys::block(&self.offered, fake_keys::BLOCKS[0]),
            ClientStep::RequestLength => self.sealed_length(&self.body().len().to_string()),
            ClientStep::Request => self.body(),
            _ => b"1".to_vec(),
        }
    }

    /// The step with an error.
    pub(super) fn broken(&self, step: ClientStep, mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
        let vector_bytes = self.vector_bytes();
        match step {
            ClientStep::KeyLength => random
                .pick(&[b"0=======", b"GET / HT", b"-800====", b"2049====", b"abc=====", b"        "])
                .into(),
            ClientStep::Key if random.chance(50) => vec![b'x'; bytes.len()],
            ClientStep::Key => CLIENT_KEY.replace("MIIB", "AAAA").into(),
            ClientStep::Block => match random.between(0, 2) {
                0 => fake_keys::block(&self.offered[1..], bytes.len()),
                1 => fake_keys::block(&[1; OFFERED_BYTES + 1], bytes.len()),
                _ => {
                    bytes[0] ^= 1;
                    bytes
                }
            },
            ClientStep::RequestLength => {
                let length = random.pick(&["0", "40", "65552", "-1", "abc", "1=1"]);
                match (self.generation, random.chance(30)) {
                    (Generation::Third, true) => {
                        bytes[random.between(0, BLOCK_BYTES - 1)] ^= 1;
                        bytes
                    }
                    _ => self.sealed_length(length),
                }
            }
            _ if random.chance(30) => self.sealed("no JSON", self.body().len()),
            _ => {
                // A block of the text, not the vector after it.
                let end = bytes.len() - vector_bytes;
                bytes[end - random.between(1, BLOCK_BYTES)] ^= 1 << random.between(0, 7);
                bytes
            }
        }
    }

    fn vector_bytes(&self) -> usize {
        if self.generation == Generation::First { 0 } else { BLOCK_BYTES }
    }

    fn body(&self) -> Vec<u8> {
        self.sealed(&self.request, 0)
    }

    /// A message with `text`, filled up to `bytes`.
    fn sealed(&self, text: &str, bytes: usize) -> Vec<u8> {
        let keys = self.keys();
        let vector = &self.next_iv[..self.vector_bytes()];
        let filling = bytes.saturating_sub(text.len() + 1 + vector.len());
        let mut text = [text.as_bytes(), " ".repeat(filling).as_bytes()].concat();
        keys.key.encrypt(keys.iv, &mut text);
        text.extend(vector);
        text
    }

    fn sealed_length(&self, length: &str) -> Vec<u8> {
        if self.generation != Generation::Third {
            return format!("{length:=<8}").into();
        }
        let (keys, mut block) = (self.keys(), length.as_bytes().to_vec());
        keys.key.encrypt(keys.iv, &mut block);
        block
    }

    fn keys(&self) -> &MessageKeys {
        self.keys.as_ref().expect("they are exchanged before")
    }

    /// Takes the keys of the connection from the server's block. That for what was replayed is another client's.
    pub(super) fn take_keys(&mut self, block: &[u8], is_replay: bool) -> Verification {
        let text = fake_keys::text_of(block).ok_or("a block that can't be read")?;
        let (keys, offered) = text.split_at_checked(OFFERED_BYTES).ok_or("a block that is too short")?;
        if is_replay {
            return Ok(());
        }
        ensure(offered == self.offered, "the block of another client")?;
        let mut bytes = [0; OFFERED_BYTES + BLOCK_BYTES];
        bytes[..OFFERED_BYTES].copy_from_slice(keys);
        self.keys = Some(MessageKeys::from_bytes(&bytes));
        Ok(())
    }

    /// The vector of the answer.
    fn answer_iv(&self) -> [u8; BLOCK_BYTES] {
        if self.generation == Generation::First { self.keys().iv } else { self.next_iv }
    }

    /// The length of the answer.
    pub(super) fn read_length(&self, piece: &[u8]) -> Option<usize> {
        let length = match self.generation {
            Generation::Third => self.decrypted(piece)?,
            _ => String::from_utf8(piece.to_vec()).ok()?.trim_end_matches('=').to_owned(),
        };
        length.parse().ok().filter(|length| length % BLOCK_BYTES == 0)
    }

    /// The text of the answer.
    pub(super) fn open(&self, piece: &[u8]) -> Option<String> {
        self.decrypted(&piece[..piece.len().checked_sub(self.vector_bytes())?])
    }

    fn decrypted(&self, piece: &[u8]) -> Option<String> {
        let mut text = piece.to_vec();
        self.keys().key.decrypt(self.answer_iv(), &mut text);
        let (length, is_valid) = without_padding(&text);
        text.truncate(length);
        String::from_utf8(text).ok().filter(|_| is_valid)
    }
}

/// A length in clear text.
pub(super) fn clear_length(length: usize) -> Vec<u8> {
    format!("{length:=<8}").into()
}

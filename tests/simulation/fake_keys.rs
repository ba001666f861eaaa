//! Stands in for RSA: a block holds its text in the clear, so that seeds replay.

use std::array;

use super::random::Random;
use vmherd::DecryptError;
use vmherd::internals::crypto::{Exchanged, KeyExchange, MessageKeys};
use vmherd::internals::embed::KeyPair;

/// The key pair of the simulated server.
pub(super) struct FakeKeyPair;

impl KeyPair for FakeKeyPair {
    fn public_key_pem(&self) -> &str {
        SERVER_KEY
    }

    fn decrypt(&self, block: &[u8]) -> Result<Vec<u8>, DecryptError> {
        text_of(block).map(<[u8]>::to_vec).ok_or(DecryptError)
    }
}

/// What a worker does for a client. Its block repeats what it has offered, after the keys, so that it notices the block of
/// another client.
pub(super) fn run_exchange(exchange: &KeyExchange, random: &mut Random) -> Option<Exchanged> {
    let offered = exchange.key_pair.decrypt(&exchange.block).ok()?;
    if offered.len() != OFFERED_BYTES {
        return None;
    }
    let drawn = array::from_fn(|_| random.number() as u8);
    let text = [&drawn[..OFFERED_BYTES], &offered].concat();
    let block = block(&text, exchange.client_key.block_bytes()).into();
    Some(Exchanged { block, keys: Box::new(MessageKeys::from_bytes(&drawn)) })
}

/// A block of `bytes` bytes that holds `text`.
pub(super) fn block(text: &[u8], bytes: usize) -> Vec<u8> {
    let mut block = vec![FILLING; bytes];
    block[0] = text.len() as u8;
    block[1..=text.len()].copy_from_slice(text);
    block
}

/// The text in a block, if it is valid.
pub(super) fn text_of(block: &[u8]) -> Option<&[u8]> {
    let (length, rest) = block.split_first()?;
    let (text, filling) = rest.split_at_checked(usize::from(*length))?;
    filling.iter().all(|byte| *byte == FILLING).then_some(text)
}

const FILLING: u8 = 0x5f;
/// What a client sends in its block: a key and an initialization vector.
pub(super) const OFFERED_BYTES: usize = 48;
/// Bytes of the server's block, and of the client's.
pub(super) const BLOCKS: [usize; 2] = [384, 256];

/// The public key of all fake clients.
pub(super) const CLIENT_KEY: &str = include_str!("../common/client_key.pem");
/// The server's public key: it only has the form of one.
pub(super) const SERVER_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBojANBgkqhkiG9w0BAQEFAAOCAY8AMIIBigKCAYEAvJiwTlHdP1SMa7cbN5bn
AYs63b1b0FAp96DezCY8kOH5KWHLaPIXtH+kWCPFI62Qg9WjtKfS0yAG7bShW7r4
5XqkZTP55khXOfyGYNqwG5p3MlkFnL3NmF6KbJ8Y2gVPznLcF3/HE7Xn8uXjOco1
AWbiNVkzuBGG/0bcs2lywTPhU75lS23gW4eLN6c3c47nKhxjwV6gQZE9KYTiDTZE
lXz12qjx4WENBJ2ffuokAusnCf6ILD+2Q/A77JAoJBzqUQBhQ4TMsFKO1ZfOYBJA
JsnqzmTFPTYw29S7YbqXzK4kmdFgsX1XAFWzIuVIxtG5JBJz8P0hgePRg2/2ySxQ
1SI2+dCt50RWLD1/4yFrOAY3yOwjOX2TH5VN6rlvWEHIV9RQ4KQZpARmyq/HLhOG
6pH3ZfJqGa0H5x6r0vbmKh49AoN6HKvu0p8TNC8WaVlLZKZS6WkMZqvmb+Wautva
C+mO94ygAvPFyTTuDIfHsZ8H5mmR+Hnq2pTP2/tjA6CXAgMBAAE=
-----END PUBLIC KEY-----
";

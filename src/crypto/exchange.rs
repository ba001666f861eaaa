//! The exchange of keys with a client.

use std::fmt;
use std::sync::Arc;

use super::PublicKey;
use super::cbc::{BLOCK_BYTES, MessageKey};
use crate::embed::KeyPair;
use crate::sys;

/// A key exchange, for a worker thread: an operation with the private key of the server, and one with the client's key.
#[derive(Clone)]
pub struct KeyExchange {
    /// The server's keys.
    pub key_pair: Arc<dyn KeyPair>,
    /// The client's key.
    pub client_key: Arc<PublicKey>,
    /// What the client has sent: a key and an initialization vector, encrypted for the server.
    pub block: Box<[u8]>,
}

/// A client and the server have agreed on keys.
#[derive(Debug)]
pub struct Exchanged {
    /// The new keys, encrypted for the client.
    pub block: Box<[u8]>,
    /// The same for this server.
    pub keys: Box<MessageKeys>,
}

/// The keys of the messages of one connection. Wiped on drop, never printed.
pub struct MessageKeys {
    /// The key of all messages.
    pub key: MessageKey,
    /// The first initialization vector.
    pub iv: [u8; BLOCK_BYTES],
    /// The one that the server's answer announces.
    pub next_iv: [u8; BLOCK_BYTES],
}

/// What a client's or server's block holds: a key and an initialization vector.
const BLOCK_TEXT_BYTES: usize = 32 + BLOCK_BYTES;

impl KeyExchange {
    /// Checks the client's block, and makes new keys. `None` if the block is not valid.
    ///
    /// The client's own keys are not used: a client that has recorded another's blocks could repeat them. What the server
    /// draws anew is used by both.
    pub fn run(&self) -> Option<Exchanged> {
        let mut offered = self.key_pair.decrypt(&self.block).ok()?;
        let is_valid = offered.len() == BLOCK_TEXT_BYTES;
        sys::wipe(&mut offered);
        if !is_valid {
            return None;
        }
        let mut drawn = [0; BLOCK_TEXT_BYTES + BLOCK_BYTES];
        aws_lc_rs::rand::fill(&mut drawn).ok()?;
        let keys = MessageKeys::from_bytes(&drawn);
        let block = self.client_key.encrypt(&drawn[..BLOCK_TEXT_BYTES]);
        sys::wipe(&mut drawn);
        Some(Exchanged { block: block?, keys: Box::new(keys) })
    }
}

impl MessageKeys {
    /// Key, first and next initialization vector.
    pub fn from_bytes(bytes: &[u8; 32 + 2 * BLOCK_BYTES]) -> MessageKeys {
        let part = |at: usize| bytes[at..at + BLOCK_BYTES].try_into().expect("it is as long as a block");
        let key = MessageKey::new(bytes[..32].try_into().expect("it is as long as a key"));
        MessageKeys { key, iv: part(32), next_iv: part(32 + BLOCK_BYTES) }
    }
}

impl fmt::Debug for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyExchange")
    }
}

impl fmt::Debug for MessageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageKeys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::RsaKeyPair;

    #[test]
    fn both_ends_get_new_keys_for_each_exchange() {
        let (server, client) = (RsaKeyPair::generate(2048).unwrap(), RsaKeyPair::generate(3072).unwrap());
        let to_server = PublicKey::from_pem(server.public_key_pem().as_bytes()).unwrap();
        let client_key = Arc::new(PublicKey::from_pem(client.public_key_pem().as_bytes()).unwrap());
        let key_pair: Arc<dyn KeyPair> = Arc::new(server);
        let exchange = |block: &[u8]| {
            let (key_pair, client_key) = (Arc::clone(&key_pair), Arc::clone(&client_key));
            KeyExchange { key_pair, client_key, block: block.into() }.run()
        };
        let block = to_server.encrypt(&[7; 48]).unwrap();
        let texts = [(); 2].map(|()| {
            let Exchanged { block, keys } = exchange(&block).unwrap();
            let text = client.decrypt(&block).unwrap();
            let (mut sent, mut received) = (b"text".to_vec(), Vec::new());
            keys.key.encrypt(keys.iv, &mut sent);
            received.extend_from_slice(&sent);
            MessageKey::new(text[..32].try_into().unwrap())
                .decrypt(text[32..].try_into().unwrap(), &mut received);
            assert_eq!(&received[..4], b"text");
            text
        });
        assert_ne!(texts[0], texts[1], "a block that is sent again gets other keys");
        assert!(texts.iter().all(|text| text.len() == 48 && *text != [7; 48]));
        for wrong in [
            &block[1..],
            &[0; 256],
            &to_server.encrypt(&[7; 47]).unwrap(),
            &to_server.encrypt(&[7; 49]).unwrap(),
        ] {
            assert!(exchange(wrong).is_none());
        }
    }

    #[test]
    fn keys_round_trip_through_pem() {
        let made = RsaKeyPair::generate(2048).unwrap();
        let read = RsaKeyPair::from_pem(made.private_key_pem()).unwrap();
        assert_eq!((read.public_key_pem(), read.fingerprint()), (made.public_key_pem(), made.fingerprint()));
        assert_eq!((read.bits(), made.fingerprint().len()), (2048, 79));
        assert!(made.public_key_pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
        assert!(made.public_key_pem().ends_with("-----END PUBLIC KEY-----\n"));
        assert!(PublicKey::from_pem(made.private_key_pem().as_bytes()).is_err());
        assert!(RsaKeyPair::from_pem(made.public_key_pem()).is_err());
        assert!(!format!("{made:?}").contains("PRIVATE"));
        assert!(RsaKeyPair::generate(1024).is_err());
    }
}

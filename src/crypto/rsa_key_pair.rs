//! RSA key pairs, and their files.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use pem_rfc7468::LineEnding;
use sha2::{Digest, Sha256};

use super::invalid_key::InvalidKey;
use super::public_key::LABEL;
use crate::embed::{DecryptError, KeyPair};
use crate::model::Secret;

/// An RSA key pair of 2048, 3072, 4096 or 8192 bits.
pub struct RsaKeyPair {
    key: OaepPrivateDecryptingKey,
    private_pem: Secret,
    public_pem: String,
}

impl RsaKeyPair {
    /// The numbers of bits of a key pair.
    pub const BITS: [usize; 4] = [2048, 3072, 4096, 8192];

    /// Makes a new key pair with `bits`, one of [`RsaKeyPair::BITS`]. With 4096 bits it takes about a second.
    pub fn generate(bits: usize) -> Result<RsaKeyPair, InvalidKey> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            8192 => KeySize::Rsa8192,
            _ => return Err(InvalidKey::Bits(bits)),
        };
        RsaKeyPair::new(PrivateDecryptingKey::generate(size).map_err(|_| InvalidKey::Generation)?)
    }

    /// Parses a private key: PKCS #8 (RFC 5208) in PEM.
    pub fn from_pem(pem: &str) -> Result<RsaKeyPair, InvalidKey> {
        let (label, mut der) = pem_rfc7468::decode_vec(pem.as_bytes()).map_err(|_| InvalidKey::Pem)?;
        let key = match label {
            PRIVATE_LABEL => PrivateDecryptingKey::from_pkcs8(&der).map_err(|_| InvalidKey::Rsa),
            _ => Err(InvalidKey::Pem),
        };
        crate::sys::wipe(&mut der);
        RsaKeyPair::new(key?)
    }

    fn new(key: PrivateDecryptingKey) -> Result<RsaKeyPair, InvalidKey> {
        let private = AsDer::<Pkcs8V1Der>::as_der(&key).map_err(|_| InvalidKey::Rsa)?;
        let public = AsDer::<PublicKeyX509Der>::as_der(&key.public_key()).map_err(|_| InvalidKey::Rsa)?;
        let pem = |label: &str, der: &[u8]| {
            pem_rfc7468::encode_string(label, LineEnding::LF, der).map_err(|_| InvalidKey::Rsa)
        };
        let mut private_pem = pem(PRIVATE_LABEL, private.as_ref())?.into_bytes();
        let secret = Secret::new(std::str::from_utf8(&private_pem).expect("PEM is ASCII"));
        crate::sys::wipe(&mut private_pem);
        let public_pem = pem(LABEL, public.as_ref())?;
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| InvalidKey::Rsa)?;
        Ok(RsaKeyPair { key, private_pem: secret, public_pem })
    }

    /// The private key as [`RsaKeyPair::from_pem`] reads it. It is the secret of the server: keep it in a file that only
    /// its user reads.
    pub fn private_key_pem(&self) -> &str {
        self.private_pem.expose()
    }

    /// The number of its bits.
    pub fn bits(&self) -> usize {
        self.key.key_size_bits()
    }

    /// The SHA-256 of [`KeyPair::public_key_pem`], by which a client's user recognizes the server: capital hexadecimal
    /// digits in groups of four.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.public_pem);
        let groups: Vec<String> =
            digest.chunks(2).map(|pair| format!("{:02X}{:02X}", pair[0], pair[1])).collect();
        groups.join(" ")
    }
}

impl KeyPair for RsaKeyPair {
    fn public_key_pem(&self) -> &str {
        &self.public_pem
    }

    fn decrypt(&self, block: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let mut text = vec![0; self.key.min_output_size()];
        let length = self.key.decrypt(&OAEP_SHA256_MGF1SHA256, block, &mut text, None);
        let length = length.map_err(|_| DecryptError)?.len();
        text.truncate(length);
        Ok(text)
    }
}

impl fmt::Debug for RsaKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaKeyPair({} bits)", self.bits())
    }
}

const PRIVATE_LABEL: &str = "PRIVATE KEY";

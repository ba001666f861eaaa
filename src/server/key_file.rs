//! The key pair of sealed listeners, in a file of the state directory that only its owner reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::crypto::RsaKeyPair;
use crate::limits;
use crate::model::Secret;
use crate::sys::{self, owner};

/// The file of a key pair, `sealed_key.pem` in the state directory: a private key in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// That of the server with this state directory.
    pub fn of_state_dir(directory: &Path) -> KeyFile {
        KeyFile(directory.join("sealed_key.pem"))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the key pair; `None` if there is no file.
    pub fn read(&self) -> io::Result<Option<RsaKeyPair>> {
        let mut bytes = Vec::new();
        match File::open(&self.0) {
            Ok(file) => file.take(limits::KEY_FILE_BYTES_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = std::str::from_utf8(&bytes).map(Secret::new);
        sys::wipe(&mut bytes);
        let key_pair = text.ok().and_then(|text| RsaKeyPair::from_pem(text.expose()).ok());
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it holds no RSA key pair in PEM");
        key_pair.ok_or_else(invalid).map(Some)
    }

    /// Writes `key_pair`, and replaces the one there. The file is complete, and readable by the owner of the state
    /// directory only, as soon as it has its name.
    pub fn write(&self, key_pair: &RsaKeyPair) -> io::Result<()> {
        let directory = self.0.parent().unwrap_or(Path::new("."));
        let nameless = self.0.with_extension("new");
        // One that a crash has left.
        let _ = fs::remove_file(&nameless);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&nameless)?;
        owner::copy_owner(&file, &fs::metadata(directory)?)?;
        file.write_all(key_pair.private_key_pem().as_bytes())?;
        file.sync_all()?;
        fs::rename(&nameless, &self.0)?;
        File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_pair_is_kept_for_its_owner_only() {
        let directory = std::env::temp_dir().join(format!("vmherd-key-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).expect("a directory for temporary files");
        let file = KeyFile::of_state_dir(&directory);
        assert!(file.read().unwrap().is_none());
        for _ in 0..2 {
            let made = RsaKeyPair::generate(2048).unwrap();
            file.write(&made).unwrap();
            assert_eq!(file.read().unwrap().unwrap().fingerprint(), made.fingerprint());
            assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(file.path(), "no key").unwrap();
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::remove_dir_all(directory).unwrap();
    }
}

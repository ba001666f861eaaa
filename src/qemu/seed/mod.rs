//! The seed of a guest: a small disk from which the guest learns its name, its user and more when it boots. cloud-init
//! reads it as its data source NoCloud: a file system labelled CIDATA with the files `user-data` and `meta-data`.

mod fat;
mod user_data;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Deref;

use crate::limits;
use crate::model::Secret;
use crate::sys;

pub use user_data::UserData;

/// What a guest learns from its seed. The texts are ASCII, as the server makes them.
pub struct Seed<'a> {
    /// Identifies the guest: its id, a UUID. cloud-init sets up a guest once for each instance id.
    pub instance_id: &'a str,
    /// The guest's host name.
    pub host_name: &'a str,
    /// The user that may log in over SSH, and become root.
    pub user_name: &'a str,
    /// That user's password.
    pub password: &'a Secret,
    /// The operator's user-data, which the guest applies as well.
    pub user_data: Option<&'a UserData>,
    /// With what the guest's agent authenticates to the server.
    pub enrollment: Option<Enrollment<'a>>,
}

/// With what a program in a guest authenticates as this guest's VM: the file `/etc/vmherd/enrollment.json` in the guest,
/// which only root can read.
pub struct Enrollment<'a> {
    /// The address of the server.
    pub address: &'a str,
    /// The VM.
    pub vm_id: &'a str,
    /// Its token.
    pub token: &'a Secret,
}

/// Bytes that hold a secret. Wiped on drop.
pub struct SecretBytes(Vec<u8>);

/// Why there is no seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeedError {
    /// The operator's user-data has too many bytes.
    UserDataTooLarge,
    /// The operator's user-data is not text.
    UserDataNotUtf8,
    /// The operator's user-data is of an unknown kind.
    UserDataUnknown,
    /// All together does not fit into the image.
    TooLarge,
}

/// The disk image with `seed`: 256 KiB, and more with long user-data.
pub fn image(seed: &Seed<'_>) -> Result<SecretBytes, SeedError> {
    let user_data = SecretBytes(user_data::compose(seed).into_bytes());
    let meta_data =
        format!("instance-id: \"{}\"\nlocal-hostname: \"{}\"\n", seed.instance_id, seed.host_name);
    let files = [
        fat::File { name: "user-data", short_name: b"USER-D~1   ", content: &user_data },
        fat::File { name: "meta-data", short_name: b"META-D~1   ", content: meta_data.as_bytes() },
    ];
    fat::image(b"CIDATA     ", &files).map(SecretBytes).ok_or(SeedError::TooLarge)
}

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        sys::wipe(&mut self.0);
    }
}

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeedError::UserDataTooLarge => {
                write!(f, "the user-data has more than {} bytes", limits::VM_USER_DATA_BYTES_MAX)
            }
            SeedError::UserDataNotUtf8 => f.write_str("the user-data is not UTF-8"),
            SeedError::UserDataUnknown => {
                f.write_str("the user-data begins neither with the line #cloud-config nor with #!")
            }
            SeedError::TooLarge => f.write_str("the seed is too large"),
        }
    }
}

impl std::error::Error for SeedError {}

//! The id of a server, in its state directory: random, made once. It marks the VMs that the server runs, in a store that
//! other servers may use as well.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::start_error::StartError;
use crate::app::token::{Random, SystemRandom};
use crate::ids::ServerId;
use crate::sys::owner;

/// The name of the file in the state directory.
const NAME: &str = "id";
/// Bytes of the file: 32 digits and a newline.
const BYTES: u64 = 33;

/// The id in `directory`, which is locked. If there is none, it is made if it `is_needed`.
pub(super) fn server_id(directory: &Path, is_needed: bool) -> Result<Option<ServerId>, StartError> {
    let path = directory.join(NAME);
    let failed = |error: io::Error| {
        StartError::of_system(format!("the id of this server, {}, can't be used: {error}", path.display()))
    };
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Err(_) if !is_needed => return Ok(None),
        Err(_) => return create(directory).map(Some).map_err(failed),
    };
    match ServerId::parse(text.strip_suffix('\n').unwrap_or(&text)) {
        Some(id) => Ok(Some(id)),
        None => Err(StartError::of_configuration(format!(
            "{} must hold the id of this server, 32 hexadecimal digits: restore it, or remove it, and the VMs that this \
             server has started stay in the store until they are removed there",
            path.display()
        ))),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    // A longer file is not valid either.
    File::open(path)?.take(BYTES + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes an id. Its file is complete, and readable by its owner only, as soon as it has its name.
fn create(directory: &Path) -> io::Result<ServerId> {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes)?;
    let id = ServerId(bytes);
    let nameless = directory.join("id.new");
    // One that a crash has left.
    let _ = fs::remove_file(&nameless);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&nameless)?;
    owner::copy_owner(&file, &fs::metadata(directory)?)?;
    file.write_all(format!("{id}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&nameless, directory.join(NAME))?;
    File::open(directory)?.sync_all()?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("vmherd-id-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).expect("a directory for temporary files");
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_id_is_made_once_and_only_if_it_is_needed() {
        let directory = Directory::new("once");
        assert_eq!(server_id(&directory.0, false).expect("no error"), None);
        fs::write(directory.0.join("id.new"), "half").expect("a file");
        let id = server_id(&directory.0, true).expect("no error");
        assert!(id.is_some());
        for is_needed in [true, false] {
            assert_eq!(server_id(&directory.0, is_needed).expect("no error"), id);
        }
        let file = fs::metadata(directory.0.join(NAME)).expect("a file");
        assert_eq!((file.permissions().mode() & 0o777, file.len()), (0o600, BYTES));
        assert!(!directory.0.join("id.new").exists());
        let other = Directory::new("other");
        assert_ne!(server_id(&other.0, true).expect("no error"), id);
    }

    #[test]
    fn an_id_of_another_form_is_an_error() {
        let directory = Directory::new("form");
        let (path, good) = (directory.0.join(NAME), "0123456789abcdef".repeat(2));
        for text in
            ["", "\n", &good[1..], &format!("{good}\n\n"), &format!("{good}0\n"), &good.to_uppercase()]
        {
            fs::write(&path, text).expect("a file");
            let error = server_id(&directory.0, true).expect_err(text);
            assert!(
                error.is_configuration && error.why.contains("32 hexadecimal digits"),
                "{text:?}: {error}"
            );
            assert_eq!(fs::read_to_string(&path).expect("a file"), text, "it is left as it is");
        }
        fs::write(&path, &good).expect("a file");
        assert!(server_id(&directory.0, true).expect("no error").is_some(), "without a newline");
        fs::remove_file(&path).expect("a file");
        fs::create_dir(&path).expect("a directory");
        assert!(server_id(&directory.0, true).is_err());
    }
}

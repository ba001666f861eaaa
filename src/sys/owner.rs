//! File ownership: files that root creates for a daemon of another user must belong to that user.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};

use super::process::effective_uid;

/// Gives `file` the owner and group of `of`, if this process runs as root. The caller must have created `file`: in
/// another user's directory a name may lead anywhere.
pub fn copy_owner(file: &File, of: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if effective_uid() != 0 || (own.uid(), own.gid()) == (of.uid(), of.gid()) {
        return Ok(());
    }
    fchown(file, Some(of.uid()), Some(of.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;
    use std::fs;

    #[test]
    fn owner_is_unchanged_if_equal() {
        let path = env::temp_dir().join(format!("vmherd-owner-{}", std::process::id()));
        let file = File::create_new(&path).unwrap();
        let of = file.metadata().unwrap();
        copy_owner(&file, &of).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), effective_uid());
        fs::remove_file(&path).unwrap();
    }
}

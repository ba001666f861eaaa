//! The image that VMs are started from: its format, size and checksum.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::limits;
use crate::model::HypervisorError;

/// The image's file, and what was read from it.
pub(super) struct Image {
    path: PathBuf,
    read: Mutex<Option<(Stamp, ImageInfo)>>,
}

/// What an image is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ImageInfo {
    pub(super) format: ImageFormat,
    pub(super) sha256: [u8; 32],
    /// Of the disk, in GiB, rounded up.
    pub(super) size_gib: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ImageFormat {
    /// A CD-ROM; the VM has no disk.
    Iso,
    Qcow2,
    /// A disk, byte by byte.
    Raw,
}

/// Tells a file from a later one at the same path.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
}

impl Image {
    pub(super) fn new(path: PathBuf) -> Image {
        Image { path, read: Mutex::default() }
    }

    /// Opens the file, to learn whether that succeeds.
    pub(super) fn check(&self) -> Result<(), HypervisorError> {
        self.open().map(drop).map_err(|error| self.error(&error))
    }

    /// What the file is now. The first call, and the first after a change, reads it all; others wait for it meanwhile.
    pub(super) fn info(&self) -> Result<ImageInfo, HypervisorError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = self.open().and_then(|(mut file, metadata)| {
            let stamp = Stamp::of(&metadata);
            match *read {
                Some((of, info)) if of == stamp => Ok((stamp, info)),
                _ => Ok((stamp, ImageInfo::read(&mut file, metadata.len())?)),
            }
        });
        let (stamp, info) = opened.map_err(|error| self.error(&error))?;
        *read = Some((stamp, info));
        Ok(info)
    }

    fn open(&self) -> io::Result<(File, Metadata)> {
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        match metadata.is_file() {
            true if metadata.len() == 0 => Err(io::Error::other("it is empty")),
            true => Ok((file, metadata)),
            false => Err(io::Error::other("it is not a file")),
        }
    }

    fn error(&self, error: &io::Error) -> HypervisorError {
        HypervisorError::new(&format!("--vm-image {} can't be read: {error}", self.path.display()))
    }
}

impl ImageInfo {
    fn read(file: &mut (impl Read + Seek), length: u64) -> io::Result<ImageInfo> {
        let mut head = Vec::new();
        file.by_ref().take(limits::IMAGE_HEAD_BYTES as u64).read_to_end(&mut head)?;
        let (format, bytes) = format_and_size(&head, length);
        file.seek(SeekFrom::Start(0))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; limits::IMAGE_HEAD_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hash.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ImageInfo { format, sha256: hash.finalize().into(), size_gib: bytes.div_ceil(1 << 30).max(1) })
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The format of a file with this beginning and length, and the size of the disk in bytes.
fn format_and_size(head: &[u8], length: u64) -> (ImageFormat, u64) {
    // ECMA-119, 8.1: the first descriptor, in the 17th sector of 2 KiB, has this identifier after its type.
    if head.get(0x8001..0x8006) == Some(b"CD001") {
        return (ImageFormat::Iso, length);
    }
    // QEMU, docs/interop/qcow2.txt: magic, version, backing file, cluster bits, size.
    let size = head.get(24..32).and_then(|bytes| bytes.try_into().ok());
    match size {
        Some(size) if head.starts_with(b"QFI\xfb") => (ImageFormat::Qcow2, u64::from_be_bytes(size)),
        _ => (ImageFormat::Raw, length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Cursor;

    #[test]
    fn formats_are_recognized_by_their_beginning() {
        let mut iso = vec![0; 0x9000];
        iso[0x8001..0x8006].copy_from_slice(b"CD001");
        let mut qcow2 = b"QFI\xfb".to_vec();
        qcow2.resize(24, 0);
        qcow2.extend((5_u64 << 30).to_be_bytes());
        for (head, length, wanted) in [
            (iso, 0x9000, (ImageFormat::Iso, 0x9000)),
            (qcow2, 200_000, (ImageFormat::Qcow2, 5 << 30)),
            (b"QFI\xfb".to_vec(), 4, (ImageFormat::Raw, 4)),
            (vec![0x55; 512], 1 << 30, (ImageFormat::Raw, 1 << 30)),
        ] {
            assert_eq!(format_and_size(&head, length), wanted);
        }
    }

    #[test]
    fn the_size_is_rounded_up_and_the_checksum_is_of_the_whole_file() {
        let info = ImageInfo::read(&mut Cursor::new(b"abc"), (1 << 30) + 1).unwrap();
        assert_eq!((info.format, info.size_gib), (ImageFormat::Raw, 2));
        assert_eq!(info.sha256[..4], [0xba, 0x78, 0x16, 0xbf]);
        let long = vec![7; limits::IMAGE_HEAD_BYTES + 9];
        let info = ImageInfo::read(&mut Cursor::new(&long), 1).unwrap();
        assert_eq!(info.sha256[..], Sha256::digest(&long)[..]);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let path = std::env::temp_dir().join(format!("vmherd-image-{}", std::process::id()));
        let image = Image::new(path.clone());
        let error = image.info().unwrap_err().to_string();
        assert!(error.starts_with("--vm-image ") && error.contains("No such file"), "{error}");
        fs::write(&path, "abc").unwrap();
        let first = image.info().unwrap();
        assert_eq!(image.info().unwrap(), first);
        fs::write(&path, "abcd").unwrap();
        assert_ne!(image.info().unwrap().sha256, first.sha256);
        fs::write(&path, "").unwrap();
        assert!(image.check().unwrap_err().to_string().ends_with("it is empty"));
        fs::remove_file(&path).unwrap();
    }
}

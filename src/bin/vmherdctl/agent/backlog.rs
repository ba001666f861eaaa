//! Samples that the server does not have yet, in a file.
//!
//! A sample is kept once its record is appended and synced. Samples that the server has are passed over by an offset in
//! memory, and the file is truncated when no others are left: after a crash some may be sent again, which changes
//! nothing, since a second `put` of the same key and second replaces the first. When the file is full, its oldest samples
//! are dropped, and the rest is copied into a new file.
//!
//! A damaged record is skipped as long as its length leads to the next one.
//!
//! While the file can't be written (a full disk, say), a bounded number of samples waits in memory.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::iter;
use std::mem;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use log::{error, info, warn};

use super::limits;
use super::sample::{HEAD_BYTES, RecordHead, Sample};

/// The backlog of one agent. Its directory is locked while this lives.
pub struct Backlog {
    /// The locked directory.
    directory: File,
    path: PathBuf,
    file: File,
    bytes_max: u64,
    /// The offset of the oldest sample that the server does not have.
    head: u64,
    /// The offset after the newest sample.
    end: u64,
    /// Bytes by which the file was shortened at its beginning: a position is this and an offset.
    removed: u64,
    /// Damaged samples in the file that the log has.
    damaged: usize,
    in_memory: VecDeque<Sample>,
    /// Samples that have left the memory, whose numbers precede the first one there.
    left_memory: u64,
    /// Samples in memory that were dropped since the file could be written.
    lost: u64,
    /// Whether the last sample could be written.
    is_writable: bool,
}

/// The oldest samples, as many as fit into a request.
pub struct Batch {
    pub samples: Vec<Sample>,
    /// Damaged samples among them.
    damaged: usize,
    end: BatchEnd,
}

/// The end of a batch, which stays valid when samples are dropped.
enum BatchEnd {
    Position(u64),
    NumberInMemory(u64),
}

impl Backlog {
    /// Opens the backlog in `directory`, which exists, and cuts off what a crash has left unfinished at its end. A file
    /// of something else is put aside. An error if another agent uses the directory.
    pub fn open(directory: &Path, bytes_max: u64) -> io::Result<Backlog> {
        let path = directory.join(FILE);
        let directory = File::open(directory)?;
        directory.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(ErrorKind::ResourceBusy, "another agent uses this directory")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        let file = options().create(true).truncate(false).open(&path)?;
        let mut backlog = Backlog {
            directory,
            path,
            file,
            bytes_max,
            head: MAGIC.len() as u64,
            end: MAGIC.len() as u64,
            removed: 0,
            damaged: 0,
            in_memory: VecDeque::new(),
            left_memory: 0,
            lost: 0,
            is_writable: true,
        };
        backlog.recover()?;
        Ok(backlog)
    }

    /// Keeps `sample`: on disk, or in memory if that fails.
    pub fn append(&mut self, sample: Sample) {
        match self.write(&sample.to_record()) {
            Ok(()) => {
                if !mem::replace(&mut self.is_writable, true) {
                    let lost = mem::take(&mut self.lost);
                    info!("the backlog can be written again; {lost} samples were dropped meanwhile");
                }
            }
            Err(error) => {
                if mem::replace(&mut self.is_writable, false) {
                    let path = self.path.display();
                    error!("the backlog {path} can't be written: {error}; samples are in memory only");
                }
                self.append_in_memory(sample);
            }
        }
    }

    /// The oldest samples; `None` if the server has all.
    pub fn batch(&mut self) -> Option<Batch> {
        let (mut samples, mut bytes) = (Vec::new(), 0);
        let mut fits = |sample: &Sample| {
            bytes += sample.request_bytes();
            bytes <= limits::BATCH_BYTES
        };
        let (mut at, mut damaged) = (self.head, 0);
        while at < self.end {
            let Some((sample, length)) = self.read(at) else {
                self.drop_damaged(at);
                break;
            };
            match sample {
                Some(sample) if !fits(&sample) => break,
                Some(sample) => samples.push(sample),
                None => damaged += 1,
            }
            at += length;
        }
        if !samples.is_empty() {
            return Some(Batch { samples, damaged, end: BatchEnd::Position(self.removed + at) });
        }
        if damaged > 0 {
            self.remove_until(at, damaged);
        }
        samples.extend(self.in_memory.iter().take_while(|sample| fits(sample)).cloned());
        let end = BatchEnd::NumberInMemory(self.left_memory + samples.len() as u64);
        (!samples.is_empty()).then_some(Batch { samples, damaged: 0, end })
    }

    /// Removes the samples of `batch`, as far as they were not dropped meanwhile.
    pub fn remove(&mut self, batch: &Batch) {
        match batch.end {
            BatchEnd::Position(end) => {
                self.remove_until(end.saturating_sub(self.removed), batch.damaged);
            }
            BatchEnd::NumberInMemory(end) => {
                while self.left_memory < end && self.in_memory.pop_front().is_some() {
                    self.left_memory += 1;
                }
            }
        }
    }

    /// The number of samples. Reads the whole file.
    pub fn count(&self) -> usize {
        let mut records = BufReader::new(ReadAt(&self.file, self.head).take(self.end - self.head));
        self.in_memory.len()
            + iter::from_fn(|| read_record(&mut records)).filter(|(sample, _)| sample.is_some()).count()
    }

    /// Finds the end of the last whole record, and counts the damaged ones before it.
    fn recover(&mut self) -> io::Result<()> {
        match fs::remove_file(self.path.with_extension(NEW)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let length = self.file.metadata()?.len();
        let mut reader = BufReader::new(ReadAt(&self.file, 0));
        let mut magic = Vec::new();
        reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic != MAGIC {
            // New, or its making was interrupted; or something else.
            if !MAGIC.starts_with(&magic) {
                self.put_aside()?;
            }
            self.file.write_all_at(MAGIC, 0)?;
            self.file.set_len(self.end)?;
            self.file.sync_all()?;
            return self.directory.sync_all();
        }
        let (mut at, mut damaged) = (self.end, 0);
        for (sample, length) in iter::from_fn(|| read_record(&mut reader)) {
            at += length;
            damaged += usize::from(sample.is_none());
            if sample.is_some() {
                (self.end, self.damaged) = (at, damaged);
            }
        }
        if self.damaged > 0 {
            log_damaged(self.damaged);
        }
        if self.end < length {
            warn!("the end of the backlog was not finished: {} bytes are cut off", length - self.end);
            self.file.set_len(self.end)?;
            self.file.sync_all()?;
        }
        Ok(())
    }

    /// Renames the file, and begins a new one.
    fn put_aside(&mut self) -> io::Result<()> {
        let aside = self.path.with_extension(DAMAGED);
        warn!("{} is not the backlog of an agent: it is now {}", self.path.display(), aside.display());
        fs::rename(&self.path, aside)?;
        self.file = options().create_new(true).open(&self.path)?;
        Ok(())
    }

    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if self.end + record.len() as u64 > self.bytes_max {
            self.make_room()?;
        }
        let written = self.file.write_all_at(record, self.end).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.end += record.len() as u64,
            // What is there is not known; the next record replaces it.
            Err(_) => drop(self.file.set_len(self.end)),
        }
        written
    }

    /// Drops the oldest samples, and copies the others into a new file.
    fn make_room(&mut self) -> io::Result<()> {
        let keep_max = self.bytes_max - self.bytes_max / limits::BACKLOG_BYTES_DROPPED;
        let (mut dropped, mut damaged) = (0, 0);
        while self.end - self.head + MAGIC.len() as u64 > keep_max {
            let Some((sample, length)) = self.read(self.head) else {
                self.drop_damaged(self.head);
                break;
            };
            self.head += length;
            match sample {
                Some(_) => dropped += 1,
                None => damaged += 1,
            }
        }
        self.pass_damaged(damaged);
        if dropped > 0 {
            warn!("the backlog is full: the oldest {dropped} samples are dropped");
        }
        let path = self.path.with_extension(NEW);
        let mut new = options().create(true).truncate(true).open(&path)?;
        new.write_all(MAGIC)?;
        let length = self.end - self.head;
        if io::copy(&mut ReadAt(&self.file, self.head).take(length), &mut new)? < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        new.sync_all()?;
        fs::rename(&path, &self.path)?;
        self.file = new;
        self.removed += self.head - MAGIC.len() as u64;
        (self.head, self.end) = (MAGIC.len() as u64, MAGIC.len() as u64 + length);
        self.directory.sync_all()
    }

    /// Removes what is before the offset `at`, `damaged` samples of which are damaged.
    fn remove_until(&mut self, at: u64, damaged: usize) {
        self.pass_damaged(damaged);
        self.head = self.head.max(at);
        if self.head >= self.end {
            self.clear();
        }
    }

    /// Logs those of `count` damaged samples that were not when the backlog was opened.
    fn pass_damaged(&mut self, count: usize) {
        let known = count.min(self.damaged);
        self.damaged -= known;
        if count > known {
            log_damaged(count - known);
        }
    }

    /// Empties the file.
    fn clear(&mut self) {
        let start = MAGIC.len() as u64;
        // If this fails, further samples are appended.
        if self.file.set_len(start).is_ok() {
            self.removed += self.end - start;
            (self.head, self.end) = (start, start);
        }
    }

    /// Drops everything from `at` on, where the length of a record was damaged after it was written.
    fn drop_damaged(&mut self, at: u64) {
        error!("the backlog is damaged: its last {} bytes are dropped", self.end - at);
        self.end = at;
        if self.head >= self.end {
            self.clear();
        }
    }

    /// The record at the offset `at`, as `read_record` has it.
    fn read(&self, at: u64) -> Option<(Option<Sample>, u64)> {
        read_record(&mut ReadAt(&self.file, at).take(self.end - at))
    }

    fn append_in_memory(&mut self, sample: Sample) {
        if self.in_memory.len() == limits::SAMPLES_IN_MEMORY_MAX {
            self.in_memory.pop_front();
            self.left_memory += 1;
            self.lost += 1;
        }
        self.in_memory.push_back(sample);
    }
}

/// Reads a file from an offset on.
struct ReadAt<'a>(&'a File, u64);

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.read_at(buffer, self.1)?;
        self.1 += length as u64;
        Ok(length)
    }
}

fn log_damaged(count: usize) {
    error!("the backlog is damaged: {count} damaged samples are dropped");
}

/// The sample of the next record of `reader`, unless it is damaged, and the record's length; `None` at the end.
fn read_record(reader: &mut impl Read) -> Option<(Option<Sample>, u64)> {
    let mut head = [0; HEAD_BYTES];
    reader.read_exact(&mut head).ok()?;
    let head = RecordHead::parse(&head)?;
    let mut payload = vec![0; head.payload_bytes()];
    reader.read_exact(&mut payload).ok()?;
    Some((head.sample(&payload), (HEAD_BYTES + payload.len()) as u64))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// The name of the file.
const FILE: &str = "backlog";
/// The extension of the file that is to replace it.
const NEW: &str = "new";
/// The extension of a file of something else that was in its place.
const DAMAGED: &str = "damaged";
/// What the file begins with.
const MAGIC: &[u8; 8] = b"vmherd-1";

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;

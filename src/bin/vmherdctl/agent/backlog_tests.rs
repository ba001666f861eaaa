//! Tests of the backlog.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vmherd-backlog-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn open(&self) -> Backlog {
        Backlog::open(&self.0, BYTES_MAX).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BYTES_MAX: u64 = 64 << 10;

fn sample(timestamp: i64) -> Sample {
    let value = |index| (format!("web-1.value-{index}"), timestamp as f64 + f64::from(index) / 4.0);
    Sample { timestamp, values: (0..5).map(value).collect() }
}

/// Takes all samples out, batch by batch, and returns their timestamps.
fn drain(backlog: &mut Backlog) -> Vec<i64> {
    let mut timestamps = Vec::new();
    while let Some(batch) = backlog.batch() {
        assert!(batch.samples.iter().all(|found| *found == sample(found.timestamp)));
        timestamps.extend(batch.samples.iter().map(|sample| sample.timestamp));
        backlog.remove(&batch);
    }
    timestamps
}

#[test]
fn samples_come_out_in_order_and_after_a_restart() {
    let directory = Directory::new();
    let mut backlog = directory.open();
    assert!(backlog.batch().is_none());
    (0..300).for_each(|timestamp| backlog.append(sample(timestamp)));
    drop(backlog);
    let mut backlog = directory.open();
    assert_eq!(backlog.count(), 300);
    let first = backlog.batch().unwrap();
    let bytes: usize = first.samples.iter().map(Sample::request_bytes).sum();
    assert!(bytes <= limits::BATCH_BYTES && first.samples.len() < 300, "{} samples", first.samples.len());
    // New samples go on while the old ones are sent.
    backlog.append(sample(300));
    assert_eq!(drain(&mut backlog), (0..=300).collect::<Vec<_>>());
    assert_eq!(fs::metadata(directory.file()).unwrap().len(), MAGIC.len() as u64, "it is truncated");
    backlog.append(sample(301));
    assert_eq!((backlog.count(), drain(&mut backlog)), (1, vec![301]));
}

#[test]
fn samples_that_were_not_removed_stay() {
    let directory = Directory::new();
    let mut backlog = directory.open();
    (0..200).for_each(|timestamp| backlog.append(sample(timestamp)));
    let sent = backlog.batch().unwrap();
    // The server did not answer: the same again.
    assert_eq!(backlog.batch().unwrap().samples, sent.samples);
    backlog.remove(&sent);
    let rest = backlog.batch().unwrap();
    assert_eq!(rest.samples[0].timestamp, sent.samples.len() as i64);
    drop(backlog);
    // What was sent may come again after a crash, but nothing may be missing.
    assert_eq!(drain(&mut directory.open()), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_torn_end_is_cut_off_at_every_length() {
    let directory = Directory::new();
    let record = sample(0).to_record().len();
    let mut backlog = directory.open();
    (0..3).for_each(|timestamp| backlog.append(sample(timestamp)));
    drop(backlog);
    let whole = fs::read(directory.file()).unwrap();
    for length in 0..whole.len() {
        fs::write(directory.file(), &whole[..length]).unwrap();
        let mut backlog = directory.open();
        let kept = (length.saturating_sub(MAGIC.len()) / record) as i64;
        backlog.append(sample(7));
        assert_eq!(drain(&mut backlog), (0..kept).chain([7]).collect::<Vec<_>>(), "{length} bytes");
    }
    // A record with a length but without its content, as a file system may leave it.
    let mut torn = whole.clone();
    torn.extend(&sample(3).to_record()[..4]);
    torn.resize(whole.len() + record, 0);
    fs::write(directory.file(), &torn).unwrap();
    assert_eq!(drain(&mut directory.open()), [0, 1, 2]);
}

#[test]
fn damage_in_the_middle_costs_the_damaged_samples_only() {
    let directory = Directory::new();
    let record = sample(0).to_record().len();
    let mut backlog = directory.open();
    (0..9).for_each(|timestamp| backlog.append(sample(timestamp)));
    let damage = |backlog: &Backlog, index: usize, at: usize| {
        backlog.file.write_all_at(b"?", (MAGIC.len() + index * record + at) as u64).unwrap();
    };
    // The first one is noticed when the backlog is opened, the others when they are read.
    damage(&backlog, 4, 20);
    drop(backlog);
    let mut backlog = directory.open();
    assert_eq!((backlog.damaged, backlog.count()), (1, 8));
    damage(&backlog, 0, 20);
    damage(&backlog, 7, 20);
    damage(&backlog, 8, 20);
    assert_eq!(drain(&mut backlog), [1, 2, 3, 5, 6]);
    assert_eq!((backlog.damaged, backlog.end), (0, MAGIC.len() as u64), "it is truncated");

    (0..9).for_each(|timestamp| backlog.append(sample(timestamp)));
    (0..9).for_each(|index| damage(&backlog, index, 20));
    assert!(backlog.batch().is_none());
    assert_eq!(backlog.end, MAGIC.len() as u64, "it is truncated");

    // Where the next sample begins is not known.
    (0..9).for_each(|timestamp| backlog.append(sample(timestamp)));
    damage(&backlog, 4, 3);
    assert_eq!(drain(&mut backlog), [0, 1, 2, 3]);
    backlog.append(sample(9));
    assert_eq!(drain(&mut backlog), [9]);
}

#[test]
fn damaged_samples_at_the_end_are_cut_off() {
    let directory = Directory::new();
    let record = sample(0).to_record().len();
    let mut backlog = directory.open();
    (0..5).for_each(|timestamp| backlog.append(sample(timestamp)));
    for index in [1, 3, 4] {
        backlog.file.write_all_at(b"?", (MAGIC.len() + index * record + 20) as u64).unwrap();
    }
    drop(backlog);
    let mut backlog = directory.open();
    assert_eq!((backlog.damaged, backlog.end), (1, (MAGIC.len() + 3 * record) as u64));
    backlog.append(sample(5));
    assert_eq!(drain(&mut backlog), [0, 2, 5]);
}

#[test]
fn the_oldest_samples_go_when_the_backlog_is_full() {
    let directory = Directory::new();
    let mut backlog = directory.open();
    let record = sample(0).to_record().len() as u64;
    let fitting = (BYTES_MAX - MAGIC.len() as u64) / record;
    for timestamp in 0..3 * fitting as i64 {
        backlog.append(sample(timestamp));
        let length = fs::metadata(directory.file()).unwrap().len();
        assert!(length <= BYTES_MAX, "{length} bytes");
    }
    let kept = drain(&mut backlog);
    assert_eq!(kept.last(), Some(&(3 * fitting as i64 - 1)));
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "there is no gap");
    assert!(kept.len() as u64 > fitting - fitting / limits::BACKLOG_BYTES_DROPPED - 2, "{}", kept.len());
    drop(backlog);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "no other file is left");
}

#[test]
fn samples_dropped_while_they_are_sent_do_not_take_others_with_them() {
    let directory = Directory::new();
    let mut backlog = directory.open();
    let mut next = 0;
    let mut append_until_dropped = |backlog: &mut Backlog| {
        let removed = backlog.removed;
        while backlog.removed == removed {
            backlog.append(sample(next));
            next += 1;
        }
        next
    };
    append_until_dropped(&mut backlog);
    let in_flight = backlog.batch().unwrap();
    let end = in_flight.samples.last().unwrap().timestamp;
    append_until_dropped(&mut backlog);
    let next = append_until_dropped(&mut backlog);
    let oldest = backlog.batch().unwrap().samples[0].timestamp;
    backlog.remove(&in_flight);
    let rest = drain(&mut backlog);
    assert_eq!(rest, (oldest.max(end + 1)..next).collect::<Vec<_>>());
}

#[test]
fn sent_samples_make_room_before_others_are_dropped() {
    let directory = Directory::new();
    let mut backlog = directory.open();
    let record = sample(0).to_record().len() as u64;
    let fitting = ((BYTES_MAX - MAGIC.len() as u64) / record) as i64;
    (0..fitting).for_each(|timestamp| backlog.append(sample(timestamp)));
    let sent = backlog.batch().unwrap();
    backlog.remove(&sent);
    let sent = sent.samples.len() as i64;
    (fitting..fitting + sent - 1).for_each(|timestamp| backlog.append(sample(timestamp)));
    let rest = drain(&mut backlog);
    assert!(rest[0] <= sent + fitting / limits::BACKLOG_BYTES_DROPPED as i64 + 1, "{}", rest[0]);
    assert_eq!(rest.last(), Some(&(fitting + sent - 2)));
}

#[test]
fn samples_wait_in_memory_while_the_file_cannot_be_written() {
    let directory = Directory::new();
    let mut backlog = directory.open();
    backlog.append(sample(0));
    let writable = mem::replace(&mut backlog.file, File::open(directory.file()).unwrap());
    let many = limits::SAMPLES_IN_MEMORY_MAX as i64 + 5;
    (1..=many).for_each(|timestamp| backlog.append(sample(timestamp)));
    assert_eq!((backlog.lost, backlog.count()), (5, 1 + limits::SAMPLES_IN_MEMORY_MAX));
    backlog.file = writable;
    let on_disk = backlog.batch().unwrap();
    assert_eq!(on_disk.samples, [sample(0)]);
    backlog.remove(&on_disk);
    let in_memory = backlog.batch().unwrap();
    assert_eq!(in_memory.samples[0], sample(6));
    backlog.append(sample(many + 1));
    assert_eq!((backlog.lost, backlog.is_writable), (0, true));
    backlog.remove(&in_memory);
    assert_eq!(drain(&mut backlog), [many + 1]);
}

#[test]
fn a_directory_is_for_one_agent() {
    let directory = Directory::new();
    let backlog = directory.open();
    let error = Backlog::open(&directory.0, BYTES_MAX).err().expect("it is locked");
    assert_eq!(error.to_string(), "another agent uses this directory");
    drop(backlog);
    directory.open();
}

#[test]
fn a_file_of_something_else_is_put_aside() {
    let directory = Directory::new();
    let aside = directory.0.join("backlog.damaged");
    for content in ["something else", "another thing"] {
        fs::write(directory.file(), content).unwrap();
        let mut backlog = directory.open();
        backlog.append(sample(1));
        drop(backlog);
        assert_eq!(drain(&mut directory.open()), [1]);
        assert_eq!(fs::read_to_string(&aside).unwrap(), content);
    }
}

#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let _backlog = directory.open();
    assert_eq!(fs::metadata(directory.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

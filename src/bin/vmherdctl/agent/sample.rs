//! The values of one moment, and their bytes in the backlog.
//!
//! A record is its payload's length (4 bytes), a checksum (8 bytes: the beginning of the SHA-256 of length and payload) and
//! the payload: the timestamp (8 bytes), then for each value the length of its key (1 byte), the key, and the value (8
//! bytes). All numbers are little-endian.

use sha2::{Digest, Sha256};

use super::limits;

/// The values of one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Whole seconds since 1970.
    pub timestamp: i64,
    /// Keys and finite values.
    pub values: Vec<(String, f64)>,
}

impl Sample {
    /// The record of the sample, complete.
    pub fn to_record(&self) -> Vec<u8> {
        let mut record = vec![0; HEAD_BYTES];
        record.extend(self.timestamp.to_le_bytes());
        for (key, value) in &self.values {
            debug_assert!(key.len() <= limits::KEY_BYTES_MAX);
            record.push(key.len() as u8);
            record.extend(key.as_bytes());
            record.extend(value.to_le_bytes());
        }
        debug_assert!(record.len() <= limits::RECORD_BYTES_MAX);
        let length = ((record.len() - HEAD_BYTES) as u32).to_le_bytes();
        let checksum = checksum(length, &record[HEAD_BYTES..]);
        record[..4].copy_from_slice(&length);
        record[4..HEAD_BYTES].copy_from_slice(&checksum);
        record
    }

    /// Bytes of its points in a request, at most.
    pub fn request_bytes(&self) -> usize {
        self.values.iter().map(|(key, _)| 2 * key.len() + limits::POINT_BYTES).sum()
    }

    /// The sample of a payload that has passed its check; `None` if it is not one.
    fn from_payload(payload: &[u8]) -> Option<Sample> {
        let (timestamp, mut rest) = payload.split_first_chunk()?;
        let mut values = Vec::new();
        while let Some((&length, after)) = rest.split_first() {
            let (key, after) = after.split_at_checked(length.into())?;
            let (value, after) = after.split_first_chunk()?;
            values.push((String::from_utf8(key.to_vec()).ok()?, f64::from_le_bytes(*value)));
            rest = after;
        }
        Some(Sample { timestamp: i64::from_le_bytes(*timestamp), values })
    }
}

/// The head of a record.
pub struct RecordHead {
    length: [u8; 4],
    checksum: [u8; 8],
}

impl RecordHead {
    /// Reads the head; `None` if no record has this length.
    pub fn parse(bytes: &[u8; HEAD_BYTES]) -> Option<RecordHead> {
        let (length, checksum) = bytes.split_first_chunk()?;
        let head = RecordHead { length: *length, checksum: checksum.try_into().ok()? };
        (HEAD_BYTES + head.payload_bytes() <= limits::RECORD_BYTES_MAX).then_some(head)
    }

    /// The length of the payload.
    pub fn payload_bytes(&self) -> usize {
        u32::from_le_bytes(self.length) as usize
    }

    /// The sample in `payload`; `None` if it is damaged.
    pub fn sample(&self, payload: &[u8]) -> Option<Sample> {
        let is_whole = checksum(self.length, payload) == self.checksum;
        is_whole.then(|| Sample::from_payload(payload)).flatten()
    }
}

fn checksum(length: [u8; 4], payload: &[u8]) -> [u8; 8] {
    let hash = Sha256::new().chain_update(length).chain_update(payload).finalize();
    *hash.first_chunk().expect("a hash has 32 bytes")
}

/// Bytes of a record's head.
pub const HEAD_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &[u8]) -> Option<Sample> {
        let (head, payload) = record.split_first_chunk()?;
        let head = RecordHead::parse(head)?;
        (head.payload_bytes() == payload.len()).then(|| head.sample(payload)).flatten()
    }

    fn sample() -> Sample {
        Sample { timestamp: -7, values: vec![("web-1.cpu".into(), 12.5), ("web-1.disk./é".into(), 1e300)] }
    }

    #[test]
    fn records_read_back() {
        assert_eq!(read(&sample().to_record()), Some(sample()));
        let empty = Sample { timestamp: i64::MAX, values: Vec::new() };
        assert_eq!(read(&empty.to_record()), Some(empty));
        let longest = |index| format!("{index:0>width$}", width = limits::KEY_BYTES_MAX);
        let values = (0..limits::VALUES_MAX).map(|index| (longest(index), f64::MIN)).collect();
        let largest = Sample { timestamp: 0, values };
        assert_eq!(largest.to_record().len(), limits::RECORD_BYTES_MAX);
        assert!(largest.request_bytes() <= limits::BATCH_BYTES);
        assert_eq!(read(&largest.to_record()), Some(largest));
    }

    #[test]
    fn any_changed_bit_and_any_cut_is_noticed() {
        let record = sample().to_record();
        for bit in 0..8 * record.len() {
            let mut changed = record.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&changed), None, "bit {bit}");
        }
        for length in 0..record.len() {
            assert_eq!(read(&record[..length]), None, "{length} bytes");
        }
    }
}

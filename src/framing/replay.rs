//! Test helper: what a framing finds must not depend on the chunks in which the bytes arrive.

use std::fmt::Debug;

/// Feeds `bytes` to `replay` whole, byte by byte and split in two at every position. All results must be equal;
/// returns that result.
pub(super) fn replay_every_split<T: PartialEq + Debug>(bytes: &[u8], replay: impl Fn(&[&[u8]]) -> T) -> T {
    let whole = replay(&[bytes]);
    assert_eq!(replay(&single_bytes(bytes)), whole, "byte by byte: {}", bytes.escape_ascii());
    for split in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(split);
        assert_eq!(replay(&[head, tail]), whole, "split at {split}: {}", bytes.escape_ascii());
    }
    whole
}

/// Feeds 2000 random streams to `replay`, each whole and in random chunks of at most `chunk_bytes_max` bytes. The
/// events of a stream must be equal; returns those of all streams. `stream` gets the number of the stream as well.
pub(super) fn replay_random<T: PartialEq + Debug>(
    chunk_bytes_max: usize,
    stream: impl Fn(u64, &mut Numbers) -> Vec<u8>,
    replay: impl Fn(&[&[u8]]) -> Vec<T>,
) -> Vec<T> {
    let mut events = Vec::new();
    for seed in 1..=2000 {
        let mut numbers = Numbers::new(seed);
        let stream = stream(seed, &mut numbers);
        let whole = replay(&[&stream]);
        for _ in 0..8 {
            let chunks = numbers.chunks(&stream, chunk_bytes_max);
            assert_eq!(replay(&chunks), whole, "seed {seed}: {}", stream.escape_ascii());
        }
        events.extend(whole);
    }
    events
}

/// Cuts `bytes` into single bytes.
pub(super) fn single_bytes(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

/// xorshift64: enough to vary cases, the same for the same seed.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn chunks<'a>(&mut self, bytes: &'a [u8], chunk_bytes_max: usize) -> Vec<&'a [u8]> {
        let (mut chunks, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at(1 + self.below(rest.len().min(chunk_bytes_max)));
            chunks.push(chunk);
            rest = tail;
        }
        chunks
    }
}

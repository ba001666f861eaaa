//! Test helper: what a framing finds must not depend on the chunks in which the bytes arrive.

use std::fmt::Debug;

/// Feeds `bytes` to `replay` whole, byte by byte and split in two at every position. All results must be equal;
/// returns that result.
pub(super) fn replay_every_split<T: PartialEq + Debug>(bytes: &[u8], replay: impl Fn(&[&[u8]]) -> T) -> T {
    let whole = replay(&[bytes]);
    let single_bytes: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(replay(&single_bytes), whole, "byte by byte: {}", bytes.escape_ascii());
    for split in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(split);
        assert_eq!(replay(&[head, tail]), whole, "split at {split}: {}", bytes.escape_ascii());
    }
    whole
}

/// Cuts `bytes` into chunks of 1 to `chunk_bytes_max` bytes; `below` draws a random number below its argument.
pub(super) fn random_chunks(
    bytes: &[u8],
    chunk_bytes_max: usize,
    mut below: impl FnMut(usize) -> usize,
) -> Vec<&[u8]> {
    let (mut chunks, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(1 + below(rest.len().min(chunk_bytes_max)));
        chunks.push(chunk);
        rest = tail;
    }
    chunks
}

//! An input of a fuzz target: a few bytes that decide how it is replayed, and the stream that is replayed.

/// Bytes that decide, in a cycle.
pub struct Decisions<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl<'a> Decisions<'a> {
    /// The first `count` bytes of `input`, and what follows them.
    pub fn split_off(input: &'a [u8], count: usize) -> (Decisions<'a>, &'a [u8]) {
        let (bytes, rest) = input.split_at(count.min(input.len()));
        (Decisions { bytes, next: 0 }, rest)
    }

    /// The next one; zero where there are none.
    pub fn take(&mut self) -> u8 {
        let byte = self.bytes.get(self.next % self.bytes.len().max(1)).copied().unwrap_or(0);
        self.next += 1;
        byte
    }

    /// Cuts `stream` into chunks of as many bytes as each decision says, or all that is left at zero.
    pub fn cut<'b>(&mut self, stream: &'b [u8]) -> Vec<&'b [u8]> {
        let (mut rest, mut chunks) = (stream, Vec::new());
        while !rest.is_empty() {
            let count = match usize::from(self.take()) {
                0 => rest.len(),
                few @ 1..=127 => few,
                // Some reads are as large as the daemon's.
                many => (many - 127) * 129,
            };
            let (chunk, others) = rest.split_at(count.min(rest.len()));
            chunks.push(chunk);
            rest = others;
        }
        chunks
    }
}

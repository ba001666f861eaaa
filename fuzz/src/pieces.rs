//! How an input is read: a few bytes that decide what happens, and what they happen to.

/// Bytes that decide, one after the other and over again.
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

    /// Cuts `stream` into pieces: of as many bytes as each decision says, or all that is left at zero.
    pub fn cut<'b>(&mut self, stream: &'b [u8]) -> Vec<&'b [u8]> {
        let (mut rest, mut pieces) = (stream, Vec::new());
        while !rest.is_empty() {
            let count = match usize::from(self.take()) {
                0 => rest.len(),
                few @ 1..=127 => few,
                // Some reads are as large as those of the daemon.
                many => (many - 127) * 129,
            };
            let (piece, others) = rest.split_at(count.min(rest.len()));
            pieces.push(piece);
            rest = others;
        }
        pieces
    }
}

//! A byte queue: bytes are appended at the back and consumed from the front.
//!
//! It holds no memory while empty and overwrites what it gives back, since what passes through it
//! may be a password.

/// A byte queue with a contiguous view of everything in it.
#[derive(Default)]
pub struct Buffer {
    /// Nothing while empty: of very many connections most are idle, and each has several buffers.
    queue: Option<Box<Queue>>,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    consumed: usize,
}

impl Buffer {
    /// An empty buffer; allocates nothing.
    pub const fn new() -> Buffer {
        Buffer { queue: None }
    }

    /// Appends `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let queue = self.queue.get_or_insert_default();
            queue.make_room(bytes.len(), 0);
            queue.bytes.extend_from_slice(bytes);
        }
    }

    /// Lets `write` append to the bytes behind what is queued. It must only append. Up to
    /// `APPEND_ROOM` bytes stay where they are first written; of more, a copy may stay in memory.
    pub fn append_with<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let queue = self.queue.get_or_insert_default();
        queue.make_room(APPEND_ROOM, GROWN_MIN);
        let before = queue.bytes.len();
        let result = write(&mut queue.bytes);
        assert!(queue.bytes.len() >= before, "a writer into a buffer must only append");
        if queue.len() == 0 {
            self.queue = None;
        }
        result
    }

    /// Drops `count` bytes from the front; the memory goes with the last one.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed more than there is");
        let Some(queue) = &mut self.queue else { return };
        let front = queue.consumed;
        crate::sys::wipe(&mut queue.bytes[front..front + count]);
        self.skip(count);
    }

    /// Drops `count` bytes from the front that nobody need hide: what they were may stay in memory for a while.
    pub fn skip(&mut self, count: usize) {
        assert!(count <= self.len(), "skipped more than there is");
        let Some(queue) = &mut self.queue else { return };
        queue.consumed += count;
        if queue.len() == 0 {
            self.queue = None;
        }
    }

    /// Drops everything and the memory.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// What is queued.
    pub fn as_slice(&self) -> &[u8] {
        self.queue.as_ref().map_or(&[], |queue| &queue.bytes[queue.consumed..])
    }

    /// What is queued, to be changed where it is.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.queue.as_mut().map_or(&mut [], |queue| &mut queue.bytes[queue.consumed..])
    }

    /// How many bytes are queued.
    pub fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory held, in bytes.
    pub fn capacity(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes.capacity())
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// Moves what is queued to the front of the memory or into larger memory, so that `count` more
    /// bytes fit, and overwrites what it leaves behind. Memory that has to grow, grows to `grown_min` at least.
    fn make_room(&mut self, count: usize, grown_min: usize) {
        let queued = self.len();
        // Each byte that is moved pays for one that was consumed; and what was consumed is never more
        // than what is queued once bytes have been added, so a buffer that is never empty stays small.
        if self.consumed > 0 && self.consumed >= queued {
            self.bytes.copy_within(self.consumed.., 0);
            crate::sys::wipe(&mut self.bytes[queued..]);
            self.bytes.truncate(queued);
            self.consumed = 0;
        }
        if self.bytes.capacity() - self.bytes.len() < count {
            // By half, so that what is large has little to spare, and twofold while it is small, so that many
            // short replies rarely come here. The first may be the only one, the second rarely is.
            let grown = match queued {
                0 => count,
                1..SMALL => (2 * queued).max(grown_min),
                _ => queued + queued / 2,
            };
            let mut larger = Vec::with_capacity(grown.max(queued + count));
            larger.extend_from_slice(&self.bytes[self.consumed..]);
            let mut smaller = std::mem::replace(&mut self.bytes, larger);
            crate::sys::wipe(&mut smaller);
            self.consumed = 0;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Enough for any reply that holds a secret.
const APPEND_ROOM: usize = 512;

/// Up to here memory is cheap.
const SMALL: usize = 16 << 10;

/// After a first reply there are often many more.
const GROWN_MIN: usize = 4 * APPEND_ROOM;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut buffer = Buffer::new();
        let (mut pushed, mut taken) = (0u32, 0u32);
        for round in 0..2000u32 {
            for _ in 0..round % 7 {
                buffer.push(&pushed.to_le_bytes());
                pushed += 1;
            }
            for _ in 0..(round % 5).min(pushed - taken) {
                assert_eq!(buffer.as_slice()[..4], taken.to_le_bytes());
                buffer.consume(4);
                taken += 1;
            }
        }
        assert_eq!(buffer.len() as u32, 4 * (pushed - taken));
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut buffer = Buffer::new();
        assert_eq!(buffer.capacity(), 0);
        buffer.push(&[1; 1000]);
        buffer.consume(999);
        assert!(buffer.capacity() >= 1000);
        buffer.consume(1);
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn what_comes_in_small_pieces_takes_little_memory() {
        let mut buffer = Buffer::new();
        for piece in 0..100 {
            buffer.push(&[piece]);
            assert!(buffer.capacity() <= 2 * buffer.len() + 8, "{} for {}", buffer.capacity(), buffer.len());
        }
    }

    #[test]
    fn what_is_skipped_is_gone() {
        let mut buffer = Buffer::new();
        buffer.push(b"  {}");
        buffer.skip(2);
        assert_eq!(buffer.as_slice(), b"{}");
        buffer.skip(2);
        assert_eq!((buffer.as_slice(), buffer.capacity()), (&b""[..], 0));
    }

    #[test]
    fn a_queue_that_is_never_empty_does_not_grow_forever() {
        for piece in [100, 1000, 30_000] {
            let (mut pushed, mut appended) = (Buffer::new(), Buffer::new());
            pushed.push(b"x");
            appended.push(b"x");
            for _ in 0..1000 {
                pushed.push(&vec![7; piece]);
                pushed.consume(piece);
                appended.append_with(|bytes| bytes.extend(std::iter::repeat_n(7, piece)));
                appended.consume(piece);
            }
            for buffer in [pushed, appended] {
                assert!(buffer.capacity() <= 4 * (piece + APPEND_ROOM), "{} for {piece}", buffer.capacity());
            }
        }
    }
}

//! A byte queue: bytes are appended at the back and consumed from the front.
//!
//! It holds no memory while empty, and overwrites memory before releasing it, because the bytes may be a password.

/// A byte queue with a contiguous view of everything in it.
#[derive(Default)]
pub struct Buffer {
    /// `None` while empty: most connections are idle, and each has several buffers.
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

    /// Lets `write` append directly to the queued bytes. It must only append. Up to `APPEND_ROOM` bytes are written
    /// without a reallocation; beyond that, a copy of them may stay in memory.
    pub fn append_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let queue = self.queue.get_or_insert_default();
        queue.make_room(APPEND_ROOM, GROWN_MIN);
        let before = queue.bytes.len();
        write(&mut queue.bytes);
        assert!(queue.bytes.len() >= before, "a writer into a buffer must only append");
        if queue.len() == 0 {
            self.queue = None;
        }
    }

    /// Drops `count` bytes from the front; releases the memory when empty.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed more than there is");
        let Some(queue) = &mut self.queue else { return };
        let front = queue.consumed;
        crate::sys::wipe(&mut queue.bytes[front..front + count]);
        self.skip(count);
    }

    /// As [`Buffer::consume`], for bytes that are not secret: they are not overwritten.
    pub fn skip(&mut self, count: usize) {
        assert!(count <= self.len(), "skipped more than there is");
        let Some(queue) = &mut self.queue else { return };
        queue.consumed += count;
        if queue.len() == 0 {
            self.queue = None;
        }
    }

    /// Drops all bytes and the memory.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// The queued bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.queue.as_ref().map_or(&[], |queue| &queue.bytes[queue.consumed..])
    }

    /// The queued bytes, mutable in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.queue.as_mut().map_or(&mut [], |queue| &mut queue.bytes[queue.consumed..])
    }

    /// Number of queued bytes.
    pub fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Whether no bytes are queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Capacity of the allocated memory, in bytes.
    pub fn capacity(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes.capacity())
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// Makes room for `count` more bytes: moves the queued bytes to the front or into larger memory, of at least
    /// `grown_min` bytes, and overwrites the old copy.
    fn make_room(&mut self, count: usize, grown_min: usize) {
        let queued = self.len();
        // Amortized: each moved byte is paid for by a consumed one. A buffer that never becomes empty stays small,
        // because consumed bytes never exceed the queued ones after bytes are added.
        if self.consumed > 0 && self.consumed >= queued {
            self.bytes.copy_within(self.consumed.., 0);
            crate::sys::wipe(&mut self.bytes[queued..]);
            self.bytes.truncate(queued);
            self.consumed = 0;
        }
        if self.bytes.capacity() - self.bytes.len() < count {
            // Large buffers grow by half, to waste little; small ones double, so that many short replies reallocate
            // rarely. The first reply is often the only one; after a second one there are usually more.
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

/// Enough for any reply with a secret.
const APPEND_ROOM: usize = 512;

/// Buffers below this size double.
const SMALL: usize = 16 << 10;

/// Minimum capacity after the second reply.
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
    fn small_chunks_take_little_memory() {
        let mut buffer = Buffer::new();
        for chunk in 0..100 {
            buffer.push(&[chunk]);
            assert!(buffer.capacity() <= 2 * buffer.len() + 8, "{} for {}", buffer.capacity(), buffer.len());
        }
    }

    #[test]
    fn skipped_bytes_are_gone() {
        let mut buffer = Buffer::new();
        buffer.push(b"  {}");
        buffer.skip(2);
        assert_eq!(buffer.as_slice(), b"{}");
        buffer.skip(2);
        assert_eq!((buffer.as_slice(), buffer.capacity()), (&b""[..], 0));
    }

    #[test]
    fn a_queue_that_is_never_empty_does_not_grow_forever() {
        for chunk in [100, 1000, 30_000] {
            let (mut pushed, mut appended) = (Buffer::new(), Buffer::new());
            pushed.push(b"x");
            appended.push(b"x");
            for _ in 0..1000 {
                pushed.push(&vec![7; chunk]);
                pushed.consume(chunk);
                appended.append_with(|bytes| bytes.extend(std::iter::repeat_n(7, chunk)));
                appended.consume(chunk);
            }
            for buffer in [pushed, appended] {
                assert!(buffer.capacity() <= 4 * (chunk + APPEND_ROOM), "{} for {chunk}", buffer.capacity());
            }
        }
    }
}

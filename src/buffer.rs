//! A byte queue: bytes are appended at the back and consumed from the front.
//!
//! It holds no memory while empty, and overwrites memory before releasing it, because the bytes may be a password.
//! While a connection runs, its buffers borrow [`SpareMemory`], so that short messages allocate nothing.

/// A byte queue with a contiguous view of everything in it.
#[derive(Default)]
pub struct Buffer {
    /// `None` while empty: most connections are idle, and each has several buffers.
    queue: Option<Box<Queue>>,
}

/// Memory that one buffer after the other borrows.
pub struct SpareMemory {
    /// `None` while a buffer borrows it.
    queue: Option<Box<Queue>>,
    bytes: usize,
}

#[derive(Default)]
struct Queue {
    /// The queued bytes end at `end`; memory after it may be read into.
    bytes: Vec<u8>,
    consumed: usize,
    end: usize,
    /// It is [`SpareMemory`], which is kept while it is empty.
    is_borrowed: bool,
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
            queue.append_with(|queued| queued.extend_from_slice(bytes));
        }
    }

    /// Lets `write` append directly to the queued bytes. It must only append. Up to `APPEND_ROOM` bytes are written
    /// without a reallocation; beyond that, a copy of them may stay in memory.
    pub fn append_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let queue = self.queue.get_or_insert_default();
        queue.make_room(APPEND_ROOM, GROWN_MIN);
        queue.append_with(write);
        self.release_if_empty();
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
        let Some(queue) = self.queue.as_mut().filter(|_| count > 0) else { return };
        queue.consumed += count;
        self.release_if_empty();
    }

    /// Drops all bytes and the memory.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// The queued bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.queue.as_ref().map_or(&[], |queue| &queue.bytes[queue.consumed..queue.end])
    }

    /// The queued bytes, mutable in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.queue.as_mut().map_or(&mut [], |queue| &mut queue.bytes[queue.consumed..queue.end])
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

    /// Uses `memory` until [`Buffer::give_back`], if the buffer is empty.
    pub fn borrow(&mut self, memory: &mut SpareMemory) {
        if self.queue.is_none() {
            self.queue = memory.queue.take();
        }
    }

    /// Returns borrowed memory. Bytes that are still queued move to memory of the buffer's own.
    pub fn give_back(&mut self, memory: &mut SpareMemory) {
        let Some(mut queue) = self.queue.take_if(|queue| queue.is_borrowed) else { return };
        let is_large = queue.len() > memory.bytes / 2;
        if is_large {
            // Many bytes stay where they are.
            queue.is_borrowed = false;
            self.queue = Some(queue);
        } else {
            if queue.len() > 0 {
                self.push(&queue.bytes[queue.consumed..queue.end]);
                queue.clear();
            }
            memory.queue = Some(queue).filter(|queue| queue.bytes.capacity() <= memory.bytes);
        }
        if memory.queue.is_none() {
            *memory = SpareMemory::new(memory.bytes);
        }
    }

    /// The memory after the queued bytes, to read into: `count` bytes of borrowed memory, if there are so many.
    pub fn room(&mut self, count: usize) -> Option<&mut [u8]> {
        let queue = self.queue.as_mut().filter(|queue| queue.is_borrowed)?;
        if queue.bytes.len() - queue.end < count {
            queue.move_to_front();
        }
        queue.bytes.get_mut(queue.end..queue.end + count)
    }

    /// Appends the first `count` bytes of [`Buffer::room`].
    pub fn append_room(&mut self, count: usize) {
        let Some(queue) = &mut self.queue else { return };
        assert!(count <= queue.bytes.len() - queue.end, "more was read than there was room for");
        queue.end += count;
    }

    fn release_if_empty(&mut self) {
        match &mut self.queue {
            Some(queue) if queue.len() > 0 => {}
            Some(queue) if queue.is_borrowed => (queue.consumed, queue.end) = (0, 0),
            _ => self.queue = None,
        }
    }
}

impl SpareMemory {
    /// Memory of this many bytes.
    pub fn new(bytes: usize) -> SpareMemory {
        let queue = Queue { bytes: vec![0; bytes], is_borrowed: true, ..Queue::default() };
        SpareMemory { queue: Some(Box::new(queue)), bytes }
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.end - self.consumed
    }

    /// Drops all bytes, and overwrites those that are still queued.
    fn clear(&mut self) {
        crate::sys::wipe(&mut self.bytes[self.consumed..self.end]);
        (self.consumed, self.end) = (0, 0);
    }

    /// Lets `write` append to the queued bytes, for which there is room.
    fn append_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.truncate(self.end);
        write(&mut self.bytes);
        assert!(self.bytes.len() >= self.end, "a writer into a buffer must only append");
        self.end = self.bytes.len();
    }

    /// Moves the queued bytes to the front, and overwrites the old copy.
    fn move_to_front(&mut self) {
        let (queued, end) = (self.len(), self.end);
        self.bytes.copy_within(self.consumed..end, 0);
        crate::sys::wipe(&mut self.bytes[queued.max(self.consumed)..end]);
        (self.consumed, self.end) = (0, queued);
    }

    /// Makes room for `count` more bytes: moves the queued bytes to the front or into larger memory, of at least
    /// `grown_min` bytes, and overwrites the old copy.
    fn make_room(&mut self, count: usize, grown_min: usize) {
        let queued = self.len();
        // Amortized: each moved byte is paid for by a consumed one. A buffer that never becomes empty stays small,
        // because consumed bytes never exceed the queued ones after bytes are added.
        if self.consumed > 0 && self.consumed >= queued {
            self.move_to_front();
        }
        if self.bytes.capacity() - self.end < count {
            // Large buffers grow by half, to waste little; small ones double, so that many short replies reallocate
            // rarely. The first reply is often the only one; after a second one there are usually more.
            let grown = match queued {
                0 => count,
                1..SMALL => (2 * queued).max(grown_min),
                _ => queued + queued / 2,
            };
            let mut larger = Vec::with_capacity(grown.max(queued + count));
            larger.extend_from_slice(&self.bytes[self.consumed..self.end]);
            let mut smaller = std::mem::replace(&mut self.bytes, larger);
            crate::sys::wipe(&mut smaller);
            (self.consumed, self.end) = (0, queued);
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
    fn borrowed_memory_is_returned_and_bytes_stay_in_order() {
        let mut memory = SpareMemory::new(64);
        let (mut first, mut second) = (Buffer::new(), Buffer::new());
        first.borrow(&mut memory);
        second.borrow(&mut memory);
        assert!(second.room(1).is_none(), "it is borrowed");
        first.room(40).expect("there is room")[..3].copy_from_slice(b"abc");
        first.append_room(3);
        first.consume(3);
        let room = first.room(64).expect("an empty one has all its room");
        assert_eq!(room, [0; 64], "what was consumed may be a password");
        room[..5].copy_from_slice(b"defgh");
        first.append_room(5);
        first.skip(2);
        assert!(first.room(62).is_none());
        first.room(61).expect("queued bytes move to the front")[0] = b'i';
        first.append_room(1);
        first.give_back(&mut memory);
        assert_eq!((first.as_slice(), first.capacity()), (&b"fghi"[..], 4));
        second.borrow(&mut memory);
        assert_eq!(second.room(64).expect("all is back"), [0; 64]);
        second.give_back(&mut memory);
        first.borrow(&mut memory);
        assert!(first.room(1).is_none(), "it has memory of its own");
    }

    #[test]
    fn many_bytes_keep_the_memory_they_are_in() {
        let mut memory = SpareMemory::new(64);
        let mut buffer = Buffer::new();
        buffer.borrow(&mut memory);
        buffer.append_with(|bytes| bytes.extend([7; 1000]));
        let at = buffer.as_slice().as_ptr();
        buffer.give_back(&mut memory);
        assert_eq!((buffer.as_slice().as_ptr(), buffer.len()), (at, 1000));
        let mut other = Buffer::new();
        other.borrow(&mut memory);
        assert!(other.room(64).is_some(), "there is new memory");
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

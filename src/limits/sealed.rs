//! Limits of the sealed framing.

use std::time::Duration;

/// Bits of the RSA key of a server, by default: what the originals' clients expect.
pub const RSA_BITS: usize = 4096;
/// Bytes of a client's public key in PEM: RSA with 8192 bits has some 1 500.
pub const CLIENT_KEY_BYTES_MAX: usize = 2048;
/// Bytes of the file of a key pair: RSA with 8192 bits has some 6 500.
pub const KEY_FILE_BYTES_MAX: u64 = 16 << 10;
/// Bytes of a sealed request. Requests of the dialect `verb` have a few hundred; nothing that is not authenticated gets
/// more.
pub const SEALED_REQUEST_BYTES_MAX: usize = 64 << 10;
/// Bytes of a sealed answer, which is buffered whole, and encrypted on the reactor's thread: the longest answer of a
/// handler with its envelope. Its encryption takes some two milliseconds.
pub const SEALED_ANSWER_BYTES_MAX: usize = 2 << 20;
/// Key exchanges that wait for a thread: what two threads do in some three seconds. Each takes 1 KiB, and the client's key.
pub const KEYS_QUEUE: usize = 1024;
/// Threads for key exchanges; an exchange is work for the processor alone, of some milliseconds.
pub const KEYS_WORKERS_MAX: usize = 4;
/// Time for a key exchange, with its wait in the queue.
pub const KEYS_DEADLINE: Duration = Duration::from_secs(10);

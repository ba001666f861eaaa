//! Decodes a chunked body (RFC 9112, 7.1).
//!
//! Bytes move from the input into the body's buffer; each is examined once. Sizes are hexadecimal digits only;
//! extensions and trailers are skipped, within limits. Parsing is strict, because a wrong chunk boundary allows request smuggling.

use super::head::malformed;
use super::line_scan::{LineScan, ScanProgress};
use super::response::{HttpError, Status};
use super::route::TOO_LARGE;
use crate::buffer::Buffer;
use crate::limits;

/// A partially received body.
pub struct Chunked {
    state: ChunkState,
    body: Buffer,
    extension_bytes: usize,
}

enum ChunkState {
    /// In a chunk's size.
    Size { size: u64, digits: u8 },
    /// In white space after the size, which an extension must follow.
    SizePadding { size: u64 },
    /// In an extension.
    Extension { size: u64 },
    /// Before the LF that ends the line of a size.
    SizeEnd { size: u64 },
    /// In the data, `left` bytes before the end of the chunk.
    Data { left: u64 },
    /// Before the CR that ends a chunk.
    DataEnd,
    /// Before the LF that ends a chunk.
    DataEndLf,
    /// In the trailer fields after the last chunk.
    Trailers(LineScan),
}

impl Default for Chunked {
    fn default() -> Chunked {
        Chunked { state: ChunkState::SIZE, body: Buffer::new(), extension_bytes: 0 }
    }
}

impl Chunked {
    /// Consumes the bytes of the body at the front of `input`; returns true once it is complete and the input starts
    /// after it. Must not be called again after that or an error.
    pub fn advance(&mut self, input: &mut Buffer, body_bytes_max: usize) -> Result<bool, HttpError> {
        let (used, taken) = self.take_chunks(input.as_slice(), body_bytes_max);
        input.consume(used);
        taken?;
        let ChunkState::Trailers(scan) = &mut self.state else { return Ok(false) };
        match scan.advance(input.as_slice(), limits::HTTP_TRAILER_BYTES_MAX) {
            ScanProgress::More => Ok(false),
            ScanProgress::TooLong => Err(TRAILERS_TOO_LARGE),
            ScanProgress::BareLineEnd => Err(malformed("a line behind the body does not end in CR LF")),
            ScanProgress::End(length) => {
                let checked = check_trailers(&input.as_slice()[..length]);
                input.consume(length);
                checked.map(|()| true)
            }
        }
    }

    /// Heap size in bytes.
    pub fn held_bytes(&self) -> usize {
        self.body.capacity()
    }

    /// The bytes received so far.
    pub fn body(&self) -> &[u8] {
        self.body.as_slice()
    }

    /// Processes `bytes` until they or the chunks end; returns the number of bytes processed.
    fn take_chunks(&mut self, bytes: &[u8], body_bytes_max: usize) -> (usize, Result<(), HttpError>) {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                ChunkState::Trailers(_) => break,
                ChunkState::Data { left } => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    self.body.push(&bytes[at..at + count]);
                    at += count;
                    let left = left - count as u64;
                    self.state = if left == 0 { ChunkState::DataEnd } else { ChunkState::Data { left } };
                }
                _ => match self.next_state(bytes[at], body_bytes_max) {
                    Ok(state) => {
                        self.state = state;
                        at += 1;
                    }
                    Err(error) => return (at, Err(error)),
                },
            }
        }
        (at, Ok(()))
    }

    /// The state after a byte that is not data.
    fn next_state(&mut self, byte: u8, body_bytes_max: usize) -> Result<ChunkState, HttpError> {
        match (&self.state, byte) {
            (ChunkState::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if *digits == SIZE_DIGITS_MAX {
                    return Err(malformed("the size of a chunk has too many digits"));
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Ok(ChunkState::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
            }
            (&ChunkState::Size { size, digits: 1.. }, b'\r' | b';' | b' ' | b'\t') => {
                if size > body_bytes_max.saturating_sub(self.body.len()) as u64 {
                    return Err(TOO_LARGE);
                }
                self.after_size(size, byte)
            }
            (&ChunkState::SizePadding { size }, b' ' | b'\t' | b';') => self.after_size(size, byte),
            (&ChunkState::Extension { size }, b'\r') => Ok(ChunkState::SizeEnd { size }),
            (&ChunkState::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => self.in_extension(size),
            (ChunkState::SizeEnd { size: 0 }, b'\n') => Ok(ChunkState::Trailers(LineScan::at_line_start())),
            (&ChunkState::SizeEnd { size }, b'\n') => Ok(ChunkState::Data { left: size }),
            (ChunkState::DataEnd, b'\r') => Ok(ChunkState::DataEndLf),
            (ChunkState::DataEndLf, b'\n') => Ok(ChunkState::SIZE),
            (ChunkState::DataEnd | ChunkState::DataEndLf, _) => {
                Err(malformed("a chunk does not end where its size says"))
            }
            _ => Err(malformed("the size of a chunk is not a hexadecimal number in a line")),
        }
    }

    fn after_size(&mut self, size: u64, byte: u8) -> Result<ChunkState, HttpError> {
        match byte {
            b'\r' => Ok(ChunkState::SizeEnd { size }),
            b';' => self.in_extension(size),
            _ => self.in_extension(size).map(|_| ChunkState::SizePadding { size }),
        }
    }

    fn in_extension(&mut self, size: u64) -> Result<ChunkState, HttpError> {
        self.extension_bytes += 1;
        if self.extension_bytes > limits::HTTP_CHUNK_EXTENSION_BYTES_MAX {
            return Err(malformed("the extensions of the chunks are too long"));
        }
        Ok(ChunkState::Extension { size })
    }
}

impl ChunkState {
    const SIZE: ChunkState = ChunkState::Size { size: 0, digits: 0 };
}

/// Validates the trailer fields. Their values are ignored: trailers must not override the head.
fn check_trailers(bytes: &[u8]) -> Result<(), HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS_MAX];
    match httparse::parse_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete((length, _))) if length == bytes.len() => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(TRAILERS_TOO_LARGE),
        Ok(_) | Err(_) => Err(malformed("the fields behind the body are malformed")),
    }
}

const TRAILERS_TOO_LARGE: HttpError =
    HttpError::closing(Status::HeadTooLarge, "there are too many fields behind the body");

/// The hexadecimal digits of 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;

//! How the dialects of JSON write.

use serde::Serialize;

/// Writes `value` as JSON.
pub(super) fn write_json<T: Serialize + ?Sized>(output: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(output, value).expect("texts and numbers can be written to a Vec");
}

/// Writes what is JSON already.
pub(super) fn write_raw(output: &mut Vec<u8>, text: &str) {
    output.extend_from_slice(text.as_bytes());
}

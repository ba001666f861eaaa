//! How requests are cut out of a byte stream. No dialect, no socket.

pub mod raw_json;
pub mod sniff;

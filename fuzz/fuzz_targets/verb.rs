//! Requests of the dialect `verb`, also by the path of HTTP, and their replies.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmherd_fuzz::dialects::verb(bytes));

//! Whole sessions in any framing.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmherd_fuzz::sessions::session(bytes));

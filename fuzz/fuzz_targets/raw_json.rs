//! Raw JSON, whole and in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmherd_fuzz::framings::raw_json(bytes));

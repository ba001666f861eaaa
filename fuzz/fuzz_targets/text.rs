//! Lines of metrics text, whole and in pieces, and what they say.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmherd_fuzz::framings::text(bytes));

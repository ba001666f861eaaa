//! The two readers of JSON, held to each other.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmherd_fuzz::readers::readers(bytes));

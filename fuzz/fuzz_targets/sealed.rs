//! The steps of a sealed connection, and its encrypted messages.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmherd_fuzz::sealed::sealed(bytes));

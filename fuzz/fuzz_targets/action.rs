//! Requests of the dialect `action` and their replies.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmherd_fuzz::dialects::action(bytes));

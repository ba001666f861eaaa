//! The fuzz targets: each function takes any bytes, and panics if a property does not hold.
//!
//! `tests/fuzz_seeds.rs` compiles these files as well and replays the inputs in `seeds/`, so every input that was found
//! is tried again in each run of the tests.

#[path = "../../tests/common/codec.rs"]
pub mod codec;
pub mod decisions;
pub mod dialects;
pub mod framings;
pub mod readers;
pub mod replies;
pub mod sealed;
pub mod sessions;

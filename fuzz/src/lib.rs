//! What is tried with any bytes at all: each function takes some and panics if a promise does not hold.
//!
//! The tests of the daemon compile these files too and run what is in `seeds/`, so whatever was ever found
//! is tried again with every run of them.

pub mod dialects;
pub mod framings;
pub mod pieces;
pub mod sessions;
pub mod wire;

//! What clients say over raw JSON and in metrics text, and what they must get back, held against the daemon as a
//! process.
//!
//! A file a topic.

#[path = "../common/mod.rs"]
mod common;

mod actions;
mod conversions;
mod crowds;
mod disks;
mod errors;
mod framing;
mod host;
mod lists;
mod metrics;
mod metrics_json;
mod order;
mod policy;
mod secrets;
mod sizes;
mod stopping;
mod timeouts;
mod tokens;

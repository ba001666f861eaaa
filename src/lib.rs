//! vmherd
pub mod app;
pub mod buffer;
pub mod clock;
pub mod config;
pub mod dialect;
pub mod framing;
pub mod ids;
pub mod limits;
pub mod model;
pub mod os;
pub mod server;
pub mod stats;
pub mod store;
#[allow(unsafe_code)]
pub mod sys;

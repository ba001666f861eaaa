//! The commands, a file a family: their arguments, their columns and what they do.

pub mod containers;
pub mod convert;
pub mod host;
pub mod lists;
pub mod login;
pub mod metrics;
pub mod operator;
pub mod raw;
pub mod ssh;
pub mod top;
pub mod update;
pub mod wait;

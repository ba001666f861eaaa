//! What each command does.

pub mod password;

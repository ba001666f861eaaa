//! What the black-box tests share: a daemon as a process, clients over real sockets, waiting with a deadline.
//!
//! The daemon is used through its settings and its sockets only. Every wait has a deadline and panics with its purpose.
//! Ports are always 0. A missing program that a test needs makes the test fail.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod background;
mod client;
pub mod codec;
mod connection;
mod daemon;
mod namespace;
mod process;
mod random;
mod temporary;

use std::time::{Duration, Instant};

pub use background::{BackgroundClients, DaemonFate, Progress};
pub use client::{Client, registration, request};
pub use connection::{Connection, is_reset};
pub use daemon::{Builder, Daemon};
pub use namespace::{Drops, is_in_a_namespace, run_in_a_namespace};
pub use process::{Finished, require, run, run_with_input, send_signal, wait};
pub use random::Random;
pub use temporary::TempDir;

/// A deadline for everything: hundreds of times what it takes on an idle machine. A test that fails by this has found
/// something that hangs, not a slow machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A valid password.
pub const PASSWORD: &str = "securePass123";

/// Waits until `condition` holds, at most `deadline`. Tests do not sleep elsewhere.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "waited {deadline:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

//! What the black-box tests share: a daemon as a process, clients over real sockets, waiting with a
//! deadline.
//!
//! Nothing here knows how the daemon is made: it is given settings, and talked to over its sockets.
//! Every wait has a deadline and ends in a panic that says what was waited for. Ports are always 0.
//! A program that a test needs and that is missing makes the test fail.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod client;
pub mod codec;
mod daemon;
mod process;
mod temporary;

use std::time::{Duration, Instant};

pub use client::{Client, Stream, registration, request};
pub use daemon::{Builder, Daemon};
pub use process::{Finished, require, run, run_with_input, send_signal, wait};
pub use temporary::TempDir;

/// How long anything that has to happen may take: hundreds of times what it takes on an idle machine. A test that
/// fails by this found something that hangs, not a slow machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A password that is good enough for the daemon.
pub const PASSWORD: &str = "securePass123";

/// Waits until `condition` holds, at most `deadline`; the only sleep there is.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "waited {deadline:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

//! The guest that the tests start: a small system that sets itself up from vmherd's seed. `tests/guest/` builds it.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub)]

use std::path::PathBuf;
use std::process::Command;

/// The image that the guest boots from. Builds it if it is not there yet: that takes some seconds and the network.
#[track_caller]
pub fn guest_iso() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest/build");
    let output = Command::new("timeout").args(["300", script]).output().expect("timeout can be run");
    let path = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    assert!(output.status.success(), "{script} failed: {path}{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(path)
}

/// The image of a disk, byte by byte, with the same guest.
#[track_caller]
pub fn guest_disk() -> PathBuf {
    guest_iso().with_extension("img")
}

//! VMs that the daemon runs: CREATE starts one, DESTROY ends it, whatever QEMU, the guest, the client and the daemon do
//! meanwhile. A program stands in for QEMU where a real one would be slow, or would not do what the test wants.

#[path = "../common/mod.rs"]
mod common;

#[path = "../common/guest.rs"]
mod guest;

mod booting;
#[cfg(feature = "cli")]
mod client;
mod embedded;
mod ending;
mod leftovers;
mod operator;
mod page;
mod real;
mod serial;
mod settings;
mod support;

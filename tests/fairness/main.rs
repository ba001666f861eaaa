//! Clients that take more than their share: much work, many connections, wrong passwords. Black box, over real sockets,
//! with a healthy client beside each attack: its requests are answered, whole and in order. `make bench` measures how
//! fast.
//!
//! Tests that measure run one at a time. `VMHERD_FAIRNESS=full` runs the test of a thousand lists at its full length.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/false_clock.rs"]
mod false_clock;
#[cfg(feature = "sqlite")]
mod lists;
mod logins;
mod memory;
#[path = "../common/overload.rs"]
mod overload;
#[cfg(feature = "sealed")]
#[path = "../common/programs.rs"]
mod programs;
#[cfg(feature = "sealed")]
mod sealed;
mod slots;
#[path = "../common/swarm.rs"]
mod swarm;
#[path = "../common/web.rs"]
mod web;
mod work;

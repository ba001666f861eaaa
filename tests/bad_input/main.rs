//! Clients that misbehave do not affect others: floods, stalls, resets, storms of logins, no free descriptors. Black box,
//! over real sockets.
//!
//! Tests run one at a time. During each, a healthy client's pings are answered; afterwards memory and descriptors are
//! free again.

#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod endless;
#[path = "../common/flood.rs"]
mod flood;
mod logins;
mod many_connections;
mod metrics;
#[path = "../common/overload.rs"]
mod overload;
mod resets;
mod slow;
#[path = "../common/swarm.rs"]
mod swarm;

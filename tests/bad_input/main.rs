//! What clients that misbehave get, and that nobody else notices: floods, stalls, resets, storms of
//! logins, no descriptors left. Black box, over real sockets.
//!
//! Rows run one at a time. While one runs, a healthy client's pings go on being answered; afterwards
//! memory and descriptors are back.

#[path = "../common/mod.rs"]
mod common;
mod crowds;
mod descriptors;
mod endless;
#[path = "../common/load.rs"]
mod load;
mod logins;
mod metrics;
mod resets;
mod slow;
#[path = "../common/swarm.rs"]
mod swarm;

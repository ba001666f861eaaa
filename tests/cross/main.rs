//! What everything that is not a well-meant client of one protocol gets: pages that make a browser talk to
//! us, protocols that begin as another, requests hidden in requests, and floods in every framing. Black box
//! over real sockets, but for the splits of first lines, which are too many for those.
//!
//! Rows that measure run one at a time.

#![cfg(feature = "websocket")]
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod endless;
mod first_lines;
mod foreign;
mod foreign_requests;
mod forwarded;
#[path = "../common/load.rs"]
mod load;
mod metrics;
mod order;
mod slow;
mod smuggling;
#[path = "../common/swarm.rs"]
mod swarm;
#[path = "../common/web.rs"]
mod web;
mod websocket;

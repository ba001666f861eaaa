//! Attacks across protocols: pages that make a browser send requests, protocols that begin like another, requests hidden
//! in requests, and floods in every framing. Black box over real sockets, except the splits of first lines, which are too
//! many for those.
//!
//! Tests that measure run one at a time.

#![cfg(feature = "websocket")]
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod endless;
mod first_lines;
#[path = "../common/flood.rs"]
mod flood;
mod foreign;
mod foreign_requests;
mod forwarded;
mod metrics;
mod order;
#[path = "../common/overload.rs"]
mod overload;
mod slow;
mod smuggling;
#[path = "../common/swarm.rs"]
mod swarm;
#[path = "../common/web.rs"]
mod web;
mod websocket;

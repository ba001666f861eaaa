//! What one client can do to the others: much work, many connections, wrong passwords. Black box, over real
//! sockets, with a healthy client beside each attack: what is held is that it is answered, whole and in order,
//! and no figure of time (`make bench` has those).
//!
//! Rows run one at a time.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/swarm.rs"]
mod swarm;

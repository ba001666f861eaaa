//! What one client can do to the others: much work, many connections, wrong passwords. Black box, over real
//! sockets, with a healthy client beside each attack: what is held is that it is answered, whole and in order,
//! and no figure of time (`make bench` has those).
//!
//! Rows run one at a time. `VMHERD_FAIRNESS=full` has the row of a thousand lists as long as it is meant to be.

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "sqlite")]
mod lists;
#[path = "../common/load.rs"]
mod load;
mod logins;
mod memory;
mod places;
#[path = "../common/swarm.rs"]
mod swarm;
#[path = "../common/web.rs"]
mod web;
mod work;

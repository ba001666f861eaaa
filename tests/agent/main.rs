//! `vmherdctl agent` as a process and as threads, against a daemon that is killed and started again.

#[path = "../common/mod.rs"]
mod common;

// Limits of the program's other modules.
#[allow(dead_code)]
mod agent;
mod credentials;
mod refusals;
mod restarts;
mod support;
mod swarm;
#[path = "../common/sync_fault.rs"]
mod sync_fault;

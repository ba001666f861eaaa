//! Raw JSON and metrics text: requests and the replies that they must get from the daemon as a process.

#[path = "../common/mod.rs"]
mod common;

mod action_rights;
mod actions;
mod conversions;
mod disks;
mod errors;
mod framing;
mod host;
mod last_seen;
mod lists;
mod metrics;
mod metrics_json;
#[cfg(feature = "sqlite")]
mod names;
mod operator;
mod operator_changes;
mod order;
mod policy;
#[cfg(feature = "sqlite")]
mod readers;
mod secrets;
mod sizes;
mod slots_and_queues;
mod stopping;
mod timeouts;
mod tokens;
mod watch;
#[cfg(feature = "http")]
#[path = "../common/web.rs"]
mod web;

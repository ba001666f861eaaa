//! The daemon as a service: its settings and their reload, the messages to a service manager, passed sockets, counters,
//! the log, and the files of `make install`.

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "http")]
#[path = "../common/web.rs"]
mod web;

mod activation;
mod addresses;
mod audit;
mod counters;
mod install;
mod log_addresses;
mod logs;
mod manager;
mod reload;
mod secrets;
mod settings;
mod signals;
mod starting;
mod support;
mod wiping;

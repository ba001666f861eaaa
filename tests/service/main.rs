//! The daemon as a service: its settings and how they change while it runs, what it tells a service manager,
//! sockets that are passed to it, its counters and its log, and what `make install` installs.

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "http")]
#[path = "../common/web.rs"]
mod web;

mod activation;
mod audit;
mod counters;
mod install;
mod logs;
mod manager;
mod reload;
mod secrets;
mod settings;
mod signals;
mod starting;
mod support;

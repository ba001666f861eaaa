//! The daemon with clients of other projects: netcat, telnet, curl, and Python with the packages `websockets` and
//! `cryptography`. The examples of the four documented protocols are sent verbatim over every framing.

#[path = "../common/postgres.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;

mod access;
mod actions;
#[cfg(feature = "http")]
mod browser;
mod commands;
mod concurrent;
mod conversions;
mod health;
mod http;
mod library;
mod library_errors;
mod metrics;
#[cfg(feature = "page")]
mod page;
mod program_client;
#[path = "../common/programs.rs"]
mod programs;
#[cfg(feature = "page")]
mod prometheus;
mod python_module;
#[cfg(feature = "websocket")]
mod recipes;
mod role_table;
mod roles;
#[cfg(feature = "sealed")]
mod sealed;
mod verbs;
#[cfg(feature = "websocket")]
#[path = "../common/web.rs"]
mod web;
mod websocket;
mod write_order;

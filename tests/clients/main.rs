//! The daemon as clients meet it that nobody here has written: netcat, telnet, curl, and Python with its
//! package `websockets`. What each of the four documented protocols shows as an example is said as it stands there,
//! over every framing.

#[path = "../common/postgres.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;

mod access;
mod actions;
#[cfg(feature = "http")]
mod browser;
mod commands;
mod conversions;
mod health;
mod http;
mod metrics;
mod programs;
#[cfg(feature = "websocket")]
mod recipes;
mod roles;
mod talker;
mod together;
#[cfg(feature = "websocket")]
#[path = "../common/web.rs"]
mod web;
mod websocket;

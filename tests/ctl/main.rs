//! `vmherdctl` as a process, against a real daemon: every command in its formats, and every class of failure.

#[path = "../common/mod.rs"]
mod common;

mod console;
mod containers;
mod failures;
mod formats;
mod hostile;
mod login;
mod metrics;
mod operator;
mod registry;
mod requests;
mod support;
mod terminal;
mod top;

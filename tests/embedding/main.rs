//! Servers in a program of its own.

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod containers;
mod delivery;
mod events;
mod examples;
mod handlers;
mod host_loop;
mod local_client;
mod operator;
#[cfg(feature = "sealed")]
#[path = "../common/programs.rs"]
mod programs;
mod restarting;
mod rows;
mod running;
#[cfg(feature = "sealed")]
mod sealed;
mod starting;
mod stopping;
mod survivors;
mod test_store;
mod undelivered;
#[path = "../common/web.rs"]
mod web;

use std::net::SocketAddr;
use std::time::Duration;

use vmherd::{Config, ListenAddress, Server, ServerBuilder};

use common::{Client, TempDir};

const GRACE: Duration = Duration::from_secs(5);

/// A server to be built, with a store in memory, on a free port.
fn builder(directory: &TempDir) -> ServerBuilder {
    Server::builder(config(directory))
}

/// The settings of a server with a store in memory, on a free port.
fn config(directory: &TempDir) -> Config {
    Config::default()
        .state_dir(directory.path())
        .store("memory:".parse().expect("a store"))
        .listen("tcp://127.0.0.1:0".parse().expect("a listener"))
}

/// The address of the server's first listener.
fn tcp_address(server_addresses: &[ListenAddress]) -> SocketAddr {
    match server_addresses[0] {
        ListenAddress::Tcp(address) => address,
        ref other => panic!("no port: {other}"),
    }
}

/// A new client of the server's first listener.
fn client(server_addresses: &[ListenAddress]) -> Client {
    Client::connect(tcp_address(server_addresses))
}

//! What the daemon can be told: one table of settings gives each its flag, environment name, default,
//! limits and help text; parsing turns texts into a [`Config`] that needs no more checking.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::app::password::Cost;
use crate::store::Location;

/// Everything the daemon was told, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Where VMs are kept.
    pub store: Location,
    /// The directory for the daemon's own socket, its lock and the default store.
    pub state_dir: PathBuf,
    /// A connection's deadlines.
    pub timeouts: Timeouts,
    /// Who may register: `None` is everybody on loopback and unix listeners, nobody elsewhere.
    pub registration: Option<bool>,
    /// VMs that the store may hold.
    pub vms_max: u64,
    /// How long a token counts.
    pub token_lifetime: Duration,
    /// Threads that hash.
    pub auth_workers: usize,
    /// Jobs that wait in each lane.
    pub auth_queue: usize,
    /// As `auth_queue`, reads.
    pub read_queue: usize,
    /// As `auth_queue`, writes.
    pub write_queue: usize,
    /// Open connections.
    pub connections_max: usize,
    /// Open requests with an id on one connection.
    pub requests_per_connection: usize,
    /// Open requests with an id on all connections.
    pub requests_max: usize,
    /// What a new password hash costs.
    pub argon2: Cost,
    /// What is logged, in RUST_LOG's syntax.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Where.
    pub address: ListenAddress,
    /// What it opens to clients that have not authenticated.
    pub opens: Opens,
}

/// Where a listener listens.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The dialects that a listener opens to clients that have not authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Opens {
    pub action: bool,
    pub metrics: bool,
    pub convert: bool,
    pub verb: bool,
}

/// A connection's deadlines; each runs only while the server waits for the client. `None`: forever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Nothing sent yet.
    pub first_request: Option<Duration>,
    /// From the first to the last byte of one request.
    pub request: Duration,
    /// Between the requests of a client that has not authenticated.
    pub idle_anonymous: Option<Duration>,
    /// Between the requests of a client that has.
    pub idle_authenticated: Option<Duration>,
    /// Without progress in sending what is due.
    pub write: Duration,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

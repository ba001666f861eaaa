//! vmherd: a registry of virtual machines.
//!
//! VMs connect over TCP or a unix socket, register, authenticate with a password or a token, report their RAM, CPUs
//! and disks, and send metrics; programs and people ask which VMs there are and how they are doing. The first bytes of
//! a connection select its *framing*: a stream of JSON objects, HTTP, WebSocket, or lines of text. What a request says
//! is in one of several *dialects*; those of JSON work in each framing except text.
//!
//! The daemon `vmherd` is one program around this library. Another starts a server like this:
//!
//! ```
//! use std::time::Duration;
//! use vmherd::{Config, Server};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let directory = std::env::temp_dir().join(format!("vmherd-{}", std::process::id()));
//!     let config = Config::default()
//!         .state_dir(&directory)
//!         .store("memory:".parse()?)
//!         .listen("tcp://127.0.0.1:0".parse()?);
//!     let server = Server::bind(config)?;
//!     println!("listening on {}", server.addresses()[0]);
//!     let running = server.start()?;
//!     // Clients are served until:
//!     running.stop(Duration::from_secs(5));
//!     running.join()?;
//!     Ok(std::fs::remove_dir_all(directory)?)
//! }
//! ```
//!
//! [`Config`] has the settings, [`ServerBuilder`] what else a server may be given, and [`Running`] controls a server.
//! Messages go to the crate `log`.
//!
//! # Map
//!
//! The rest of this page is for those who work on vmherd. `docs/architecture.md` has more: the way of a
//! request, and which files to touch for a new command, dialect, store or setting.
//!
//! ## Threads
//!
//! ```text
//!    clients           reactor thread                       worker threads, by lane
//!  ┌─────────┐   ┌───────────────────────────┐  jobs     ┌───────────────────────────────┐
//!  │ sockets ├──►│ net ─► session ─► app ────┼─────────► │ auth:  argon2      (bounded   │
//!  │         │   │  ▲   (bytes <-> requests) │           │ read:  one store    queue for │
//!  │         │◄──┤  └── output ◄── reply ◄───┼◄───────── │ write: connection   each)     │
//!  └─────────┘   └───────────────────────────┘completions└───────────────────────────────┘
//!                       ▲          │ lines     + waker
//!              stop     │          ▼
//!            main thread        log thread
//!           (signals, wait)  (standard error)
//! ```
//!
//! The **reactor** owns every connection and all state that requests share; it waits for sockets only. **Workers** do
//! what blocks: hashing and the store. They share one bounded queue per lane, one list of completions and one waker. The
//! **log thread** writes lines that others only queue; the **main thread** waits for signals. **Maintenance** has a
//! thread each for writing delayed points and for removing old ones, with a store connection of its own.
//!
//! ## Layers
//!
//! Each imports only from those above it (`tests/tidy.rs` checks that):
//!
//! | module | what it is |
//! | --- | --- |
//! | [`sys`], [`limits`], [`clock`], [`ids`], [`buffer`], [`stats`], [`log_limiter`], [`escape`] | shared basics; every limit and its reason |
//! | [`model`] | what requests and answers are about |
//! | [`framing`], [`dialect`] | bytes to messages; messages to requests, answers to text |
//! | [`session`], [`store`] | the state of one connection; the stores |
//! | [`work`] | blocking work as values, and the code that worker threads run |
//! | [`app`], [`worker`] | what each command does, and who may run it; bounded queues, threads |
//! | [`dispatch`] | requests under way: deadlines, delays, counters |
//! | [`reactor`] | the loop, input and output |
//! | [`config`], [`registry`], [`server`] | settings; the store for the operator; the server as a value |
//!
//! The daemon, in `src/bin/vmherd/`, is written against what is public: signals, the log, the service manager, the commands
//! for the host.
//!
//! ## Invariants
//!
//! - No blocking call, no unbounded loop and no thread per connection on the reactor.
//! - A request is answered exactly once, those without an id in their order.
//! - `ok` means that the store has promised it; a failure that leaves this open says so.
//! - Every queue, buffer, loop and wait has a limit, which is in [`limits`].
//! - A stale id finds nothing: a late login authenticates no other connection.
//! - Network input never panics, and no secret reaches a log or a reply.
//!
//! ## Visibility
//!
//! Modules are private; what they mark `pub` is for the rest of the crate. What is public is listed here, at the root,
//! and nowhere else. With the feature `internals`, for tests, benchmarks and fuzzing, all of it is in `internals`.

// Links from the map into modules work in `cargo doc --document-private-items`.
#![allow(rustdoc::private_intra_doc_links)]
// Without a store or a framing, some shared code has no user.
#![cfg_attr(not(all(feature = "sqlite", feature = "websocket")), allow(dead_code))]

mod app;
mod buffer;
mod clock;
mod config;
mod dialect;
mod dispatch;
mod escape;
mod framing;
mod ids;
mod limits;
mod log_limiter;
mod model;
mod reactor;
mod registry;
mod server;
mod session;
mod stats;
mod store;
#[allow(unsafe_code)]
mod sys;
mod work;
mod worker;

pub use app::audit::TARGET as AUDIT_TARGET;
pub use app::login_limiter::LoginLimits;
pub use config::{Config, Durability, InvalidSetting, ListenAddress, ListenerSpec, SOCKET_NAME, Timeouts};
pub use config::{is_plain_name, may_hold_password, redact};
pub use escape::{Escaped, is_invisible, write_escaped};
pub use ids::{DiskId, VmId};
pub use model::{AccessGroup, AnonymousAccess, Disk, NameError, Secret, Vm, VmName, VmShape};
pub use registry::{Registry, RegistryError};
pub use server::{InheritedListener, Running, Server, ServerBuilder, StartError};
pub use stats::{Counter, LOG_LINES_DROPPED};
pub use store::{Interrupt, Location, PostgresUrl, StoreError, back_up};
pub use sys::process::raise_descriptor_limit;
pub use sys::wipe;
pub use work::password::Cost as PasswordCost;

/// Limits of settings, and of what describes a VM.
pub mod bounds {
    pub use crate::limits::{
        ARGON2_LANES_MAX, ARGON2_MEMORY_KIB_MAX, ARGON2_MEMORY_KIB_MIN, ARGON2_PASSES_MAX, AUTH_QUEUE_LIMIT,
        AUTH_WORKERS_LIMIT, BUFFERS_BYTES_LIMIT, BUFFERS_BYTES_MIN, CONNECTIONS_LIMIT,
        CONVERSION_DELAY_LIMIT, CPUS_MAX, DISK_GIB_MAX, DISKS_PER_VM_MAX, ECHOED_CHARS_MAX, LISTENERS_MAX,
        LOGIN_DELAY_LIMIT, LOGIN_DELAY_MIN, LOGIN_FAILURES_LIMIT, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN,
        RAM_MIB_MAX, REQUESTS_LIMIT, RETENTION_MAX, RETENTION_MIN, STOP_GRACE, STORE_CONNECTIONS_LIMIT,
        STORE_QUEUE_LIMIT, TIMEOUT_MAX, TIMEOUT_MIN, TOKEN_LIFETIME_MAX, TOKEN_LIFETIME_MIN, VMS_LIMIT,
    };
}

/// The modules, for tests, benchmarks and fuzzing of this crate. May change at any time.
#[cfg(feature = "internals")]
#[allow(missing_docs)]
pub mod internals {
    macro_rules! expose {
        ($($module:ident)*) => {
            $(pub mod $module {
                pub use crate::$module::*;
            })*
        };
    }

    expose! {
        app buffer clock config dialect escape framing ids limits log_limiter model reactor registry server session stats store sys work worker
    }
}

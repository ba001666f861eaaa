//! vmherd: a registry of virtual machines.
//!
//! VMs connect over TCP or a unix socket, register, authenticate with a password or a token, report their RAM, CPUs
//! and disks, and send metrics; clients list the VMs and query their state. The first bytes of a connection select its
//! *framing*: a stream of JSON objects, HTTP, WebSocket, or lines of text. Each request is written in one of several
//! *dialects*; the JSON dialects work in every framing except text.
//!
//! The daemon `vmherd` is a program around this library. Any other program starts a server like this:
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
//!     running.stop(Duration::from_secs(5))?;
//!     Ok(std::fs::remove_dir_all(directory)?)
//! }
//! ```
//!
//! [`Config`] has the settings, [`ServerBuilder`] takes handlers, callbacks and more, and [`Running`] controls a running
//! server. [`Server::run`] blocks instead, until a [`StopHandle`] stops the server; a [`ServerLoop`] is part of a loop of
//! the host program. A [`LocalClient`] talks to a server in the same process without a socket,
//! a [`client::Client`] to any other. Handlers get a
//! [`HandlerRequest`] and a [`Responder`]; callbacks an [`Event`]. Log messages go to the crate `log`.
//!
#![doc = include_str!("../docs/embedding.md")]
//!
//! # Map
//!
//! The rest of this page is for contributors. `docs/architecture.md` has more: the path of a request, and the files
//! to change for a new command, dialect, store or setting.
//!
//! ## Threads
//!
//! ```text
//!    clients           reactor thread                       worker threads, by lane
//!  ┌─────────┐   ┌───────────────────────────┐  jobs     ┌───────────────────────────────┐
//!  │ sockets ├──►│ net ─► session ─► app ────┼─────────► │ auth, compute:  hashes, texts │
//!  │         │   │  ▲   (bytes <-> requests) │           │ read, write:    the store     │
//!  │         │◄──┤  └── output ◄── reply ◄───┼◄───────── │ (a bounded queue for each)    │
//!  └─────────┘   └───────────────────────────┘completions└───────────────────────────────┘
//!                       ▲          │ lines     + waker
//!              stop     │          ▼
//!            main thread        log thread
//!           (signals, wait)  (standard error)
//! ```
//!
//! The **reactor** owns every connection and all state that requests share; it only waits for sockets. **Workers** run
//! what would hold up the reactor: hashing, decoding and converting long texts, and the store. They share one bounded
//! queue per lane, one list of completions and one waker. A store in memory answers at once: the reactor does short work
//! on it itself. The **log thread** writes the log lines that other threads
//! queue; the **main thread** waits for signals. **Maintenance** has a thread that removes old points, and with
//! `--metrics-durability memory` one that writes buffered points. The code of an embedding program runs on threads of its
//! own lanes (handlers, the gate) and on one thread that calls its callbacks. One thread drives all QEMUs, with a poll of
//! its own. One thread watches the SQLite file, and one opens a store that was unavailable at the start. Connecting to
//! PostgreSQL uses short-lived threads.
//!
//! ## Layers
//!
//! Each module imports only from the rows above it and, in some rows, from its own (`tests/tidy/` checks this):
//!
//! | module | contents |
//! | --- | --- |
//! | [`sys`], [`limits`], [`clock`], [`ids`], [`buffer`], [`log_limiter`], [`escape`], `assets` | shared basics; every limit and its reason; the files of the web page |
//! | [`model`] | the types of requests and answers |
//! | [`embed`] | handlers and the hypervisor of the embedding program, and the clients that they see |
//! | [`qemu`], [`crypto`] | the hypervisor of the daemon: VMs in QEMU; encryption |
//! | [`framing`], [`dialect`] | bytes to messages; messages to requests, answers to text |
//! | [`session`], [`store`], [`client`] | the state of one connection; the stores; the client library, which nothing here uses |
//! | [`work`] | blocking work as values, and the code that worker threads run |
//! | [`app`], [`worker`] | the commands and their access rules; bounded queues, threads |
//! | [`dispatch`] | requests in flight: deadlines, delays, counters |
//! | [`reactor`] | the loop, input and output |
//! | [`config`], [`registry`], [`server`] | settings; operations on the store for the operator; the server as a value |
//!
//! The daemon, in `src/bin/vmherd/`, uses the public API only. It adds signals, the log, the service manager, and the
//! tools for the host (`vmherd vm`, `token`, `stats`, `backup`). The users' program, in `src/bin/vmherdctl/` with the
//! feature `cli`, uses [`client`]; its commands are rows of `command_table.rs` there.
//!
//! ## Where to look
//!
//! | question | answer in |
//! | --- | --- |
//! | what an operator does with a VM | `src/app/commands/operator.rs`; the VM that a request names: `VmField` in `src/model/request.rs` |
//! | when a VM was last seen, and from where | `src/app/last_seen.rs`; the writes: `src/dispatch/last_seen.rs` |
//! | what clients that watch are told, and when | `src/app/watch/`; where changes are noted: `src/app/commands/watch.rs`; the messages: `src/dialect/command/watch.rs`; delivery: `src/reactor/watch.rs` |
//! | which connections a VM has | `src/app/presence.rs`, `src/app/vm_sessions.rs` |
//! | who may run a command | `src/model/command_table.rs` (its row), `src/app/access.rs` |
//! | the access token that a verb may need | `src/app/commands/access_token.rs` |
//! | an update whose token need not be looked up first | `src/app/commands/login.rs`: `update_at_once`; `src/app/token_owners.rs` |
//! | which files a new command needs | `docs/architecture.md`, "How to add a command" |
//! | how a handler's answer finds its request | `src/embed/handler.rs`: `HandlerCall::run`, `Responder`; `src/worker/pool.rs`: `run_handlers`; `src/dispatch/failed_jobs.rs` |
//! | where events come from, and when a connection passes the gate | `src/dispatch/events.rs`; `src/embed/event_queue.rs`; `src/server/event_thread.rs` |
//! | how pipelined puts share a commit | lines: `src/session/codec/text.rs`; JSON: `src/dialect/put.rs`; jobs: `src/worker/backlog.rs`; the commit: `src/store/sqlite/writes.rs`, `src/store/postgres/batches.rs` and `writes.rs` |
//! | the two readers of JSON, which agree | the quick one: `src/dialect/json.rs`; the full one, for the rest and for errors: `src/dialect/envelope.rs`; the fuzz target `readers` |
//! | what the reactor does itself with a store in memory | `src/dispatch/at_once.rs`; which work that is: `cost_at_once` in `src/work` |
//! | which queued job runs next | `src/worker/backlog.rs`, `src/worker/fair_queue.rs` |
//! | which requests are open together, and the order of replies | `src/model/command_table.rs` (`Order`), `src/session/responses.rs` |
//! | a client that leaves during a login | `src/dispatch/mod.rs`: `cancel_all`, `src/dispatch/failed_jobs.rs`: `settle`; one that is delayed: `src/dispatch/delayed_logins.rs` |
//! | the deadline of a request's job; the time to send a request | `src/dispatch/submission.rs`: `submit`, `failed_jobs.rs`: `expire_job`, `src/dispatch/in_flight.rs`; `src/session/deadlines.rs` |
//! | the row of a container in the registry | `src/app/containers.rs`: the steps of its life; at the start and the end of a server: `src/server/managed_rows.rs` |
//! | how a VM boots, and what ends it | `src/qemu/guest/`; which file there does what: `src/qemu/mod.rs` |
//! | a container whose client does not get it, or that ends by itself | `src/reactor/delivery.rs`, `src/dispatch/containers.rs` |
//! | where delayed conversions and logins wait | `src/session/responses.rs`; `src/dispatch/delayed_logins.rs` |
//! | what a client's error means for its connection | `src/client/error.rs`; `src/client/connection.rs` |
//! | refused addresses | `src/model/address_rule.rs`; `src/reactor/accept.rs`: `refuse`; `src/session/codec/refused.rs` |
//! | addresses in log lines | `src/model/logged_address.rs` |
//! | accepting without free descriptors | `src/reactor/accept.rs` |
//! | clients in the server's process | `src/reactor/local.rs` |
//! | a stop, a restart and what outlasts it | `src/server/server_loop.rs`, `src/server/reactor_factory.rs` |
//! | the steps of a sealed connection | `src/framing/sealed/`; the work with keys: `src/crypto/exchange.rs`, in the lane keys |
//! | HTTP heads that are not parsed again | `src/framing/http/known_heads.rs` |
//! | the WebSocket handshake | `src/framing/http/route.rs`; `src/session/codec/http.rs`: `Upgrade`; `websocket.rs` there |
//! | PostgreSQL failover | which server: `src/store/postgres/hosts.rs`; lost sessions: `store.rs` (`retry`), `pg_session.rs` (`RetryBudget`), `session_pool.rs`, `pg_error.rs` |
//! | what other processes change in the store | `src/store/changes.rs`; `src/store/sqlite/changes.rs`, `src/store/postgres/changes.rs` |
//! | the counters | `src/dispatch/counters.rs`, `src/dispatch/statistics.rs` |
//!
//! ## Glossary
//!
//! | term | meaning |
//! | --- | --- |
//! | connection | a client's socket with its buffers and its session |
//! | session | the protocol state machine of one connection; does no I/O |
//! | framing | how bytes are split into messages: raw JSON, text, HTTP, WebSocket, sealed (encrypted) |
//! | dialect | the schema in which a message expresses a request or an answer |
//! | codec | a framing and its dialects, as the session uses them |
//! | request, answer, reply | a decoded command; its result; the encoded result |
//! | refusal, denial | an error reply to a message that does not become a request; one because of its origin or credentials |
//! | failure | the answer to a request that fails |
//! | request id | the client's name for a request; requests without one are answered in order |
//! | request key | the server's key of a request: connection and sequence number |
//! | barrier | a request that may change the principal, or has a token; later messages are decoded after its reply |
//! | page, cursor | a bounded part of a long answer; the position of the next part |
//! | tick | one iteration of the reactor's loop |
//! | step | the unit of work of a session that counts towards a tick's limit |
//! | latch | a readiness flag that an event sets and `WouldBlock` clears |
//! | dispatcher | runs requests between sessions, app and workers |
//! | work, job | a blocking operation as a value; that operation in a queue, with key and deadline |
//! | lane | a bounded queue and its worker threads: auth, compute, keys, read, write, handler, gate |
//! | container, guest | what a hypervisor runs for a client, and shows the registry as a VM; what runs in it |
//! | managed | of a VM: a server runs it, from its creation to its end |
//! | handler, responder | code of the embedding program that answers a request; what it answers through |
//! | event, callback | what happens in the server; code of the embedding program that is called with it |
//! | gate | code of the embedding program that admits a connection or not |
//! | run | one execution of a batch of jobs by a worker thread |
//! | stage | the state with which the app continues a request after its job |
//! | completion | the result of a job, on its way back to the reactor |
//! | weight | the size of a job, in points |
//! | account | the source, VM or connection that a job is charged to, for fair queues |
//! | principal | the identity that a request acts for |
//! | reader | a client whose request has a reader's token: it may read everything |
//! | login | an authentication by password or token |
//! | source | the client's network address or local user, for rate limits |
//! | presence | the open connections and their principals |
//! | membership | the two sets that a VM can be in: authorized, and connected |
//! | trusted | authenticated, or an operator; other clients are anonymous |
//! | write-behind | with `--metrics-durability memory`: points are acknowledged in memory and written to the store later |
//! | watch, change, revision | a client's request to be told of changes; one of them; its position |
//! | snapshot | the list of VMs that begins a watch |
//! | retention | the age after which points are removed |
//!
//! ## Invariants
//!
//! - No blocking call, no unbounded loop and no thread per connection on the reactor.
//! - Each request is answered once, unless its connection ends first; requests without an id are answered in order.
//! - Success means that the store, or its write-behind buffer, has the change; a failure with an unknown outcome says so.
//! - Every queue, buffer, loop and wait has a limit, defined in [`limits`].
//! - A stale id matches nothing: a late login never authenticates another connection.
//! - Network input never panics, and no secret reaches a log or a reply.
//!
//! ## Visibility
//!
//! Modules are private; their `pub` items are visible to the rest of the crate. The public API is re-exported here, at
//! the root, and nowhere else. The feature `internals` exposes all modules in `internals`, for tests, benchmarks and
//! fuzzing.

// Links from the map into modules work in `cargo doc --document-private-items`.
#![allow(rustdoc::private_intra_doc_links)]
// Some shared code is unused without a store, a framing or guests.
#![cfg_attr(
    not(all(feature = "sqlite", feature = "page", feature = "qemu", feature = "sealed")),
    allow(dead_code)
)]

mod app;
#[cfg(feature = "page")]
mod assets;
mod buffer;
pub mod client;
mod clock;
mod config;
#[cfg(feature = "sealed")]
mod crypto;
mod dialect;
mod dispatch;
mod embed;
mod escape;
mod framing;
mod ids;
mod limits;
mod log_limiter;
mod model;
#[cfg(feature = "qemu")]
mod qemu;
mod reactor;
mod registry;
mod server;
mod session;
mod store;
#[allow(unsafe_code)]
mod sys;
mod work;
mod worker;

pub use app::audit::TARGET as AUDIT_TARGET;
pub use app::login_limiter::LoginLimits;
pub use config::{
    Config, Durability, InvalidSetting, ListenAddress, ListenerSpec, SOCKET_NAME, Timeouts, bounds,
};
pub use config::{is_plain_name, may_hold_password, redact};
#[cfg(feature = "sealed")]
pub use crypto::{InvalidKey, RsaKeyPair};
pub use embed::{
    Client, ClientId, ContainerOrder, DecryptError, EndReporter, Event, EventKind, HandlerRequest,
    Hypervisor, KeyPair, RequestHandler, Responder, RunningContainer, TestHypervisor,
};
pub use escape::{Escaped, is_invisible, write_escaped};
pub use ids::{AccessTokenId, ContainerId, DiskId, ServerId, VmId};
pub use model::{
    Access, AccessGroup, AccessToken, AddressRule, AnonymousAccess, Container, Disk, HypervisorError,
    LogAddresses, NameError, PeerIp, Response, Secret, Statistics, Vm, VmName, VmShape,
};
#[cfg(feature = "qemu")]
pub use qemu::{Accelerator, GuestNetwork, Qemu, QemuSettings};
pub use reactor::local::LocalClient;
pub use registry::{Registry, RegistryError};
#[cfg(feature = "sealed")]
pub use server::KeyFile;
pub use server::{
    InheritedListener, LoopState, Running, Server, ServerBuilder, ServerLoop, StartError, StopHandle,
};
pub use store::{Interrupt, Location, PostgresUrl, StoreError, back_up};
pub use sys::process::raise_descriptor_limit;
pub use sys::wipe;
pub use work::password::Cost as PasswordCost;

/// The names of the server's verbs, and the messages of their replies.
pub mod verbs {
    pub use crate::model::verbs::*;
}

/// The interface of stores, for a program that brings its own: it implements `Store` and
/// `StoreFactory`, and passes the factory to [`ServerBuilder::store`]. A store may also
/// wrap one of the server's, which `open` opens.
///
/// The interface grows with the server; expect changes in each minor version.
pub mod custom_store {
    pub use crate::clock::UnixSeconds;
    pub use crate::ids::{AccessTokenId, SeriesId};
    pub use crate::model::{
        AccessToken, AccessTokenChange, Credentials, DiskChange, DiskOfVm, KeyError, Login, Management,
        MetricKey, MetricValue, NewPoint, NewVm, Point, PointFilter, Reader, SeenVm, Series, TokenHash,
        VmChange,
    };
    pub use crate::store::{
        ChangeKind, ChangesPage, ChangesPosition, LockRetryPolicy, OpenFailure, PointPage, PointPosition,
        PointRemoval, PointStore, RegistryStore, RemovedPoints, ScanRange, Store, StoreFactory, StoredChange,
        TokenProof, VmPage, Write, WriteOutcome, Written, open,
    };
}

/// The modules with public items, for tests, benchmarks and fuzzing of this crate. May change at any time.
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

    /// What the client codec of the tests is built on.
    pub mod client {
        pub use crate::client::input::*;
    }
    #[cfg(feature = "sealed")]
    expose! { crypto }
    expose! {
        app buffer clock config dialect embed escape framing ids limits log_limiter model reactor registry server session store sys work worker
    }
}

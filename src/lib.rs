//! vmherd: a registry of virtual machines.
//!
//! VMs connect over TCP or a unix socket, register, authenticate with a password or a token, report their RAM, CPUs
//! and disks, and send metrics; programs and people ask which VMs there are and how they are doing. The first bytes of
//! a connection select its *framing*: a stream of JSON objects, HTTP, WebSocket, or lines of text. What a request says
//! is in one of several *dialects*; those of JSON work in each framing except text.
//!
//! This page is the map. `docs/architecture.md` has more: the way of a request, and which files to touch for a new
//! command, dialect, store or setting.
//!
//! # Threads
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
//! # Layers
//!
//! Each imports only from those above it (`tests/tidy.rs` checks that):
//!
//! | module | what it is |
//! | --- | --- |
//! | [`sys`], [`limits`], [`clock`], [`ids`], [`buffer`], [`stats`], [`log_limiter`], [`escape`] | shared basics; every limit and its reason |
//! | [`model`] | what requests and answers are about |
//! | [`framing`], [`dialect`] | bytes to messages; messages to requests, answers to text |
//! | [`session`], [`store`] | the state of one connection; the stores |
//! | [`app`] | what each command does, and who may run it |
//! | [`worker`] | bounded queues, threads |
//! | [`reactor`] | the loop |
//! | [`config`], [`server`] | settings; the server as a value |
//! | [`os`] | signals, logging, the commands for the host |
//!
//! # Invariants
//!
//! - No blocking call, no unbounded loop and no thread per connection on the reactor.
//! - A request is answered exactly once, those without an id in their order.
//! - `ok` means that the store has promised it; a failure that leaves this open says so.
//! - Every queue, buffer, loop and wait has a limit, which is in [`limits`].
//! - A stale id finds nothing: a late login authenticates no other connection.
//! - Network input never panics, and no secret reaches a log or a reply.

pub mod app;
pub mod buffer;
pub mod clock;
pub mod config;
pub mod dialect;
pub mod escape;
pub mod framing;
pub mod ids;
pub mod limits;
pub mod log_limiter;
pub mod model;
pub mod os;
pub mod reactor;
pub mod server;
pub mod session;
pub mod stats;
pub mod store;
#[allow(unsafe_code)]
pub mod sys;
#[cfg(test)]
mod testing;
pub mod work;
pub mod worker;

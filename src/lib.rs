//! vmherd: a small server that knows a herd of virtual machines.
//!
//! VMs connect over TCP or a unix socket, register, authenticate with a password or a token, say what they are
//! made of and put metrics; programs and people ask who is there and how it is doing. On one port a request is
//! a JSON object in a stream of them, the body of a `POST` of HTTP, a message of WebSocket, or a line of text (the
//! *framing*, chosen by a connection's first bytes); what it says is in one of several *dialects*, those of JSON
//! whichever the framing.
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
//! The **reactor** owns every connection and all state that requests share; it waits nowhere but for
//! sockets. **Workers** own what blocks: hashing and the store. They meet at one bounded queue for each
//! lane, one list of completions and one waker. The **log thread** writes what others only queue; the
//! **main thread** waits for signals. Where metrics are written behind, or removed when they are old, a **keeper**
//! has a thread for each, with a connection of its own to the store.
//!
//! # Layers
//!
//! Each imports from those above it only (`tests/tidy.rs` holds that):
//!
//! | module | what it is |
//! | --- | --- |
//! | [`sys`], [`limits`], [`clock`], [`ids`], [`buffer`], [`stats`], [`throttle`], [`visible`] | words that everyone uses; every bound and its reason |
//! | [`model`] | what requests and answers are about |
//! | [`framing`], [`dialect`] | bytes to messages; messages to requests, answers to text |
//! | [`session`], [`store`] | one connection's state machine; what is kept, and where |
//! | [`app`] | what each command does, and who may |
//! | [`worker`] | bounded queues, threads |
//! | [`reactor`] | the loop |
//! | [`config`], [`server`] | what the daemon can be told; the server as a value |
//! | [`os`] | signals, logging, the commands for the host |
//!
//! # Invariants
//!
//! - No blocking call, no unbounded loop and no thread per connection on the reactor.
//! - A request is answered exactly once, those without an id in their order.
//! - `ok` means that the store has promised it; a failure that leaves this open says so.
//! - Every queue, buffer, loop and wait has a bound, and it stands in [`limits`].
//! - A stale id finds nothing: a login that comes late authenticates nobody else.
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
pub mod worker;

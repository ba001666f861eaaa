//! Limits on what the embedding program adds: commands, handlers and their answers.

use std::time::Duration;

use super::connections::CONNECTIONS_MAX;

/// Added commands and verbs of one server: each request for an unknown command looks at all of them.
pub const CUSTOM_COMMANDS_MAX: usize = 256;
/// Bytes of the name of an added command or verb.
pub const CUSTOM_NAME_BYTES_MAX: usize = 64;
/// Threads that run handlers, by default: some may wait for other systems while others answer.
pub const HANDLER_THREADS: usize = 4;
/// Upper bound for the threads that run handlers, by setting.
pub const HANDLER_THREADS_MAX: usize = 64;
/// Requests queued for a handler: at a millisecond each on four threads the last one waits 256 ms.
pub const HANDLER_QUEUE: usize = 1024;
/// Calls of handlers that one connection may have waiting for an answer; its further requests wait in its input. A client
/// that does not read its answers holds as many megabytes.
pub const HANDLER_CALLS_PER_CONNECTION_MAX: u16 = 16;
/// The time that a handler has to answer, by default, from the arrival of the request.
pub const HANDLER_DEADLINE: Duration = Duration::from_secs(30);
/// Characters of the message of a panic that are kept.
pub const PANIC_MESSAGE_CHARS_MAX: usize = 1024;
/// Events queued for the callbacks: the end of every connection, twice. Four megabytes when full.
pub const EVENTS_QUEUED_MAX: usize = 2 * CONNECTIONS_MAX;
/// The time in which the thread of the callbacks collects events: a client does not notice the delay, and the reactor has
/// no system call to make for each event.
pub const EVENTS_PAUSE: Duration = Duration::from_millis(4);
/// How often it collects none before it waits for a notification of the first.
pub const EVENTS_PAUSES: usize = 12;
/// Events that end a pause: together they fit into a core's cache, and the queue has room for many more.
pub const EVENTS_BATCH: usize = 2048;
/// Events that the thread of the callbacks keeps memory for: a batch, with what arrives before the thread runs.
pub const EVENTS_CAPACITY_KEPT: usize = 2 * EVENTS_BATCH;
/// Minimum time that a stop waits for callbacks when requests used up the whole grace period.
pub const CALLBACKS_STOP_MIN: Duration = Duration::from_millis(100);
/// The time that the gate has for one client. After it the client is refused.
pub const GATE_DEADLINE: Duration = Duration::from_secs(5);
/// Clients queued for the gate; one more is refused. As many as a gate of a few milliseconds decides in its time.
pub const GATE_QUEUE: usize = 1024;
/// Threads that run the gate.
pub const GATE_THREADS: usize = 1;
/// Bytes of a handler's answer: as many as a request may have.
pub const HANDLER_RESPONSE_BYTES_MAX: usize = 1 << 20;

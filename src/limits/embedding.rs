//! Limits on what the embedding program adds: commands, handlers and their answers.

use std::time::Duration;

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
/// The time that a handler has to answer, by default, from the arrival of the request.
pub const HANDLER_DEADLINE: Duration = Duration::from_secs(30);
/// Characters of the message of a panic that are kept.
pub const PANIC_MESSAGE_CHARS_MAX: usize = 1024;
/// Bytes of a handler's answer: as many as a request may have.
pub const HANDLER_RESPONSE_BYTES_MAX: usize = 1 << 20;

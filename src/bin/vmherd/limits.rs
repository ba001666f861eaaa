//! Every limit of the daemon's process and of the host's tools, with its reason. The library has the server's limits.

use std::time::Duration;

pub use vmherd::bounds::*;

/// Log lines that wait for the log thread; more are dropped and counted.
pub const LOG_QUEUE: usize = 4096;
/// Bytes of one log line; the rest is cut.
pub const LOG_LINE_BYTES_MAX: usize = 8 << 10;
/// Bytes of log lines written at once, so that a burst of lines is not a burst of system calls.
pub const LOG_BATCH_BYTES: usize = 64 << 10;
/// How long the end of the process waits until the last log lines are written: their reader may have stopped reading.
pub const LOG_FLUSH_WAIT: Duration = Duration::from_millis(500);
/// Bytes of freed memory that the allocator keeps for each thread: some buffers of short answers, and less than a request
/// of maximum size.
pub const FREED_BYTES_KEPT: i32 = 512 << 10;
/// How long a stop may exceed its grace period before the process ends anyway.
pub const STOP_OVERRUN: Duration = Duration::from_millis(500);
/// Bytes of a settings file, and of a file with a store's URL: a thousand times the size of all settings.
pub const SETTINGS_FILE_BYTES_MAX: u64 = 1 << 20;
/// How long the service manager may take to accept a message. Watchdog messages never wait.
pub const NOTIFY_WAIT: Duration = Duration::from_secs(1);
/// How long `vmherd stats` waits until the daemon accepts it, and for the answer.
pub const STATS_WAIT: Duration = Duration::from_secs(5);
/// How long `vmherd vm` waits for each answer of the daemon: the list of a million VMs takes some seconds.
pub const OPERATOR_WAIT: Duration = Duration::from_secs(60);
/// How long `vmherd vm create` and `vmherd vm stop` wait for the daemon: a VM may wait for a place to boot, and then for its
/// guest, each as long as the setting allows at most.
#[cfg(feature = "qemu")]
pub const VM_WAIT: Duration = Duration::from_secs(2 * VM_READY.end().as_secs() + 60);
/// Bytes that a console reads at once.
#[cfg(feature = "qemu")]
pub const CONSOLE_CHUNK_BYTES: usize = 4096;
/// Listeners inherited from the parent process: as many as the server may have.
pub const INHERITED_MAX: usize = LISTENERS_MAX - 1;
/// Pause between two attempts to interrupt a backup.
pub const BACKUP_INTERRUPT_PAUSE: Duration = Duration::from_millis(50);

const _: () =
    assert!(STOP_GRACE.as_millis() + STOP_OVERRUN.as_millis() + LOG_FLUSH_WAIT.as_millis() <= 10_000);
const _: () = assert!(LOG_LINE_BYTES_MAX <= LOG_BATCH_BYTES);

//! Limits on live changes.

use std::time::Duration;

/// Changes that are kept for clients that read slowly or resume. Those that fall behind more list again.
pub const WATCH_CHANGES_MAX: usize = 65_536;
/// Bytes of these changes: 256 for each. Long changes, of VMs with many disks or of many points, leave fewer.
pub const WATCH_CHANGES_BYTES_MAX: usize = 16 << 20;
/// Changes that wait until the store has been read, and their bytes: as many as are kept. Beyond that, all clients list
/// again.
pub const WATCH_PENDING_MAX: usize = WATCH_CHANGES_MAX;
/// VMs that are read from the store at a time, each of which may have [`super::DISKS_PER_VM_MAX`] disks.
pub const WATCH_READ_VMS_MAX: usize = 64;
/// The pause before they are read again, because the store has failed.
pub const WATCH_RETRY: Duration = Duration::from_millis(500);
/// The pause between reads of the changes that other processes make in the store: clients see them within two.
pub const WATCH_OTHERS_INTERVAL: Duration = Duration::from_secs(1);
/// How long changes are still recorded when no client watches, so that one that has lost its connection can resume.
pub const WATCH_RESUME_TIME: Duration = Duration::from_secs(300);
/// Entries of `what` in a request: a page that shows points of some VMs has one for each.
pub const WATCH_WHAT_MAX: usize = 256;
/// Different prefixes of points that all clients together watch: some 15 MB if each is as long as a key.
pub const WATCH_PREFIXES_MAX: usize = 65_536;
/// The pause between searches for prefixes that no client watches any more: a search takes some milliseconds.
pub const WATCH_PREFIXES_SWEEP: Duration = Duration::from_secs(60);
/// Unsent bytes of a client from which on it gets no more changes: it costs at most twice as much, or a single change if
/// that is longer.
pub const WATCH_OUTPUT_BYTES: usize = 32 << 10;
/// Silence after which a client of server-sent events gets a comment: proxies close connections that are silent for longer
/// than half a minute.
pub const WATCH_COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// Clients that get changes in a tick: each may take a system call, together one or two milliseconds. The others come
/// first in the next.
pub const WATCHERS_PER_TICK_MAX: usize = 256;
/// Changes and points that are compared in a tick with what clients want: one to two milliseconds. A client that resumes may
/// have the whole log to search.
pub const WATCH_SEARCHES_PER_TICK_MAX: usize = 32_768;
/// Bytes that all clients get in a tick, for the same reason.
pub const WATCH_BYTES_PER_TICK_MAX: usize = 1 << 20;
/// Writes whose clients left while they ran, and whose results tell which changes they made: more than run at a time.
pub const WATCH_LATE_WRITES_MAX: usize = 4096;

//! All limits, with their reasons. A limit that a setting can change is its default.

mod client;
mod connections;
mod containers;
mod embedding;
mod metrics;
mod model;
mod process;
mod qemu;
mod request;
#[cfg(feature = "sealed")]
mod sealed;
mod settings;
mod store;
mod watch;
mod work;

pub use client::*;
pub use connections::*;
pub use containers::*;
pub use embedding::*;
pub use metrics::*;
pub use model::*;
pub use process::*;
pub use qemu::*;
pub use request::*;
#[cfg(feature = "sealed")]
pub use sealed::*;
pub use settings::*;
pub use store::*;
pub use watch::*;
pub use work::*;

const _: () = assert!(REQUEST_BYTES_MAX_ANONYMOUS <= REQUEST_BYTES_MAX);
const _: () = assert!(TOKENS_PER_CONNECTION_MAX < TOKENS_PER_VM_MAX);
const _: () = assert!(ACCESS_TOKEN_CHARS == 124, "clients send no other length");
const _: () = assert!(REQUESTS_PER_CONNECTION <= REQUESTS_MAX);
const _: () = assert!(16 * JOBS_PER_CONNECTION_MAX as usize <= READ_QUEUE);
const _: () = assert!(16 * JOBS_PER_CONNECTION_MAX as usize <= WRITE_QUEUE);
const _: () = assert!(WEIGHT_PER_CONNECTION_MAX >= 2 * POINTS_PER_REQUEST_MAX);
const _: () = assert!(
    WEIGHT_PER_CONNECTION_MAX < IN_FLIGHT_WEIGHT_SHARED && IN_FLIGHT_WEIGHT_SHARED < QUEUED_WEIGHT_MAX
);
const _: () = assert!(PASSWORD_BYTES_MAX < REQUEST_BYTES_MAX_ANONYMOUS);
const _: () = assert!(ARGON2_MEMORY_KIB <= ARGON2_MEMORY_KIB_MAX && ARGON2_PASSES <= ARGON2_PASSES_MAX);
const _: () = assert!(LOGIN_DELAY_LIMIT.as_secs() < AUTH_DEADLINE.as_secs());
const _: () = assert!(LOGIN_DELAY_LIMIT.as_secs() < LOGIN_FAILURE_FORGOTTEN.as_secs());
const _: () = assert!(ARGON2_LANES <= ARGON2_LANES_MAX);
const _: () = assert!(STOP_GRACE.as_secs() < 10, "a stop takes ten seconds at most");
const _: () = assert!(
    2 * WORKER_SHUTDOWN_WAIT.as_millis() + WRITE_BEHIND_STOP_MIN.as_millis() + CALLBACKS_STOP_MIN.as_millis()
        <= STOP_RESERVE.as_millis()
);
const _: () =
    assert!(HYPERVISOR_STOP_MIN.as_millis() + CALLBACKS_STOP_MIN.as_millis() <= STOP_RESERVE.as_millis());
const _: () = assert!(REQUEST_BYTES_MAX + PAGE_BYTES_RESERVED <= BUFFERS_BYTES_MIN);
const _: () = assert!(2 * PAGE_BYTES_RESERVED <= BUFFERS_BYTES_MIN);
const _: () = assert!(BUFFERS_BYTES_MIN <= BUFFERS_BYTES_MAX && BUFFERS_BYTES_MAX <= BUFFERS_BYTES_LIMIT);
const _: () = assert!(READ_CHUNK_BYTES <= READ_BYTES_PER_TICK_MAX);
const _: () = assert!(VMS_MAX <= AUTHORIZED_VMS_MAX as u64);
const _: () = assert!(PAGE_ROWS_MAX > DISKS_PER_VM_MAX / 4);
const _: () = assert!(2 * SQLITE_BUSY_TIMEOUT.as_millis() < STORE_DEADLINE.as_millis());
const _: () = assert!(
    POSTGRES_LOCK_TIMEOUT.as_millis() + 2 * POSTGRES_LOCK_ATTEMPT.as_millis() < STORE_DEADLINE.as_millis()
);
const _: () = assert!(POSTGRES_CONFLICT_RETRY_TIME.as_millis() < STORE_DEADLINE.as_millis());
const _: () = assert!(3 * POSTGRES_CONNECT_TIMEOUT.as_millis() < STORE_DEADLINE.as_millis());
const _: () = assert!(POSTGRES_CONNECT_ATTEMPTS < 3);
const _: () = assert!(POSTGRES_RECONNECT_BACKOFF_MAX.as_millis() < 1000, "back within a second");

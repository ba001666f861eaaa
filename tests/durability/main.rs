//! Acknowledged writes survive: the daemon is killed, the disk refuses to sync, the disk is full, another process locks
//! the store.
//!
//! `VMHERD_ROUNDS` is the number of kills.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/false_clock.rs"]
mod false_clock;
#[path = "../common/points/mod.rs"]
mod points;

#[cfg(feature = "sqlite")]
mod backup;
mod clock;
mod disk_full;
mod kill;
mod lock;
mod metrics_disk_full;
mod metrics_kill;
mod metrics_retention;
mod metrics_stop;
mod metrics_sync_error;
mod metrics_synced;
mod metrics_write_behind;
mod removed;
#[cfg(feature = "sqlite")]
mod stop;
mod sync_error;
#[path = "../common/sync_fault.rs"]
mod sync_fault;

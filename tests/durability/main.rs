//! What was acknowledged is there, whatever happens: the daemon is killed, the disk refuses to sync, the
//! disk is full, somebody else has it locked.
//!
//! `VMHERD_ROUNDS` says how many times the daemon is killed.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/points/mod.rs"]
mod points;

#[cfg(feature = "sqlite")]
mod backup;
mod clock;
mod disk_full;
mod kill;
mod lock;
mod metrics_behind;
mod metrics_disk_full;
mod metrics_end;
mod metrics_kill;
mod metrics_retention;
mod metrics_sync_error;
mod metrics_synced;
mod removed;
#[cfg(feature = "sqlite")]
mod stop;
mod sync_error;

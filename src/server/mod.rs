//! The server as a value: bind, start, stop. Used by the daemon's `main` and by programs that embed it.

mod bind;
mod builder;
mod control;
mod event_thread;
mod handler_set;
mod hypervisor_stop;
#[cfg(feature = "sealed")]
mod key_file;
mod managed_rows;
mod open_listeners;
mod reactor_factory;
mod reload;
mod running;
#[cfg(feature = "sealed")]
mod sealed_keys;
mod server_id;
mod server_loop;
mod start_error;
mod store_opener;

pub use bind::InheritedListener;
pub use builder::ServerBuilder;
#[cfg(feature = "sealed")]
pub use key_file::KeyFile;
pub use running::{Running, Server, StopHandle};
pub use server_loop::{LoopState, ServerLoop};
pub use start_error::StartError;

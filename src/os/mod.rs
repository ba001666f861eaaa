//! The daemon as a process of its system: signals, the log, the service manager, and the tools of its host.

pub mod activation;
pub mod backup_command;
mod diagnostic;
mod host_audit;
mod log_line;
pub mod logging;
pub mod notify;
mod password_prompt;
pub mod service;
pub mod settings_file;
pub mod signal_loop;
pub mod stats_command;
pub mod vm_command;

//! The daemon as a process of its system: signals, the log, and the tools of its host.

mod log_line;
pub mod logging;
mod password_prompt;
pub mod signals;
pub mod vm_command;

//! The daemon's settings. One table gives each setting its flag, environment variable, default, limits and
//! help text; parsing turns texts into a validated `Config`.
//!
//! Nothing here opens a file or a socket or reads the environment: the caller passes arguments, variables and
//! a function that reads files. Precedence: flag, environment, settings file, default.

mod arguments;
mod config_error;
mod environment;
mod environment_file;
mod help;
mod loader;
#[cfg(all(test, feature = "sqlite", feature = "http", feature = "qemu", feature = "sealed"))]
mod manual;
mod origin;
mod partial;
mod report;
mod setting;
mod sources;
#[cfg(test)]
mod sources_tests;
mod table;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
mod values;
#[cfg(test)]
mod values_tests;
#[cfg(feature = "qemu")]
mod vm_settings;
#[cfg(all(test, feature = "qemu"))]
mod vm_settings_tests;

pub use arguments::{Arguments, Flag, Takes};
pub use config_error::{ConfigError, EX_CONFIG};
pub use environment::Environment;
pub use help::describe_settings;
pub use loader::{Invocation, Resolved, ToolSettings};
#[cfg(all(test, feature = "sqlite", feature = "http", feature = "qemu", feature = "sealed"))]
pub use manual::SECTIONS;
pub use partial::LogFormat;
pub use report::Report;
pub use setting::Setting;
pub use sources::{ParsedSources, Sources};
#[cfg(all(test, feature = "sqlite", feature = "http", feature = "qemu", feature = "sealed"))]
pub use table::find as find_setting;
pub use table::tool_settings;
pub use values::parse_number;
#[cfg(feature = "qemu")]
pub use vm_settings::VmSettings;

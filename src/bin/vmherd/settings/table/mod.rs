//! The table of settings: each one's flag, default, limits, help text and setter. It is the only list of settings.

mod access;
mod data;
mod network;
mod process;

use std::path::PathBuf;

use vmherd::{InvalidSetting, may_hold_password};

use super::setting::Setting;

/// Every setting, in the order of the help text.
pub(super) static SETTINGS: &[Setting] = &[
    process::CONFIG,
    network::LISTEN,
    network::ALLOW_PLAINTEXT,
    data::STORE,
    data::STORE_FILE,
    data::STATE_DIR,
    network::FIRST_REQUEST_TIMEOUT,
    network::REQUEST_TIMEOUT,
    network::IDLE_TIMEOUT,
    network::WRITE_TIMEOUT,
    access::REGISTRATION,
    data::VMS_MAX,
    access::TOKEN_LIFETIME,
    access::LOGIN_FAILURES,
    access::LOGIN_DELAY_MAX,
    #[cfg(feature = "http")]
    network::HTTP_HOST,
    #[cfg(feature = "http")]
    network::HTTP_ORIGIN,
    data::CONVERSION_DELAY,
    data::METRICS_DURABILITY,
    data::METRICS_RETENTION,
    network::CONNECTIONS_MAX,
    network::REQUESTS_PER_CONNECTION,
    network::REQUESTS_MAX,
    network::BUFFERS_MAX,
    access::AUTH_WORKERS,
    access::AUTH_QUEUE,
    data::READ_QUEUE,
    data::WRITE_QUEUE,
    data::STORE_CONNECTIONS,
    access::ARGON2_MEMORY,
    access::ARGON2_PASSES,
    access::ARGON2_LANES,
    process::LOG,
    process::LOG_FORMAT,
    process::CHECK_CONFIG,
    process::SHOW_CONFIG,
    process::VERSION,
    process::HELP,
];

fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        _ if text.is_empty() || text.contains('\0') => Err("must be a path".into()),
        // Most likely the store's URL: using it as a path would create and show a file name with its password.
        _ if may_hold_password(text) && !text.starts_with(['/', '.']) => {
            Err("must be a path; one with @, :// or password in it begins with / or ./".into())
        }
        _ => Ok(text.into()),
    }
}

/// The message of an error of the library.
fn message(error: InvalidSetting) -> String {
    error.to_string()
}

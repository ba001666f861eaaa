//! Checks that involve several settings, or all values of one setting.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use super::invalid_setting::InvalidSetting;
use super::listener::{ListenAddress, ListenerSpec};
use super::redact::redact;
use super::{Config, SOCKET_NAME, Timeouts, bounds};
use crate::app::login_limiter::LoginLimits;
use crate::limits;
#[cfg(feature = "sqlite")]
use crate::store::Location;
use crate::work::password::Cost;

impl Config {
    /// Checks what the types allow: values outside of [`bounds`], and addresses that conflict, that are the server's own,
    /// or that other hosts reach without `is_plaintext_allowed`. An error about addresses begins with `origin`, which
    /// says where they are set.
    pub fn check(&self, origin: &str) -> Result<(), InvalidSetting> {
        check_ranges(self)?;
        check_address_lists(self)?;
        check_listeners(self).map_err(|why| InvalidSetting(format!("{origin}: {why}")))?;
        check_socket_path(&self.state_dir)
    }
}

/// Checks every value that has a range.
fn check_ranges(config: &Config) -> Result<(), InvalidSetting> {
    let LoginLimits { failures, delay_max } = config.logins;
    let failures = failures.map_or(*bounds::LOGIN_FAILURES.start(), u64::from);
    let Cost { memory_kib, passes, lanes } = config.argon2;
    for (name, value, allowed) in [
        ("logins.failures", failures, bounds::LOGIN_FAILURES),
        ("vms_max", config.vms_max, bounds::VMS),
        ("auth_workers", config.auth_workers as u64, bounds::AUTH_WORKERS),
        ("auth_queue", config.auth_queue as u64, bounds::AUTH_QUEUE),
        ("read_queue", config.read_queue as u64, bounds::STORE_QUEUE),
        ("write_queue", config.write_queue as u64, bounds::STORE_QUEUE),
        ("store_connections", config.store_connections as u64, bounds::STORE_CONNECTIONS),
        ("connections_max", config.connections_max as u64, bounds::CONNECTIONS),
        ("requests_per_connection", config.requests_per_connection as u64, bounds::REQUESTS),
        ("requests_max", config.requests_max as u64, bounds::REQUESTS),
        ("buffers_bytes_max", config.buffers_bytes_max as u64, bounds::BUFFERS_BYTES),
        ("argon2.memory_kib", memory_kib.into(), bounds::ARGON2_MEMORY_KIB),
        ("argon2.passes", passes.into(), bounds::ARGON2_PASSES),
        ("argon2.lanes", lanes.into(), bounds::ARGON2_LANES),
    ] {
        check_range(name, value, allowed)?;
    }
    let Timeouts { first_request, request, idle_anonymous, idle_authenticated, idle_http, write } =
        config.timeouts;
    for (name, value, allowed) in [
        ("timeouts.first_request", first_request, bounds::TIMEOUTS),
        ("timeouts.request", Some(request), bounds::TIMEOUTS),
        ("timeouts.idle_anonymous", idle_anonymous, bounds::TIMEOUTS),
        ("timeouts.idle_authenticated", idle_authenticated, bounds::TIMEOUTS),
        ("timeouts.idle_http", idle_http, bounds::TIMEOUTS),
        ("timeouts.write", Some(write), bounds::TIMEOUTS),
        ("token_lifetime", Some(config.token_lifetime), bounds::TOKEN_LIFETIME),
        ("logins.delay_max", delay_max, bounds::LOGIN_DELAY),
        ("conversion_delay", Some(*config.conversion_delay.start()), bounds::CONVERSION_DELAY),
        ("conversion_delay", Some(*config.conversion_delay.end()), bounds::CONVERSION_DELAY),
        ("metrics_retention", config.metrics_retention, bounds::RETENTION),
    ] {
        value.map_or(Ok(()), |value| check_range(name, value, allowed))?;
    }
    Ok(())
}

fn check_address_lists(config: &Config) -> Result<(), InvalidSetting> {
    for (name, list) in [("--allow", &config.allow), ("--deny", &config.deny)] {
        let (count, count_max) = (list.len(), limits::ADDRESS_RULES_MAX);
        if count > count_max {
            return Err(InvalidSetting(format!(
                "{name} has {count} entries; at most {count_max} are allowed"
            )));
        }
    }
    Ok(())
}

fn check_range<T: PartialOrd + Debug>(
    name: &str,
    value: T,
    allowed: RangeInclusive<T>,
) -> Result<(), InvalidSetting> {
    match allowed.contains(&value) {
        true => Ok(()),
        false => Err(InvalidSetting(format!("{name} is {value:?}; allowed is {allowed:?}"))),
    }
}

fn check_listeners(config: &Config) -> Result<(), String> {
    let listen = &config.listen;
    // One more is the socket in the state directory.
    let count_max = limits::LISTENERS_MAX - 1;
    if listen.len() > count_max {
        return Err(format!("{} listeners; at most {count_max} are allowed", listen.len()));
    }
    for (index, ListenerSpec { address, .. }) in listen.iter().enumerate() {
        let name = redact(&address.to_string()).into_owned();
        match listen[..index].iter().map(|other| &other.address).find(|other| other.conflicts_with(address)) {
            Some(other) if other == address => return Err(format!("{name} is listed twice")),
            Some(other) if other.socket() == address.socket() => {
                return Err(format!("{other} and {name} can't both be listened on: they have the same port"));
            }
            Some(other) => {
                return Err(format!(
                    "{other} and {name} can't both be listened on: one of them is all addresses"
                ));
            }
            None => {}
        }
        if *address == ListenAddress::Unix(config.state_dir.join(SOCKET_NAME)) {
            return Err(format!("{name} is the daemon's own socket, which is always there; leave it out"));
        }
        if is_own_file(address, config) {
            return Err(format!("{name} is a file of the daemon's own"));
        }
        if let ListenAddress::Tcp(socket) = address
            && !(address.is_local() || config.is_plaintext_allowed)
        {
            return Err(plaintext_refusal(*socket));
        }
    }
    Ok(())
}

/// Whether `address` is the path of the store, the lock or another file that the daemon creates.
fn is_own_file(address: &ListenAddress, config: &Config) -> bool {
    let ListenAddress::Unix(path) = address else { return false };
    let is_store = match &config.store {
        #[cfg(feature = "sqlite")]
        Location::Sqlite(store) => path == store,
        _ => false,
    };
    is_store || ["vmherd.lock", "vmherd.new"].iter().any(|name| *path == config.state_dir.join(name))
}

fn plaintext_refusal(address: SocketAddr) -> String {
    let port = address.port();
    // Clients of a tunnel or proxy connect from this host, so loopback alone does not authenticate them.
    format!(
        "tcp://{address} can be reached from other hosts, and passwords and tokens would cross the network in clear text, so \
         vmherd does not start. Do one of these: (1) listen on this host only, --listen tcp://127.0.0.1:{port}; (2) \
         let clients connect through a tunnel or proxy on this host (ssh, stunnel, nginx, HAProxy), and open nothing \
         to its clients: --listen tcp://127.0.0.1:{port}?open=none --registration closed (see docs/security.md); (3) \
         if no one can eavesdrop on that network (WireGuard), allow it: --allow-plaintext (or \
         VMHERD_ALLOW_PLAINTEXT=yes)."
    )
}

/// Checks that the path of the daemon's own socket fits into a socket address.
fn check_socket_path(state_dir: &Path) -> Result<(), InvalidSetting> {
    let socket = state_dir.join(SOCKET_NAME);
    let bytes = socket.as_os_str().len();
    if bytes <= limits::UNIX_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(InvalidSetting(format!(
        "--state-dir: {} has {bytes} bytes, and a socket's path may have {}; choose a shorter directory",
        redact(&socket.to_string_lossy()),
        limits::UNIX_PATH_BYTES_MAX
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    fn check(change: impl FnOnce(&mut Config)) -> Result<(), String> {
        let mut config = Config::default();
        change(&mut config);
        config.check("listen").map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(check(|_| {}), Ok(()));
    }

    #[test]
    fn values_outside_of_their_range_are_refused() {
        let error = check(|config| config.connections_max = 0).unwrap_err();
        assert_eq!(error, "connections_max is 0; allowed is 1..=1048576");
        let error = check(|config| config.timeouts.write = 2 * limits::TIMEOUT_MAX).unwrap_err();
        assert_eq!(error, "timeouts.write is 63072000s; allowed is 10ms..=31536000s");
    }

    #[test]
    fn lists_of_addresses_are_limited() {
        let rules = |count| vec!["192.0.2.1".parse().expect("an entry"); count];
        assert_eq!(check(|config| config.allow = rules(limits::ADDRESS_RULES_MAX)), Ok(()));
        let error = check(|config| config.allow = rules(limits::ADDRESS_RULES_MAX + 1)).unwrap_err();
        assert_eq!(error, "--allow has 1025 entries; at most 1024 are allowed");
        let error = check(|config| config.deny = rules(limits::ADDRESS_RULES_MAX + 1)).unwrap_err();
        assert_eq!(error, "--deny has 1025 entries; at most 1024 are allowed");
    }

    #[test]
    fn addresses_that_other_hosts_reach_are_refused_unless_allowed() {
        let listen = |config: &mut Config| config.listen.push("tcp://10.0.0.1:1".parse().unwrap());
        let error = check(listen).unwrap_err();
        assert!(error.starts_with("listen: tcp://10.0.0.1:1 can be reached from other hosts"), "{error}");
        let allowed = check(|config| {
            listen(config);
            config.is_plaintext_allowed = true;
        });
        assert_eq!(allowed, Ok(()));
    }
}

//! The hosts of a database, and connecting to one of them.
//!
//! Each attempt has a total time limit: the crate's own limit ends with the TCP connection, and a server that
//! accepts and stays silent would block the caller forever. So an attempt runs on its own thread, which is
//! abandoned at the limit and closes a late connection itself.
//!
//! Invariant: at most `POSTGRES_ATTEMPTS_PER_HOST` attempts per host run at once, including abandoned ones.
//! They end when the host answers or the connection ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};
use postgres::{Client, Config, NoTls};

use super::pg_error::{PgError, describe, is_connection_error};
use super::url::host_labels;
use crate::clock::{Instant, monotonic_now};
use crate::limits;

/// The hosts of a database, in the order to try.
pub(super) struct Hosts {
    hosts: Vec<HostTarget>,
    is_order_random: bool,
}

struct HostTarget {
    /// For messages.
    name: String,
    /// With this host only.
    config: Config,
    attempt_limiter: Arc<AttemptLimiter>,
}

/// Why connecting failed.
#[derive(Debug)]
pub(super) struct ConnectError {
    pub(super) why: String,
    pub(super) kind: ConnectErrorKind,
}

/// The kind of failure; of several hosts, the highest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum ConnectErrorKind {
    Other,
    /// No answer within the limit: a packet may have been lost.
    Timeout,
    /// The host accepts no more connections now.
    TooManyConnections,
    /// The URL does not match the host: no such role or database, or another password.
    Misconfigured,
}

/// Limits the concurrent attempts to one host.
#[derive(Default)]
struct AttemptLimiter {
    attempts: Mutex<Attempts>,
    changed: Condvar,
}

#[derive(Default)]
struct Attempts {
    /// Running attempts.
    running: usize,
    /// Those of them that were abandoned.
    abandoned: usize,
}

impl Hosts {
    pub(super) fn new(config: &Config) -> Hosts {
        let named = host_labels(config).into_iter().zip(split_by_host(config));
        let hosts = named
            .map(|(name, config)| HostTarget { name, config, attempt_limiter: Arc::default() })
            .collect();
        Hosts { hosts, is_order_random: config.get_load_balance_hosts() == LoadBalanceHosts::Random }
    }

    /// Connects to the first host that accepts, and runs `settings` there. An error describes the failure
    /// of each host.
    pub(super) fn connect(&self, settings: &str) -> Result<Client, ConnectError> {
        let (before, after) = self.hosts.split_at(self.first_index());
        let (mut failures, mut reason) = (Vec::new(), ConnectErrorKind::Other);
        for host in after.iter().chain(before) {
            match host.connect(settings) {
                Ok(client) => return Ok(client),
                Err(failure) => {
                    failures.push(format!("{}: {}", host.name, failure.why));
                    reason = reason.max(failure.kind);
                }
            }
        }
        Err(ConnectError { why: failures.join("; "), kind: reason })
    }

    /// The number of hosts, at least one.
    pub(super) fn count(&self) -> usize {
        self.hosts.len().max(1)
    }

    fn first_index(&self) -> usize {
        let mut byte = [0];
        if self.is_order_random {
            // Unchanged bytes select the first host.
            let _ = getrandom::fill(&mut byte);
        }
        usize::from(byte[0]).checked_rem(self.hosts.len()).unwrap_or(0)
    }
}

impl HostTarget {
    fn connect(&self, settings: &str) -> Result<Client, ConnectError> {
        let time = *self.config.get_connect_timeout().unwrap_or(&limits::POSTGRES_CONNECT_TIMEOUT);
        let begin = monotonic_now();
        self.connect_until(begin + time, settings).map_err(|failure| match failure.kind {
            // The crate's own limit ends at about the same time.
            ConnectErrorKind::Other if monotonic_now().since(begin) >= time * 9 / 10 => {
                ConnectError { kind: ConnectErrorKind::Timeout, ..failure }
            }
            _ => failure,
        })
    }

    fn connect_until(&self, deadline: Instant, settings: &str) -> Result<Client, ConnectError> {
        self.attempt_limiter.acquire(deadline - monotonic_now()).map_err(ConnectError::other)?;
        // A rendezvous channel: a result is received or returned to the sender.
        let (sender, receiver) = mpsc::sync_channel(0);
        let (config, attempt_limiter) = (self.config.clone(), Arc::clone(&self.attempt_limiter));
        let settings = settings.to_owned();
        let attempt = move || {
            let connect = || -> Result<Client, ConnectError> {
                let mut client = config.connect(NoTls)?;
                client.batch_execute(&settings)?;
                Ok(client)
            };
            let result = catch_unwind(AssertUnwindSafe(connect))
                .unwrap_or_else(|_| Err(ConnectError::other("a panic, see the log")));
            let is_late = sender.send(result).is_err();
            attempt_limiter.release(is_late);
        };
        let started = thread::Builder::new()
            .name("vmherd-connect".into())
            .stack_size(limits::WORKER_STACK_BYTES)
            .spawn(attempt);
        if let Err(error) = started {
            self.attempt_limiter.release(false);
            return Err(ConnectError::other(format!("no thread to connect on: {error}")));
        }
        match receiver.recv_timeout(deadline - monotonic_now()) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                // Before the receiver is dropped, which tells the thread that it is late.
                self.attempt_limiter.abandon();
                Err(ConnectError::other("no connection in time"))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(ConnectError::other("the attempt ended without a result"))
            }
        }
    }
}

impl From<postgres::Error> for ConnectError {
    fn from(error: postgres::Error) -> ConnectError {
        let reason = match error.as_db_error() {
            None if is_connection_error(&error) => ConnectErrorKind::Other,
            None => ConnectErrorKind::Misconfigured,
            Some(database) => match database.code().code() {
                code if code.starts_with("53") => ConnectErrorKind::TooManyConnections,
                // PgBouncer uses one code for everything.
                _ if database.message().contains("no more connections allowed") => {
                    ConnectErrorKind::TooManyConnections
                }
                code if ["22", "28", "3D", "42"].iter().any(|class| code.starts_with(class)) => {
                    ConnectErrorKind::Misconfigured
                }
                _ => ConnectErrorKind::Other,
            },
        };
        ConnectError { why: describe(&error), kind: reason }
    }
}

impl ConnectError {
    fn other(why: impl Into<String>) -> ConnectError {
        ConnectError { why: why.into(), kind: ConnectErrorKind::Other }
    }
}

impl From<ConnectError> for PgError {
    fn from(error: ConnectError) -> PgError {
        match error.kind {
            ConnectErrorKind::Misconfigured => PgError::Misconfigured(error.why),
            _ => PgError::Failed(error.why),
        }
    }
}

impl AttemptLimiter {
    /// Takes a slot; waits while running attempts may still succeed.
    fn acquire(&self, wait_max: Duration) -> Result<(), String> {
        let max = limits::POSTGRES_ATTEMPTS_PER_HOST;
        let is_full = |attempts: &mut Attempts| attempts.running >= max && attempts.abandoned < max;
        let waited = self.changed.wait_timeout_while(self.attempts(), wait_max, is_full);
        let (mut attempts, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if attempts.running >= max {
            return Err(format!("{} earlier attempts to connect still wait for an answer", attempts.running));
        }
        attempts.running += 1;
        Ok(())
    }

    /// Marks a running attempt as abandoned.
    fn abandon(&self) {
        self.attempts().abandoned += 1;
        self.changed.notify_all();
    }

    /// Releases the slot of an ended attempt.
    fn release(&self, is_late: bool) {
        let mut attempts = self.attempts();
        attempts.running -= 1;
        attempts.abandoned -= usize::from(is_late);
        drop(attempts);
        self.changed.notify_all();
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits `config` into one per host. [`PostgresUrl`](super::url::PostgresUrl) has checked that the counts fit.
fn split_by_host(config: &Config) -> Vec<Config> {
    let count = config.get_hosts().len().max(config.get_hostaddrs().len());
    (0..count).map(|index| config_for_host(config, index, count > 1)).collect()
}

/// A copy of `config` for the host at `index`, since the crate cannot remove hosts; with our own limits where `config` sets
/// none. Its options are applied later.
fn config_for_host(config: &Config, index: usize, is_one_of_many: bool) -> Config {
    let mut one = Config::new();
    match config.get_hosts().get(index) {
        Some(Host::Tcp(name)) => drop(one.host(name)),
        Some(Host::Unix(folder)) => drop(one.host_path(folder)),
        None => {}
    }
    config.get_hostaddrs().get(index).map(|address| one.hostaddr(*address));
    config.get_ports().get(index).or(config.get_ports().first()).map(|port| one.port(*port));
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|name| one.dbname(name));
    one.application_name(config.get_application_name().unwrap_or("vmherd"));
    one.connect_timeout(*config.get_connect_timeout().unwrap_or(&limits::POSTGRES_CONNECT_TIMEOUT));
    // Set by method: in a URL the crate takes seconds, where libpq takes milliseconds.
    one.tcp_user_timeout(*config.get_tcp_user_timeout().unwrap_or(&limits::POSTGRES_TCP_USER_TIMEOUT));
    one.keepalives_interval(config.get_keepalives_interval().unwrap_or(limits::POSTGRES_KEEPALIVE_INTERVAL));
    one.keepalives_retries(config.get_keepalives_retries().unwrap_or(limits::POSTGRES_KEEPALIVE_PROBES));
    one.keepalives(config.get_keepalives());
    let idle = config.get_keepalives_idle();
    let is_idle_set = idle != Config::new().get_keepalives_idle();
    one.keepalives_idle(if is_idle_set { idle } else { limits::POSTGRES_KEEPALIVE_IDLE });
    one.ssl_mode(config.get_ssl_mode());
    one.ssl_negotiation(config.get_ssl_negotiation());
    one.target_session_attrs(match config.get_target_session_attrs() {
        // A standby takes no writes, so connect to the primary.
        TargetSessionAttrs::Any if is_one_of_many => TargetSessionAttrs::ReadWrite,
        attributes => attributes,
    });
    one.channel_binding(config.get_channel_binding());
    one.load_balance_hosts(config.get_load_balance_hosts());
    // The crate would log notices at the info level.
    one.notice_callback(|notice| log::debug!("the database says: {}", notice.message()));
    one
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::url::PostgresUrl;
    use super::*;

    /// A server that accepts connections but never answers; and its address.
    fn silent() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        (listener, address)
    }

    fn hosts(url: &str) -> Hosts {
        Hosts::new(&config(url))
    }

    fn config(url: &str) -> Config {
        PostgresUrl::parse(url).expect("a URL").config()
    }

    fn failure(hosts: &Hosts) -> String {
        hosts.connect("").err().expect("no server answers").why
    }

    fn wait_until(attempt_limiter: &AttemptLimiter, condition: impl Fn(&Attempts) -> bool) {
        let wait = Duration::from_secs(10);
        let waited =
            attempt_limiter
                .changed
                .wait_timeout_while(attempt_limiter.attempts(), wait, |attempts| !condition(attempts));
        assert!(!waited.expect("no panic").1.timed_out());
    }

    #[test]
    fn every_host_gets_all_settings_of_the_url() {
        let url = "postgresql://me:hunter2@a:1,[::1],%2Frun%2Fpg:3/herd?sslmode=disable&application_name=mine\
                   &connect_timeout=7&tcp_user_timeout=8&keepalives=0&keepalives_idle=9&keepalives_interval=10\
                   &keepalives_retries=11&target_session_attrs=read-only&channel_binding=disable\
                   &load_balance_hosts=random";
        let config = config(url);
        let split = split_by_host(&config);
        assert_eq!(host_labels(&config), ["a:1", "[::1]", "%2Frun%2Fpg:3"]);
        for (one, (host, port)) in split.iter().zip(config.get_hosts().iter().zip([1, 5432, 3])) {
            assert_eq!((one.get_hosts(), one.get_ports()), (&[host.clone()][..], &[port][..]));
            // Everything else in its debug output is the same.
            assert_eq!(one.get_password(), Some(&b"hunter2"[..]));
            let without_host = |config: &Config| {
                let text = format!("{config:?}");
                let (before, rest) = text.split_once("host: ").expect("a host");
                let (_, after) = rest.split_once("connect_timeout: ").expect("a time");
                format!("{before}{after}")
            };
            assert_eq!(without_host(one), without_host(&config));
        }
        assert_eq!(split.len(), 3);
    }

    #[test]
    fn default_timeouts_of_a_host_apply_unless_the_url_sets_them() {
        let first = |url| split_by_host(&config(url)).remove(0);
        let one = first("postgresql://localhost/x");
        assert_eq!(one.get_connect_timeout(), Some(&limits::POSTGRES_CONNECT_TIMEOUT));
        assert_eq!(one.get_tcp_user_timeout(), Some(&limits::POSTGRES_TCP_USER_TIMEOUT));
        assert_eq!(one.get_keepalives_idle(), limits::POSTGRES_KEEPALIVE_IDLE);
        assert_eq!(one.get_application_name(), Some("vmherd"));
        assert_eq!(one.get_target_session_attrs(), TargetSessionAttrs::Any);

        let one = first(
            "postgresql://localhost,[::1]/x?connect_timeout=7&tcp_user_timeout=8&keepalives_idle=9\
             &application_name=mine&options=-c%20lock_timeout%3D1",
        );
        let seconds = Duration::from_secs;
        assert_eq!(one.get_connect_timeout(), Some(&seconds(7)));
        assert_eq!(one.get_tcp_user_timeout(), Some(&seconds(8)));
        assert_eq!(one.get_keepalives_idle(), seconds(9));
        assert_eq!(one.get_application_name(), Some("mine"));
        assert_eq!(one.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    }

    #[test]
    fn hostaddrs_pair_with_hosts_and_may_share_a_port() {
        let ports_of = |url: &str| {
            let split = split_by_host(&config(url));
            let label = |one: &Config| format!("{:?} {:?}", one.get_hostaddrs(), one.get_ports());
            assert!(split.iter().all(|one| one.get_hosts().len() <= 1));
            split.iter().map(label).collect::<Vec<_>>()
        };
        let named = ports_of("postgresql://a:1,b:2/x?hostaddr=127.0.0.1,127.0.0.2");
        assert_eq!(named, ["[127.0.0.1] [1]", "[127.0.0.2] [2]"]);
        let nameless = ports_of("postgresql:///x?hostaddr=127.0.0.1,127.0.0.2&port=7");
        assert_eq!(nameless, ["[127.0.0.1] [7]", "[127.0.0.2] [7]"]);
        let why =
            PostgresUrl::parse("postgresql://localhost,localhost/x?port=7").expect_err("no port for each");
        assert!(why.contains("2 hosts and 3 ports"), "{why}");
    }

    #[test]
    fn silent_servers_time_out_and_are_named() {
        let ((_one, one), (_other, other)) = (silent(), silent());
        let hosts = hosts(&format!("postgresql://me:hunter2@{one},{other}/herd"));
        let begin = monotonic_now();
        let why = failure(&hosts);
        let time = monotonic_now().since(begin);
        assert!(2 * limits::POSTGRES_CONNECT_TIMEOUT <= time && time < limits::STORE_DEADLINE, "{time:?}");
        assert!(why.contains(&format!("{one}: no connection in time")), "{why}");
        assert!(why.contains(&format!("; {other}: no connection in time")), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }

    #[test]
    fn attempts_to_a_silent_server_are_bounded() {
        let (listener, address) = silent();
        let mut config = config(&format!("postgresql://me@{address}/herd"));
        config.connect_timeout(Duration::from_millis(20));
        let mut hosts = Hosts::new(&config);
        let max = limits::POSTGRES_ATTEMPTS_PER_HOST;
        thread::scope(|scope| {
            for _ in 0..3 * max {
                scope.spawn(|| failure(&hosts));
            }
        });
        let attempt_limiter = Arc::clone(&hosts.hosts[0].attempt_limiter);
        let attempt_limiter = &*attempt_limiter;
        wait_until(attempt_limiter, |attempts| (attempts.running, attempts.abandoned) == (max, max));

        // Fails at once, whatever the limit.
        hosts.hosts[0].config.connect_timeout(Duration::from_secs(3600));
        let why = failure(&hosts);
        assert!(why.contains(&format!("{max} earlier attempts")), "{why}");

        // Each attempt ends with its connection and releases its slot.
        drop(listener);
        wait_until(attempt_limiter, |attempts| (attempts.running, attempts.abandoned) == (0, 0));
        let why = failure(&hosts);
        assert!(why.contains("refused"), "{why}");
    }

    #[test]
    fn an_attempt_waits_for_a_free_slot() {
        let attempt_limiter = AttemptLimiter::default();
        for _ in 0..limits::POSTGRES_ATTEMPTS_PER_HOST {
            attempt_limiter.acquire(Duration::ZERO).expect("there is room");
        }
        assert!(attempt_limiter.acquire(Duration::from_millis(1)).is_err(), "its time is over");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| attempt_limiter.acquire(Duration::from_secs(3600)));
            attempt_limiter.release(false);
            assert_eq!(waiting.join().expect("no panic"), Ok(()));
        });
    }
}

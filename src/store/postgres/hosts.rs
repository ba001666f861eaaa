//! The hosts of a database, and connecting to one of them.
//!
//! Each attempt has a time for all of it: the crate's own limit ends with the TCP connection, and a server
//! that accepts and says nothing would hold whoever waits for it forever. So an attempt runs on a thread of
//! its own, which nobody waits for any longer once its time is up; what comes later is closed by that thread.
//!
//! Invariant: to one host at most `POSTGRES_ATTEMPTS_PER_HOST` attempts run at once, those that nobody waits
//! for any more included. They end when the host says something or its connection ends.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use postgres::config::{Host, LoadBalanceHosts};
use postgres::{Client, Config, NoTls};

use super::address::show_hosts;
use super::failure::{describe, is_of_connection};
use crate::clock::{Clock, Instant, SystemClock};
use crate::limits;

/// Where a database can be, in the order in which to look.
pub(super) struct Hosts {
    hosts: Vec<OneHost>,
    is_order_random: bool,
}

struct OneHost {
    /// For messages.
    name: String,
    /// With this host only.
    config: Config,
    places: Arc<Places>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct NoConnection {
    pub(super) why: String,
    pub(super) reason: Reason,
}

/// What that is a matter of; where hosts have different ones, the last of these counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Reason {
    Other,
    /// Nobody answered, for as long as was waited: a packet may have been lost.
    Silence,
    /// The host has no room for one more, now.
    Full,
    /// What the URL says is not so: the host has no such role or database, or wants another password.
    Settings,
}

/// Room for attempts to connect to one host.
#[derive(Default)]
struct Places {
    taken: Mutex<Taken>,
    changed: Condvar,
}

#[derive(Default)]
struct Taken {
    /// Attempts that run.
    running: usize,
    /// Those of them that nobody waits for any more.
    late: usize,
}

impl Hosts {
    pub(super) fn new(config: &Config) -> Hosts {
        let named = show_hosts(config).into_iter().zip(one_by_one(config));
        let hosts = named.map(|(name, config)| OneHost { name, config, places: Arc::default() }).collect();
        Hosts { hosts, is_order_random: config.get_load_balance_hosts() == LoadBalanceHosts::Random }
    }

    /// Connects to the first host that can be connected to, and says `settings` there. An error tells what each
    /// failed of.
    pub(super) fn connect(&self, settings: &str) -> Result<Client, NoConnection> {
        let (before, after) = self.hosts.split_at(self.first());
        let (mut failures, mut reason) = (Vec::new(), Reason::Other);
        for host in after.iter().chain(before) {
            match host.connect(settings) {
                Ok(client) => return Ok(client),
                Err(failure) => {
                    failures.push(format!("{}: {}", host.name, failure.why));
                    reason = reason.max(failure.reason);
                }
            }
        }
        Err(NoConnection { why: failures.join("; "), reason })
    }

    /// How many there are, at least one.
    pub(super) fn count(&self) -> usize {
        self.hosts.len().max(1)
    }

    fn first(&self) -> usize {
        let mut byte = [0];
        if self.is_order_random {
            // What it left untouched is the first of all.
            let _ = getrandom::fill(&mut byte);
        }
        usize::from(byte[0]).checked_rem(self.hosts.len()).unwrap_or(0)
    }
}

impl OneHost {
    fn connect(&self, settings: &str) -> Result<Client, NoConnection> {
        let time = self.config.get_connect_timeout().copied().unwrap_or(limits::POSTGRES_CONNECT);
        let mut clock = SystemClock::new();
        let deadline = clock.now() + time;
        // The crate gives up connecting at about the same time.
        let silence_begins = clock.now() + time * 9 / 10;
        let attempt = self.connect_until(deadline, &mut clock, settings);
        attempt.map_err(|failure| match failure.reason {
            Reason::Other if clock.now() >= silence_begins => {
                NoConnection { reason: Reason::Silence, ..failure }
            }
            _ => failure,
        })
    }

    fn connect_until(
        &self,
        deadline: Instant,
        clock: &mut SystemClock,
        settings: &str,
    ) -> Result<Client, NoConnection> {
        self.places.take(deadline - clock.now()).map_err(NoConnection::other)?;
        // Without room in between: what is sent was received, or comes back.
        let (sender, receiver) = mpsc::sync_channel(0);
        let (config, places) = (self.config.clone(), Arc::clone(&self.places));
        let settings = settings.to_owned();
        let attempt = move || {
            let result = catch_unwind(AssertUnwindSafe(|| {
                let mut client = config.connect(NoTls)?;
                client.batch_execute(&settings)?;
                Ok(client)
            }));
            let result = match result {
                Ok(result) => result.map_err(|error| NoConnection::of(&error)),
                Err(_) => Err(NoConnection::other("a panic, see the log")),
            };
            let is_late = sender.send(result).is_err();
            places.leave(is_late);
        };
        let started = thread::Builder::new()
            .name("vmherd-connect".into())
            .stack_size(limits::WORKER_STACK_BYTES)
            .spawn(attempt);
        if let Err(error) = started {
            self.places.leave(false);
            return Err(NoConnection::other(format!("no thread to connect on: {error}")));
        }
        match receiver.recv_timeout(deadline - clock.now()) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                // Before the receiver is gone, by which the thread knows that it is late.
                self.places.give_up();
                Err(NoConnection::other("no connection in time"))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(NoConnection::other("the attempt ended without a word"))
            }
        }
    }
}

impl NoConnection {
    fn of(error: &postgres::Error) -> NoConnection {
        let reason = match error.as_db_error() {
            None if is_of_connection(error) => Reason::Other,
            None => Reason::Settings,
            Some(database) => match database.code().code() {
                code if code.starts_with("53") => Reason::Full,
                // PgBouncer has one code for all.
                _ if database.message().contains("no more connections allowed") => Reason::Full,
                code if ["22", "28", "3D", "42"].iter().any(|class| code.starts_with(class)) => {
                    Reason::Settings
                }
                _ => Reason::Other,
            },
        };
        NoConnection { why: describe(error), reason }
    }

    fn other(why: impl Into<String>) -> NoConnection {
        NoConnection { why: why.into(), reason: Reason::Other }
    }
}

impl Places {
    /// Takes a place, waiting for one as long as others make attempts that may still come to something.
    fn take(&self, wait_max: Duration) -> Result<(), String> {
        let max = limits::POSTGRES_ATTEMPTS_PER_HOST;
        let is_full = |taken: &mut Taken| taken.running >= max && taken.late < max;
        let waited = self.changed.wait_timeout_while(self.taken(), wait_max, is_full);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if taken.running >= max {
            return Err(format!("{} earlier attempts to connect still wait for an answer", taken.running));
        }
        taken.running += 1;
        Ok(())
    }

    /// Nobody waits any more for an attempt that runs.
    fn give_up(&self) {
        self.taken().late += 1;
        self.changed.notify_all();
    }

    /// An attempt has ended.
    fn leave(&self, is_late: bool) {
        let mut taken = self.taken();
        taken.running -= 1;
        taken.late -= usize::from(is_late);
        drop(taken);
        self.changed.notify_all();
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `config` once for each of its hosts, with that host alone.
fn one_by_one(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    let fits = |length: usize| length == 0 || length == count;
    if !fits(hosts.len()) || !fits(addresses.len()) || ports.len() > 1 && ports.len() != count {
        // The crate says what is wrong.
        return vec![config.clone()];
    }
    let one = |index: usize| {
        let port = ports.get(index).or(ports.first()).copied();
        one_host(config, hosts.get(index), addresses.get(index).copied(), port)
    };
    (0..count).map(one).collect()
}

/// Everything that `config` says, for one host: the crate has no way to take hosts out of one. Without its
/// options, which are said later.
fn one_host(config: &Config, host: Option<&Host>, address: Option<IpAddr>, port: Option<u16>) -> Config {
    let mut one = Config::new();
    match host {
        Some(Host::Tcp(name)) => drop(one.host(name)),
        Some(Host::Unix(folder)) => drop(one.host_path(folder)),
        None => {}
    }
    address.map(|address| one.hostaddr(address));
    port.map(|port| one.port(port));
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|name| one.dbname(name));
    config.get_application_name().map(|name| one.application_name(name));
    config.get_connect_timeout().map(|time| one.connect_timeout(*time));
    config.get_tcp_user_timeout().map(|time| one.tcp_user_timeout(*time));
    config.get_keepalives_interval().map(|time| one.keepalives_interval(time));
    config.get_keepalives_retries().map(|count| one.keepalives_retries(count));
    one.keepalives(config.get_keepalives());
    one.keepalives_idle(config.get_keepalives_idle());
    one.ssl_mode(config.get_ssl_mode());
    one.ssl_negotiation(config.get_ssl_negotiation());
    one.target_session_attrs(config.get_target_session_attrs());
    one.channel_binding(config.get_channel_binding());
    one.load_balance_hosts(config.get_load_balance_hosts());
    // The crate would log them as news.
    one.notice_callback(|notice| log::debug!("the database says: {}", notice.message()));
    one
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::address::Address;
    use super::*;

    /// A server that takes connections (the system does it) and says nothing; and its address.
    fn silent() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        (listener, address)
    }

    fn hosts(url: &str) -> Hosts {
        Hosts::new(&config(url))
    }

    fn config(url: &str) -> Config {
        Address::parse(url).expect("a URL").config()
    }

    fn failure(hosts: &Hosts) -> String {
        hosts.connect("").err().expect("nobody is there").why
    }

    fn wait_until(places: &Places, condition: impl Fn(&Taken) -> bool) {
        let wait = Duration::from_secs(10);
        let waited = places.changed.wait_timeout_while(places.taken(), wait, |taken| !condition(taken));
        assert!(!waited.expect("nobody panics").1.timed_out());
    }

    #[test]
    fn every_host_has_all_that_the_url_says() {
        let url = "postgresql://me:hunter2@a:1,[::1],%2Frun%2Fpg:3/herd?sslmode=disable&application_name=mine\
                   &connect_timeout=7&tcp_user_timeout=8&keepalives=0&keepalives_idle=9&keepalives_interval=10\
                   &keepalives_retries=11&target_session_attrs=read-only&channel_binding=disable\
                   &load_balance_hosts=random";
        let config = config(url);
        let split = one_by_one(&config);
        assert_eq!(show_hosts(&config), ["a:1", "[::1]", "%2Frun%2Fpg:3"]);
        for (one, (host, port)) in split.iter().zip(config.get_hosts().iter().zip([1, 5432, 3])) {
            assert_eq!((one.get_hosts(), one.get_ports()), (&[host.clone()][..], &[port][..]));
            // What is shown of it is all that there is, but for its password.
            assert_eq!(one.get_password(), Some(&b"hunter2"[..]));
            let without_place = |config: &Config| {
                let text = format!("{config:?}");
                let (before, rest) = text.split_once("host: ").expect("a host");
                let (_, after) = rest.split_once("connect_timeout: ").expect("a time");
                format!("{before}{after}")
            };
            assert_eq!(without_place(one), without_place(&config));
        }
        assert_eq!(split.len(), 3);
    }

    #[test]
    fn addresses_go_with_their_names_and_may_share_a_port() {
        let places = |url: &str| {
            let split = one_by_one(&config(url));
            let place = |one: &Config| format!("{:?} {:?}", one.get_hostaddrs(), one.get_ports());
            assert!(split.iter().all(|one| one.get_hosts().len() <= 1));
            split.iter().map(place).collect::<Vec<_>>()
        };
        let named = places("postgresql://a:1,b:2/x?hostaddr=127.0.0.1,127.0.0.2");
        assert_eq!(named, ["[127.0.0.1] [1]", "[127.0.0.2] [2]"]);
        let nameless = places("postgresql:///x?hostaddr=127.0.0.1,127.0.0.2&port=7");
        assert_eq!(nameless, ["[127.0.0.1] [7]", "[127.0.0.2] [7]"]);
        let why = Address::parse("postgresql://localhost,localhost/x?port=7").expect_err("no port for each");
        assert!(why.contains("2 hosts and 3 ports"), "{why}");
    }

    #[test]
    fn servers_that_say_nothing_are_left_in_time_and_named() {
        let ((_one, one), (_other, other)) = (silent(), silent());
        let hosts = hosts(&format!("postgresql://me:hunter2@{one},{other}/herd"));
        let mut clock = SystemClock::new();
        let begin = clock.now();
        let why = failure(&hosts);
        let time = clock.now().since(begin);
        assert!(2 * limits::POSTGRES_CONNECT <= time && time < limits::STORE_DEADLINE, "{time:?}");
        assert!(why.contains(&format!("{one}: no connection in time")), "{why}");
        assert!(why.contains(&format!("; {other}: no connection in time")), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }

    #[test]
    fn a_silent_server_holds_so_many_attempts_and_no_more() {
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
        let places = Arc::clone(&hosts.hosts[0].places);
        let places = &*places;
        wait_until(places, |taken| (taken.running, taken.late) == (max, max));

        // At once, however much time there is.
        hosts.hosts[0].config.connect_timeout(Duration::from_secs(3600));
        let why = failure(&hosts);
        assert!(why.contains(&format!("{max} earlier attempts")), "{why}");

        // Each ends with its connection, and leaves its place.
        drop(listener);
        wait_until(places, |taken| (taken.running, taken.late) == (0, 0));
        let why = failure(&hosts);
        assert!(why.contains("refused"), "{why}");
    }

    #[test]
    fn who_finds_no_place_waits_for_one() {
        let places = Places::default();
        for _ in 0..limits::POSTGRES_ATTEMPTS_PER_HOST {
            places.take(Duration::ZERO).expect("there is room");
        }
        assert!(places.take(Duration::from_millis(1)).is_err(), "its time is over");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| places.take(Duration::from_secs(3600)));
            places.leave(false);
            assert_eq!(waiting.join().expect("no panic"), Ok(()));
        });
    }
}

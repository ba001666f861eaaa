//! The URL of a PostgreSQL database, in libpq's format as the crate parses it.
//!
//! A URL may hold a password: errors never repeat any of it, and only harmless parts are shown. Data goes to
//! another host in clear text only if the URL allows it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use postgres::Config;
use postgres::config::{ChannelBinding, Host, SslMode, SslNegotiation};

use super::session_settings;
use crate::limits;
use crate::model::Secret;

/// The URL of a database.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// The URL as given, including the password.
    url: Secret,
    /// The URL without secrets.
    redacted: String,
}

impl PostgresUrl {
    /// Whether `text` has the scheme of such a URL.
    pub(in super::super) fn has_scheme(text: &str) -> bool {
        text.starts_with("postgresql:") || text.starts_with("postgres:")
    }

    /// Parses a URL. The error does not repeat any of it.
    pub(in super::super) fn parse(text: &str) -> Result<PostgresUrl, String> {
        check_punctuation(text)?;
        let config = parse_config(text)?;
        check_security(&config)?;
        check_host_counts(&config)?;
        if session_settings::parse_options(config.get_options().unwrap_or_default()).is_none() {
            return Err(format!("{SHAPE}: options can hold -c NAME=VALUE only"));
        }
        Ok(PostgresUrl { url: Secret::new(text), redacted: redacted_url(&config) })
    }

    /// The settings of the URL.
    pub(super) fn config(&self) -> Config {
        parse_config(self.url.expose()).expect("it was read before")
    }

    /// The SQL that sets up every session with this lock timeout; settings of the URL come last and win.
    pub(super) fn session_settings_sql(&self, lock_wait: Duration) -> String {
        let ms = |time: Duration| time.as_millis().to_string();
        let defaults = [
            ("statement_timeout", ms(limits::POSTGRES_STATEMENT_TIMEOUT)),
            ("lock_timeout", ms(lock_wait)),
            ("idle_in_transaction_session_timeout", ms(limits::POSTGRES_IDLE_IN_TRANSACTION_TIMEOUT)),
            ("client_min_messages", "warning".to_owned()),
        ];
        let from_url = session_settings::parse_options(self.config().get_options().unwrap_or_default())
            .expect("it was read before");
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value));
        session_settings::set_config_sql(defaults.into_iter().chain(from_url))
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.redacted)
    }
}

/// The crate takes the first `@` anywhere, so it can mistake a part of a password for a host, or a part of a
/// query for a user. Ambiguous URLs are refused, as libpq does.
fn check_punctuation(text: &str) -> Result<(), String> {
    let Some((_, rest)) = text.split_once("://") else { return Err(SHAPE.to_owned()) };
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.matches('@').count() {
        0 if after.contains('@') => Err(ESCAPES.to_owned()),
        0 | 1 => Ok(()),
        _ => Err(ESCAPES.to_owned()),
    }
}

/// Parses `text`; without a host, uses the socket of Debian's PostgreSQL.
fn parse_config(text: &str) -> Result<Config, String> {
    let mut config: Config = text.parse().map_err(|error| describe_parse_error(&error))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host_path("/var/run/postgresql");
    }
    Ok(config)
}

/// Describes a parse error; quotes the crate only where it names a known option.
fn describe_parse_error(error: &postgres::Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match cause.strip_prefix("invalid value for option ") {
        Some("`sslmode`") => NO_TLS.to_owned(),
        Some(option) => format!("{SHAPE}: it has an invalid value for {option}"),
        None if cause.starts_with("unknown option") => format!("{SHAPE}: it has an unknown option"),
        None => SHAPE.to_owned(),
    }
}

fn check_security(config: &Config) -> Result<(), String> {
    let wants_tls = config.get_ssl_mode() == SslMode::Require
        || config.get_ssl_negotiation() == SslNegotiation::Direct
        || config.get_channel_binding() == ChannelBinding::Require;
    if wants_tls {
        return Err(NO_TLS.to_owned());
    }
    let is_local = match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(is_on_this_host),
        addresses => addresses.iter().all(IpAddr::is_loopback),
    };
    if is_local || config.get_ssl_mode() == SslMode::Disable {
        return Ok(());
    }
    Err("this build speaks no TLS, so everything (password hashes and tokens' hashes included) would pass \
         the network in clear text: add ?sslmode=disable to the URL where that network is trusted, or use \
         a server or a tunnel on this host"
        .to_owned())
}

/// Checks what the crate reports only when it connects.
fn check_host_counts(config: &Config) -> Result<(), String> {
    let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
    if hosts > 0 && addresses > 0 && hosts != addresses {
        return Err(format!("{SHAPE}: it has {hosts} hosts and {addresses} addresses of them (hostaddr)"));
    }
    let (count, ports) = (hosts.max(addresses), config.get_ports().len());
    if ports > 1 && ports != count {
        return Err(format!("{SHAPE}: it has {count} hosts and {ports} ports"));
    }
    Ok(())
}

fn is_on_this_host(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name.parse().map_or(name == "localhost", |ip: IpAddr| ip.is_loopback()),
    }
}

fn redacted_url(config: &Config) -> String {
    let hosts = host_labels(config);
    let user = match (config.get_user(), config.get_password()) {
        (None, None) => String::new(),
        (user, None) => format!("{}@", user.unwrap_or_default()),
        (user, Some(_)) => format!("{}:***@", user.unwrap_or_default()),
    };
    format!("postgresql://{user}{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

/// The label of each host, in order.
pub(super) fn host_labels(config: &Config) -> Vec<String> {
    let mut hosts: Vec<String> = config.get_hosts().iter().map(host_label).collect();
    if hosts.is_empty() {
        hosts = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    for (index, host) in hosts.iter_mut().enumerate() {
        let ports = config.get_ports();
        if let Some(port) = ports.get(index).or(ports.first()).filter(|port| **port != 5432) {
            *host = format!("{host}:{port}");
        }
    }
    hosts
}

fn host_label(host: &Host) -> String {
    match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.to_string_lossy().replace('/', "%2F"),
    }
}

const SHAPE: &str = "a PostgreSQL store is postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE&…";
const ESCAPES: &str = "in a user name or password write @ as %40, / as %2F, ? as %3F and # as %23";
const NO_TLS: &str = "this build speaks no TLS: sslmode can be disable or prefer only; use a server or a tunnel \
                      on this host";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, redacted) in [
            ("postgresql://localhost/herd", "postgresql://localhost/herd"),
            ("postgres://me:hunter2@127.0.0.1:5433/herd", "postgresql://me:***@127.0.0.1:5433/herd"),
            ("postgresql://me@[::1]/herd", "postgresql://me@[::1]/herd"),
            (
                "postgresql:///herd?user=me&password=hunter2",
                "postgresql://me:***@%2Fvar%2Frun%2Fpostgresql/herd",
            ),
            ("postgresql://%2Ftmp%2Fpg/herd", "postgresql://%2Ftmp%2Fpg/herd"),
            (
                "postgresql://me:hunt%40er2@a,b:6000/herd?sslmode=disable&target_session_attrs=read-write",
                "postgresql://me:***@a,b:6000/herd",
            ),
        ] {
            let address = PostgresUrl::parse(url).expect(url);
            assert_eq!(address.to_string(), redacted);
            assert!(!format!("{address:?}").contains("hunter2"));
        }
    }

    #[test]
    fn parse_errors_do_not_repeat_the_url() {
        for url in [
            "postgresql:hunter2",
            "postgresql://me:hun@ter2@localhost/herd",
            "postgresql://localhost/herd?user=me&password=hunter2@x",
            "postgresql://me:hunter2@localhost:port/herd",
            "postgresql://me:hunter2@localhost/herd?hunter2=1",
            "postgresql://me:hunter2@localhost/herd?hunter2",
            "postgresql://me:hunter2@localhost/herd?connect_timeout=hunter2",
            "postgresql://me:hunter2@localhost/herd?options=hunter2",
            "postgresql://me:hunter2@db.example.net/herd",
            "postgresql://me:hunter2@localhost/herd?sslmode=require",
            "postgresql://me:hunter2@localhost/herd?sslmode=verify-full",
            "postgresql://me:hunter2@localhost/herd?channel_binding=require",
            "postgresql://me:hunter2@localhost/herd?sslnegotiation=direct",
            "postgresql://me:hunter2@localhost,localhost/herd?hostaddr=127.0.0.1",
            "postgresql://me:hunter2@localhost,localhost,localhost/herd?port=1,2",
        ] {
            let error = PostgresUrl::parse(url).expect_err(url);
            assert!(!error.contains("hun") && !error.contains("ter2"), "{error}");
        }
        let why = |url| PostgresUrl::parse(url).unwrap_err();
        assert!(why("postgresql://localhost/?connect_timeout=x").contains("`connect_timeout`"));
        assert!(why("postgresql://me:a@b@localhost/").contains("%40"));
    }

    #[test]
    fn clear_text_to_another_host_needs_sslmode_disable() {
        for (url, is_accepted) in [
            ("postgresql://localhost/x", true),
            ("postgresql://127.0.0.2/x", true),
            ("postgresql://[::1]/x", true),
            ("postgresql:///x?host=/run/pg", true),
            ("postgresql://db.example.net/x", false),
            ("postgresql://db.example.net/x?sslmode=prefer", false),
            ("postgresql://db.example.net/x?sslmode=disable", true),
            ("postgresql://192.0.2.1/x", false),
            ("postgresql://localhost,192.0.2.1/x", false),
            ("postgresql://db.example.net/x?hostaddr=127.0.0.1", true),
            ("postgresql://localhost/x?hostaddr=192.0.2.1", false),
            ("postgresql:///x?hostaddr=192.0.2.1", false),
            ("postgresql://localhost.example.net/x", false),
        ] {
            assert_eq!(PostgresUrl::parse(url).is_ok(), is_accepted, "{url}");
        }
        let why = PostgresUrl::parse("postgresql://192.0.2.1/x").unwrap_err();
        assert!(why.contains("sslmode=disable"), "{why}");
        let why = PostgresUrl::parse("postgresql://localhost/x?sslmode=require").unwrap_err();
        assert!(why.contains("no TLS"), "{why}");
    }

    #[test]
    fn default_session_timeouts_apply_unless_the_url_sets_them() {
        let address = PostgresUrl::parse("postgresql://localhost/x").unwrap();
        assert!(
            address
                .session_settings_sql(limits::POSTGRES_LOCK_TIMEOUT)
                .contains("(E'lock_timeout', E'2000', false), ")
        );

        let url = "postgresql://localhost,[::1]/x?options=-c%20lock_timeout%3D1";
        let address = PostgresUrl::parse(url).unwrap();
        assert!(
            address
                .session_settings_sql(limits::POSTGRES_LOCK_TIMEOUT)
                .ends_with("(E'lock_timeout', E'1', false)")
        );
    }
}

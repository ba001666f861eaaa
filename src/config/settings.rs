//! The table of settings: each one's flag, environment name, default, limits and help text, and where its
//! value goes. Nothing else knows what settings there are.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::setting::{Kind, Preset, Reload, Setting};
use super::shown::may_hold_password;
use super::values::{choice, is_log_filter, time_range};
use super::{Durability, Listen, LogFormat, listen};
#[cfg(feature = "http")]
use crate::framing::http::{AllowedHost, AllowedOrigin};
use crate::limits;
use crate::store::Location;

/// Every setting, in the order of the help text.
pub(super) static SETTINGS: [Setting; SETTING_COUNT] = [
    Setting {
        flag: "config",
        placeholder: "FILE",
        help: "settings as NAME=VALUE lines",
        preset: Preset::Words("none"),
        reload: Reload::Restart,
        kind: Kind::Text {
            allowed: "a path",
            is_repeatable: false,
            // Whoever looks values up has read it already.
            place: |_, text| path(text).map(drop),
        },
    },
    Setting {
        flag: "listen",
        placeholder: "ADDRESS",
        help: "may be repeated",
        preset: Preset::Text("tcp://127.0.0.1:8888"),
        reload: Reload::Restart,
        kind: Kind::Text {
            allowed: listen::ALLOWED,
            is_repeatable: true,
            place: |draft, text| Listen::parse(text).map(|listen| draft.config.listen.push(listen)),
        },
    },
    Setting {
        flag: "allow-plaintext",
        placeholder: "",
        help: "let --listen reach beyond this host, unencrypted",
        preset: Preset::Text("no"),
        reload: Reload::Restart,
        kind: Kind::Switch { place: |draft, value| draft.config.is_plaintext_allowed = value },
    },
    Setting {
        flag: "store",
        placeholder: "STORE",
        help: STORE_HELP,
        preset: Preset::Words(STORE_PRESET),
        reload: Reload::Restart,
        kind: Kind::Text {
            allowed: STORE_ALLOWED,
            is_repeatable: false,
            place: |draft, text| {
                let location = Location::parse(text).map_err(|why| format!("is no store: {why}"))?;
                draft.store = Some(location);
                Ok(())
            },
        },
    },
    Setting {
        flag: "store-file",
        placeholder: "FILE",
        help: "its first line is what --store would say",
        preset: Preset::Words("none"),
        reload: Reload::Restart,
        kind: Kind::Text {
            allowed: "a path",
            is_repeatable: false,
            place: |draft, text| path(text).map(|path| draft.store_file = Some(path)),
        },
    },
    Setting {
        flag: "state-dir",
        placeholder: "DIR",
        help: "own socket, default store",
        preset: Preset::Words("see below"),
        reload: Reload::Restart,
        kind: Kind::Text {
            allowed: "a path",
            is_repeatable: false,
            place: |draft, text| path(text).map(|path| draft.state_dir = Some(path)),
        },
    },
    Setting {
        flag: "first-request-timeout",
        placeholder: "T",
        help: "for a client that has sent nothing",
        preset: Preset::Time(limits::FIRST_REQUEST_TIMEOUT),
        reload: Reload::Now,
        kind: Kind::TimeOrNone {
            allowed: TIMEOUTS,
            place: |draft, time| draft.config.timeouts.first_request = time,
        },
    },
    Setting {
        flag: "request-timeout",
        placeholder: "T",
        help: "first to last byte of a request",
        preset: Preset::Time(limits::REQUEST_TIMEOUT),
        reload: Reload::Now,
        kind: Kind::Time { allowed: TIMEOUTS, place: |draft, time| draft.config.timeouts.request = time },
    },
    Setting {
        flag: "idle-timeout",
        placeholder: "T",
        help: "between requests",
        preset: Preset::Words("1h, HTTP 75s, logged in none"),
        reload: Reload::Now,
        kind: Kind::TimeOrNone {
            allowed: TIMEOUTS,
            place: |draft, time| {
                draft.config.timeouts.idle_anonymous = time;
                draft.config.timeouts.idle_authenticated = time;
                draft.config.timeouts.idle_http = time;
            },
        },
    },
    Setting {
        flag: "write-timeout",
        placeholder: "T",
        help: "for a client that does not read",
        preset: Preset::Time(limits::WRITE_TIMEOUT),
        reload: Reload::Now,
        kind: Kind::Time { allowed: TIMEOUTS, place: |draft, time| draft.config.timeouts.write = time },
    },
    Setting {
        flag: "registration",
        placeholder: "open|closed",
        help: "who may register",
        preset: Preset::Words("open on this host only"),
        reload: Reload::Now,
        kind: Kind::Text {
            allowed: "open or closed",
            is_repeatable: false,
            place: |draft, text| {
                draft.config.registration = Some(choice(text, [("open", true), ("closed", false)])?);
                Ok(())
            },
        },
    },
    Setting {
        flag: "vms-max",
        placeholder: "N",
        help: "VMs that the store may hold",
        preset: Preset::Number(limits::VMS_MAX),
        reload: Reload::Now,
        kind: Kind::Number { allowed: 1..=limits::VMS_LIMIT, place: |draft, n| draft.config.vms_max = n },
    },
    Setting {
        flag: "token-lifetime",
        placeholder: "T",
        help: "how long a token is good for",
        preset: Preset::Time(limits::TOKEN_LIFETIME),
        reload: Reload::Now,
        kind: Kind::Time {
            allowed: limits::TOKEN_LIFETIME_MIN..=limits::TOKEN_LIFETIME_MAX,
            place: |draft, time| draft.config.token_lifetime = time,
        },
    },
    #[cfg(feature = "http")]
    Setting {
        flag: "http-host",
        placeholder: "NAME",
        help: "allowed in Host; repeatable",
        preset: Preset::Words("localhost, IPs"),
        reload: Reload::Now,
        kind: Kind::Text {
            allowed: "the name of a host, without a port",
            is_repeatable: true,
            place: |draft, text| {
                let host = AllowedHost::parse(text).map_err(|error| format!("is {error}"))?;
                draft.config.http.hosts.push(host);
                Ok(())
            },
        },
    },
    #[cfg(feature = "http")]
    Setting {
        flag: "http-origin",
        placeholder: "ORIGIN",
        help: "whose pages may ask; repeatable",
        preset: Preset::Words("own"),
        reload: Reload::Now,
        kind: Kind::Text {
            allowed: "an origin such as https://vms.example.org",
            is_repeatable: true,
            place: |draft, text| {
                let origin = AllowedOrigin::parse(text).map_err(|error| format!("is {error}"))?;
                draft.config.http.origins.push(origin);
                Ok(())
            },
        },
    },
    Setting {
        flag: "conversion-delay",
        placeholder: "MIN..MAX",
        help: "0: answered at once",
        preset: Preset::Text(CONVERSION_DELAY_PRESET),
        reload: Reload::Now,
        kind: Kind::Text {
            allowed: CONVERSION_DELAY_ALLOWED,
            is_repeatable: false,
            place: |draft, text| {
                let max = limits::CONVERSION_DELAY_LIMIT;
                let range = time_range(text).filter(|range| *range.end() <= max);
                draft.config.conversion_delay =
                    range.ok_or_else(|| format!("must be {CONVERSION_DELAY_ALLOWED}"))?;
                Ok(())
            },
        },
    },
    Setting {
        flag: "metrics-durability",
        placeholder: "MODE",
        help: "ok says: in the store, or in memory",
        preset: Preset::Text("store"),
        reload: Reload::Restart,
        kind: Kind::Text {
            allowed: "store or memory",
            is_repeatable: false,
            place: |draft, text| {
                let choices = [("store", Durability::Store), ("memory", Durability::Memory)];
                draft.config.metrics_durability = choice(text, choices)?;
                Ok(())
            },
        },
    },
    Setting {
        flag: "metrics-retention",
        placeholder: "T",
        help: "remove points that are older",
        preset: Preset::Text("none"),
        reload: Reload::Now,
        kind: Kind::TimeOrNone {
            allowed: limits::RETENTION_MIN..=limits::RETENTION_MAX,
            place: |draft, time| draft.config.metrics_retention = time,
        },
    },
    Setting {
        flag: "connections-max",
        placeholder: "N",
        help: "open connections",
        preset: Preset::Number(limits::CONNECTIONS_MAX as u64),
        reload: Reload::Now,
        kind: Kind::Number {
            allowed: 1..=limits::CONNECTIONS_LIMIT as u64,
            place: |draft, n| draft.config.connections_max = n as usize,
        },
    },
    Setting {
        flag: "requests-per-connection",
        placeholder: "N",
        help: "open ones with an id",
        preset: Preset::Number(limits::REQUESTS_PER_CONNECTION as u64),
        reload: Reload::Now,
        kind: Kind::Number {
            allowed: 1..=limits::REQUESTS_LIMIT as u64,
            place: |draft, n| draft.config.requests_per_connection = n as usize,
        },
    },
    Setting {
        flag: "requests-max",
        placeholder: "N",
        help: "requests on their way, all connections",
        preset: Preset::Number(limits::REQUESTS_MAX as u64),
        reload: Reload::Now,
        kind: Kind::Number {
            allowed: 1..=limits::REQUESTS_LIMIT as u64,
            place: |draft, n| draft.config.requests_max = n as usize,
        },
    },
    Setting {
        flag: "auth-workers",
        placeholder: "N",
        help: "threads that hash passwords",
        preset: Preset::Words("cores, 4 at most"),
        reload: Reload::Restart,
        kind: Kind::Number {
            allowed: 1..=limits::AUTH_WORKERS_LIMIT as u64,
            place: |draft, n| draft.config.auth_workers = n as usize,
        },
    },
    Setting {
        flag: "auth-queue",
        placeholder: "N",
        help: "logins that may wait",
        preset: Preset::Number(limits::AUTH_QUEUE as u64),
        reload: Reload::Now,
        kind: Kind::Number {
            allowed: 1..=limits::AUTH_QUEUE_LIMIT as u64,
            place: |draft, n| draft.config.auth_queue = n as usize,
        },
    },
    Setting {
        flag: "read-queue",
        placeholder: "N",
        help: "reads that may wait",
        preset: Preset::Number(limits::READ_QUEUE as u64),
        reload: Reload::Now,
        kind: Kind::Number {
            allowed: 1..=limits::STORE_QUEUE_LIMIT as u64,
            place: |draft, n| draft.config.read_queue = n as usize,
        },
    },
    Setting {
        flag: "write-queue",
        placeholder: "N",
        help: "writes that may wait",
        preset: Preset::Number(limits::WRITE_QUEUE as u64),
        reload: Reload::Now,
        kind: Kind::Number {
            allowed: 1..=limits::STORE_QUEUE_LIMIT as u64,
            place: |draft, n| draft.config.write_queue = n as usize,
        },
    },
    Setting {
        flag: "argon2-memory",
        placeholder: "KIB",
        help: "memory of one hash",
        preset: Preset::Number(limits::ARGON2_MEMORY_KIB as u64),
        reload: Reload::Restart,
        kind: Kind::Number {
            allowed: limits::ARGON2_MEMORY_KIB_MIN as u64..=limits::ARGON2_MEMORY_KIB_MAX as u64,
            place: |draft, n| draft.config.argon2.memory_kib = n as u32,
        },
    },
    Setting {
        flag: "argon2-passes",
        placeholder: "N",
        help: "passes over it",
        preset: Preset::Number(limits::ARGON2_PASSES as u64),
        reload: Reload::Restart,
        kind: Kind::Number {
            allowed: 1..=limits::ARGON2_PASSES_MAX as u64,
            place: |draft, n| draft.config.argon2.passes = n as u32,
        },
    },
    Setting {
        flag: "argon2-lanes",
        placeholder: "N",
        help: "its lanes",
        preset: Preset::Number(limits::ARGON2_LANES as u64),
        reload: Reload::Restart,
        kind: Kind::Number {
            allowed: 1..=limits::ARGON2_LANES_MAX as u64,
            place: |draft, n| draft.config.argon2.lanes = n as u32,
        },
    },
    Setting {
        flag: "log",
        placeholder: "FILTER",
        help: "as RUST_LOG: warn,vmherd=debug",
        preset: Preset::Text("info"),
        reload: Reload::Now,
        kind: Kind::Text {
            allowed: LOG_ALLOWED,
            is_repeatable: false,
            place: |draft, text| {
                draft.config.log = text.into();
                if is_log_filter(text) { Ok(()) } else { Err(format!("must be {LOG_ALLOWED}")) }
            },
        },
    },
    Setting {
        flag: "log-format",
        placeholder: "text|json",
        help: "one event a line, on stderr",
        preset: Preset::Text("text"),
        reload: Reload::Restart,
        kind: Kind::Text {
            allowed: "text or json",
            is_repeatable: false,
            place: |draft, text| {
                let choices = [("text", LogFormat::Text), ("json", LogFormat::Json)];
                draft.config.log_format = choice(text, choices)?;
                Ok(())
            },
        },
    },
    Setting {
        flag: "check-config",
        placeholder: "",
        help: "say whether these settings are valid, and exit",
        preset: Preset::Text("no"),
        reload: Reload::Restart,
        kind: Kind::Switch { place: |draft, value| draft.is_check = value },
    },
    Setting {
        flag: "show-config",
        placeholder: "",
        help: "say each setting and where it is from",
        preset: Preset::Words(""),
        reload: Reload::Restart,
        kind: Kind::Question,
    },
    Setting {
        flag: "version",
        placeholder: "",
        help: "say the version and exit",
        preset: Preset::Words(""),
        reload: Reload::Restart,
        kind: Kind::Question,
    },
    Setting {
        flag: "help",
        placeholder: "",
        help: "this text",
        preset: Preset::Words(""),
        reload: Reload::Restart,
        kind: Kind::Question,
    },
];

#[cfg(feature = "http")]
const SETTING_COUNT: usize = 34;
#[cfg(not(feature = "http"))]
const SETTING_COUNT: usize = 32;

const TIMEOUTS: RangeInclusive<Duration> = limits::TIMEOUT_MIN..=limits::TIMEOUT_MAX;
const CONVERSION_DELAY_PRESET: &str = "1s..5s";
const CONVERSION_DELAY_ALLOWED: &str = "two times like 500ms..2s, or one, 1h at most";
const LOG_ALLOWED: &str =
    "off, error, warn, info, debug or trace, for all or as TARGET=LEVEL, separated by commas";
#[cfg(feature = "sqlite")]
const STORE_HELP: &str = "sqlite:, postgres:, memory:";
#[cfg(feature = "sqlite")]
const STORE_ALLOWED: &str = "sqlite:PATH, postgresql://USER@HOST/DATABASE or memory:";
#[cfg(feature = "sqlite")]
const STORE_PRESET: &str = "DIR/vmherd.sqlite3";
#[cfg(not(feature = "sqlite"))]
const STORE_HELP: &str = "postgres:, memory:";
#[cfg(not(feature = "sqlite"))]
const STORE_ALLOWED: &str = "postgresql://USER@HOST/DATABASE or memory:";
#[cfg(not(feature = "sqlite"))]
const STORE_PRESET: &str = "memory:";

fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        _ if text.is_empty() || text.contains('\0') => Err("must be a path".into()),
        // The store, most likely, which would be made, and shown, with its password.
        _ if may_hold_password(text) && !text.starts_with(['/', '.']) => {
            Err("must be a path; one with @, :// or password in it begins with / or ./".into())
        }
        _ => Ok(text.into()),
    }
}

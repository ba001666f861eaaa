//! The table of settings: each one's flag, environment name, default, limits and help text, and where its
//! value goes. Nothing else knows what settings there are.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::arguments::{Flag, Takes};
use super::draft::Draft;
use super::values::{duration, duration_text, is_log_filter, number, switch};
use super::{Listen, LogFormat, listen};
use crate::limits;
use crate::store::Location;

/// One setting.
pub(crate) struct Setting {
    /// Its flag without the dashes; the environment name follows from it.
    pub(super) flag: &'static str,
    /// What stands for the value in the help text.
    pub(super) placeholder: &'static str,
    /// What it is for, in a few words.
    pub(super) help: &'static str,
    /// What it is without being set.
    pub(super) preset: Preset,
    /// What it may be, and where that goes.
    pub(super) kind: Kind,
}

/// What a setting is without being set.
pub(super) enum Preset {
    Number(u64),
    Time(Duration),
    Text(&'static str),
    /// In words; a new [`Draft`] has it, or what comes after the table.
    Words(&'static str),
}

/// What a setting may be, and where that goes.
pub(super) enum Kind {
    Number {
        allowed: RangeInclusive<u64>,
        place: fn(&mut Draft, u64),
    },
    Time {
        allowed: RangeInclusive<Duration>,
        place: fn(&mut Draft, Duration),
    },
    TimeOrNone {
        allowed: RangeInclusive<Duration>,
        place: fn(&mut Draft, Option<Duration>),
    },
    /// `place` says what is wrong with a value.
    Text {
        allowed: &'static str,
        is_repeatable: bool,
        place: fn(&mut Draft, &str) -> Result<(), String>,
    },
    Switch {
        place: fn(&mut Draft, bool),
    },
    /// A question to be answered instead of running; a flag only.
    Question,
}

/// Every setting, in the order of the help text.
pub(super) static SETTINGS: [Setting; 26] = [
    Setting {
        flag: "listen",
        placeholder: "ADDRESS",
        help: "may be repeated",
        preset: Preset::Text("tcp://127.0.0.1:8888"),
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
        kind: Kind::Switch { place: |draft, value| draft.is_plaintext_allowed = value },
    },
    Setting {
        flag: "store",
        placeholder: "STORE",
        help: STORE_HELP,
        preset: Preset::Words(STORE_PRESET),
        kind: Kind::Text {
            allowed: STORE_HELP,
            is_repeatable: false,
            place: |draft, text| {
                let location = Location::parse(text).map_err(|why| format!("is no store: {why}"))?;
                draft.store = Some(location);
                Ok(())
            },
        },
    },
    Setting {
        flag: "state-dir",
        placeholder: "DIR",
        help: "own socket, default store",
        preset: Preset::Words("see below"),
        kind: Kind::Text {
            allowed: "a path",
            is_repeatable: false,
            place: |draft, text| {
                let is_path = !text.is_empty() && !text.contains('\0');
                draft.state_dir = is_path.then(|| PathBuf::from(text));
                if is_path { Ok(()) } else { Err("must be a path".into()) }
            },
        },
    },
    Setting {
        flag: "first-request-timeout",
        placeholder: "T",
        help: "for a client that has sent nothing",
        preset: Preset::Time(limits::FIRST_REQUEST_TIMEOUT),
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
        kind: Kind::Time { allowed: TIMEOUTS, place: |draft, time| draft.config.timeouts.request = time },
    },
    Setting {
        flag: "idle-timeout",
        placeholder: "T",
        help: "between requests",
        preset: Preset::Words("1h, none once authenticated"),
        kind: Kind::TimeOrNone {
            allowed: TIMEOUTS,
            place: |draft, time| {
                draft.config.timeouts.idle_anonymous = time;
                draft.config.timeouts.idle_authenticated = time;
            },
        },
    },
    Setting {
        flag: "write-timeout",
        placeholder: "T",
        help: "for a client that does not read",
        preset: Preset::Time(limits::WRITE_TIMEOUT),
        kind: Kind::Time { allowed: TIMEOUTS, place: |draft, time| draft.config.timeouts.write = time },
    },
    Setting {
        flag: "registration",
        placeholder: "open|closed",
        help: "who may register",
        preset: Preset::Words("open on this host only"),
        kind: Kind::Text {
            allowed: "open or closed",
            is_repeatable: false,
            place: |draft, text| {
                draft.config.registration = Some(match text {
                    "open" => true,
                    "closed" => false,
                    _ => return Err("must be open or closed".into()),
                });
                Ok(())
            },
        },
    },
    Setting {
        flag: "vms-max",
        placeholder: "N",
        help: "VMs that the store may hold",
        preset: Preset::Number(limits::VMS_MAX),
        kind: Kind::Number { allowed: 1..=limits::VMS_LIMIT, place: |draft, n| draft.config.vms_max = n },
    },
    Setting {
        flag: "token-lifetime",
        placeholder: "T",
        help: "how long a token is good for",
        preset: Preset::Time(limits::TOKEN_LIFETIME),
        kind: Kind::Time {
            allowed: limits::TOKEN_LIFETIME_MIN..=limits::TOKEN_LIFETIME_MAX,
            place: |draft, time| draft.config.token_lifetime = time,
        },
    },
    Setting {
        flag: "connections-max",
        placeholder: "N",
        help: "open connections",
        preset: Preset::Number(limits::CONNECTIONS_MAX as u64),
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
        kind: Kind::Number {
            allowed: 1..=limits::REQUESTS_LIMIT as u64,
            place: |draft, n| draft.config.requests_per_connection = n as usize,
        },
    },
    Setting {
        flag: "requests-max",
        placeholder: "N",
        help: "the same, all connections",
        preset: Preset::Number(limits::REQUESTS_MAX as u64),
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
        kind: Kind::Text {
            allowed: "text or json",
            is_repeatable: false,
            place: |draft, text| {
                draft.config.log_format = match text {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => return Err("must be text or json".into()),
                };
                Ok(())
            },
        },
    },
    Setting {
        flag: "check-config",
        placeholder: "",
        help: "say whether these settings are valid, and exit",
        preset: Preset::Text("no"),
        kind: Kind::Switch { place: |draft, value| draft.is_check = value },
    },
    Setting {
        flag: "version",
        placeholder: "",
        help: "say the version and exit",
        preset: Preset::Words(""),
        kind: Kind::Question,
    },
    Setting {
        flag: "help",
        placeholder: "",
        help: "this text",
        preset: Preset::Words(""),
        kind: Kind::Question,
    },
];

const TIMEOUTS: RangeInclusive<Duration> = limits::TIMEOUT_MIN..=limits::TIMEOUT_MAX;
const LOG_ALLOWED: &str =
    "off, error, warn, info, debug or trace, for all or as TARGET=LEVEL, separated by commas";
#[cfg(feature = "sqlite")]
const STORE_HELP: &str = "sqlite:PATH or memory:";
#[cfg(feature = "sqlite")]
const STORE_PRESET: &str = "DIR/vmherd.sqlite3";
#[cfg(not(feature = "sqlite"))]
const STORE_HELP: &str = "memory:";
#[cfg(not(feature = "sqlite"))]
const STORE_PRESET: &str = "memory:";

impl Setting {
    /// The setting as the command line knows it.
    pub(super) fn as_flag(&self) -> Flag {
        let (takes, is_repeatable) = match self.kind {
            Kind::Question => (Takes::Nothing, true),
            Kind::Switch { .. } => (Takes::PerhapsValue, false),
            Kind::Text { is_repeatable, .. } => (Takes::Value, is_repeatable),
            Kind::Number { .. } | Kind::Time { .. } | Kind::TimeOrNone { .. } => (Takes::Value, false),
        };
        Flag { name: self.flag, takes, is_repeatable }
    }

    /// Its name in the environment.
    pub(super) fn environment(&self) -> Option<String> {
        let is_question = matches!(self.kind, Kind::Question);
        (!is_question).then(|| format!("VMHERD_{}", self.flag.to_ascii_uppercase().replace('-', "_")))
    }

    /// What it may be, in words.
    pub(super) fn allowed(&self) -> String {
        let times = |allowed: &RangeInclusive<Duration>| {
            format!("{} to {}", duration_text(*allowed.start()), duration_text(*allowed.end()))
        };
        match &self.kind {
            Kind::Number { allowed, .. } => format!("{} to {}", allowed.start(), allowed.end()),
            Kind::Time { allowed, .. } => times(allowed),
            Kind::TimeOrNone { allowed, .. } => format!("{} or none", times(allowed)),
            Kind::Text { allowed, .. } => (*allowed).into(),
            Kind::Switch { .. } => "1, true, yes, 0, false or no".into(),
            Kind::Question => String::new(),
        }
    }

    /// Puts the value `text` where it goes, or says what is wrong with it.
    pub(super) fn place(&self, draft: &mut Draft, text: &str) -> Result<(), String> {
        let in_range =
            |allowed: &RangeInclusive<Duration>| duration(text).filter(|time| allowed.contains(time));
        let is_placed = match &self.kind {
            Kind::Number { allowed, place } => number(text, allowed).map(|number| place(draft, number)),
            Kind::Time { allowed, place } => in_range(allowed).map(|time| place(draft, time)),
            Kind::TimeOrNone { place, .. } if text == "none" => {
                place(draft, None);
                Some(())
            }
            Kind::TimeOrNone { allowed, place } => in_range(allowed).map(|time| place(draft, Some(time))),
            Kind::Text { place, .. } => return place(draft, text),
            Kind::Switch { place } => switch(text).map(|value| place(draft, value)),
            Kind::Question => Some(()),
        };
        is_placed.ok_or_else(|| match &self.kind {
            Kind::Number { .. } => format!("must be a whole number, {}", self.allowed()),
            Kind::Time { .. } | Kind::TimeOrNone { .. } => {
                format!("must be a time like 500ms, 10s, 5m, 1h or 1d, {}", self.allowed())
            }
            _ => format!("must be {}", self.allowed()),
        })
    }
}

impl Preset {
    /// The value, as somebody would write it.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Preset::Number(number) => Some(number.to_string()),
            Preset::Time(time) => Some(duration_text(*time)),
            Preset::Text(text) => Some((*text).into()),
            Preset::Words(_) => None,
        }
    }
}

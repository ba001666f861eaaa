//! Settings of the store and its data.

use vmherd::{Durability, Location};

use super::super::setting::{DefaultValue, Kind, Reload, Setting};
use super::super::values::{parse_choice, parse_duration_range};
use super::{message, path};
use crate::limits;

pub(super) const STORE: Setting = Setting {
    flag: "store",
    placeholder: "STORE",
    help: STORE_HELP,
    default: DefaultValue::Computed(STORE_PRESET),
    reload: Reload::Restart,
    kind: Kind::Text {
        allowed: STORE_ALLOWED,
        is_repeatable: false,
        set: |partial, text| {
            let location: Location = text.parse().map_err(message)?;
            partial.store = Some(location);
            Ok(())
        },
    },
};

pub(super) const STORE_FILE: Setting = Setting {
    flag: "store-file",
    placeholder: "FILE",
    help: "its first line is what --store would say",
    default: DefaultValue::Computed("none"),
    reload: Reload::Restart,
    kind: Kind::Text {
        allowed: "a path",
        is_repeatable: false,
        set: |partial, text| path(text).map(|path| partial.store_file = Some(path)),
    },
};

pub(super) const STATE_DIR: Setting = Setting {
    flag: "state-dir",
    placeholder: "DIR",
    help: "own socket, default store",
    default: DefaultValue::Computed("see below"),
    reload: Reload::Restart,
    kind: Kind::Text {
        allowed: "a path",
        is_repeatable: false,
        set: |partial, text| path(text).map(|path| partial.state_dir = Some(path)),
    },
};

pub(super) const VMS_MAX: Setting = Setting {
    flag: "vms-max",
    placeholder: "N",
    help: "VMs that the store may hold",
    default: DefaultValue::Number(|config| config.vms_max),
    reload: Reload::Now,
    kind: Kind::Number { allowed: limits::VMS, set: |partial, n| partial.config.vms_max = n },
};

pub(super) const CONVERSION_DELAY: Setting = Setting {
    flag: "conversion-delay",
    placeholder: "MIN..MAX",
    help: "0: answered at once",
    default: DefaultValue::Text(CONVERSION_DELAY_PRESET),
    reload: Reload::Now,
    kind: Kind::Text {
        allowed: CONVERSION_DELAY_ALLOWED,
        is_repeatable: false,
        set: |partial, text| {
            let range =
                parse_duration_range(text).filter(|range| limits::CONVERSION_DELAY.contains(range.end()));
            partial.config.conversion_delay =
                range.ok_or_else(|| format!("must be {CONVERSION_DELAY_ALLOWED}"))?;
            Ok(())
        },
    },
};

pub(super) const METRICS_DURABILITY: Setting = Setting {
    flag: "metrics-durability",
    placeholder: "MODE",
    help: "ok says: in the store, or in memory",
    default: DefaultValue::Text("store"),
    reload: Reload::Restart,
    kind: Kind::Text {
        allowed: "store or memory",
        is_repeatable: false,
        set: |partial, text| {
            let choices = [("store", Durability::Store), ("memory", Durability::Memory)];
            partial.config.metrics_durability = parse_choice(text, choices)?;
            Ok(())
        },
    },
};

pub(super) const METRICS_RETENTION: Setting = Setting {
    flag: "metrics-retention",
    placeholder: "T",
    help: "remove points that are older",
    default: DefaultValue::Text("none"),
    reload: Reload::Now,
    kind: Kind::TimeOrNone {
        allowed: limits::RETENTION,
        set: |partial, time| partial.config.metrics_retention = time,
    },
};

pub(super) const READ_QUEUE: Setting = Setting {
    flag: "read-queue",
    placeholder: "N",
    help: "reads that may wait",
    default: DefaultValue::Number(|config| config.read_queue as u64),
    reload: Reload::Now,
    kind: Kind::Number {
        allowed: limits::STORE_QUEUE,
        set: |partial, n| partial.config.read_queue = n as usize,
    },
};

pub(super) const WRITE_QUEUE: Setting = Setting {
    flag: "write-queue",
    placeholder: "N",
    help: "writes that may wait",
    default: DefaultValue::Number(|config| config.write_queue as u64),
    reload: Reload::Now,
    kind: Kind::Number {
        allowed: limits::STORE_QUEUE,
        set: |partial, n| partial.config.write_queue = n as usize,
    },
};

pub(super) const STORE_CONNECTIONS: Setting = Setting {
    flag: "store-connections",
    placeholder: "MAX",
    help: "connections to PostgreSQL",
    default: DefaultValue::Computed("as needed"),
    reload: Reload::Restart,
    kind: Kind::Number {
        allowed: limits::STORE_CONNECTIONS,
        set: |partial, n| partial.config.store_connections = n as usize,
    },
};

const CONVERSION_DELAY_PRESET: &str = "1s..5s";
const CONVERSION_DELAY_ALLOWED: &str = "two times like 500ms..2s, or one, 1h at most";
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

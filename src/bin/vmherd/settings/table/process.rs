//! Settings of the process: settings file, log, and the flags that only print something.

use super::super::LogFormat;
use super::super::setting::{DefaultValue, Kind, Reload, Setting};
use super::super::values::{is_log_filter, log_targets, parse_choice};
use super::path;

pub(super) const CONFIG: Setting = Setting {
    flag: "config",
    placeholder: "FILE",
    help: "settings as NAME=VALUE lines",
    default: DefaultValue::Computed("none"),
    reload: Reload::Restart,
    kind: Kind::Text {
        allowed: "a path",
        is_repeatable: false,
        // `ParsedSources` has read the file already.
        set: |_, text| path(text).map(drop),
    },
};

pub(super) const LOG: Setting = Setting {
    flag: "log",
    placeholder: "FILTER",
    help: "as RUST_LOG: warn,vmherd=debug",
    default: DefaultValue::Text("info"),
    reload: Reload::Now,
    kind: Kind::Text {
        allowed: LOG_ALLOWED,
        is_repeatable: false,
        set: |partial, text| {
            partial.log.filter = text.into();
            match is_log_filter(text) {
                true => Ok(()),
                false => Err(format!("must be {LOG_ALLOWED}; a TARGET is {}", log_targets())),
            }
        },
    },
};

pub(super) const LOG_FORMAT: Setting = Setting {
    flag: "log-format",
    placeholder: "text|json",
    help: "one event a line, on stderr",
    default: DefaultValue::Text("text"),
    reload: Reload::Restart,
    kind: Kind::Text {
        allowed: "text or json",
        is_repeatable: false,
        set: |partial, text| {
            let choices = [("text", LogFormat::Text), ("json", LogFormat::Json)];
            partial.log.format = parse_choice(text, choices)?;
            Ok(())
        },
    },
};

pub(super) const CHECK_CONFIG: Setting = Setting {
    flag: "check-config",
    placeholder: "",
    help: "say whether these settings are valid, and exit",
    default: DefaultValue::Text("no"),
    reload: Reload::Restart,
    kind: Kind::Switch { set: |partial, value| partial.is_check = value },
};

pub(super) const SHOW_CONFIG: Setting = Setting {
    flag: "show-config",
    placeholder: "",
    help: "say each setting and where it is from",
    default: DefaultValue::Computed(""),
    reload: Reload::Restart,
    kind: Kind::InfoFlag,
};

pub(super) const VERSION: Setting = Setting {
    flag: "version",
    placeholder: "",
    help: "say the version and exit",
    default: DefaultValue::Computed(""),
    reload: Reload::Restart,
    kind: Kind::InfoFlag,
};

pub(super) const HELP: Setting = Setting {
    flag: "help",
    placeholder: "",
    help: "this text",
    default: DefaultValue::Computed(""),
    reload: Reload::Restart,
    kind: Kind::InfoFlag,
};

const LOG_ALLOWED: &str =
    "off, error, warn, info, debug or trace, for all or as TARGET=LEVEL, separated by commas";

//! Settings of registration, login and password hashing.

use super::super::setting::{DefaultValue, Kind, Reload, Setting};
use super::super::values::parse_choice;
use crate::limits;

pub(super) const REGISTRATION: Setting = Setting {
    flag: "registration",
    placeholder: "open|closed",
    help: "who may register",
    default: DefaultValue::Computed("open on this host only"),
    reload: Reload::Now,
    kind: Kind::Text {
        allowed: "open or closed",
        is_repeatable: false,
        set: |partial, text| {
            partial.config.registration = Some(parse_choice(text, [("open", true), ("closed", false)])?);
            Ok(())
        },
    },
};

pub(super) const TOKEN_LIFETIME: Setting = Setting {
    flag: "token-lifetime",
    placeholder: "T",
    help: "how long a token is good for",
    default: DefaultValue::Time(|config| config.token_lifetime),
    reload: Reload::Now,
    kind: Kind::Time {
        allowed: limits::TOKEN_LIFETIME,
        set: |partial, time| partial.config.token_lifetime = time,
    },
};

pub(super) const LOGIN_FAILURES: Setting = Setting {
    flag: "login-failures",
    placeholder: "N",
    help: "after so many wrong passwords, delay",
    default: DefaultValue::Number(|config| config.logins.failures.map_or(0, u64::from)),
    reload: Reload::Now,
    kind: Kind::NumberOrNone {
        allowed: limits::LOGIN_FAILURES,
        set: |partial, failures| partial.config.logins.failures = failures.map(|failures| failures as u32),
    },
};

pub(super) const LOGIN_DELAY_MAX: Setting = Setting {
    flag: "login-delay-max",
    placeholder: "T",
    help: "the next attempt, up to so long",
    default: DefaultValue::Time(|config| config.logins.delay_max.unwrap_or_default()),
    reload: Reload::Now,
    kind: Kind::TimeOrNone {
        allowed: limits::LOGIN_DELAY,
        set: |partial, time| partial.config.logins.delay_max = time,
    },
};

pub(super) const AUTH_WORKERS: Setting = Setting {
    flag: "auth-workers",
    placeholder: "N",
    help: "threads that hash passwords",
    default: DefaultValue::Computed("cores, 4 at most"),
    reload: Reload::Restart,
    kind: Kind::Number {
        allowed: limits::AUTH_WORKERS,
        set: |partial, n| partial.config.auth_workers = n as usize,
    },
};

pub(super) const AUTH_QUEUE: Setting = Setting {
    flag: "auth-queue",
    placeholder: "N",
    help: "logins that may wait",
    default: DefaultValue::Number(|config| config.auth_queue as u64),
    reload: Reload::Now,
    kind: Kind::Number {
        allowed: limits::AUTH_QUEUE,
        set: |partial, n| partial.config.auth_queue = n as usize,
    },
};

pub(super) const ARGON2_MEMORY: Setting = Setting {
    flag: "argon2-memory",
    placeholder: "KIB",
    help: "memory of one hash",
    default: DefaultValue::Number(|config| config.argon2.memory_kib.into()),
    reload: Reload::Restart,
    kind: Kind::Number {
        allowed: limits::ARGON2_MEMORY_KIB,
        set: |partial, n| partial.config.argon2.memory_kib = n as u32,
    },
};

pub(super) const ARGON2_PASSES: Setting = Setting {
    flag: "argon2-passes",
    placeholder: "N",
    help: "passes over it",
    default: DefaultValue::Number(|config| config.argon2.passes.into()),
    reload: Reload::Restart,
    kind: Kind::Number {
        allowed: limits::ARGON2_PASSES,
        set: |partial, n| partial.config.argon2.passes = n as u32,
    },
};

pub(super) const ARGON2_LANES: Setting = Setting {
    flag: "argon2-lanes",
    placeholder: "N",
    help: "its lanes",
    default: DefaultValue::Number(|config| config.argon2.lanes.into()),
    reload: Reload::Restart,
    kind: Kind::Number {
        allowed: limits::ARGON2_LANES,
        set: |partial, n| partial.config.argon2.lanes = n as u32,
    },
};

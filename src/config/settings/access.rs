//! Who may register and log in, and what a password costs.

use super::super::setting::{Kind, Preset, Reload, Setting};
use super::super::values::choice;
use crate::limits;

pub(super) const REGISTRATION: Setting = Setting {
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
};

pub(super) const TOKEN_LIFETIME: Setting = Setting {
    flag: "token-lifetime",
    placeholder: "T",
    help: "how long a token is good for",
    preset: Preset::Time(limits::TOKEN_LIFETIME),
    reload: Reload::Now,
    kind: Kind::Time {
        allowed: limits::TOKEN_LIFETIME_MIN..=limits::TOKEN_LIFETIME_MAX,
        place: |draft, time| draft.config.token_lifetime = time,
    },
};

pub(super) const LOGIN_FAILURES: Setting = Setting {
    flag: "login-failures",
    placeholder: "N",
    help: "after so many wrong passwords, delay",
    preset: Preset::Number(limits::LOGIN_FAILURES as u64),
    reload: Reload::Now,
    kind: Kind::NumberOrNone {
        allowed: 1..=limits::LOGIN_FAILURES_LIMIT as u64,
        place: |draft, failures| draft.config.logins.failures = failures.map(|failures| failures as u32),
    },
};

pub(super) const LOGIN_DELAY_MAX: Setting = Setting {
    flag: "login-delay-max",
    placeholder: "T",
    help: "the next attempt, up to so long",
    preset: Preset::Time(limits::LOGIN_DELAY_MAX),
    reload: Reload::Now,
    kind: Kind::TimeOrNone {
        allowed: limits::LOGIN_DELAY_MIN..=limits::LOGIN_DELAY_LIMIT,
        place: |draft, time| draft.config.logins.delay_max = time,
    },
};

pub(super) const AUTH_WORKERS: Setting = Setting {
    flag: "auth-workers",
    placeholder: "N",
    help: "threads that hash passwords",
    preset: Preset::Words("cores, 4 at most"),
    reload: Reload::Restart,
    kind: Kind::Number {
        allowed: 1..=limits::AUTH_WORKERS_LIMIT as u64,
        place: |draft, n| draft.config.auth_workers = n as usize,
    },
};

pub(super) const AUTH_QUEUE: Setting = Setting {
    flag: "auth-queue",
    placeholder: "N",
    help: "logins that may wait",
    preset: Preset::Number(limits::AUTH_QUEUE as u64),
    reload: Reload::Now,
    kind: Kind::Number {
        allowed: 1..=limits::AUTH_QUEUE_LIMIT as u64,
        place: |draft, n| draft.config.auth_queue = n as usize,
    },
};

pub(super) const ARGON2_MEMORY: Setting = Setting {
    flag: "argon2-memory",
    placeholder: "KIB",
    help: "memory of one hash",
    preset: Preset::Number(limits::ARGON2_MEMORY_KIB as u64),
    reload: Reload::Restart,
    kind: Kind::Number {
        allowed: limits::ARGON2_MEMORY_KIB_MIN as u64..=limits::ARGON2_MEMORY_KIB_MAX as u64,
        place: |draft, n| draft.config.argon2.memory_kib = n as u32,
    },
};

pub(super) const ARGON2_PASSES: Setting = Setting {
    flag: "argon2-passes",
    placeholder: "N",
    help: "passes over it",
    preset: Preset::Number(limits::ARGON2_PASSES as u64),
    reload: Reload::Restart,
    kind: Kind::Number {
        allowed: 1..=limits::ARGON2_PASSES_MAX as u64,
        place: |draft, n| draft.config.argon2.passes = n as u32,
    },
};

pub(super) const ARGON2_LANES: Setting = Setting {
    flag: "argon2-lanes",
    placeholder: "N",
    help: "its lanes",
    preset: Preset::Number(limits::ARGON2_LANES as u64),
    reload: Reload::Restart,
    kind: Kind::Number {
        allowed: 1..=limits::ARGON2_LANES_MAX as u64,
        place: |draft, n| draft.config.argon2.lanes = n as u32,
    },
};

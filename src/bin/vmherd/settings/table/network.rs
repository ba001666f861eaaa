//! Settings of the network: listeners, timeouts, limits on connections and requests.

#[cfg(feature = "http")]
use std::mem;

use vmherd::ListenerSpec;

use super::super::setting::{DefaultValue, Kind, Reload, Setting};
use super::message;
use crate::limits;

pub(super) const LISTEN: Setting = Setting {
    flag: "listen",
    placeholder: "ADDRESS",
    help: "may be repeated",
    default: DefaultValue::Text("tcp://127.0.0.1:8888"),
    reload: Reload::Restart,
    kind: Kind::Text {
        allowed: ListenerSpec::ALLOWED,
        is_repeatable: true,
        set: |partial, text| {
            let listener: ListenerSpec = text.parse().map_err(message)?;
            partial.config.listen.push(listener);
            Ok(())
        },
    },
};

pub(super) const ALLOW_PLAINTEXT: Setting = Setting {
    flag: "allow-plaintext",
    placeholder: "",
    help: "let --listen reach beyond this host, unencrypted",
    default: DefaultValue::Text("no"),
    reload: Reload::Restart,
    kind: Kind::Switch { set: |partial, value| partial.config.is_plaintext_allowed = value },
};

pub(super) const FIRST_REQUEST_TIMEOUT: Setting = Setting {
    flag: "first-request-timeout",
    placeholder: "T",
    help: "for a client that has sent nothing",
    default: DefaultValue::Time(|config| config.timeouts.first_request.unwrap_or_default()),
    reload: Reload::Now,
    kind: Kind::TimeOrNone {
        allowed: limits::TIMEOUTS,
        set: |partial, time| partial.config.timeouts.first_request = time,
    },
};

pub(super) const REQUEST_TIMEOUT: Setting = Setting {
    flag: "request-timeout",
    placeholder: "T",
    help: "first to last byte of a request",
    default: DefaultValue::Time(|config| config.timeouts.request),
    reload: Reload::Now,
    kind: Kind::Time {
        allowed: limits::TIMEOUTS,
        set: |partial, time| partial.config.timeouts.request = time,
    },
};

pub(super) const IDLE_TIMEOUT: Setting = Setting {
    flag: "idle-timeout",
    placeholder: "T",
    help: "between requests",
    default: DefaultValue::Computed("1h, HTTP 75s, logged in none"),
    reload: Reload::Now,
    kind: Kind::TimeOrNone {
        allowed: limits::TIMEOUTS,
        set: |partial, time| {
            partial.config.timeouts.idle_anonymous = time;
            partial.config.timeouts.idle_authenticated = time;
            partial.config.timeouts.idle_http = time;
        },
    },
};

pub(super) const WRITE_TIMEOUT: Setting = Setting {
    flag: "write-timeout",
    placeholder: "T",
    help: "for a client that does not read",
    default: DefaultValue::Time(|config| config.timeouts.write),
    reload: Reload::Now,
    kind: Kind::Time { allowed: limits::TIMEOUTS, set: |partial, time| partial.config.timeouts.write = time },
};

#[cfg(feature = "http")]
pub(super) const HTTP_HOST: Setting = Setting {
    flag: "http-host",
    placeholder: "NAME",
    help: "allowed in Host; repeatable",
    default: DefaultValue::Computed("localhost, IPs"),
    reload: Reload::Now,
    kind: Kind::Text {
        allowed: "the name of a host, without a port",
        is_repeatable: true,
        set: |partial, text| {
            partial.config = mem::take(&mut partial.config).http_host(text).map_err(message)?;
            Ok(())
        },
    },
};

#[cfg(feature = "http")]
pub(super) const HTTP_ORIGIN: Setting = Setting {
    flag: "http-origin",
    placeholder: "ORIGIN",
    help: "whose pages may ask; repeatable",
    default: DefaultValue::Computed("own"),
    reload: Reload::Now,
    kind: Kind::Text {
        allowed: "an origin such as https://vms.example.org",
        is_repeatable: true,
        set: |partial, text| {
            partial.config = mem::take(&mut partial.config).http_origin(text).map_err(message)?;
            Ok(())
        },
    },
};

pub(super) const CONNECTIONS_MAX: Setting = Setting {
    flag: "connections-max",
    placeholder: "N",
    help: "open connections",
    default: DefaultValue::Number(|config| config.connections_max as u64),
    reload: Reload::Now,
    kind: Kind::Number {
        allowed: limits::CONNECTIONS,
        set: |partial, n| partial.config.connections_max = n as usize,
    },
};

pub(super) const REQUESTS_PER_CONNECTION: Setting = Setting {
    flag: "requests-per-connection",
    placeholder: "N",
    help: "open ones with an id",
    default: DefaultValue::Number(|config| config.requests_per_connection as u64),
    reload: Reload::Now,
    kind: Kind::Number {
        allowed: limits::REQUESTS,
        set: |partial, n| partial.config.requests_per_connection = n as usize,
    },
};

pub(super) const REQUESTS_MAX: Setting = Setting {
    flag: "requests-max",
    placeholder: "N",
    help: "requests on their way, all connections",
    default: DefaultValue::Number(|config| config.requests_max as u64),
    reload: Reload::Now,
    kind: Kind::Number {
        allowed: limits::REQUESTS,
        set: |partial, n| partial.config.requests_max = n as usize,
    },
};

pub(super) const BUFFERS_MAX: Setting = Setting {
    flag: "buffers-max",
    placeholder: "SIZE",
    help: "what all clients may make it hold",
    default: DefaultValue::Size(|config| config.buffers_bytes_max as u64),
    reload: Reload::Now,
    kind: Kind::Size {
        allowed: limits::BUFFERS_BYTES,
        set: |partial, bytes| partial.config.buffers_bytes_max = bytes as usize,
    },
};

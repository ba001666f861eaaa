//! The table of settings: each one's flag, type, limits, field, default and help text. It is the only list of settings.

use std::mem;
use std::path::PathBuf;

#[cfg(feature = "qemu")]
use vmherd::{Accelerator, GuestNetwork};
use vmherd::{AddressRule, Durability, InvalidSetting, ListenerSpec, LogAddresses, may_hold_password};

use super::partial::LogFormat;
use super::setting::{Setting, setting};
#[cfg(feature = "qemu")]
use super::values::parse_ports;
use super::values::{is_log_filter, log_targets, parse_choice, parse_duration_range};
use crate::limits;

/// Every setting, in the order of the help text.
pub(super) static SETTINGS: &[Setting] = &[
    setting("config", "FILE", "settings as NAME=VALUE lines")
        // `ParsedSources` has read the file already.
        .text("a path", |_, text| path(text).map(drop))
        .with_computed_default("none")
        .needing_restart(),
    setting("listen", "ADDRESS", "may be repeated")
        .texts(ListenerSpec::ALLOWED, |partial, text| {
            partial.config = mem::take(&mut partial.config).listen(text.parse().map_err(message)?);
            Ok(())
        })
        .with_default("tcp://127.0.0.1:8888")
        .needing_restart(),
    setting("allow-plaintext", "", "let --listen reach beyond this host, unencrypted")
        .switch(|partial| &mut partial.config.is_plaintext_allowed)
        .needing_restart(),
    #[cfg(feature = "sealed")]
    setting("sealed-onetime-keys", "", "new keys for sealed:// at each start")
        .switch(|partial| &mut partial.config.sealed_onetime_keys)
        .needing_restart(),
    #[cfg(feature = "sealed")]
    setting("sealed-tokens", "", "clients of sealed:// need access tokens")
        .switch(|partial| &mut partial.config.sealed_tokens),
    setting("allow", "ADDRESS", "only these may connect; repeatable")
        .texts(AddressRule::ALLOWED, |partial, text| {
            partial.config.allow.push(text.parse().map_err(message)?);
            Ok(())
        })
        .with_computed_default("all"),
    setting("deny", "ADDRESS", "these may not connect; repeatable")
        .texts(AddressRule::ALLOWED, |partial, text| {
            partial.config.deny.push(text.parse().map_err(message)?);
            Ok(())
        })
        .with_computed_default("none"),
    setting("store", "STORE", STORE_HELP)
        .text(STORE_ALLOWED, |partial, text| {
            partial.store = Some(text.parse().map_err(message)?);
            Ok(())
        })
        .with_computed_default(STORE_DEFAULT)
        .needing_restart(),
    setting("store-file", "FILE", "its first line is what --store would say")
        .text("a path", |partial, text| path(text).map(|path| partial.store_file = Some(path)))
        .with_computed_default("none")
        .needing_restart(),
    setting("state-dir", "DIR", "own socket, default store")
        .text("a path", |partial, text| path(text).map(|path| partial.state_dir = Some(path)))
        .with_computed_default("DIR")
        .needing_restart(),
    setting("first-request-timeout", "T", "for a client that has sent nothing")
        .time(limits::TIMEOUTS, |partial| &mut partial.config.timeouts.first_request),
    setting("request-timeout", "T", "first to last byte of a request")
        .time(limits::TIMEOUTS, |partial| &mut partial.config.timeouts.request),
    setting("idle-timeout", "T", "between requests")
        .time(limits::TIMEOUTS, |partial| &mut partial.config.timeouts)
        .with_computed_default("1h, HTTP 75s, logged in none"),
    setting("write-timeout", "T", "for a client that does not read")
        .time(limits::TIMEOUTS, |partial| &mut partial.config.timeouts.write),
    setting("registration", "open|closed", "who may register")
        .text("open or closed", |partial, text| {
            partial.config.registration = Some(parse_choice(text, [("open", true), ("closed", false)])?);
            Ok(())
        })
        .with_computed_default("open on this host only"),
    setting("vms-max", "N", "VMs that the store may hold")
        .number(limits::VMS, |partial| &mut partial.config.vms_max),
    setting("token-lifetime", "T", "how long a token is good for")
        .time(limits::TOKEN_LIFETIME, |partial| &mut partial.config.token_lifetime),
    setting("login-failures", "N", "after so many wrong passwords, delay")
        .number(limits::LOGIN_FAILURES, |partial| &mut partial.config.logins.failures),
    setting("login-delay-max", "T", "the next attempt, up to so long")
        .time(limits::LOGIN_DELAY, |partial| &mut partial.config.logins.delay_max),
    #[cfg(feature = "http")]
    setting("http-host", "NAME", "allowed in Host; repeatable")
        .texts("the name of a host, without a port", |partial, text| {
            partial.config = mem::take(&mut partial.config).http_host(text).map_err(message)?;
            Ok(())
        })
        .with_computed_default("localhost, IPs"),
    #[cfg(feature = "http")]
    setting("http-origin", "ORIGIN", "whose pages may ask; repeatable")
        .texts("an origin such as https://vms.example.org", |partial, text| {
            partial.config = mem::take(&mut partial.config).http_origin(text).map_err(message)?;
            Ok(())
        })
        .with_computed_default("own"),
    setting("conversion-delay", "MIN..MAX", "0: answered at once")
        .text(CONVERSION_DELAY_ALLOWED, |partial, text| {
            let range =
                parse_duration_range(text).filter(|range| limits::CONVERSION_DELAY.contains(range.end()));
            partial.config.conversion_delay =
                range.ok_or_else(|| format!("must be {CONVERSION_DELAY_ALLOWED}"))?;
            Ok(())
        })
        .with_default("1s..5s"),
    setting("metrics-durability", "MODE", "ok says: in the store, or in memory")
        .text("store or memory", |partial, text| {
            let choices = [("store", Durability::Store), ("memory", Durability::Memory)];
            partial.config.metrics_durability = parse_choice(text, choices)?;
            Ok(())
        })
        .with_default("store")
        .needing_restart(),
    setting("metrics-retention", "T", "remove points that are older")
        .time(limits::RETENTION, |partial| &mut partial.config.metrics_retention),
    #[cfg(feature = "page")]
    setting("metrics-points", "", "GET /metrics has the latest points too")
        .switch(|partial| &mut partial.config.metrics_points),
    setting("connections-max", "N", "open connections")
        .number(limits::CONNECTIONS, |partial| &mut partial.config.connections_max),
    setting("requests-per-connection", "N", "open ones with an id")
        .number(limits::REQUESTS, |partial| &mut partial.config.requests_per_connection),
    setting("requests-max", "N", "requests on their way, all connections")
        .number(limits::REQUESTS, |partial| &mut partial.config.requests_max),
    setting("buffers-max", "SIZE", "what all clients may make it hold")
        .size(limits::BUFFERS_BYTES, |partial| &mut partial.config.buffers_bytes_max),
    setting("auth-workers", "N", "threads that hash passwords")
        .number(limits::AUTH_WORKERS, |partial| &mut partial.config.auth_workers)
        .with_computed_default("cores, 4 at most")
        .needing_restart(),
    setting("auth-queue", "N", "logins that may wait")
        .number(limits::AUTH_QUEUE, |partial| &mut partial.config.auth_queue),
    setting("read-queue", "N", "reads that may wait")
        .number(limits::STORE_QUEUE, |partial| &mut partial.config.read_queue),
    setting("write-queue", "N", "writes that may wait")
        .number(limits::STORE_QUEUE, |partial| &mut partial.config.write_queue),
    setting("store-connections", "MAX", "connections to PostgreSQL")
        .number(limits::STORE_CONNECTIONS, |partial| &mut partial.config.store_connections)
        .with_computed_default("as needed")
        .needing_restart(),
    setting("argon2-memory", "KIB", "memory of one hash")
        .number(limits::ARGON2_MEMORY_KIB, |partial| &mut partial.config.argon2.memory_kib)
        .needing_restart(),
    setting("argon2-passes", "N", "passes over it")
        .number(limits::ARGON2_PASSES, |partial| &mut partial.config.argon2.passes)
        .needing_restart(),
    setting("argon2-lanes", "N", "its lanes")
        .number(limits::ARGON2_LANES, |partial| &mut partial.config.argon2.lanes)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-image", "FILE", "what CREATE boots: an ISO or a disk")
        .text("a path", |partial, text| path(text).map(|path| partial.vms.image = Some(path)))
        .with_computed_default("none")
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vms-running-max", "N", "VMs that run at a time")
        .number(limits::VMS_RUNNING, |partial| &mut partial.vms.running_max)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-ports", "FROM-TO", "their SSH ports on this host")
        .text(PORTS_ALLOWED, |partial, text| {
            partial.vms.qemu.ports = parse_ports(text).ok_or_else(|| format!("must be {PORTS_ALLOWED}"))?;
            Ok(())
        })
        .with_default("22200-22299")
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-address", "IP", "where these ports are")
        .text("an IPv4 address of this host, or 0.0.0.0", |partial, text| {
            partial.vms.qemu.address = text.parse().map_err(|_| "must be an IPv4 address".to_owned())?;
            Ok(())
        })
        .with_default("127.0.0.1")
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-memory", "MIB", "memory of a VM")
        .number(limits::VM_RAM_MIB, |partial| &mut partial.vms.qemu.shape.ram_mib)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-cpus", "N", "its processors")
        .number(limits::VM_CPUS, |partial| &mut partial.vms.qemu.shape.cpus)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-accel", "WHAT", "runs it: the CPU (kvm), or QEMU (tcg)")
        .text("auto, kvm or tcg", |partial, text| {
            let choices = [("auto", Accelerator::Auto), ("kvm", Accelerator::Kvm), ("tcg", Accelerator::Tcg)];
            partial.vms.qemu.accelerator = parse_choice(text, choices)?;
            Ok(())
        })
        .with_default("auto")
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-network", "WHAT", "restricted, or open to all")
        .text("restricted or open", |partial, text| {
            let choices = [("restricted", GuestNetwork::Restricted), ("open", GuestNetwork::Open)];
            partial.vms.qemu.network = parse_choice(text, choices)?;
            Ok(())
        })
        .with_default("restricted")
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-user-data", "FILE", "cloud-init user-data for every VM")
        .text("a path", |partial, text| path(text).map(|path| partial.vms.qemu.user_data = Some(path)))
        .with_computed_default("none")
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-enroll", "", "give each a token to authenticate with")
        .switch(|partial| &mut partial.vms.enroll)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-ready-timeout", "T", "for its SSH to greet")
        .time(limits::VM_READY, |partial| &mut partial.vms.qemu.ready_timeout)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-stop-timeout", "T", "for it to power off at a stop")
        .time(limits::VM_STOP, |partial| &mut partial.vms.qemu.stop_timeout)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-life-max", "T", "end it after so long")
        .time(limits::VM_LIFE, |partial| &mut partial.vms.qemu.life_max)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-idle-timeout", "T", "end it after so long without SSH")
        .time(limits::VM_LIFE, |partial| &mut partial.vms.qemu.idle_timeout)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-reboot", "", "let it reboot; otherwise that ends it")
        .switch(|partial| &mut partial.vms.qemu.may_reboot)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vms-survive", "", "leave VMs running at a stop, take them over later")
        .switch(|partial| &mut partial.vms.qemu.survives)
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-machine", "TYPE", "QEMU's machine type")
        .text("a machine type of QEMU", |partial, text| {
            word(text).map(|text| partial.vms.qemu.machine = text)
        })
        .with_default("q35")
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-qemu", "PROGRAM", "QEMU itself")
        .text("a program", |partial, text| path(text).map(|path| partial.vms.qemu.program = path))
        .with_default("qemu-system-x86_64")
        .needing_restart(),
    #[cfg(feature = "qemu")]
    setting("vm-qemu-arg", "ARG", "one more of its arguments; repeatable")
        .texts("an argument of QEMU", |partial, text| {
            word(text).map(|text| partial.vms.qemu.arguments.push(text))
        })
        .with_computed_default("none")
        .needing_restart(),
    setting("log", "FILTER", "as RUST_LOG: warn,vmherd=debug")
        .text(LOG_ALLOWED, |partial, text| {
            partial.log.filter = text.into();
            match is_log_filter(text) {
                true => Ok(()),
                false => Err(format!("must be {LOG_ALLOWED}; a TARGET is {}", log_targets())),
            }
        })
        .with_default("info"),
    setting("log-addresses", "MODE", "how the log shows clients")
        .text("full, hashed or none", |partial, text| {
            let choices = [
                ("full", LogAddresses::Full),
                ("hashed", LogAddresses::Hashed),
                ("none", LogAddresses::None),
            ];
            partial.config.log_addresses = parse_choice(text, choices)?;
            Ok(())
        })
        .with_default("full"),
    setting("log-format", "text|json", "one event a line, on stderr")
        .text("text or json", |partial, text| {
            partial.log.format = parse_choice(text, [("text", LogFormat::Text), ("json", LogFormat::Json)])?;
            Ok(())
        })
        .with_default("text")
        .needing_restart(),
    setting("check-config", "", "say whether these settings are valid, and exit")
        .switch(|partial| &mut partial.is_check),
    setting("show-config", "", "say each setting and where it is from"),
    setting("version", "", "say the version and exit"),
    setting("help", "", "this text"),
];

/// The setting with the flag `flag`.
pub fn find(flag: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.flag == flag)
}

/// The rows of `flags`, and of the settings file, in the order of the table.
pub fn tool_settings(flags: &[&str]) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| setting.flag == "config" || flags.contains(&setting.flag))
}

fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        _ if text.is_empty() || text.contains('\0') => Err("must be a path".into()),
        // Most likely the store's URL: using it as a path would create and show a file name with its password.
        _ if may_hold_password(text) && !text.starts_with(['/', '.']) => {
            Err("must be a path; one with @, :// or password in it begins with / or ./".into())
        }
        _ => Ok(text.into()),
    }
}

/// A text that QEMU gets as it is.
#[cfg(feature = "qemu")]
fn word(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains('\0') {
        true => Err("must not be empty".into()),
        false => Ok(text.into()),
    }
}

/// The message of an error of the library.
fn message(error: InvalidSetting) -> String {
    error.to_string()
}

const CONVERSION_DELAY_ALLOWED: &str = "two times like 500ms..2s, or one, 1h at most";
#[cfg(feature = "qemu")]
const PORTS_ALLOWED: &str = "two ports like 22200-22299, the first not above the second";
const LOG_ALLOWED: &str =
    "off, error, warn, info, debug or trace, for all or as TARGET=LEVEL, separated by commas";
#[cfg(feature = "sqlite")]
const STORE_HELP: &str = "sqlite:, postgres:, memory:";
#[cfg(feature = "sqlite")]
const STORE_ALLOWED: &str = "sqlite:PATH, postgresql://USER@HOST/DATABASE or memory:";
#[cfg(feature = "sqlite")]
const STORE_DEFAULT: &str = "DIR/vmherd.sqlite3";
#[cfg(not(feature = "sqlite"))]
const STORE_HELP: &str = "postgres:, memory:";
#[cfg(not(feature = "sqlite"))]
const STORE_ALLOWED: &str = "postgresql://USER@HOST/DATABASE or memory:";
#[cfg(not(feature = "sqlite"))]
const STORE_DEFAULT: &str = "memory:";

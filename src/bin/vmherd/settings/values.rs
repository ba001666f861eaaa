//! Parsers and formatters for numbers, durations, sizes, switches and log filters.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A whole number.
pub fn parse_number(text: &str) -> Option<u64> {
    // `parse` alone would take a plus sign.
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// Whether a variable with the value `text` counts as unset.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A duration: a number with an optional fraction and a unit of [`UNITS`]; the default unit is seconds.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let unit = if unit.is_empty() { "s" } else { unit };
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let seconds = number.parse::<f64>().ok()? * Duration::from_millis(*unit).as_secs_f64();
    Duration::try_from_secs_f64(seconds).ok()
}

/// `MIN..MAX` with MIN <= MAX, or one duration for both.
pub(super) fn parse_duration_range(text: &str) -> Option<RangeInclusive<Duration>> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let (min, max) = (parse_duration(min)?, parse_duration(max)?);
    (min <= max).then_some(min..=max)
}

/// The shortest text that [`parse_duration`] reads as `duration`, down to milliseconds.
pub(super) fn format_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis().try_into().unwrap_or(u64::MAX);
    format_in(&UNITS, milliseconds).unwrap_or_else(|| "0s".into())
}

/// A number of bytes: a whole number and an optional unit of [`SIZES`].
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits);
    let (_, unit) = SIZES.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*unit)
}

/// The shortest text that [`parse_size`] reads as `bytes`.
pub(super) fn format_size(bytes: u64) -> String {
    format_in(&SIZES, bytes).unwrap_or_else(|| "0".into())
}

/// `amount` in the largest of `units` of which it is a multiple; `None` for zero.
fn format_in(units: &[(&str, u64)], amount: u64) -> Option<String> {
    let (name, unit) = units.iter().rev().find(|(_, unit)| amount > 0 && amount.is_multiple_of(*unit))?;
    Some(format!("{}{name}", amount / unit))
}

/// The value of one of some words.
pub(super) fn parse_choice<T, const N: usize>(text: &str, choices: [(&str, T); N]) -> Result<T, String> {
    let words = choices.each_ref().map(|(word, _)| *word);
    let chosen = choices.into_iter().find(|(word, _)| *word == text);
    let (last, others) = words.split_last().expect("there is a choice");
    chosen.map(|(_, value)| value).ok_or_else(|| format!("must be {} or {last}", others.join(", ")))
}

/// `FROM-TO`, two ports with FROM <= TO, or one port.
#[cfg(feature = "qemu")]
pub(super) fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let port = |text| parse_number(text)?.try_into().ok().filter(|port| *port > 0);
    let (from, to): (u16, u16) = (port(from)?, port(to)?);
    (from <= to).then_some(from..=to)
}

/// A switch.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// Whether `text` is a log filter in RUST_LOG's syntax: `LEVEL`, `TARGET` and `TARGET=LEVEL`, separated
/// by commas, and an optional `/TEXT` to search for. env_logger itself only warns of an invalid one.
pub(super) fn is_log_filter(text: &str) -> bool {
    let (directives, search) = text.split_once('/').unwrap_or((text, ""));
    let mut items = directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()).peekable();
    !search.contains('/') && items.peek().is_some() && items.all(is_log_directive)
}

fn is_log_directive(directive: &str) -> bool {
    match directive.split_once('=') {
        Some((target, level)) => is_log_target(target.trim()) && is_level(level.trim()),
        None => is_level(directive) || is_log_target(directive),
    }
}

fn is_level(text: &str) -> bool {
    text.parse::<log::LevelFilter>().is_ok()
}

/// Whether anything logs under the target `text`. A misspelt target or level would silence everything else.
fn is_log_target(text: &str) -> bool {
    match text.strip_prefix(OWN) {
        Some(module) => LOG_MODULES.split(' ').any(|known| module.split("::").next() == Some(known)),
        None => LOG_CRATES.contains(&text.split("::").next().unwrap_or_default()),
    }
}

/// `text` with possible passwords masked: in a URL everything between user name and host, and the values of
/// parameters with secret-sounding names. If in doubt, masks.
pub(super) fn mask_passwords(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.into() };
    let with_user = rest.rsplit_once('@').map(|(user_info, rest)| (user_info.split_once(':'), rest));
    let masked = match with_user {
        Some((Some((user, _)), rest)) => format!("{scheme}://{user}:{MASK}@{rest}"),
        _ => text.to_owned(),
    };
    masked.split_inclusive(['?', '&']).map(mask_parameter).collect()
}

fn mask_parameter(part: &str) -> String {
    let Some((name, value)) = part.split_once('=') else { return part.into() };
    let name_lower = name.to_ascii_lowercase();
    if !["pass", "secret", "token", "key"].iter().any(|word| name_lower.contains(word)) {
        return part.into();
    }
    let end = if value.ends_with(['?', '&']) { &value[value.len() - 1..] } else { "" };
    format!("{name}={MASK}{end}")
}

/// The targets that [`is_log_target`] accepts, for messages.
pub(super) fn log_targets() -> String {
    format!("{}, or {OWN} and one of {}", LOG_CRATES.join(", "), LOG_MODULES.replace(' ', ", "))
}

/// The crates that log.
const LOG_CRATES: [&str; 5] = ["vmherd", "mio", "postgres", "tokio_postgres", "tungstenite"];
/// Prefix of the targets of this crate's modules.
const OWN: &str = "vmherd::";
/// The modules of this crate, and the audit log.
pub(super) const LOG_MODULES: &str = "app assets audit buffer client clock config crypto dialect dispatch embed escape \
     framing ids limits log_limiter logging model notify qemu reactor registry server service session signal_loop store sys \
     work worker";
/// Replaces a masked text.
const MASK: &str = "***";

/// The units of sizes, ascending.
const SIZES: [(&str, u64); 4] = [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// The units of time in milliseconds, ascending.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

//! Delayed conversions: each is delayed once, and answered in time.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::environment::Environment;
use vmherd::internals::clock::Instant;
use vmherd::internals::ids::ConnId;
use vmherd::internals::limits;

/// A conversion is delayed: for as long as it may be.
pub(super) fn note_delay(env: &mut Environment, data: &str, due: Instant) -> Result<(), String> {
    let after = due.since(env.now);
    if !CONVERSION_DELAY.contains(&after) {
        return Err(format!("a delay of {after:?}"));
    }
    env.log(|| format!("{data} is due in {after:?}"));
    match env.knowledge.conversions_due.insert(mark(data)?, due) {
        None => Ok(()),
        Some(_) => Err("delayed twice".to_owned()),
    }
}

/// A conversion is answered: not before it is due, and soon after unless the client does not read.
pub(super) fn check_due(env: &Environment, conn: ConnId, data: &str) -> Result<(), String> {
    let due = *env.knowledge.conversions_due.get(&mark(data)?).ok_or("due without having been delayed")?;
    if env.now < due {
        return Err("answered too early".to_owned());
    }
    // It may have been closed since.
    let Some(connection) = env.network.open_connection(conn) else { return Ok(()) };
    let has_stalled =
        connection.stalled_since.is_some() || connection.stalled_until.is_some_and(|until| until >= due);
    // Where workers convert, it waits for those of the same connection that were due before.
    let is_inline = env.config.inline_bytes_max == limits::INLINE_BYTES_MAX && !env.config.has_greedy_client;
    let late = env.now.since(due);
    if late > LATE_MAX && !has_stalled && is_inline {
        return Err(format!("answered {late:?} too late"));
    }
    Ok(())
}

/// The unique number in a text.
fn mark(data: &str) -> Result<u64, String> {
    let digits: String =
        data.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().map_err(|_| format!("no client has sent {data}"))
}

/// How long a conversion may be delayed.
pub(super) const CONVERSION_DELAY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(5);

/// How late a delayed answer may be: some ticks.
const LATE_MAX: Duration = Duration::from_millis(50);

//! The trace of a simulated world, to find out why a check failed.

use std::time::Duration;

use vmherd::internals::clock::Instant;

/// Lines in the order of the events; empty unless a trace was requested.
#[derive(Default)]
pub(super) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace that is kept, or not.
    pub(super) fn new(is_kept: bool) -> Trace {
        Trace { lines: is_kept.then(Vec::new) }
    }

    /// Adds a line.
    pub(super) fn add(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let at: Duration = now.since(Instant::ORIGIN);
            lines.push(format!("{:>14.6} {}", at.as_secs_f64(), line()));
        }
    }

    /// All lines.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

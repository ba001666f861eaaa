//! The log: lines on standard error, in the daemon's style.

use std::env;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use log::{Level, LevelFilter, Log, Metadata, Record};
use vmherd::Escaped;

use super::limits;
use crate::sys::process::{unix_now_ms, utc};

/// Sends the messages of this process to standard error.
pub fn start() {
    static LINES: Lines = Lines;
    // An error means that a log was started before.
    if log::set_logger(&LINES).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= LevelFilter::Info
    }

    fn log(&self, record: &Record<'_>) {
        let is_for_journal = env::var_os("JOURNAL_STREAM").is_some();
        let line = line(is_for_journal, unix_now_ms(), record.level(), &record.args().to_string());
        // An error can't be reported: standard error is closed.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// A line with its line break. The journal adds the time, and reads the priority at the beginning.
fn line(is_for_journal: bool, unix_ms: u64, level: Level, message: &str) -> String {
    let mut line = String::new();
    let priority = match level {
        Level::Error => 3,
        Level::Warn => 4,
        _ => 6,
    };
    let [year, month, day, hour, minute, second] = utc((unix_ms / 1000) as i64);
    let ms = unix_ms % 1000;
    // Writing to a String never fails.
    let _ = match is_for_journal {
        true => write!(line, "<{priority}>"),
        false => {
            write!(
                line,
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z {level:<5} "
            )
        }
    };
    let _ = write!(line, "vmherdctl: {}", Escaped(message));
    if line.len() >= limits::LOG_LINE_BYTES_MAX {
        let mut end = limits::LOG_LINE_BYTES_MAX - "…\n".len();
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.replace_range(end.., "…");
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_the_style_of_the_daemon() {
        let ms = 1_795_210_217_123;
        assert_eq!(line(false, ms, Level::Info, "a\nb"), "2026-11-20T21:30:17.123Z INFO  vmherdctl: a\\nb\n");
        for (level, priority) in [(Level::Error, 3), (Level::Warn, 4), (Level::Info, 6)] {
            assert_eq!(line(true, ms, level, "x"), format!("<{priority}>vmherdctl: x\n"));
        }
    }

    #[test]
    fn long_lines_are_cut() {
        for shift in 0..3 {
            let line =
                line(false, 0, Level::Warn, &("x".repeat(shift) + &"é".repeat(limits::LOG_LINE_BYTES_MAX)));
            assert!(line.len() <= limits::LOG_LINE_BYTES_MAX && line.ends_with("é…\n"));
        }
    }
}

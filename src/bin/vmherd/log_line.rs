//! Formats one event as one line of the log, as text or as a JSON object.
//!
//! A line has no invisible character except its final line break, and at most [`limits::LOG_LINE_BYTES_MAX`] bytes, for
//! any message: a client can neither forge a line nor control a terminal.

use std::fmt::{self, Write};

use log::Level;
use vmherd::AUDIT_TARGET as AUDIT;
use vmherd::{is_invisible, write_escaped};

use crate::limits;
use crate::settings::LogFormat;
use crate::sys::process::utc;

/// The style of all lines of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineStyle {
    /// Text or JSON.
    pub format: LogFormat,
    /// Whether lines go to the journal, which adds the time and expects a priority at the start of each line.
    pub is_for_journal: bool,
}

/// Formats a line, with its line break.
pub fn log_line(
    LineStyle { format, is_for_journal }: LineStyle,
    unix_ms: u64,
    level: Level,
    target: &str,
    message: fmt::Arguments<'_>,
) -> String {
    let end = match format {
        LogFormat::Text => "\n",
        LogFormat::Json => "\"}\n",
    };
    let bytes_max = limits::LOG_LINE_BYTES_MAX - "…".len() - end.len();
    let mut line = Line { text: String::new(), format, bytes_max };
    let time = timestamp(unix_ms);
    if is_for_journal {
        let _ = write!(line.text, "<{}>", priority(level));
    }
    // Writing fails when the line is full; the line is then cut and ends in an ellipsis.
    let written = match format {
        LogFormat::Text => {
            if !is_for_journal {
                let _ = write!(line.text, "{time} {level:<5} ");
            }
            write!(line, "{}: {message}", program(target))
        }
        LogFormat::Json => {
            let _ = write!(line.text, r#"{{"time":"{time}","level":"{level}","target":""#);
            line.bytes_max -= MESSAGE.len();
            let target = line.write_str(target);
            line.text.push_str(MESSAGE);
            line.bytes_max = bytes_max;
            target.and_then(|()| line.write_fmt(message))
        }
    };
    if written.is_err() {
        line.text.push('…');
    }
    line.text.push_str(end);
    line.text
}

/// What a text line shows of `target`: its crate, which people know, and not a module of it. The audit log keeps its
/// full name, so that no other line can look like one of its lines.
fn program(target: &str) -> &str {
    if target == AUDIT { target } else { target.split("::").next().unwrap_or_default() }
}

/// A line that escapes its input and enforces the length limit.
struct Line {
    text: String,
    format: LogFormat,
    bytes_max: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let before = self.text.len();
            push_escaped(&mut self.text, self.format, character);
            if self.text.len() > self.bytes_max {
                self.text.truncate(before);
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

fn push_escaped(text: &mut String, format: LogFormat, character: char) {
    // Writing to a String never fails.
    let _ = match (format, character) {
        (LogFormat::Json, '"' | '\\') => write!(text, "\\{character}"),
        // JSON needs a surrogate pair for code points above U+FFFF.
        (LogFormat::Json, '\u{10000}'..) if is_invisible(character) => {
            let mut pair = [0; 2];
            character.encode_utf16(&mut pair);
            write!(text, "\\u{:04x}\\u{:04x}", pair[0], pair[1])
        }
        _ => write_escaped(character, text),
    };
}

/// The syslog priority of `level`, as in sd-daemon(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// `unix_ms`, in milliseconds since 1970, as UTC in RFC 3339 format.
fn timestamp(unix_ms: u64) -> String {
    let [year, month, day, hour, minute, second] = utc((unix_ms / 1000) as i64);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", unix_ms % 1000)
}

/// Between target and message of a JSON line.
const MESSAGE: &str = r#"","message":""#;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: LineStyle = LineStyle { format: LogFormat::Text, is_for_journal: false };
    const JSON: LineStyle = LineStyle { format: LogFormat::Json, is_for_journal: false };

    fn text(message: &str) -> String {
        log_line(TEXT, 0, Level::Info, "t", format_args!("{message}"))
    }

    fn json(message: &str) -> String {
        log_line(JSON, 0, Level::Info, "t", format_args!("{message}"))
    }

    #[test]
    fn a_line_has_time_level_program_and_message() {
        let line = |style| {
            log_line(style, 1_795_210_217_123, Level::Info, "vmherd::service", format_args!("a {} c", "b"))
        };
        assert_eq!(line(TEXT), "2026-11-20T21:30:17.123Z INFO  vmherd: a b c\n");
        assert_eq!(
            line(JSON),
            "{\"time\":\"2026-11-20T21:30:17.123Z\",\"level\":\"INFO\",\"target\":\"vmherd::service\",\
             \"message\":\"a b c\"}\n"
        );
    }

    #[test]
    fn text_lines_name_crates_and_the_audit_log_but_no_modules() {
        for (target, program) in
            [("vmherd::store::sqlite", "vmherd"), ("mio", "mio"), ("a::b", "a"), (AUDIT, AUDIT)]
        {
            let line = log_line(TEXT, 0, Level::Info, target, format_args!("m"));
            assert_eq!(line, format!("1970-01-01T00:00:00.000Z INFO  {program}: m\n"));
        }
    }

    #[test]
    fn journal_lines_have_priority_and_no_time() {
        let line = |format, level| {
            log_line(LineStyle { format, is_for_journal: true }, 0, level, "t", format_args!("a\nb"))
        };
        let priorities =
            [(Level::Error, 3), (Level::Warn, 4), (Level::Info, 6), (Level::Debug, 7), (Level::Trace, 7)];
        for (level, priority) in priorities {
            assert_eq!(line(LogFormat::Text, level), format!("<{priority}>t: a\\nb\n"));
            let json = line(LogFormat::Json, level);
            let object = json.strip_prefix(&format!("<{priority}>")).expect("a priority");
            let object: serde_json::Value = serde_json::from_str(object).unwrap();
            assert_eq!((&object["level"], &object["message"]), (&level.as_str().into(), &"a\nb".into()));
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let message = "a\nb\r\tc\u{1b}[0m\u{7f}\u{85}\u{2028}\u{202e}\u{0}\u{200b}\u{e0041}\u{fe0f}\"\\é";
        assert_eq!(
            text(message),
            "1970-01-01T00:00:00.000Z INFO  t: \
             a\\nb\\r\\tc\\u001b[0m\\u007f\\u0085\\u2028\\u202e\\u0000\\u200b\\U000e0041\\ufe0f\"\\é\n"
        );
        let object: serde_json::Value = serde_json::from_str(&json(message)).unwrap();
        assert_eq!(object["message"], message);
        assert_eq!(json(message).matches(is_invisible).count(), 1, "the final line break");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        for unit in ["x", "é", "𝄞", "\n", "\"", "\u{1b}"] {
            for shift in 0..8 {
                let message = "x".repeat(shift) + &unit.repeat(limits::LOG_LINE_BYTES_MAX);
                let line = text(&message);
                assert!(line.len() <= limits::LOG_LINE_BYTES_MAX && line.ends_with("…\n"));
                assert!(line.len() > limits::LOG_LINE_BYTES_MAX - 8, "as much as fits is there");
                let line = json(&message);
                assert!(line.len() <= limits::LOG_LINE_BYTES_MAX && line.ends_with("…\"}\n"));
                let object: serde_json::Value = serde_json::from_str(&line).unwrap();
                let shown = object["message"].as_str().unwrap().trim_end_matches('…').to_owned();
                assert!(message.starts_with(&shown) && !shown.is_empty());
            }
        }
    }

    #[test]
    fn line_that_just_fits_is_not_cut() {
        let room = limits::LOG_LINE_BYTES_MAX - text("").len() - "…".len();
        assert!(!text(&"x".repeat(room)).contains('…'));
        assert!(text(&"x".repeat(room + 1)).contains('…'));
    }

    #[test]
    fn a_long_target_leaves_json_well_formed() {
        let target = "t".repeat(2 * limits::LOG_LINE_BYTES_MAX);
        let line = log_line(JSON, 0, Level::Warn, &target, format_args!("m"));
        assert!(line.len() <= limits::LOG_LINE_BYTES_MAX);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&object["level"], &object["message"]), (&"WARN".into(), &"…".into()));
    }

    #[test]
    fn days_follow_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ];
        for (ms, expected) in cases {
            assert_eq!(timestamp(ms), expected);
        }
    }
}

//! The terminal while it shows VMs: its other screen, its keys, and signals.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::panic;
use std::thread;
use std::time::Duration;

use super::frame::Line;
use crate::limits;
use crate::output::width;
use crate::sys::poll::wait_readable;
use crate::sys::signals::{Signal, Signals};
use crate::sys::{RawMode, unblock};

/// A key that means something, or a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    Quit,
    Sort,
    /// Rows down.
    Scroll(isize),
    /// Pages down.
    Page(isize),
    Ended(Signal),
}

/// The other screen of the terminal. The terminal is as before when this is dropped.
pub struct Screen {
    input: File,
    output: File,
    // Dropped in this order.
    _raw: RawMode,
    signals: BlockedSignals,
}

impl Screen {
    pub fn enter() -> io::Result<Screen> {
        let signals = BlockedSignals(Some(Signals::block(&SIGNALS)?));
        // Neither is buffered.
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let raw = RawMode::enter(&input)?;
        let mut screen = Screen { input, output, _raw: raw, signals };
        // The message of a panic would be lost with the other screen.
        panic::set_hook(Box::new(|panic| {
            let message = panic.to_string().replace('\n', "\r\n");
            let _ = write!(io::stderr(), "{LEAVE}{message}\r\n");
        }));
        screen.output.write_all(ENTER.as_bytes())?;
        Ok(screen)
    }

    /// Writes the lines, at once and over the earlier ones.
    pub fn draw(&mut self, lines: &[Line], (columns, height): (usize, usize)) -> io::Result<()> {
        let mut frame = String::new();
        for (index, Line { text, is_bold }) in lines.iter().enumerate() {
            let (bold, plain) = if *is_bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            // After a full line, the sequence would clear its last character.
            let clear = if width(text) < columns { "\x1b[K" } else { "" };
            frame.push_str(&format!("\x1b[{};1H{bold}{text}{plain}{clear}", index + 1));
        }
        if lines.len() < height {
            frame.push_str(&format!("\x1b[{};1H\x1b[J", lines.len() + 1));
        }
        self.output.write_all(frame.as_bytes())
    }

    /// Waits for keys and signals.
    pub fn keys(&mut self, timeout: Duration) -> io::Result<Vec<Key>> {
        let signals = &mut self.signals.0;
        let Some(signals) = signals else { return Ok(Vec::new()) };
        let [has_input, has_signal] = wait_readable([self.input.as_fd(), signals.as_fd()], Some(timeout))?;
        if has_signal && let Some(signal) = signals.receive()? {
            return Ok(vec![Key::Ended(signal)]);
        }
        if !has_input {
            return Ok(Vec::new());
        }
        let mut bytes = [0; limits::TOP_KEYS_BYTES];
        let mut count = self.input.read(&mut bytes)?;
        if count == 0 {
            return Ok(vec![Key::Quit]);
        }
        // The rest of a sequence may be on its way; Esc alone has none.
        if bytes[..count].ends_with(b"\x1b") && count < bytes.len() {
            let [has_rest] = wait_readable([self.input.as_fd()], Some(limits::TOP_ESCAPE_WAIT))?;
            if has_rest {
                count += self.input.read(&mut bytes[count..])?;
            }
        }
        Ok(parse(&bytes[..count]))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The hook has left the other screen.
        if !thread::panicking() {
            drop(panic::take_hook());
            // Nothing is left to do for a terminal that is gone.
            let _ = self.output.write_all(LEAVE.as_bytes());
        }
    }
}

/// Signals that arrive on a descriptor, until this is dropped.
struct BlockedSignals(Option<Signals>);

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        self.0 = None;
        unblock(&SIGNALS);
    }
}

/// The keys in what a terminal sends. Others are passed over.
fn parse(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        bytes = rest;
        let key = match first {
            b'q' | CTRL_C => Some(Key::Quit),
            b's' => Some(Key::Sort),
            0x1b => match rest {
                [b'[' | b'O', rest @ ..] => {
                    let end = rest.iter().position(|byte| (0x40..=0x7e).contains(byte));
                    let end = end.map_or(rest.len(), |end| end + 1);
                    bytes = &rest[end..];
                    sequence(&rest[..end])
                }
                [] => Some(Key::Quit),
                // Alt with a key.
                [_, rest @ ..] => {
                    bytes = rest;
                    None
                }
            },
            _ => None,
        };
        keys.extend(key);
    }
    keys
}

fn sequence(bytes: &[u8]) -> Option<Key> {
    match bytes {
        b"A" => Some(Key::Scroll(-1)),
        b"B" => Some(Key::Scroll(1)),
        b"5~" => Some(Key::Page(-1)),
        b"6~" => Some(Key::Page(1)),
        _ => None,
    }
}

const CTRL_C: &u8 = &3;
/// The signals that end it.
const SIGNALS: [Signal; 3] = [Signal::INTERRUPT, Signal::TERMINATE, Signal::HANGUP];
/// The other screen, no line wraps, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?7h\x1b[?1049l";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_what_a_terminal_sends() {
        for (bytes, keys) in [
            (&b"q"[..], &[Key::Quit][..]),
            (b"\x1b", &[Key::Quit]),
            (b"\x03", &[Key::Quit]),
            (
                b"s\x1b[A\x1bOB\x1b[5~\x1b[6~x",
                &[Key::Sort, Key::Scroll(-1), Key::Scroll(1), Key::Page(-1), Key::Page(1)],
            ),
            // Ends within a sequence; with Alt; with a modifier.
            (b"\x1b[", &[]),
            (b"\x1bq", &[]),
            (b"\x1b[1;5As", &[Key::Sort]),
            (b"\xff\xfe\x00", &[]),
        ] {
            assert_eq!(parse(bytes), keys, "{bytes:?}");
        }
    }
}

//! The serial console of a VM on this terminal.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::limits;
use crate::sys::poll::wait_readable;
use crate::sys::signals::{Signal, Signals};
use crate::sys::terminal::RawMode;

/// Connects standard input and output to the console at `path`, until the VM ends, or Ctrl-] is typed.
pub fn run(path: &Path) -> io::Result<()> {
    let stream = UnixStream::connect(path)?;
    // The terminal must be restored when a signal arrives, so signals are read like keys.
    let mut signals = Signals::block(&Signal::ENDING)?;
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let terminal = input.try_clone()?;
    let raw_mode = if terminal.is_terminal() { Some(RawMode::new(&terminal)?) } else { None };
    if raw_mode.is_some() {
        // In raw mode a line break does not return the carriage.
        write!(io::stderr(), "the console of the VM; Ctrl-] leaves it\r\n")?;
    }
    let leaves_at_escape = raw_mode.is_some();
    bridge(&stream, &mut input, &mut io::stdout(), leaves_at_escape, &mut signals)
}

/// Moves bytes both ways. Input that is no terminal may end before the VM does.
fn bridge(
    mut stream: &UnixStream,
    input: &mut (impl Read + AsFd),
    output: &mut impl Write,
    leaves_at_escape: bool,
    signals: &mut Signals,
) -> io::Result<()> {
    let mut bytes = [0; limits::CONSOLE_CHUNK_BYTES];
    let mut has_input_ended = false;
    loop {
        // Instead of input that has ended, the stream is waited for twice.
        let from_input = if has_input_ended { stream.as_fd() } else { input.as_fd() };
        let [is_typed, has_output, has_signal] =
            wait_readable([from_input, stream.as_fd(), signals.as_fd()], None)?;
        if has_signal && signals.receive()?.is_some() {
            return Ok(());
        }
        if has_output {
            let count = match stream.read(&mut bytes) {
                Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
                read => read.unwrap_or(0),
            };
            if count == 0 {
                return Ok(());
            }
            output.write_all(&bytes[..count])?;
            output.flush()?;
        }
        if is_typed && !has_input_ended {
            let count = input.read(&mut bytes)?;
            has_input_ended = count == 0;
            let escape = bytes[..count].iter().position(|byte| leaves_at_escape && *byte == ESCAPE);
            stream.write_all(&bytes[..escape.unwrap_or(count)])?;
            if escape.is_some() {
                return Ok(());
            }
        }
    }
}

/// What Ctrl-] sends.
const ESCAPE: u8 = 0x1d;

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn bytes_go_both_ways_until_the_escape() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut input, mut typed) = UnixStream::pair().unwrap();
        let reader = thread::scope(|scope| {
            let bridge = scope.spawn(move || {
                let mut output = Vec::new();
                let mut signals = Signals::block(&[]).unwrap();
                bridge(&near, &mut input, &mut output, true, &mut signals).unwrap();
                output
            });
            far.write_all(b"login: ").unwrap();
            typed.write_all(b"me\n").unwrap();
            let mut bytes = [0; 3];
            far.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"me\n");
            typed.write_all(b"bye\x1dnot sent").unwrap();
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, b"bye");
            bridge.join().unwrap()
        });
        assert_eq!(reader, b"login: ");
    }

    #[test]
    fn the_end_of_input_is_not_the_end() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut input, typed) = UnixStream::pair().unwrap();
        drop(typed);
        far.write_all(b"still here").unwrap();
        drop(far);
        let (mut output, mut signals) = (Vec::new(), Signals::block(&[]).unwrap());
        bridge(&near, &mut input, &mut output, false, &mut signals).unwrap();
        assert_eq!(output, b"still here");
    }
}

//! Reads a new password: typed twice without echo if standard input is a terminal, else one line of standard input.
//! Never from the command line, which other users can see.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use vmherd::Escaped;
use vmherd::{Secret, VmName, wipe};

use crate::limits;
use crate::sys::poll::wait_readable;
use crate::sys::signals::{Signal, Signals};
use crate::sys::terminal::EchoOff;
use crate::tool::ToolError;

/// The reason no password was read.
#[derive(Debug)]
pub enum PromptError {
    /// The password is invalid, or the two passwords differ.
    Unusable(String),
    /// Standard input or the terminal failed.
    Io(io::Error),
    /// A signal asked the process to end.
    Interrupted(Signal),
}

/// Reads the new password of the VM `name`.
pub fn read_new_password(name: &VmName) -> Result<Secret, PromptError> {
    // Bypass the standard library's buffer, which would keep a copy.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    if input.is_terminal() {
        return prompt_twice(name, &mut input, &mut io::stderr());
    }
    TypedLine::read(&mut input, |_| Ok(()))?.into_password()
}

fn prompt_twice(name: &VmName, input: &mut File, output: &mut impl Write) -> Result<Secret, PromptError> {
    // The echo must be restored when a signal arrives, so signals are read like keys.
    let mut signals = Signals::block(&Signal::ENDING)?;
    let terminal = input.try_clone()?;
    let _echo_off = EchoOff::new(&terminal)?;
    let mut ask = |question: &str| {
        write!(output, "{question}")?;
        let typed = TypedLine::read(input, |input| wait_for_key(input, &mut signals));
        if let Err(PromptError::Interrupted(_)) = typed {
            // The cursor is still on the line of the prompt.
            writeln!(output)?;
        }
        typed
    };
    let password = ask(&format!("New password of {}: ", Escaped(name)))?.into_password()?;
    let repeated = ask("Repeat the password: ")?;
    if repeated.bytes != password.expose().as_bytes() {
        return Err(PromptError::Unusable("the two passwords differ; nothing was changed".into()));
    }
    Ok(password)
}

fn wait_for_key(input: &File, signals: &mut Signals) -> Result<(), PromptError> {
    loop {
        let [has_key, has_signal] = wait_readable([input.as_fd(), signals.as_fd()], None)?;
        if has_signal && let Some(signal) = signals.receive()? {
            return Err(PromptError::Interrupted(signal));
        }
        if has_key {
            return Ok(());
        }
    }
}

/// A line of input; overwritten on drop.
struct TypedLine {
    bytes: Vec<u8>,
}

impl TypedLine {
    /// Reads one line byte by byte, so that the input after it stays unread; calls `before_read` before each byte.
    fn read<R: Read>(
        input: &mut R,
        mut before_read: impl FnMut(&R) -> Result<(), PromptError>,
    ) -> Result<TypedLine, PromptError> {
        // The capacity never grows, because a reallocation would leave a copy of the password in freed memory.
        let mut line = TypedLine { bytes: Vec::with_capacity(LINE_BYTES_MAX) };
        let mut byte = [0];
        while line.bytes.len() < LINE_BYTES_MAX {
            before_read(input)?;
            match input.read(&mut byte) {
                Ok(0) => break,
                Ok(_) if byte == *b"\n" => break,
                Ok(_) => line.bytes.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        wipe(&mut byte);
        if line.bytes.last() == Some(&b'\r') {
            line.bytes.pop();
        }
        Ok(line)
    }

    /// The line as a password, with the same rules as over the network.
    fn into_password(self) -> Result<Secret, PromptError> {
        let (least, most) = limits::PASSWORD_BYTES.into_inner();
        let unusable = |what: &str| {
            Err(PromptError::Unusable(format!("the password {what}; it must have {least} to {most} bytes")))
        };
        match std::str::from_utf8(&self.bytes) {
            _ if self.bytes.is_empty() => unusable("is empty"),
            _ if self.bytes.len() < least => unusable("is too short"),
            _ if self.bytes.len() > most => unusable("is too long"),
            Err(_) => unusable("is not valid UTF-8"),
            Ok(text) if text.contains('\0') => unusable("has a zero byte"),
            Ok(text) => Ok(Secret::new(text)),
        }
    }
}

impl Drop for TypedLine {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

impl From<io::Error> for PromptError {
    fn from(error: io::Error) -> PromptError {
        PromptError::Io(error)
    }
}

impl From<PromptError> for ToolError {
    fn from(error: PromptError) -> ToolError {
        match error {
            PromptError::Unusable(why) => ToolError::new(1, why),
            PromptError::Io(error) => ToolError::new(1, format!("can't read a password: {error}")),
            PromptError::Interrupted(signal) => ToolError::of_signal(signal, "nothing was changed"),
        }
    }
}

/// The longest password, one byte to detect a longer one, and a carriage return.
const LINE_BYTES_MAX: usize = *limits::PASSWORD_BYTES.end() + 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    fn text(error: PromptError) -> String {
        ToolError::from(error).to_string()
    }

    fn read(mut input: &[u8]) -> Result<String, String> {
        let typed = TypedLine::read(&mut input, |_| Ok(())).map_err(text)?;
        typed.into_password().map(|secret| secret.expose().to_owned()).map_err(text)
    }

    #[test]
    fn password_is_one_line_without_line_break() {
        for input in ["12345678", "12345678\n", "12345678\r\n", "12345678\nmore\n"] {
            assert_eq!(read(input.as_bytes()).as_deref(), Ok("12345678"), "{input:?}");
        }
        assert_eq!(read("  spaces \n".as_bytes()).as_deref(), Ok("  spaces "), "they are part of it");
        assert_eq!(read("pässwörd\n".as_bytes()).as_deref(), Ok("pässwörd"));
    }

    #[test]
    fn password_limits_match_the_network() {
        let longest = "x".repeat(1024);
        assert_eq!(read(longest.as_bytes()), Ok(longest.clone()));
        assert_eq!(read(format!("{longest}\r\n").as_bytes()), Ok(longest.clone()));
        let cases: &[(&[u8], &str)] = &[
            (b"", "is empty"),
            (b"\n12345678\n", "is empty"),
            (b"1234567\n", "is too short"),
            (&[b'x'; 1025], "is too long"),
            (&[b'x'; 100_000], "is too long"),
            (b"\xff2345678", "is not valid UTF-8"),
            (b"1234\x005678", "has a zero byte"),
        ];
        for (input, why) in cases {
            let error = read(input).unwrap_err();
            assert_eq!(error, format!("the password {why}; it must have 8 to 1024 bytes"));
        }
    }

    #[test]
    fn input_after_the_line_stays_unread() {
        let mut input: &[u8] = b"12345678\nrest";
        TypedLine::read(&mut input, |_| Ok(())).unwrap();
        assert_eq!(input, b"rest");
    }

    /// Runs the prompt on a terminal and types the next of `answers` after each question. Returns the result and the
    /// output of the terminal.
    fn prompt_on_terminal(answers: &[&str]) -> (Result<String, String>, String) {
        let (master, terminal) = crate::sys::terminal::open_pair();
        let (mut master, mut terminal) = (File::from(master), File::from(terminal));
        let (mut questions, mut output) = UnixStream::pair().unwrap();
        let asking = thread::spawn(move || {
            let name = VmName::parse("web-1").unwrap();
            let result = prompt_twice(&name, &mut terminal, &mut output);
            // Marks the end of the output.
            terminal.write_all(b"!").unwrap();
            result.map(|secret| secret.expose().to_owned()).map_err(text)
        });
        for answer in answers {
            let mut question = Vec::new();
            while !question.ends_with(b": ") {
                let mut byte = [0];
                questions.read_exact(&mut byte).expect("a question");
                question.push(byte[0]);
            }
            master.write_all(answer.as_bytes()).unwrap();
        }
        let mut shown = Vec::new();
        while shown.last() != Some(&b'!') {
            let mut byte = [0];
            master.read_exact(&mut byte).unwrap();
            shown.push(byte[0]);
        }
        (asking.join().unwrap(), String::from_utf8(shown).unwrap())
    }

    #[test]
    fn terminal_prompts_twice_without_echo() {
        let (result, shown) = prompt_on_terminal(&["correct horse\n", "correct horse\n"]);
        assert_eq!(result.as_deref(), Ok("correct horse"));
        assert_eq!(shown, "\r\n\r\n!");
    }

    #[test]
    fn differing_passwords_are_refused() {
        let (result, _) = prompt_on_terminal(&["correct horse\n", "correct hearse\n"]);
        assert_eq!(result.unwrap_err(), "the two passwords differ; nothing was changed");
    }

    #[test]
    fn unusable_password_is_not_prompted_again() {
        let (result, _) = prompt_on_terminal(&["short\n"]);
        assert_eq!(result.unwrap_err(), "the password is too short; it must have 8 to 1024 bytes");
    }

    #[test]
    fn a_signal_ends_the_prompt() {
        let (_master, terminal) = crate::sys::terminal::open_pair();
        let _signals = Signals::block(&Signal::ENDING).unwrap();
        crate::sys::signals::raise(Signal::INTERRUPT);
        let name = VmName::parse("web-1").unwrap();
        let result = prompt_twice(&name, &mut File::from(terminal), &mut io::sink());
        assert!(matches!(result, Err(PromptError::Interrupted(Signal::INTERRUPT))), "{result:?}");
    }
}

//! What can go wrong, as a person and a script see it: a sentence, a hint, an exit code.

use std::fmt;
use std::io;

use serde_json::{Value, json};
use vmherd::Escaped;
use vmherd::client::ClientError;

use crate::output::Output;

/// A command that failed, wholly or in part.
#[derive(Debug)]
pub struct Failure {
    pub class: Class,
    /// One sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the same command may succeed a little later.
    pub is_transient: bool,
    /// What was done all the same; printed before the failure.
    pub output: Option<Box<Output>>,
}

/// The classes of failures, each with an exit code of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    Failed,
    Usage,
    NotFound,
    Denied,
    NoConnection,
    Timeout,
    Partial,
}

/// Every class with its exit code, its `code` in JSON and its meaning, in the order of the exit codes.
pub const CLASSES: [(Class, u8, &str, &str); 7] = [
    (Class::Failed, 1, "failed", "the server refused the request, or it failed"),
    (Class::Usage, 2, "usage", "wrong arguments; nothing was sent"),
    (Class::NotFound, 3, "not_found", "there is no such VM, disk or metric"),
    (Class::Denied, 4, "denied", "wrong password or token, or not allowed"),
    (Class::NoConnection, 5, "no_connection", "no connection to the server, or it was lost"),
    (Class::Timeout, 6, "timeout", "no answer, or not the awaited state, in time"),
    (Class::Partial, 7, "partial", "done for some, failed for others"),
];

impl Class {
    pub fn exit_code(self) -> u8 {
        self.row().1
    }

    /// Its `code` in JSON.
    pub fn code(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Class, u8, &'static str, &'static str) {
        &CLASSES[self as usize]
    }
}

impl Failure {
    pub fn new(class: Class, message: impl Into<String>) -> Failure {
        Failure { class, message: message.into(), hint: None, is_transient: false, output: None }
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Class::Usage, message)
    }

    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Class::Failed, message)
    }

    pub fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(Class::NotFound, message)
    }

    /// The failure with a hint, unless it has one.
    pub fn or_hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The failure after `output` was reached.
    pub fn with_output(mut self, output: Output) -> Failure {
        self.output = Some(Box::new(output));
        self
    }

    /// The document of `--format json`.
    pub fn to_json(&self) -> Value {
        json!({
            "error": self.message,
            "code": self.class.code(),
            "hint": self.hint,
            "transient": self.is_transient,
        })
    }

    /// The failure with its hint in the words of a console, where `--vm` is not a word of a command.
    pub fn in_console(mut self) -> Failure {
        if LOGIN_MESSAGES.iter().any(|text| self.message.starts_with(text)) {
            self.hint = Some("authenticate NAME logs in".into());
        } else if self.hint.as_deref() == Some(EMPTY_USAGE) {
            self.hint = Some("help lists the commands".into());
        }
        self
    }

    /// The failure that a server's message means.
    pub fn of_message(message: &str) -> Failure {
        let class = class_of_message(message);
        let is_transient = TRANSIENT.iter().any(|text| message.contains(text));
        let hint =
            HINTS.iter().find(|(text, _)| message.starts_with(text)).map(|(_, hint)| (*hint).to_owned());
        Failure { is_transient, hint, ..Failure::new(class, message) }
    }
}

/// For people: lines that begin with the program's name and with the hint.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vmherdctl: {}", Escaped(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {}", Escaped(hint)),
            None => Ok(()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let message = error.to_string();
        match error {
            ClientError::Server { message, .. } => Failure::of_message(&message),
            ClientError::Connect { source, .. } => {
                let hint = match source.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "only root and the daemon's own user may use this socket"
                    }
                    _ => "is the daemon running there? --server or VMHERD_SERVER names another server",
                };
                Failure { is_transient: true, ..Failure::new(Class::NoConnection, message) }.or_hint(hint)
            }
            ClientError::Timeout => Failure { is_transient: true, ..Failure::new(Class::Timeout, message) }
                .or_hint("a change may have happened or not; --timeout allows more time"),
            ClientError::Closed | ClientError::Io(_) => {
                Failure { is_transient: true, ..Failure::new(Class::NoConnection, message) }
            }
            ClientError::InvalidArgument(_) => Failure::usage(message),
            _ => Failure::failed(message),
        }
    }
}

fn class_of_message(message: &str) -> Class {
    let begins = |texts: &[&str]| texts.iter().any(|text| message.starts_with(text));
    if begins(NOT_FOUND) {
        Class::NotFound
    } else if begins(DENIED) {
        Class::Denied
    } else {
        Class::Failed
    }
}

/// The beginnings of the server's messages about what does not exist.
const NOT_FOUND: &[&str] =
    &["VM does not exist", "VM ID does not exist", "disks: the VM has no disk with id"];
/// The beginnings of its messages about rights.
const DENIED: &[&str] = &[
    "Invalid credentials",
    "You have to authenticate",
    "authentication required",
    "Invalid access token",
    "Token belongs to another VM",
    "Registration is closed",
    "registration is closed",
    "Bad authentication",
    "Bad request (Access token is required)",
    "Refused request",
];
/// What the server's messages about a passing state contain.
const TRANSIENT: &[&str] = &["busy", "store unavailable", "Unavailable (Running containers maximum"];
/// The beginnings of its messages that ask for a login.
const LOGIN_MESSAGES: [&str; 3] =
    ["You have to authenticate", "authentication required", "Bad authentication (Authentication required)"];
/// The parser's hint where it knows nothing better.
const EMPTY_USAGE: &str = "Usage: <COMMAND>";
/// Hints for the beginnings of messages.
const HINTS: &[(&str, &str)] = &[
    ("You have to authenticate", "log in with --vm NAME, or with a token: --token-file FILE"),
    ("authentication required", "log in with --vm NAME, or with a token: --token-file FILE"),
    ("Bad authentication (Authentication required)", "log in with a token: --token-file FILE"),
    ("Invalid access token", "get a new token: vmherdctl authenticate NAME"),
    ("Registration is closed", "on the server's host: vmherdctl vm add NAME"),
    ("VM is already registered", "log in with: vmherdctl authenticate NAME"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_the_order_of_their_exit_codes() {
        for (index, (class, code, ..)) in CLASSES.iter().enumerate() {
            assert_eq!((class.row().0, usize::from(*code)), (*class, index + 1));
        }
    }

    #[test]
    fn messages_of_the_server_have_classes() {
        for (message, class, is_transient) in [
            ("VM does not exist", Class::NotFound, false),
            ("disks: the VM has no disk with id 7", Class::NotFound, false),
            ("Invalid credentials", Class::Denied, false),
            ("You have to authenticate to run this operation", Class::Denied, false),
            ("Bad authentication", Class::Denied, false),
            ("busy", Class::Failed, true),
            ("Unavailable (busy)", Class::Failed, true),
            ("store unavailable", Class::Failed, true),
            ("outcome unknown", Class::Failed, false),
            ("VM is already registered", Class::Failed, false),
        ] {
            let failure = Failure::of_message(message);
            assert_eq!((failure.class, failure.is_transient), (class, is_transient), "{message}");
        }
    }

    #[test]
    fn people_see_no_control_characters() {
        let failure = Failure::failed("bad \u{1b}[31m").or_hint("x\ny");
        assert_eq!(failure.to_string(), "vmherdctl: bad \\u001b[31m\nhint: x\\ny");
        assert_eq!(failure.to_json()["hint"], "x\ny");
    }
}

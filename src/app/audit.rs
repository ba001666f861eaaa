//! The audit log: who logged in, out and in vain, what was registered and changed, what was refused and why.
//!
//! Each event is one line of `KEY=VALUE` words under a target of its own, in an order that does not change:
//! programs such as fail2ban read it, and README promises it. What a client chose comes last, quoted and
//! escaped, so that it can't be taken for anything else. No password and no token is ever in it.
//!
//! Each source has so many lines of each level in a minute; the rest are counted, and the count is logged when
//! the minute is over. Requests that are allowed and change nothing cost nothing here.

use std::collections::HashMap;
use std::fmt;

use log::Level;

use super::App;
use super::commands::Next;
use crate::escape::Escaped;
use crate::ids::{ConnId, VmId};
use crate::limits;
use crate::model::{
    ActionAnswer, Answer, Command, CommandName, Denial, Dialect, Failure, Peer, Request, Source, VmName,
};

/// The target of its lines: `--log vmherd::audit=off` switches them off.
pub const TARGET: &str = concat!("vmherd", "::audit");

/// What is logged of clients.
#[derive(Default)]
pub struct Audit {
    /// The lines of this minute, by who caused them.
    sources: HashMap<Source, Lines>,
    /// Those of all sources beyond [`limits::AUDIT_SOURCES_MAX`].
    others: Lines,
    is_minute_begun: bool,
    wants_timer: bool,
}

/// What is known of a request that may have to be logged.
pub(super) struct AuditContext {
    dialect: Dialect,
    command: CommandName,
    subject: Subject,
}

/// Which VM a request is about.
#[derive(Clone, Default)]
pub(super) enum Subject {
    #[default]
    None,
    Name(VmName),
    Number(VmId),
}

/// How many lines a source has had in this minute, and how many it would have had.
#[derive(Clone, Copy, Default)]
struct Lines {
    accepted: Budget,
    refused: Budget,
}

#[derive(Clone, Copy, Default)]
struct Budget {
    logged: u32,
    held_back: u64,
}

/// One line.
struct Line<'a> {
    event: &'static str,
    peer: Peer,
    dialect: &'static str,
    command: Option<CommandName>,
    /// A word and what it says: how somebody logged in, why somebody was refused.
    detail: Option<(&'static str, &'static str)>,
    subject: &'a Subject,
}

impl AuditContext {
    /// Of a request that begins. Costs next to nothing where it is about no VM.
    pub(super) fn of(request: &Request) -> AuditContext {
        let subject = match &request.command {
            Ok(Command::Register { name, .. } | Command::Authenticate { name, .. }) => {
                Subject::Name(name.clone())
            }
            Ok(
                Command::AuthorizeVm { vm, .. }
                | Command::ConnectVm { vm, .. }
                | Command::LogoutVm(vm)
                | Command::UpdateVm { vm, .. },
            ) => Subject::Number(*vm),
            _ => Subject::None,
        };
        AuditContext { dialect: request.dialect, command: request.name, subject }
    }

    /// Of a request that has come further.
    pub(super) fn new(command: CommandName, subject: Subject) -> AuditContext {
        let dialect = command.spec().dialect;
        AuditContext { dialect, command, subject }
    }
}

impl App {
    /// What is logged of clients.
    pub fn audit_mut(&mut self) -> &mut Audit {
        &mut self.audit
    }

    /// A message of the connection `conn` was refused before it was known what it says.
    pub fn deny(&mut self, conn: ConnId, denial: Denial) {
        self.audit.denied(self.presence.peer(conn), denial);
    }

    /// Logs what is to be known of an answer, for which `asked` was asked.
    pub(super) fn audit_answer(&mut self, conn: ConnId, asked: AuditContext, action: &Next) {
        if let Next::Answer(answer) = action {
            self.audit.answered(|| self.presence.peer(conn), asked, answer);
        }
    }
}

impl Audit {
    /// Logs what came of a request, if that is to be known.
    pub(super) fn answered(
        &mut self,
        peer: impl FnOnce() -> Option<Peer>,
        asked: AuditContext,
        answer: &Answer,
    ) {
        let AuditContext { dialect, command, subject } = asked;
        let named;
        let (event, detail, subject) = match answer {
            Answer::Failed(failure) => match reason(failure, command) {
                Some(reason) => ("refused", Some(("reason", reason)), &subject),
                None => return,
            },
            Answer::Registered(_) => ("register", None, &subject),
            Answer::Action(ActionAnswer::Added(id)) => {
                named = Subject::Number(*id);
                ("register", None, &named)
            }
            Answer::Authenticated(_) => ("login", Some(("by", "password")), &subject),
            Answer::Action(ActionAnswer::Authorized | ActionAnswer::Connected) => {
                // A VM with a password is known by its name here, which its credentials brought.
                let by = if matches!(subject, Subject::Name(_)) { "password" } else { "nothing" };
                ("login", Some(("by", by)), &subject)
            }
            Answer::LoggedOut(_) | Answer::Action(ActionAnswer::LoggedOut) => ("logout", None, &subject),
            Answer::Updated => ("change", None, &subject),
            _ => return,
        };
        let command = Some(command);
        self.log(peer(), |peer| Line { event, peer, dialect: word(dialect), command, detail, subject });
    }

    /// Logs that a token authenticated the connection of `peer` as `name`.
    pub(super) fn token_accepted(
        &mut self,
        peer: impl FnOnce() -> Option<Peer>,
        request: &Request,
        name: &VmName,
    ) {
        let (dialect, command) = (word(request.dialect), Some(request.name));
        let subject = Subject::Name(name.clone());
        let detail = Some(("by", "token"));
        self.log(peer(), |peer| Line { event: "login", peer, dialect, command, detail, subject: &subject });
    }

    /// Logs that a message was refused before it was known what it says.
    pub(super) fn denied(&mut self, peer: Option<Peer>, denial: Denial) {
        let detail = Some(("reason", denial.as_str()));
        let subject = &Subject::None;
        self.log(peer, |peer| Line {
            event: "refused",
            peer,
            dialect: "http",
            command: None,
            detail,
            subject,
        });
    }

    /// Whether [`Audit::end_minute`] is to be called in a minute; once for each.
    pub fn takes_minute(&mut self) -> bool {
        std::mem::take(&mut self.wants_timer)
    }

    /// Logs what was held back, and begins anew.
    pub fn end_minute(&mut self) {
        self.is_minute_begun = false;
        for (source, lines) in std::mem::take(&mut self.sources) {
            lines.log_held_back(&source);
        }
        std::mem::take(&mut self.others).log_held_back(&"other sources");
    }

    fn log<'a>(&mut self, peer: Option<Peer>, line: impl FnOnce(Peer) -> Line<'a>) {
        // One that is gone has no answer either.
        let Some(peer) = peer else { return };
        let line = line(peer);
        let level = line.level();
        if log::log_enabled!(target: TARGET, level) && self.lines_of(peer).take(level) {
            log::log!(target: TARGET, level, "{line}");
        }
    }

    fn lines_of(&mut self, peer: Peer) -> &mut Lines {
        if !self.is_minute_begun {
            (self.is_minute_begun, self.wants_timer) = (true, true);
        }
        let source = peer.source();
        if self.sources.len() >= limits::AUDIT_SOURCES_MAX && !self.sources.contains_key(&source) {
            return &mut self.others;
        }
        self.sources.entry(source).or_default()
    }
}

impl Drop for Audit {
    /// What was counted is not lost with the process.
    fn drop(&mut self) {
        self.end_minute();
    }
}

impl Lines {
    /// Whether one more line of `level` may be logged now.
    fn take(&mut self, level: Level) -> bool {
        let (budget, max) = match level {
            Level::Warn => (&mut self.refused, limits::AUDIT_REFUSED_MAX),
            _ => (&mut self.accepted, limits::AUDIT_ACCEPTED_MAX),
        };
        if budget.logged < max {
            budget.logged += 1;
            return true;
        }
        budget.held_back += 1;
        false
    }

    fn log_held_back(self, source: &dyn fmt::Display) {
        let (refused, accepted) = (self.refused.held_back, self.accepted.held_back);
        if refused > 0 {
            log::warn!(target: TARGET, "event=held-back source={source} refused={refused} accepted={accepted}");
        } else if accepted > 0 {
            log::info!(target: TARGET, "event=held-back source={source} refused=0 accepted={accepted}");
        }
    }
}

impl Line<'_> {
    fn level(&self) -> Level {
        if self.event == "refused" { Level::Warn } else { Level::Info }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event={}", self.event)?;
        match self.peer {
            Peer::Tcp(address, port) => write!(f, " peer={address} port={port}")?,
            Peer::Unix { uid: Some(uid) } => write!(f, " peer=unix uid={uid}")?,
            Peer::Unix { uid: None } => f.write_str(" peer=unix uid=unknown")?,
        }
        write!(f, " dialect={}", self.dialect)?;
        if let Some(command) = self.command {
            write!(f, " command={}", command.as_str())?;
        }
        if let Some((word, value)) = self.detail {
            write!(f, " {word}={value}")?;
        }
        match self.subject {
            Subject::None => Ok(()),
            Subject::Name(name) => write!(f, " vm={}", Quoted(name.as_str())),
            Subject::Number(id) => write!(f, " vm=\"{}\"", id.0),
        }
    }
}

/// The line of a change that a tool of the host has made.
pub struct HostChange<'a> {
    /// What has happened.
    pub event: &'static str,
    /// What was asked of the tool.
    pub command: &'static str,
    /// The user who asked.
    pub uid: u32,
    /// The VM.
    pub name: &'a VmName,
}

impl fmt::Display for HostChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostChange { event, command, uid, name } = self;
        write!(
            f,
            "event={event} peer=unix uid={uid} dialect=host command={command} vm={}",
            Quoted(name.as_str())
        )
    }
}

/// Foreign text between quotes, which it can't close.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for part in self.0.split_inclusive(['"', '\\']) {
            match part.strip_suffix(['"', '\\']) {
                Some(before) => write!(f, "{}\\{}", Escaped(before), &part[before.len()..])?,
                None => write!(f, "{}", Escaped(part))?,
            }
        }
        f.write_str("\"")
    }
}

/// Why a request was refused, if `failure` is a refusal of the one who asked and no mistake or trouble.
fn reason(failure: &Failure, command: CommandName) -> Option<&'static str> {
    Some(match failure {
        Failure::InvalidCredentials => "bad-credentials",
        Failure::InvalidToken => "bad-token",
        Failure::TokenOfAnotherVm => "token-of-another-vm",
        Failure::AuthenticationRequired => "authentication-required",
        Failure::RegistrationClosed => "registration-closed",
        Failure::NotAuthorized => "not-authorized",
        // One that is known got so far.
        Failure::UnknownCommand => "operators-only",
        Failure::UnknownVm if matches!(command, CommandName::AuthorizeVm | CommandName::ConnectVm) => {
            "unknown-vm"
        }
        _ => return None,
    })
}

fn word(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Command => "command",
        Dialect::Action => "action",
        Dialect::Conversion => "conversion",
        Dialect::Text => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_so_many_lines_of_each_level() {
        let mut lines = Lines::default();
        let mut logged = |level| (0..1000).filter(|_| lines.take(level)).count();
        assert_eq!(logged(Level::Warn), limits::AUDIT_REFUSED_MAX as usize);
        assert_eq!(logged(Level::Info), limits::AUDIT_ACCEPTED_MAX as usize, "refusals hide no login");
        assert_eq!(lines.refused.held_back, 1000 - u64::from(limits::AUDIT_REFUSED_MAX));
        assert_eq!(lines.accepted.held_back, 1000 - u64::from(limits::AUDIT_ACCEPTED_MAX));
    }

    #[test]
    fn sources_are_bounded_and_a_minute_ends_once() {
        let mut audit = Audit::default();
        let peer = |n: u32| Peer::Tcp(std::net::Ipv4Addr::from_bits(n).into(), 1);
        for n in 0..2 * limits::AUDIT_SOURCES_MAX as u32 {
            audit.lines_of(peer(n)).take(Level::Warn);
        }
        assert_eq!(audit.sources.len(), limits::AUDIT_SOURCES_MAX);
        assert_eq!(u64::from(audit.others.refused.logged) + audit.others.refused.held_back, 1024);
        assert!(audit.lines_of(peer(0)).take(Level::Warn), "one that is known goes on by its own count");
        assert!(audit.takes_minute() && !audit.takes_minute());
        audit.end_minute();
        assert!(audit.sources.is_empty() && audit.others.refused.logged == 0);
        audit.lines_of(peer(0));
        assert!(audit.takes_minute());
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let source = |text: &str| Peer::Tcp(text.parse().unwrap(), 1).source();
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_eq!(source("2001:db8:0:1::1").to_string(), "2001:db8:0:1::/64");
        assert_eq!(source("203.0.113.7").to_string(), "203.0.113.7");
        assert_eq!(Peer::Unix { uid: Some(7) }.source().to_string(), "uid:7");
    }
}

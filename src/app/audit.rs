//! The audit log: logins, logouts, failed logins, registrations, changes, and refusals with their reasons.
//!
//! Each event is one line of `KEY=VALUE` pairs under its own target. Programs such as fail2ban parse it, so the order
//! is fixed; the README documents it. Text chosen by a client comes last, quoted and escaped, so that it can't imitate
//! other fields. A line never contains a password or a token.
//!
//! Each source has a budget of lines per level and minute. Further lines are counted, and the count is logged when the
//! minute ends. Allowed requests that change nothing cost nothing here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use log::Level;

use super::App;
use super::token::Random;
use crate::escape::Escaped;
use crate::ids::{AccessTokenId, ConnId, ContainerId, VmId};
use crate::limits;
use crate::model::{
    ActionAnswer, AddressFormat, Answer, Command, CommandName, CustomCommands, Denial, Dialect, Failure,
    LogAddresses, LoggedPeer, Peer, Reader, Request, Source, VmName,
};

/// The log target: `--log vmherd::audit=off` turns it off.
pub const TARGET: &str = concat!("vmherd", "::audit");

/// The audit log and its budgets.
#[derive(Default)]
pub struct Audit {
    /// The commands of the embedding program, for their names.
    customs: Arc<CustomCommands>,
    addresses: AddressFormat,
    /// The key of [`AddressFormat::Hashed`], made when it is needed first.
    address_key: Option<[u8; 32]>,
    /// The lines of this minute, by source.
    sources: BTreeMap<Source, Lines>,
    /// The shared budget of sources beyond [`limits::AUDIT_SOURCES_MAX`].
    overflow: Lines,
    is_minute_begun: bool,
    wants_timer: bool,
}

/// The parts of a request that a line may need.
pub(super) struct AuditContext {
    dialect: Dialect,
    command: CommandName,
    subject: Subject,
    /// The number of requests that came together.
    count: usize,
}

/// What a request or a change concerns.
#[derive(Clone, Default)]
#[allow(missing_docs)]
pub enum Subject {
    #[default]
    None,
    Name(VmName),
    Number(VmId),
    Container(ContainerId),
    AccessToken(AccessTokenId),
    Reader(Reader),
}

/// The lines of a source in this minute, logged and suppressed.
#[derive(Clone, Copy, Default)]
struct Lines {
    accepted: Budget,
    refused: Budget,
}

#[derive(Clone, Copy, Default)]
struct Budget {
    logged: u32,
    suppressed: u64,
}

/// One line.
pub struct Line<'a> {
    /// The event.
    pub event: &'static str,
    /// The client.
    pub peer: LoggedPeer,
    /// The dialect of the request; `host` for a tool of this host.
    pub dialect: &'static str,
    /// The command.
    pub command: Option<&'a str>,
    /// A key and its value: how a client logged in, or why it was refused.
    pub detail: Option<(&'static str, &'static str)>,
    /// What it concerns.
    pub subject: &'a Subject,
}

impl AuditContext {
    /// The context of a new request. Cheap for a request that concerns no VM.
    pub(super) fn of(request: &Request) -> AuditContext {
        let subject = match &request.command {
            Ok(
                Command::Register { name, .. }
                | Command::Authenticate { name, .. }
                | Command::Add { name, .. }
                | Command::OfVm { name, .. }
                | Command::Stop(name),
            ) => Subject::Name(name.clone()),
            Ok(
                Command::AuthorizeVm { vm, .. }
                | Command::ConnectVm { vm, .. }
                | Command::LogoutVm(vm)
                | Command::UpdateVm { vm, .. },
            ) => Subject::Number(*vm),
            _ => Subject::None,
        };
        AuditContext { dialect: request.dialect, command: request.name, subject, count: request.count() }
    }

    /// Names the reader that sent the request, if it concerns no VM.
    pub(super) fn sent_by(&mut self, reader: &Reader) {
        if let Subject::None = self.subject {
            self.subject = Subject::Reader(reader.clone());
        }
    }

    /// The context of a request at a later stage.
    pub(super) fn new(command: CommandName, dialect: Dialect, subject: Subject) -> AuditContext {
        AuditContext { dialect, command, subject, count: 1 }
    }
}

impl App {
    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The audit log, to change.
    pub fn audit_mut(&mut self) -> &mut Audit {
        &mut self.audit
    }

    /// Logs that a message of connection `conn` was refused before it was decoded.
    pub fn deny(&mut self, conn: ConnId, denial: Denial) {
        self.audit.denied(self.presence.peer(conn), denial);
    }
}

impl Audit {
    /// An audit log that names the commands `customs` as well.
    pub(super) fn new(customs: Arc<CustomCommands>) -> Audit {
        let mut audit = Audit::default();
        audit.customs = customs;
        audit
    }

    /// Sets how lines show addresses.
    pub(super) fn set_addresses(&mut self, shown: LogAddresses, random: &mut dyn Random) {
        self.addresses = match (shown, self.address_key) {
            (LogAddresses::Full, _) => AddressFormat::Full,
            (LogAddresses::None, _) => AddressFormat::None,
            (LogAddresses::Hashed, Some(key)) => AddressFormat::Hashed(key),
            (LogAddresses::Hashed, None) => {
                let mut key = [0; 32];
                match random.fill(&mut key) {
                    Ok(()) => AddressFormat::Hashed(*self.address_key.insert(key)),
                    Err(error) => {
                        log::error!("the log shows no addresses: getting random bytes failed: {error}");
                        AddressFormat::None
                    }
                }
            }
        };
    }

    /// How lines show addresses.
    pub fn addresses(&self) -> AddressFormat {
        self.addresses
    }

    /// Logs the answer to a request, if it is relevant.
    pub(super) fn answered(
        &mut self,
        peer: impl FnOnce() -> Option<Peer>,
        context: AuditContext,
        answer: &Answer,
    ) {
        let AuditContext { dialect, command, subject, count } = context;
        let named;
        let (event, detail, subject) = match answer {
            Answer::Failed(failure) => match reason(failure, command) {
                Some(reason) => ("refused", Some(("reason", reason)), &subject),
                None => return,
            },
            Answer::Registered(_) | Answer::Added(..) => ("register", None, &subject),
            Answer::Action(ActionAnswer::Added(id)) => {
                named = Subject::Number(*id);
                ("register", None, &named)
            }
            Answer::Authenticated(_) => ("login", Some(("by", "password")), &subject),
            Answer::Action(ActionAnswer::Authorized | ActionAnswer::Connected) => {
                // Only a password check yields the name of the VM; without one the client gave its number.
                let by = if matches!(subject, Subject::Name(_)) { "password" } else { "nothing" };
                ("login", Some(("by", by)), &subject)
            }
            Answer::LoggedOut(_) | Answer::SessionsEnded(..) | Answer::Action(ActionAnswer::LoggedOut) => {
                ("logout", None, &subject)
            }
            Answer::Updated | Answer::PasswordChanged(_) => ("change", None, &subject),
            Answer::Removed(_) => ("remove", None, &subject),
            Answer::Created(_) => ("create", None, &subject),
            Answer::Destroyed => ("destroy", None, &subject),
            _ => return,
        };
        let (dialect, customs) = (dialect_name(dialect), Arc::clone(&self.customs));
        let command = Some(customs.name(command));
        let Some(peer) = peer() else { return };
        let (source, peer) = (peer.source(), self.addresses.peer(peer));
        let line = Line { event, peer, dialect, command, detail, subject };
        (0..count).for_each(|_| self.log(source, &line));
    }

    /// Logs that a token authenticated the connection of `peer` as `name`.
    pub(super) fn token_accepted(
        &mut self,
        peer: impl FnOnce() -> Option<Peer>,
        request: &Request,
        name: &VmName,
    ) {
        let (dialect, customs) = (dialect_name(request.dialect), Arc::clone(&self.customs));
        let command = Some(customs.name(request.name));
        let (detail, subject) = (Some(("by", "token")), &Subject::Name(name.clone()));
        let Some(peer) = peer() else { return };
        let (source, peer) = (peer.source(), self.addresses.peer(peer));
        self.log(source, &Line { event: "login", peer, dialect, command, detail, subject });
    }

    /// Logs that a message was refused before it was decoded.
    pub(super) fn denied(&mut self, peer: Option<Peer>, denial: Denial) {
        let (detail, subject) = (Some(("reason", denial.as_str())), &Subject::None);
        let Some(peer) = peer else { return };
        let (source, peer) = (peer.source(), self.addresses.peer(peer));
        self.log(source, &Line { event: "refused", peer, dialect: "http", command: None, detail, subject });
    }

    /// Whether the caller must schedule [`Audit::end_minute`] a minute from now; true once per minute.
    pub fn takes_minute(&mut self) -> bool {
        std::mem::take(&mut self.wants_timer)
    }

    /// Logs the suppressed counts and resets all budgets.
    pub fn end_minute(&mut self) {
        self.is_minute_begun = false;
        for (source, lines) in std::mem::take(&mut self.sources) {
            lines.log_suppressed(&self.addresses.source(source));
        }
        std::mem::take(&mut self.overflow).log_suppressed(&"other sources");
    }

    fn log(&mut self, source: Source, line: &Line<'_>) {
        let level = if line.event == "refused" { Level::Warn } else { Level::Info };
        if log::log_enabled!(target: TARGET, level) && self.lines_of(source).take(level) {
            log::log!(target: TARGET, level, "{line}");
        }
    }

    fn lines_of(&mut self, source: Source) -> &mut Lines {
        if !self.is_minute_begun {
            (self.is_minute_begun, self.wants_timer) = (true, true);
        }
        if self.sources.len() >= limits::AUDIT_SOURCES_MAX && !self.sources.contains_key(&source) {
            return &mut self.overflow;
        }
        self.sources.entry(source).or_default()
    }
}

impl Drop for Audit {
    /// Logs the suppressed counts before the process ends.
    fn drop(&mut self) {
        self.end_minute();
    }
}

impl Lines {
    /// Takes a line of `level` from the budget; false if it is used up.
    fn take(&mut self, level: Level) -> bool {
        let (budget, max) = match level {
            Level::Warn => (&mut self.refused, limits::AUDIT_REFUSED_MAX),
            _ => (&mut self.accepted, limits::AUDIT_ACCEPTED_MAX),
        };
        if budget.logged < max {
            budget.logged += 1;
            return true;
        }
        budget.suppressed += 1;
        false
    }

    fn log_suppressed(self, source: &dyn fmt::Display) {
        let (refused, accepted) = (self.refused.suppressed, self.accepted.suppressed);
        if refused > 0 {
            log::warn!(target: TARGET, "event=held-back source={source} refused={refused} accepted={accepted}");
        } else if accepted > 0 {
            log::info!(target: TARGET, "event=held-back source={source} refused=0 accepted={accepted}");
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event={} {} dialect={}", self.event, self.peer, self.dialect)?;
        if let Some(command) = self.command {
            write!(f, " command={command}")?;
        }
        if let Some((key, value)) = self.detail {
            write!(f, " {key}={value}")?;
        }
        match self.subject {
            Subject::None => Ok(()),
            Subject::Name(name) => write!(f, " vm={}", Quoted(name.as_str())),
            Subject::Number(id) => write!(f, " vm=\"{}\"", id.0),
            Subject::Container(id) => write!(f, " container=\"{id}\""),
            Subject::AccessToken(id) => write!(f, " access_token={}", id.0),
            Subject::Reader(Reader { token, name }) => {
                write!(f, " access_token={} reader={}", token.0, Quoted(name.as_str()))
            }
        }
    }
}

/// Client text in quotes, which it can't close.
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

/// The reason for a refusal; `None` if `failure` is an error of another kind.
fn reason(failure: &Failure, command: CommandName) -> Option<&'static str> {
    Some(match failure {
        Failure::InvalidCredentials => "bad-credentials",
        Failure::InvalidToken => "bad-token",
        Failure::TokenOfAnotherVm => "token-of-another-vm",
        Failure::AuthenticationRequired => "authentication-required",
        Failure::RegistrationClosed => "registration-closed",
        Failure::NotAuthorized => "not-authorized",
        Failure::AccessTokenRequired => "access-token-required",
        Failure::InvalidAccessToken => "bad-access-token",
        // The command exists: one that does not exist is refused earlier.
        Failure::UnknownCommand if command != CommandName::UnknownVerb => "operators-only",
        Failure::UnknownVm if matches!(command, CommandName::AuthorizeVm | CommandName::ConnectVm) => {
            "unknown-vm"
        }
        _ => return None,
    })
}

fn dialect_name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Command => "command",
        Dialect::Action => "action",
        Dialect::Verb => "verb",
        Dialect::Conversion => "conversion",
        Dialect::Text => "text",
        Dialect::Web => "web",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_a_budget_of_lines_per_level() {
        let mut lines = Lines::default();
        let mut logged = |level| (0..1000).filter(|_| lines.take(level)).count();
        assert_eq!(logged(Level::Warn), limits::AUDIT_REFUSED_MAX as usize);
        assert_eq!(
            logged(Level::Info),
            limits::AUDIT_ACCEPTED_MAX as usize,
            "refusals leave the budget of logins"
        );
        assert_eq!(lines.refused.suppressed, 1000 - u64::from(limits::AUDIT_REFUSED_MAX));
        assert_eq!(lines.accepted.suppressed, 1000 - u64::from(limits::AUDIT_ACCEPTED_MAX));
    }

    #[test]
    fn sources_are_bounded_and_each_minute_ends_once() {
        let mut audit = Audit::default();
        let source = |n: u32| Source::V4(std::net::Ipv4Addr::from_bits(n));
        for n in 0..2 * limits::AUDIT_SOURCES_MAX as u32 {
            audit.lines_of(source(n)).take(Level::Warn);
        }
        assert_eq!(audit.sources.len(), limits::AUDIT_SOURCES_MAX);
        assert_eq!(u64::from(audit.overflow.refused.logged) + audit.overflow.refused.suppressed, 1024);
        assert!(audit.lines_of(source(0)).take(Level::Warn), "a known source keeps its own budget");
        assert!(audit.takes_minute() && !audit.takes_minute());
        audit.end_minute();
        assert!(audit.sources.is_empty() && audit.overflow.refused.logged == 0);
        audit.lines_of(source(0));
        assert!(audit.takes_minute());
    }

    #[test]
    fn a_line_names_a_container() {
        let id = ContainerId([0xab; 16]);
        let line = Line {
            event: "create",
            peer: LoggedPeer::user(Some(7)),
            dialect: "verb",
            command: Some("verb_create"),
            detail: None,
            subject: &Subject::Container(id),
        };
        let wanted = "event=create peer=unix uid=7 dialect=verb command=verb_create \
                      container=\"abababab-abab-abab-abab-abababababab\"";
        assert_eq!(line.to_string(), wanted);
    }

    #[test]
    fn wrong_access_tokens_are_logged_and_unknown_verbs_are_not() {
        for (failure, command, wanted) in [
            (Failure::AccessTokenRequired, CommandName::VerbStat, Some("access-token-required")),
            (Failure::InvalidAccessToken, CommandName::UnknownVerb, Some("bad-access-token")),
            (Failure::UnknownCommand, CommandName::UnknownVerb, None),
            (Failure::UnknownCommand, CommandName::Stats, Some("operators-only")),
            (Failure::MalformedRequest, CommandName::VerbCreate, None),
        ] {
            assert_eq!(reason(&failure, command), wanted, "{failure:?} {command:?}");
        }
    }
}

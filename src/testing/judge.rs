//! Whether a reply is one that its request may have, and what the client learns from it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::deed::Deed;
use super::herd::{Herd, HerdToken};
use super::metrics::Metrics;
use super::reply::{Reply, Said};
use super::request::{Bad, LastWords, What};
use super::wall_clock::WallClock;
use super::weather::Weather;
use crate::clock::Instant;
use crate::limits;

/// In whose name a connection asks, as its client knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Auth {
    Anonymous,
    As(usize),
    /// A failure has left it open.
    Unsure,
}

/// What a reply is held against.
pub(super) struct Judge<'a> {
    pub(super) weather: &'a Weather,
    pub(super) herd: &'a Herd,
    pub(super) metrics: &'a Metrics,
    pub(super) wall_clock: &'a WallClock,
    pub(super) now: Instant,
    /// Whose reply it is.
    pub(super) client: usize,
    pub(super) port: u16,
    pub(super) listener: usize,
    /// The client of each port.
    pub(super) client_of_port: &'a dyn Fn(u64) -> Option<usize>,
    /// In whose name the request was begun.
    pub(super) auth: Auth,
    pub(super) sent: Instant,
    /// The same, as requests and answers about metrics are counted.
    pub(super) moment: u64,
    /// It is answered before what follows is looked at.
    pub(super) is_in_turn: bool,
    /// Each request is made in the name of its own token, and the connection in nobody's.
    pub(super) is_by_request: bool,
    /// The status of the reply, where the framing has one.
    pub(super) status: Option<u16>,
    /// The token came beside the request.
    pub(super) is_bearer: bool,
}

pub(super) type Judgement = Result<(), String>;

impl Judge<'_> {
    /// Whether `reply` may be the reply to `what`.
    pub(super) fn check(&self, what: &What, reply: &Reply) -> Judgement {
        if let What::LastWords(words) = what {
            if let Some(status) = self.status {
                ensure(status == self.status_of(what, &reply.said), "another status than the last words'")?;
            }
            return ensure(reply.said == Said::LastWords(*words), "not the last words that are due");
        }
        if let Some(status) = self.status {
            ensure(status == self.status_of(what, &reply.said), "another status than the reply's")?;
        }
        let is_action = matches!(what, What::Do(_) | What::Convert { .. });
        ensure(reply.is_action == is_action, "the shape of another dialect")?;
        if self.is_excused(what, &reply.said) {
            return Ok(());
        }
        if let Some(token) = what.token()
            && let Some(judgement) = self.check_token(token, &reply.said)
        {
            return judgement;
        }
        let login = match (what.token(), self.auth) {
            (Some(token), _) => Auth::As(self.herd.tokens[token].vm),
            (None, auth) => auth,
        };
        let needs_login = match what {
            What::Bad(bad) => bad.needs_login(),
            What::Put { .. } | What::Get { .. } => self.closes_metrics(),
            _ => matches!(what, What::List { .. } | What::Update { .. } | What::Logout { .. }),
        };
        if needs_login && let Some(judgement) = self.check_login(login, &reply.said) {
            return judgement;
        }
        match what {
            What::Ping => {
                ensure(reply.said == Said::Success && reply.message() == "PONG", "no pong")?;
                let own = reply.data["addr"][1].as_u64() == Some(u64::from(self.port));
                ensure(own, "a pong to another connection")
            }
            What::Register { vm } => self.check_registration(*vm, reply),
            What::Authenticate { vm, is_right } => self.check_authentication(*vm, *is_right, reply),
            What::List { list, .. } => self.check_list(list, login, reply),
            What::Update { .. } => ensure(reply.said == Said::Success, "no update"),
            What::Logout { .. } => self.check_logout(login, reply),
            What::Put { batch, .. } => self.check_put(*batch, reply),
            What::Get { range, .. } => self.check_get(range, reply),
            What::Do(deed) => self.check_deed(*deed, reply),
            What::Convert { mark } => self.check_conversion(*mark, reply),
            What::Health => ensure(reply.data == "ok", "not well"),
            What::Front => {
                let is_page = reply.data.as_str().is_some_and(|page| page.starts_with("vmherd"));
                ensure(is_page, "no page")
            }
            What::Bad(bad) => check_bad(*bad, reply),
            What::LastWords(_) => Ok(()),
        }
    }

    /// Whether the weather excuses that it was not done.
    fn is_excused(&self, what: &What, said: &Said) -> bool {
        let uses_store = match what {
            What::Ping | What::Convert { .. } | What::Front => false,
            What::Bad(bad) => *bad == Bad::Disk,
            What::Do(deed) => *deed != Deed::Unknown,
            _ => true,
        };
        let begins_command = match what {
            What::Front => false,
            What::Bad(bad) => !bad.is_seen_at_once(),
            What::Do(deed) => *deed != Deed::Unknown,
            _ => true,
        };
        let writes = match what {
            What::List { .. } | What::Get { .. } | What::Health => false,
            What::Do(deed) => deed.writes(),
            _ => true,
        };
        match said {
            Said::Busy if begins_command && self.weather.has_few_requests() => true,
            Said::Busy => uses_store && self.weather.is_busy_possible(),
            Said::StoreUnavailable => uses_store && self.weather.is_failure_possible(),
            Said::OutcomeUnknown => uses_store && writes && self.weather.is_failure_possible(),
            _ => false,
        }
    }

    /// The judgement if the token decides it.
    fn check_token(&self, token: usize, said: &Said) -> Option<Judgement> {
        let token = &self.herd.tokens[token];
        let is_disturbed = self.herd.vms[token.vm].is_disturbed;
        let may_be_invalid = token.may_be_ended || is_disturbed || self.may_be_expired(token);
        if token.ended_since.is_some_and(|since| since <= self.sent) {
            return Some(ensure(*said == Said::InvalidToken, "a token that was ended counts"));
        }
        if self.must_be_expired(token) {
            return Some(ensure(*said == Said::InvalidToken, "a token that has expired counts"));
        }
        if *said == Said::InvalidToken {
            return Some(ensure(may_be_invalid, "a good token does not count"));
        }
        match self.auth {
            Auth::As(vm) if vm != token.vm => {
                let is_sure = !self.herd.vms[vm].is_disturbed;
                let refused = *said == Said::TokenOfAnotherVm;
                (refused || is_sure).then(|| ensure(refused, "another VM's token counts"))
            }
            Auth::Unsure if *said == Said::TokenOfAnotherVm => Some(Ok(())),
            _ => None,
        }
    }

    /// Whether the wall clock has been past its life at any time: it may have been swept then.
    fn may_be_expired(&self, token: &HerdToken) -> bool {
        let shown = self.wall_clock.range(token.asked, self.now);
        *shown.end() >= *token.issued.start() + limits::TOKEN_LIFETIME
    }

    /// Whether the wall clock was past its life all the time since somebody asked.
    fn must_be_expired(&self, token: &HerdToken) -> bool {
        let shown = self.wall_clock.range(self.sent, self.now);
        *shown.start() >= *token.issued.end() + limits::TOKEN_LIFETIME
    }

    /// The judgement if it hangs on who asks.
    pub(super) fn check_login(&self, login: Auth, said: &Said) -> Option<Judgement> {
        let is_refused = *said == Said::AuthenticationRequired;
        match login {
            Auth::Anonymous => Some(ensure(is_refused, "somebody anonymous got more than a refusal")),
            Auth::As(vm) if is_refused => {
                Some(ensure(self.herd.vms[vm].is_disturbed, "a login does not hold"))
            }
            Auth::Unsure if is_refused => Some(Ok(())),
            _ => None,
        }
    }

    fn check_conversion(&self, mark: u64, reply: &Reply) -> Judgement {
        if self.listener == CLOSED_LISTENER
            && let Some(judgement) = self.check_login(self.auth, &reply.said)
        {
            return judgement;
        }
        ensure(reply.said == Said::Success, "no conversion")?;
        let wanted = format!("{{\"unit{mark}\":{{\"name\":\"x\",\"id\":\"{mark}\"}}}}");
        let wanted: Value = serde_json::from_str(&wanted).map_err(|error| error.to_string())?;
        ensure(reply.data["data"] == wanted, "something else was converted")
    }

    /// The status that goes with what is said.
    fn status_of(&self, what: &What, said: &Said) -> u16 {
        match (what, said) {
            (_, Said::Busy | Said::StoreUnavailable) => 503,
            (_, Said::InvalidToken) if self.is_bearer => 401,
            (What::Bad(Bad::Json | Bad::Array | Bad::Stray), _) => 400,
            (_, Said::LastWords(LastWords::TimedOut)) => 408,
            (_, Said::LastWords(LastWords::TooLarge)) => 413,
            (_, Said::LastWords(_)) => 400,
            _ => 200,
        }
    }

    fn check_registration(&self, vm: usize, reply: &Reply) -> Judgement {
        let vm = &self.herd.vms[vm];
        if self.listener == CLOSED_LISTENER {
            return ensure(reply.said == Said::RegistrationClosed, "registration is open");
        }
        match &reply.said {
            Said::Success => {
                ensure(vm.exists_since.is_none() || vm.is_disturbed, "registered twice")?;
                ensure(reply.data["auth_id"] == vm.name.as_str(), "another VM's registration")
            }
            Said::AlreadyRegistered => ensure(
                vm.exists_since.is_some() || vm.may_exist > 1 || vm.is_disturbed,
                "registered without having been",
            ),
            _ => Err("no answer to a registration".to_owned()),
        }
    }

    fn check_authentication(&self, vm: usize, is_right: bool, reply: &Reply) -> Judgement {
        let vm = &self.herd.vms[vm];
        match &reply.said {
            Said::Success => {
                ensure(is_right && !vm.cannot_exist(), "a wrong login")?;
                ensure(reply.data["token"].as_str().is_some_and(|token| token.len() == 64), "no token")
            }
            Said::InvalidCredentials => {
                let must = is_right && vm.must_exist(self.client, self.sent) && !vm.is_disturbed;
                ensure(!must, "a right password does not count")
            }
            _ => Err("no answer to a login".to_owned()),
        }
    }

    fn check_logout(&self, login: Auth, reply: &Reply) -> Judgement {
        ensure(reply.said == Said::Success, "no logout")?;
        let Auth::As(vm) = login else { return Ok(()) };
        let wanted = format!("VM ({}) logged out successfully", self.herd.vms[vm].name);
        let is_sure = !self.herd.vms[vm].is_disturbed;
        ensure(reply.message() == wanted || !is_sure, "another VM was logged out")
    }

    fn check_list(&self, list: &str, login: Auth, reply: &Reply) -> Judgement {
        ensure(reply.said == Said::Success && reply.message.is_none(), "no list")?;
        let entries = reply.data[list].as_array().ok_or("another list")?;
        match list {
            "all_vms" => self.check_vms(entries),
            "all_disks" => check_disks(entries),
            _ => self.check_peers(entries, list, login),
        }
    }

    fn check_vms(&self, entries: &[Value]) -> Judgement {
        let mut seen = BTreeSet::new();
        for entry in entries {
            let name = self.check_vm(entry)?;
            ensure(seen.insert(name), "a VM stands twice on a list")?;
        }
        let missing = self.herd.vms.iter().find(|vm| {
            let must = vm.must_exist(usize::MAX, self.sent) && !vm.is_disturbed;
            must && !seen.contains(vm.name.as_str())
        });
        ensure(missing.is_none(), "a VM is missing from the list of all")
    }

    fn check_vm<'a>(&self, entry: &'a Value) -> Result<&'a str, String> {
        let name = entry["vm_id"].as_str().ok_or("a VM without a name")?;
        if name.starts_with("old-") || name.parse::<i64>().is_ok() {
            return Ok(name);
        }
        let vm = self.herd.vm_named(name).ok_or("a VM that nobody has registered")?;
        ensure(!vm.cannot_exist(), "a VM whose registration was refused")?;
        let ram = entry["ram"].as_u64().unwrap_or_default();
        ensure(vm.rams_ever.contains(&(ram as u32)), "a VM with memory that nobody gave it")?;
        let disks = entry["disks"].as_array().ok_or("a VM without disks")?;
        ensure(disks.iter().all(|disk| disk["vm_id"] == entry["vm_id"]), "another VM's disk")?;
        Ok(name)
    }

    /// Each connection is listed once, and with a VM only if its client has proved to be it.
    fn check_peers(&self, entries: &[Value], list: &str, login: Auth) -> Judgement {
        let mut seen = BTreeSet::new();
        for entry in entries {
            let port = entry["addr"][1].as_u64().ok_or("a connection without a port")?;
            ensure(seen.insert(port), "a connection stands twice on a list")?;
            let client = (self.client_of_port)(port).ok_or("a connection that never was")?;
            match entry.get("vm_info") {
                Some(vm) => {
                    let name = self.check_vm(vm)?;
                    let vm = self.herd.vm_named(name).ok_or("nobody logs in as an old VM")?;
                    ensure(vm.suitors.contains(&client), "a connection has somebody else's login")?;
                }
                None => ensure(list == "active_vms", "authenticated as nobody")?,
            }
        }
        if self.is_by_request {
            return Ok(());
        }
        let Auth::As(vm) = login else { return Ok(()) };
        let (vm, own) = (&self.herd.vms[vm], u64::from(self.port));
        let entry = entries.iter().find(|entry| entry["addr"][1].as_u64() == Some(own));
        let is_right = entry.is_some_and(|entry| entry["vm_info"]["vm_id"] == vm.name.as_str());
        ensure(is_right || vm.is_disturbed, "the list lacks the login of the connection that asks")
    }
}

fn check_disks(entries: &[Value]) -> Judgement {
    let ids: Option<Vec<u64>> = entries.iter().map(|disk| disk["id"].as_u64()).collect();
    let ids = ids.ok_or("a disk without an id")?;
    ensure(ids.is_sorted_by(|one, next| one < next), "disks out of order or twice")
}

fn check_bad(bad: Bad, reply: &Reply) -> Judgement {
    let message = reply.message();
    let is_told = match bad {
        Bad::Json | Bad::Stray => message.starts_with("Invalid JSON: "),
        Bad::Line => {
            let json = "wrong command: this connection speaks metrics text; open a new one for JSON";
            [json, "wrong command"].contains(&message)
        }
        Bad::Array => message.starts_with("a request must be an object"),
        Bad::Command | Bad::Operators => message == "Unknown command",
        Bad::Id => message.contains("request_id"),
        Bad::Field(mark) => message.contains(&format!("mark{mark}")),
        Bad::Password => message.contains("password") || reply.said == Said::RegistrationClosed,
        Bad::List => message == "Unknown list command type",
        Bad::NoFields => message == "No fields for update",
        Bad::Disk => message.contains("no disk with id"),
    };
    ensure(is_told && reply.said != Said::Success, "not told what is wrong")
}

pub(super) fn ensure(holds: bool, otherwise: &str) -> Judgement {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// The listener that registers nobody.
pub(super) const CLOSED_LISTENER: usize = 1;

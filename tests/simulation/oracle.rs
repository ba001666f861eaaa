//! Checks whether a reply is a possible reply to its request.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::action_requests::ActionRequest;
use super::network::CLOSED_LISTENER;
use super::reference_model::ModelToken;
use super::reply_context::{Auth, ReplyContext};
use super::request::{InvalidRequest, Request};
use super::response::{ClosingError, Outcome, Response, Shape};
use super::verb_requests::{Custom, CustomRequest};
use super::verification::{Verification, ensure};
use vmherd::internals::clock::Instant;
use vmherd::internals::ids::ContainerId;
use vmherd::internals::limits;

impl ReplyContext<'_> {
    /// Whether `response` is a possible reply to `request`.
    pub(super) fn check(&self, request: &Request, response: &Response) -> Verification {
        if let Request::Closing(error) = request {
            if let Some(status) = self.status {
                ensure(status == self.status_of(request, response), "another status than the last error's")?;
            }
            return ensure(
                response.outcome == Outcome::Closing(*error),
                "another last error than the expected one",
            );
        }
        if let Some(status) = self.status {
            ensure(status == self.status_of(request, response), "another status than the reply's")?;
        }
        // A client that failed to authenticate gets the shape of a command in any dialect.
        let shape = if self.status == Some(401) { Shape::Command } else { request.shape() };
        ensure(response.shape == shape, "a reply in the shape of another dialect")?;
        let may_fail = matches!(request, Request::Custom(_) | Request::Container(_));
        if response.outcome == Outcome::Internal && !may_fail {
            return Err("an internal error of the server".to_owned());
        }
        if self.is_excused(request, &response.outcome) {
            return Ok(());
        }
        if let Some(token) = request.token()
            && let Some(verification) = self.check_token(token, &response.outcome)
        {
            return verification;
        }
        let login = match (request.token(), self.auth) {
            (Some(token), _) => Auth::As(self.model.tokens[token].vm),
            (None, auth) => auth,
        };
        let needs_login = match request {
            Request::Invalid(bad) => bad.needs_login(),
            Request::Put { .. } | Request::Get { .. } | Request::Stat { .. } | Request::Container(_) => {
                self.requires_login()
            }
            Request::Custom(CustomRequest { custom, .. }) => match custom {
                Custom::Inspect => false,
                Custom::Report => true,
                Custom::Probe | Custom::Reboot => self.requires_login(),
            },
            _ => matches!(request, Request::List { .. } | Request::Update { .. } | Request::Logout { .. }),
        };
        if needs_login && let Some(verification) = self.check_login(login, &response.outcome) {
            return verification;
        }
        match request {
            Request::Ping => {
                ensure(response.outcome == Outcome::Success && response.message() == "PONG", "no pong")?;
                let own = response.data["addr"][1].as_u64() == Some(u64::from(self.port));
                ensure(own, "a pong to another connection")
            }
            Request::Register { vm } => self.check_registration(*vm, response),
            Request::Authenticate { vm, is_right } => self.check_authentication(*vm, *is_right, response),
            Request::List { list, .. } => self.check_list(list, login, response),
            Request::Update { .. } => ensure(response.outcome == Outcome::Success, "no update"),
            Request::Logout { .. } => self.check_logout(login, response),
            Request::Put { batch, .. } => self.check_put(*batch, response),
            Request::Get { query, .. } => self.check_get(query, response),
            Request::Action(action) => self.check_action(*action, response),
            Request::Convert { mark } => self.check_conversion(*mark, response),
            Request::Stat { .. } => self.check_stat(response),
            Request::Custom(custom) => self.check_custom(*custom, login, response),
            Request::Container(container) => self.check_container(*container, response),
            Request::Health => ensure(response.data == "ok", "the server is not healthy"),
            Request::FrontPage => {
                let is_page = response.data.as_str().is_some_and(|page| page.starts_with("vmherd"));
                ensure(is_page, "another page than the front page")
            }
            Request::Invalid(bad) => check_bad(*bad, response),
            Request::Closing(_) => Ok(()),
        }
    }

    /// Whether a fault or limit of this world explains the failure.
    fn is_excused(&self, request: &Request, outcome: &Outcome) -> bool {
        let uses_store = match request {
            Request::Ping | Request::Convert { .. } | Request::FrontPage => false,
            Request::Stat { token, .. } | Request::Custom(CustomRequest { token, .. }) => token.is_some(),
            Request::Invalid(bad) => *bad == InvalidRequest::UnknownDisk,
            Request::Action(action) => *action != ActionRequest::Unknown,
            _ => true,
        };
        let begins_command = match request {
            Request::FrontPage => false,
            Request::Invalid(bad) => !bad.is_refused_at_once(),
            Request::Action(action) => *action != ActionRequest::Unknown,
            _ => true,
        };
        let writes = match request {
            Request::List { .. } | Request::Get { .. } | Request::Stat { .. } | Request::Health => false,
            Request::Custom(_) => false,
            Request::Action(action) => action.writes(),
            _ => true,
        };
        match outcome {
            Outcome::Busy if self.config.is_greedy(self.client) => true,
            Outcome::Busy if begins_command && self.config.limits_requests() => true,
            // A login that is delayed after failed ones does not outlast the server.
            Outcome::Busy if matches!(request, Request::Authenticate { .. }) && self.is_stopped => true,
            // Its own queue may be full.
            Outcome::Busy if matches!(request, Request::Custom(_)) => self.config.is_busy_possible(),
            Outcome::Busy => uses_store && self.config.is_busy_possible(),
            Outcome::StoreUnavailable => uses_store && self.config.is_failure_possible(),
            Outcome::Unknown => uses_store && writes && self.config.is_failure_possible(),
            _ => false,
        }
    }

    /// The result if the token decides it.
    fn check_token(&self, token: usize, outcome: &Outcome) -> Option<Verification> {
        let token = &self.model.tokens[token];
        let is_changed_by_operator = self.model.vms[token.vm].is_changed_by_operator;
        let may_be_invalid = token.may_be_ended || is_changed_by_operator || self.may_be_expired(token);
        if token.ended_since.is_some_and(|since| since <= self.sent) {
            return Some(ensure(*outcome == Outcome::InvalidToken, "an ended token is accepted"));
        }
        if self.must_be_expired(token) {
            return Some(ensure(*outcome == Outcome::InvalidToken, "an expired token is accepted"));
        }
        if *outcome == Outcome::InvalidToken {
            return Some(ensure(may_be_invalid, "a valid token is refused"));
        }
        match self.auth {
            Auth::As(vm) if vm != token.vm => {
                let is_sure = !self.model.vms[vm].is_changed_by_operator;
                let refused = *outcome == Outcome::TokenOfAnotherVm;
                (refused || is_sure).then(|| ensure(refused, "another VM's token is accepted"))
            }
            Auth::Unsure if *outcome == Outcome::TokenOfAnotherVm => Some(Ok(())),
            _ => None,
        }
    }

    /// Whether the wall clock has been past its expiry at any time: it may have been removed then.
    fn may_be_expired(&self, token: &ModelToken) -> bool {
        let shown = self.wall_clock.range(token.asked, self.now);
        *shown.end() >= *token.issued.start() + limits::TOKEN_LIFETIME
    }

    /// Whether the wall clock was past its expiry ever since the request.
    fn must_be_expired(&self, token: &ModelToken) -> bool {
        let shown = self.wall_clock.range(self.sent, self.now);
        *shown.start() >= *token.issued.end() + limits::TOKEN_LIFETIME
    }

    fn check_conversion(&self, mark: u64, response: &Response) -> Verification {
        if self.listener == CLOSED_LISTENER
            && let Some(verification) = self.check_login(self.auth, &response.outcome)
        {
            return verification;
        }
        ensure(response.outcome == Outcome::Success, "no conversion")?;
        let wanted = format!("{{\"unit{mark}\":{{\"name\":\"x\",\"id\":\"{mark}\"}}}}");
        let wanted: Value = serde_json::from_str(&wanted).map_err(|error| error.to_string())?;
        ensure(response.data["data"] == wanted, "another text was converted")
    }

    /// The status of a reply.
    fn status_of(&self, request: &Request, response: &Response) -> u16 {
        match (request, &response.outcome) {
            // Clients of verbs give up on any other status.
            _ if self.head.names_verb && response.shape == Shape::Verb => 200,
            (_, Outcome::Busy | Outcome::StoreUnavailable) => 503,
            (_, Outcome::InvalidToken) if self.head.has_bearer_token => 401,
            (
                Request::Invalid(
                    InvalidRequest::NotJson | InvalidRequest::Array | InvalidRequest::StrayBytes,
                ),
                _,
            ) => 400,
            (_, Outcome::Closing(ClosingError::TimedOut)) => 408,
            (_, Outcome::Closing(ClosingError::TooLarge)) => 413,
            (_, Outcome::Closing(_)) => 400,
            _ => 200,
        }
    }

    /// The status of the server: its uptime is in whole seconds.
    fn check_stat(&self, response: &Response) -> Verification {
        ensure(response.outcome == Outcome::Success && response.message() == "OK", "no status")?;
        let uptime = |at: Instant| (at - self.started).as_secs();
        let shown = response.data["uptime"].as_u64().ok_or("an uptime that is no integer")?;
        ensure((uptime(self.sent)..=uptime(self.now)).contains(&shown), "a wrong uptime")?;
        let available = &response.data["available"];
        self.check_available(available)?;
        let wanted = json!({"uptime": shown, "available": available, "version": env!("CARGO_PKG_VERSION")});
        ensure(response.data == wanted, "a wrong status")
    }

    fn check_registration(&self, vm: usize, response: &Response) -> Verification {
        let vm = &self.model.vms[vm];
        if self.listener == CLOSED_LISTENER {
            return ensure(response.outcome == Outcome::RegistrationClosed, "registration is open");
        }
        match &response.outcome {
            Outcome::Success => {
                ensure(vm.exists_since.is_none() || vm.is_changed_by_operator, "registered twice")?;
                ensure(response.data["auth_id"] == vm.name.as_str(), "another VM's registration")
            }
            Outcome::AlreadyRegistered => ensure(
                vm.exists_since.is_some() || vm.may_exist > 1 || vm.is_changed_by_operator,
                "refused as registered, and it was not",
            ),
            _ => Err("another reply than to a registration".to_owned()),
        }
    }

    fn check_authentication(&self, vm: usize, is_right: bool, response: &Response) -> Verification {
        let vm = &self.model.vms[vm];
        match &response.outcome {
            Outcome::Success => {
                ensure(is_right && !vm.cannot_exist(), "a wrong login")?;
                ensure(response.data["token"].as_str().is_some_and(|token| token.len() == 64), "no token")
            }
            Outcome::InvalidCredentials => {
                let must = is_right && vm.must_exist(self.client, self.sent) && !vm.is_changed_by_operator;
                ensure(!must, "a right password is refused")
            }
            // The operator has ended its logins between the check of the password and the write.
            Outcome::Busy if vm.is_changed_by_operator => Ok(()),
            _ => Err("another reply than to a login".to_owned()),
        }
    }

    fn check_logout(&self, login: Auth, response: &Response) -> Verification {
        ensure(response.outcome == Outcome::Success, "no logout")?;
        let Auth::As(vm) = login else { return Ok(()) };
        let wanted = format!("VM ({}) logged out successfully", self.model.vms[vm].name);
        let is_sure = !self.model.vms[vm].is_changed_by_operator;
        ensure(response.message() == wanted || !is_sure, "another VM was logged out")
    }

    fn check_list(&self, list: &str, login: Auth, response: &Response) -> Verification {
        ensure(response.outcome == Outcome::Success && response.message.is_none(), "no list")?;
        let entries = response.data[list].as_array().ok_or("another list")?;
        match list {
            "all_vms" => self.check_vms(entries),
            "all_disks" => check_disks(entries),
            _ => self.check_peers(entries, list, login),
        }
    }

    fn check_vms(&self, entries: &[Value]) -> Verification {
        let mut seen = BTreeSet::new();
        for entry in entries {
            let name = self.check_vm(entry)?;
            ensure(seen.insert(name), "a VM is twice on a list")?;
        }
        let missing = self.model.vms.iter().find(|vm| {
            let must = vm.must_exist(usize::MAX, self.sent) && !vm.is_changed_by_operator;
            must && !seen.contains(vm.name.as_str())
        });
        ensure(missing.is_none(), "a VM is missing from the list of all")
    }

    fn check_vm<'a>(&self, entry: &'a Value) -> Result<&'a str, String> {
        let name = entry["vm_id"].as_str().ok_or("a VM without a name")?;
        if name.starts_with("old-") || name.parse::<i64>().is_ok() || ContainerId::parse(name).is_some() {
            return Ok(name);
        }
        let vm = self.model.vm_named(name).ok_or("a VM that no client has registered")?;
        ensure(!vm.cannot_exist(), "a VM whose registration was refused")?;
        let ram = entry["ram"].as_u64().unwrap_or_default();
        ensure(vm.rams_ever.contains(&(ram as u32)), "a VM with memory that no client has set")?;
        let disks = entry["disks"].as_array().ok_or("a VM without disks")?;
        ensure(disks.iter().all(|disk| disk["vm_id"] == entry["vm_id"]), "another VM's disk")?;
        Ok(name)
    }

    /// Each connection is listed once, and with a VM only if its client has sent its password or a token.
    fn check_peers(&self, entries: &[Value], list: &str, login: Auth) -> Verification {
        let mut seen = BTreeSet::new();
        for entry in entries {
            let port = entry["addr"][1].as_u64().ok_or("a connection without a port")?;
            ensure(seen.insert(port), "a connection is twice on a list")?;
            let client = (self.client_of_port)(port).ok_or("a connection that never was")?;
            match entry.get("vm_info") {
                Some(vm) => {
                    let name = self.check_vm(vm)?;
                    let vm = self.model.vm_named(name).ok_or("a login as a VM without a password")?;
                    ensure(
                        vm.authenticated_clients.contains(&client),
                        "a connection has the login of another client",
                    )?;
                }
                None => {
                    ensure(list == "active_vms", "an anonymous connection on the list of authenticated ones")?
                }
            }
        }
        if self.is_stateless {
            return Ok(());
        }
        let Auth::As(vm) = login else { return Ok(()) };
        let (vm, own) = (&self.model.vms[vm], u64::from(self.port));
        let entry = entries.iter().find(|entry| entry["addr"][1].as_u64() == Some(own));
        let is_right = entry.is_some_and(|entry| entry["vm_info"]["vm_id"] == vm.name.as_str());
        ensure(is_right || vm.is_changed_by_operator, "the list lacks the login of the connection that asks")
    }
}

fn check_disks(entries: &[Value]) -> Verification {
    let ids: Option<Vec<u64>> = entries.iter().map(|disk| disk["id"].as_u64()).collect();
    let ids = ids.ok_or("a disk without an id")?;
    ensure(ids.is_sorted_by(|one, next| one < next), "disks out of order or twice")
}

fn check_bad(bad: InvalidRequest, response: &Response) -> Verification {
    let message = response.message();
    let names_error = match bad {
        InvalidRequest::NotJson | InvalidRequest::StrayBytes => message.starts_with("Invalid JSON: "),
        InvalidRequest::TextLine => {
            let json = "wrong command: this connection speaks metrics text; open a new one for JSON";
            [json, "wrong command"].contains(&message)
        }
        InvalidRequest::Array => message.starts_with("a request must be an object"),
        InvalidRequest::UnknownCommand | InvalidRequest::OperatorCommand => message == "Unknown command",
        InvalidRequest::UnknownVerb => message == "Bad request (Unknown verb)",
        InvalidRequest::BareVerb | InvalidRequest::NoVerb => message == "Bad request (Malformed request)",
        InvalidRequest::BadId => message.contains("request_id"),
        InvalidRequest::UnknownField(mark) => message.contains(&format!("mark{mark}")),
        InvalidRequest::ShortPassword => {
            message.contains("password") || response.outcome == Outcome::RegistrationClosed
        }
        InvalidRequest::UnknownList => message == "Unknown list command type",
        InvalidRequest::EmptyUpdate => message == "No fields for update",
        InvalidRequest::UnknownDisk => message.contains("no disk with id"),
    };
    ensure(names_error && response.outcome != Outcome::Success, "the error does not say what is wrong")
}

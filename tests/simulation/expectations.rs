//! The replies that are due to one client, in which order, and the login of its requests.

use std::collections::{BTreeMap, VecDeque};

use super::action_requests::ActionRequest;
use super::auth_after::auth_after;
use super::environment::Environment;
use super::framing::Framing;
use super::ram_history::SentBy;
use super::reference_model::ModelToken;
use super::reply_context::{Auth, ReplyContext, RequestHead};
use super::request::Request;
use super::response::{ClosingError, Outcome, Response};
use super::verification::{Verification, ensure};
use vmherd::internals::clock::Instant;
use vmherd::internals::limits;

/// The replies that are due to one client, and what it knows from earlier ones.
pub(super) struct Expectations {
    client: usize,
    listener: usize,
    /// Replies to requests without an id, in their order.
    ordered: VecDeque<ExpectedResponse>,
    /// Replies to the others, in any order, by id; several may have the same.
    by_id: BTreeMap<String, Vec<ExpectedResponse>>,
    last_with_id: Option<(String, Request)>,
    /// Requests that it has sent.
    sent: u64,
    /// The numbers of the VMs that it has added, by the places of the requests.
    added: BTreeMap<u64, i64>,
    /// Each request is answered before the next is begun, and runs with the login of its own token.
    is_stateless: bool,
    is_text: bool,
    /// When the last delayed answer was due.
    last_due: Instant,
    /// Further replies are allowed but not required.
    pub(super) responses_are_optional: bool,
    pub(super) barrier_count: usize,
    /// The login of the connection after each number of barriers.
    auths: Vec<Auth>,
    /// Tokens issued on this connection: a logout ends them.
    pub(super) issued: Vec<usize>,
    /// Tokens that were sent on it: a logout may end them.
    presented: Vec<usize>,
    /// The connection's last error has come.
    pub(super) has_closing_error: bool,
    /// A request may time out from then on.
    pub(super) timed_out_from: Option<Instant>,
}

struct ExpectedResponse {
    request: Request,
    by: SentBy,
    sent: Instant,
    /// The logical time of `sent`: see `PointModel`.
    logical_time: u64,
    is_in_turn: bool,
    barriers_before: usize,
    /// The id, if it is answered in order nevertheless.
    id: Option<String>,
    head: RequestHead,
}

impl Expectations {
    pub(super) fn new(client: usize, listener: usize, framing: Framing) -> Expectations {
        Expectations {
            client,
            listener,
            ordered: VecDeque::new(),
            by_id: BTreeMap::new(),
            last_with_id: None,
            sent: 0,
            added: BTreeMap::new(),
            is_stateless: framing == Framing::Http,
            is_text: framing == Framing::Text,
            last_due: Instant::ORIGIN,
            responses_are_optional: false,
            barrier_count: 0,
            auths: vec![Auth::Anonymous],
            issued: Vec::new(),
            presented: Vec::new(),
            has_closing_error: false,
            timed_out_from: None,
        }
    }

    /// A reply to `request` is due from now on.
    pub(super) fn expect(
        &mut self,
        request: Request,
        id: Option<String>,
        head: RequestHead,
        env: &Environment,
    ) {
        let barriers_before = if self.is_stateless { 0 } else { self.barrier_count };
        self.barrier_count += usize::from(request.is_barrier());
        let is_in_turn = id.is_none() || self.is_stateless;
        let (sent, logical_time) = (env.now, env.knowledge.points.logical_time());
        let by = self.next_place();
        self.sent += 1;
        let mut expected =
            ExpectedResponse { by, sent, logical_time, is_in_turn, barriers_before, request, id: None, head };
        match id {
            Some(id) if !self.is_stateless => {
                self.last_with_id = Some((id.clone(), expected.request.clone()));
                self.by_id.entry(id).or_default().push(expected);
            }
            id => {
                expected.id = id;
                self.ordered.push_back(expected);
            }
        }
    }

    /// The place of the next request.
    fn next_place(&self) -> SentBy {
        SentBy { client: self.client, place: self.sent }
    }

    /// Records what the request may do from now on. [`Expectations::expect`] must follow.
    pub(super) fn on_sent(&mut self, request: &Request, env: &mut Environment) {
        if let Request::Container(container) = request {
            container.on_sent(env);
        }
        let model = &mut env.knowledge.model;
        match request {
            Request::Register { vm } => model.vms[*vm].may_exist += 1,
            Request::Authenticate { .. } if self.is_stateless => {}
            Request::Authenticate { vm, is_right: true } => {
                model.vms[*vm].authenticated_clients.insert(self.client);
            }
            Request::Update { ram, token } => {
                // Its VM depends on replies that have not come: it may be any.
                let vm = token.map(|token| model.tokens[token].vm);
                let vms = model.vms.iter_mut().enumerate();
                for (_, vm) in vms.filter(|(at, _)| vm.is_none_or(|vm| vm == *at)) {
                    vm.rams_ever.insert(*ram);
                    vm.possible_rams.insert(*ram);
                }
                let of_login = match self.auths.last() {
                    Some(Auth::As(vm)) => Some(*vm),
                    _ => None,
                };
                if let Some(vm) = vm.or(of_login) {
                    model.vms[vm].begin_update();
                }
            }
            Request::Logout { token } => {
                let others = self.issued.iter().chain(&self.presented).filter(|_| !self.is_stateless);
                for token in others.chain(token) {
                    model.tokens[*token].may_be_ended = true;
                }
            }
            Request::Action(action) => action.on_sent(self.next_place(), model),
            _ => {}
        }
        if let Some(token) = request.token().filter(|_| !self.is_stateless) {
            let vm = model.tokens[token].vm;
            model.vms[vm].authenticated_clients.insert(self.client);
            self.presented.push(token);
        }
    }

    /// Takes a reply of the server, which must be one that is due.
    pub(super) fn take(
        &mut self,
        text: &str,
        status: Option<u16>,
        port: u16,
        env: &mut Environment,
    ) -> Verification {
        if self.has_closing_error {
            return Err("a reply comes after the last error".to_owned());
        }
        let response = if self.is_text { Response::read_lines(text)? } else { Response::read(text)? };
        env.log(|| format!("client {} gets {}", self.client, text.chars().take(160).collect::<String>()));
        let expected = match &response.id {
            id if id.is_none() || self.is_stateless => {
                let expected = self.ordered.pop_front().ok_or("a reply without a request")?;
                if expected.id != *id {
                    return Err(format!("not the reply to the first open request, {:?}", expected.request));
                }
                self.check(&expected, &response, status, port, env)
                    .map_err(|error| format!("{error}, {:?}", expected.request))?;
                expected
            }
            id => {
                let id = id.as_deref().unwrap_or_default();
                let mut wrong = "a reply with an unknown id".to_owned();
                let known = self.by_id.get(id).map_or(&[][..], |known| known);
                let found = known.iter().position(|expected| {
                    match self.check(expected, &response, status, port, env) {
                        Ok(()) => true,
                        Err(error) => {
                            wrong = format!("{error}, {:?}", expected.request);
                            false
                        }
                    }
                });
                let found = found.ok_or(wrong)?;
                let known = self.by_id.get_mut(id).ok_or("an unknown id")?;
                let expected = known.remove(found);
                if known.is_empty() {
                    self.by_id.remove(id);
                }
                expected
            }
        };
        if let (Request::Convert { mark }, Outcome::Success) = (&expected.request, &response.outcome) {
            self.check_due(*mark, env)?;
        }
        self.check_order(&expected, &response)?;
        self.on_response(expected, &response, env);
        Ok(())
    }

    /// Whether all replies that are due have come.
    pub(super) fn has_nothing_pending(&self) -> bool {
        self.responses_are_optional || self.ordered.is_empty() && self.by_id.is_empty()
    }

    /// Whether the login of the next request is known.
    pub(super) fn is_login_certain(&self) -> bool {
        self.is_stateless
            || self.auths.len() == self.barrier_count + 1 && self.auths.last() != Some(&Auth::Unsure)
    }

    /// Whether the connection is certainly authenticated.
    pub(super) fn is_logged_in(&self, env: &Environment) -> bool {
        let is_certain = !self.is_stateless && self.is_login_certain();
        is_certain
            && matches!(self.auths.last(), Some(Auth::As(vm)) if !env.knowledge.model.vms[*vm].is_changed_by_operator)
    }

    /// Whether a reply in pages may have failed after its first page: only the end of the connection reports that.
    pub(super) fn may_be_broken_off(&self, is_closed_by_handler: bool, env: &Environment) -> bool {
        let config = &env.config;
        let may_fail = config.is_failure_possible() || config.is_busy_possible() || config.operator_acts;
        let has_many_points = env.knowledge.points.count() > limits::POINTS_PER_PAGE_MAX;
        let has_pages = |request: &Request| match request {
            Request::List { .. } | Request::Action(ActionRequest::List(_)) => config.many_vms,
            Request::Get { .. } => has_many_points,
            _ => false,
        };
        (may_fail || is_closed_by_handler) && self.due().any(has_pages)
    }

    /// A handler has closed the connection: whether all answers of handlers before that act have come.
    pub(super) fn check_answered_before(&self, act: usize, env: &Environment) -> Verification {
        let has_pages = self.due().any(|request| {
            matches!(
                request,
                Request::List { .. } | Request::Action(ActionRequest::List(_)) | Request::Get { .. }
            )
        });
        if has_pages || self.responses_are_optional {
            // It may have waited for pages.
            return Ok(());
        }
        for request in self.due() {
            let Request::Custom(custom) = request else { continue };
            let call = env.workers.handlers.call_of(custom.mark);
            let result = call.and_then(|call| Some((call.result?, call.deadline)));
            if let Some(((at, answered, _), deadline)) = result
                && answered < act
                && at < deadline
            {
                return Err(format!("closed without the answer that came before, {custom:?}"));
            }
        }
        Ok(())
    }

    /// The id of the last request with an id, if that was like `request`.
    pub(super) fn id_of_last(&self, request: &Request) -> Option<String> {
        let (id, last) = self.last_with_id.as_ref()?;
        let is_alike =
            last == request || matches!((last, request), (Request::Convert { .. }, Request::Convert { .. }));
        (is_alike && self.by_id.contains_key(id)).then(|| id.clone())
    }

    /// Describes the replies that are due.
    pub(super) fn describe(&self) -> String {
        let first: Vec<&Request> = self.due().take(4).collect();
        format!("{} replies due {first:?}", self.due().count())
    }

    fn due(&self) -> impl Iterator<Item = &Request> {
        self.expected().map(|expected| &expected.request)
    }

    fn expected(&self) -> impl Iterator<Item = &ExpectedResponse> {
        self.ordered.iter().chain(self.by_id.values().flatten())
    }

    /// Whether the writes of the connection are done in order, and before the reads that follow them.
    fn check_order(&mut self, answered: &ExpectedResponse, response: &Response) -> Verification {
        let is_open = |other: &ExpectedResponse| other.request.is_write() && other.by.is_before(answered.by);
        if answered.request.waits_for_writes() && self.expected().any(is_open) {
            return Err("a request is done before a write that was sent before it".to_owned());
        }
        if let (Request::Action(ActionRequest::Add { .. }), Outcome::Success) =
            (&answered.request, &response.outcome)
        {
            let (place, id) = (answered.by.place, response.data["vm_id"].as_i64().unwrap_or_default());
            let is_in_order = self.added.range(..place).next_back().is_none_or(|(_, earlier)| *earlier < id)
                && self.added.range(place..).next().is_none_or(|(_, later)| id < *later);
            ensure(is_in_order, "VMs are added in another order than requested")?;
            self.added.insert(place, id);
        }
        Ok(())
    }

    /// Whether a delayed answer is due, and comes after those that were due before.
    fn check_due(&mut self, mark: u64, env: &Environment) -> Verification {
        let due = *env.knowledge.conversions_due.get(&mark).ok_or("converted without a delay")?;
        if env.now < due {
            return Err(format!("converted {:?} too early", due - env.now));
        }
        if due < self.last_due {
            return Err("converted before one whose delay ended earlier".to_owned());
        }
        self.last_due = due;
        Ok(())
    }

    fn check(
        &self,
        expected: &ExpectedResponse,
        response: &Response,
        status: Option<u16>,
        port: u16,
        env: &Environment,
    ) -> Verification {
        if expected.request == Request::Closing(ClosingError::TimedOut)
            && self.timed_out_from.is_some_and(|from| env.now < from)
        {
            return Err("a request times out too early".to_owned());
        }
        let auth = *self.auths.get(expected.barriers_before).ok_or("it overtakes a barrier")?;
        let context = ReplyContext {
            config: &env.config,
            model: &env.knowledge.model,
            point_model: &env.knowledge.points,
            handlers: &env.workers.handlers,
            hypervisor: &env.workers.hypervisor,
            wall_clock: &env.wall_clock,
            started: env.start,
            now: env.now,
            is_stopped: env.shutdown.stopped.is_some(),
            client: self.client,
            by: expected.by,
            port,
            listener: self.listener,
            is_given_up: env.network.connections.iter().any(|of| of.port == port && of.is_given_up),
            client_of_port: &|port| env.network.client_of_port(port),
            auth,
            sent: expected.sent,
            logical_time: expected.logical_time,
            is_in_turn: expected.is_in_turn,
            is_stateless: self.is_stateless,
            status,
            head: expected.head,
        };
        context.check(&expected.request, response)
    }

    /// Records what the reply has reported.
    fn on_response(&mut self, expected: ExpectedResponse, response: &Response, env: &mut Environment) {
        if let Request::Container(container) = expected.request {
            container.on_response(self.client, response, env);
        }
        let before = self.auths[expected.barriers_before];
        let model = &mut env.knowledge.model;
        let is_success = response.outcome == Outcome::Success;
        match expected.request {
            Request::Register { vm } => {
                let vm = &mut model.vms[vm];
                let is_open = response.outcome == Outcome::Unknown;
                vm.may_exist -= usize::from(!is_open);
                if is_success || response.outcome == Outcome::AlreadyRegistered {
                    vm.exists_since.get_or_insert(env.now);
                }
            }
            Request::Authenticate { vm, .. } if is_success => {
                let may_be_ended = self.due().any(|request| matches!(request, Request::Logout { .. }));
                let text = response.data["token"].as_str().unwrap_or_default().to_owned();
                let may_be_ended = may_be_ended || model.vms[vm].is_changed_by_operator;
                let (asked, ended_since) = (expected.sent, None);
                let issued = env.wall_clock.range(asked, env.now);
                model.tokens.push(ModelToken { text, vm, asked, issued, may_be_ended, ended_since });
                self.issued.push(model.tokens.len() - 1);
            }
            Request::Update { ram, token } => {
                let vm = match (token, before) {
                    (Some(token), _) => Some(model.tokens[token].vm),
                    (None, Auth::As(vm)) => Some(vm),
                    _ => None,
                };
                if let Some(vm) = vm {
                    let vm = &mut model.vms[vm];
                    match response.outcome {
                        Outcome::Success => vm.end_update(Some(ram)),
                        Outcome::Unknown => {}
                        _ => {
                            vm.end_update(None);
                            vm.possible_rams.remove(&ram);
                        }
                    }
                }
            }
            Request::Logout { token } if is_success => {
                let issued = if self.is_stateless { Vec::new() } else { std::mem::take(&mut self.issued) };
                for token in issued.into_iter().chain(token) {
                    model.tokens[token].ended_since.get_or_insert(env.now);
                }
            }
            Request::Put { batch, .. } => env.knowledge.points.on_response(batch, &response.outcome, env.now),
            Request::Custom(custom) => env.workers.handlers.on_response(custom.mark, &response.outcome),
            Request::Action(action) => action.on_response(expected.by, response, model, env.now),
            Request::Closing(_) => self.has_closing_error = true,
            _ => {}
        }
        if expected.request.is_barrier() && !self.is_stateless {
            let after = auth_after(&expected.request, before, &response.outcome, env);
            self.auths.push(after);
        }
    }
}

//! A fake client: follows its plan, and checks every byte that it receives.
//!
//! Replies without an id must come in the order of their requests, those with an id exactly once, none of another
//! client's, and the connection must not end without a reason.

use std::collections::VecDeque;
use std::time::Duration;

use super::action_requests::ActionRequest;
use super::client_codec::{ClientCodec, Framing, HttpStyle, ServerMessage};
use super::connection::{Eviction, ReadPace, Received};
use super::environment::Environment;
use super::expectations::Expectations;
use super::metric_requests::{MetricContext, line_of};
use super::network::SLACK;
use super::point_model::Requester;
use super::random_request;
use super::request::Request;
use super::steps::Step;
use super::verification::Verification;
use vmherd::internals::clock::Instant;
use vmherd::internals::limits;
use vmherd::internals::model::Failure;

/// One client and its one connection.
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) listener: usize,
    /// Its connection, once there is one.
    pub(super) connection: Option<usize>,
    plan: VecDeque<Step>,
    outgoing: VecDeque<u8>,
    /// Percent of requests that wait for the next one, to be sent together.
    corked_percent: usize,
    /// It only reads before.
    paused_until: Instant,
    read_pace: ReadPace,
    next_read: Option<Instant>,
    codec: ClientCodec,
    /// The body of an HTTP request, to be sent after `100 Continue`.
    withheld_body: Option<Vec<u8>>,
    expectations: Expectations,
    marks: u64,
    /// When the server has to end the connection.
    deadline: Option<Deadline>,
    /// A line of HTTP was sent: the connection ends without a reply.
    pub(super) has_sent_http: bool,
    /// When something was last sent or received.
    last_activity: Instant,
    pub(super) is_done: bool,
}

/// When the server has to end a connection.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    since: Instant,
    after: Duration,
}

impl Client {
    pub(super) fn new(
        number: usize,
        listener: usize,
        corked_percent: usize,
        framing: Framing,
        plan: VecDeque<Step>,
    ) -> Client {
        Client {
            number,
            listener,
            connection: None,
            plan,
            outgoing: VecDeque::new(),
            corked_percent,
            paused_until: Instant::ORIGIN,
            read_pace: ReadPace::Eager,
            next_read: None,
            codec: ClientCodec::new(framing),
            withheld_body: None,
            expectations: Expectations::new(number, listener, framing),
            marks: number as u64 * 1_000_000,
            deadline: None,
            has_sent_http: false,
            last_activity: Instant::ORIGIN,
            is_done: false,
        }
    }

    /// Does what can be done now; returns when to be called again at the latest.
    pub(super) fn run(&mut self, env: &mut Environment) -> Result<Option<Instant>, String> {
        if self.is_done {
            return Ok(None);
        }
        let connection = match self.connection {
            Some(connection) => connection,
            None => self.connect(env),
        };
        self.receive(connection, env)?;
        if self.is_done {
            return Ok(None);
        }
        let goes_on = self.go_on(connection, env);
        if self.is_done {
            return Ok(None);
        }
        Ok([goes_on, self.next_read].into_iter().flatten().min())
    }

    /// Whether the server answers in time, and ends the connection in time.
    pub(super) fn check_deadlines(&self, env: &Environment) -> Verification {
        let Some(connection) = self.connection.map(|connection| &env.network.connections[connection]) else {
            return Ok(());
        };
        let Some(accepted) = connection.accepted else { return Ok(()) };
        if self.is_done || connection.is_dead() || connection.shut_down.is_some() {
            return Ok(());
        }
        if let Some(deadline) = self.deadline
            && env.now > deadline.since.max(accepted) + deadline.after + SLACK
        {
            return Err("the connection is not ended in time".to_owned());
        }
        let waits =
            !self.has_nothing_pending() && self.outgoing.is_empty() && self.read_pace == ReadPace::Eager;
        let is_fair = env.config.has_greedy_client && !env.config.is_greedy(self.number);
        let within = if is_fair { FAIR_REPLY_WITHIN } else { REPLY_WITHIN };
        if waits && self.deadline.is_none() && env.now > self.last_activity.max(accepted) + within {
            return Err("no reply comes".to_owned());
        }
        Ok(())
    }

    /// Describes what it waits for.
    pub(super) fn describe(&self) -> String {
        let (due, next) = (self.expectations.describe(), self.plan.front());
        format!("client {}: {due}, next {next:?}, {:?}", self.number, self.read_pace)
    }

    fn connect(&mut self, env: &mut Environment) -> usize {
        let connection = env.connect(self.number, self.listener);
        self.connection = Some(connection);
        self.last_activity = env.now;
        self.outgoing.extend(self.codec.handshake());
        // Some wait for the response before they send more.
        if self.codec.awaits_handshake && env.random.chance(50) {
            self.plan.push_front(Step::AwaitResponses);
        }
        connection
    }

    // ── Input ──

    fn receive(&mut self, connection: usize, env: &mut Environment) -> Result<(), String> {
        let count = match self.read_pace {
            ReadPace::Never if env.network.connections[connection].is_dead() => usize::MAX,
            ReadPace::Never => return Ok(()),
            ReadPace::Slow { .. } if self.next_read.is_some_and(|next| next > env.now) => return Ok(()),
            ReadPace::Slow { bytes, .. } => bytes,
            ReadPace::Eager => usize::MAX,
        };
        self.next_read = None;
        loop {
            match env.network.connections[connection].receive(count) {
                Received::Nothing => return Ok(()),
                Received::Bytes(bytes) => self.take(&bytes, connection, env)?,
                Received::End => return self.end(connection, false, env),
                Received::Reset => return self.end(connection, true, env),
            }
            if let ReadPace::Slow { every, .. } = self.read_pace {
                self.next_read = Some(env.now + every);
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8], connection: usize, env: &mut Environment) -> Result<(), String> {
        let (port, is_refused) = (
            env.network.connections[connection].port,
            env.network.connections[connection].evicted_for == Some(Eviction::ForMemory),
        );
        self.last_activity = env.now;
        let messages = self.codec.decode(bytes).map_err(|error| {
            let shown = bytes[..bytes.len().min(300)].escape_ascii();
            format!("client {}: {error}: {shown}; {}", self.number, self.describe())
        })?;
        for message in messages {
            match message {
                ServerMessage::Response(text, _) if is_refused && is_out_of_memory(&text) => {
                    self.expectations.has_closing_error = true
                }
                ServerMessage::Response(text, status) => {
                    self.expectations.take(&text, status, port, env).map_err(|error| {
                        let shown: String = text.chars().take(300).collect();
                        format!("client {}: {error}: {shown}", self.number)
                    })?
                }
                ServerMessage::Continue => match self.withheld_body.take() {
                    Some(body) => self.outgoing.extend(body),
                    None => {
                        return Err(format!("client {}: 100 Continue without a withheld body", self.number));
                    }
                },
            }
        }
        if self.codec.is_finished() && self.deadline.is_none() {
            // The server has sent its last response.
            self.deadline = Some(Deadline { since: env.now, after: Duration::ZERO });
        }
        Ok(())
    }

    /// The connection has ended: checks that there was a reason, and that all replies have come.
    fn end(&mut self, at: usize, is_reset: bool, env: &mut Environment) -> Result<(), String> {
        self.is_done = true;
        env.log(|| format!("client {} sees the {}", self.number, if is_reset { "reset" } else { "end" }));
        let connection = &env.network.connections[at];
        if connection.broken || connection.client_has_reset() {
            return Ok(());
        }
        let closed = connection.shut_down.or(connection.closed).unwrap_or(env.now);
        let was_cut = env
            .shutdown
            .stopped
            .is_some_and(|stopped| connection.closed.is_some_and(|at| at >= stopped + env.config.grace));
        let has_stalled =
            connection.stalled_since.is_some_and(|since| closed >= since + limits::WRITE_TIMEOUT);
        if connection.evicted_for.is_some() {
            return Ok(());
        }
        let is_torn = !self.codec.is_at_boundary() || self.codec.is_in_message() || connection.lost > 0;
        if was_cut || has_stalled || is_torn && self.expectations.may_be_broken_off(env) {
            return Ok(());
        }
        if !self.codec.is_at_boundary() {
            return Err(format!("client {}: a torn reply", self.number));
        }
        let has_lingered = connection
            .shut_down
            .zip(connection.closed)
            .is_some_and(|(since, until)| until >= since + limits::LINGER_TIMEOUT);
        if connection.lost > 0 && !has_lingered {
            return Err(format!("client {}: a reset overtook its replies", self.number));
        }
        let has_all = self.has_nothing_pending();
        let accepted = connection.accepted.unwrap_or(closed);
        let is_over_time = self
            .deadline
            .is_some_and(|deadline| closed + SLACK >= deadline.since.max(accepted) + deadline.after);
        let was_evicted = connection.inbound_total == 0 && env.config.connections_max < env.config.clients;
        let is_explained = self.expectations.has_closing_error
            || env.shutdown.stopped.is_some()
            || was_evicted
            || has_all
                && (self.codec.is_finished()
                    || is_over_time
                    || self.has_sent_http
                    || connection.client_has_finished());
        if is_explained { Ok(()) } else { Err(format!("ended without a reason; {}", self.describe())) }
    }

    /// It is evicted: never while it is authenticated, and never for its slot while a reply is due.
    pub(super) fn check_eviction(&self, why: Eviction, env: &Environment) -> Result<(), String> {
        let Some(connection) = self.connection.map(|connection| &env.network.connections[connection]) else {
            return Ok(());
        };
        if self.expectations.is_logged_in(env) {
            return Err(format!("client {} is authenticated and is evicted", self.number));
        }
        let has_sent_all = self.outgoing.is_empty() && self.withheld_body.is_none();
        let has_read_all = !connection.has_unread() && !connection.broken && !connection.client_has_reset();
        let is_waiting = has_sent_all && has_read_all && !self.has_nothing_pending();
        if why == Eviction::ForSlot && is_waiting && !self.expectations.responses_are_optional {
            return Err(format!("evicted with a request under way; {}", self.describe()));
        }
        Ok(())
    }

    fn has_nothing_pending(&self) -> bool {
        self.expectations.has_nothing_pending() && self.codec.has_nothing_pending()
    }

    // ── Output ──

    /// Follows the plan as far as possible now; returns when to go on.
    fn go_on(&mut self, connection: usize, env: &mut Environment) -> Option<Instant> {
        loop {
            if env.now < self.paused_until {
                return Some(self.paused_until);
            }
            if !self.outgoing.is_empty() && !self.waits_for_more(env) {
                if !env.network.connections[connection].is_writable_by_client() {
                    return Some(env.now + FULL_PAUSE);
                }
                self.send(connection, env);
                continue;
            }
            if self.withheld_body.is_some() {
                return None;
            }
            let step = self.plan.pop_front()?;
            match step {
                Step::Ask { request, has_id } => self.ask(request, has_id, env),
                Step::AskAnything { has_id } => {
                    let by = self.metric_context(has_id, env);
                    if let Some(request) =
                        random_request::choose(by, &mut self.marks, &self.expectations, env)
                    {
                        self.ask(request, has_id, env);
                    }
                }
                Step::Convert => {
                    self.marks += 1;
                    self.ask(Request::Convert { mark: self.marks }, true, env);
                }
                Step::Action { has_id } => {
                    let action = ActionRequest::choose(&mut env.random, &mut env.knowledge.model);
                    self.ask(Request::Action(action), has_id, env);
                }
                Step::Metric { metric_request, has_id } => {
                    let by = self.metric_context(has_id, env);
                    let Environment { knowledge, random, .. } = &mut *env;
                    let points = &mut knowledge.points;
                    let request = metric_request.choose(by, &mut self.marks, points, random);
                    self.ask(request, has_id, env);
                }
                Step::Update { has_id } => {
                    if self.expectations.is_login_certain() {
                        let request = Request::Update { ram: env.knowledge.model.new_ram(), token: None };
                        self.ask(request, has_id, env);
                    }
                }
                Step::Send(bytes) => self.outgoing.extend(bytes),
                Step::SendHttp(bytes) => {
                    self.has_sent_http = true;
                    self.outgoing.extend(bytes);
                }
                Step::AskAndClose { request } => self.ask_and_close(request, env),
                Step::Expect(request) => self.expectations.expect(request, None, false, env),
                Step::Deadline(after) => {
                    self.deadline = Some(Deadline { since: env.now, after });
                    self.expectations.timed_out_from = Some(env.now + after);
                }
                Step::Pause(pause) => self.paused_until = env.now + pause,
                Step::AwaitResponses if self.has_nothing_pending() => {}
                Step::AwaitResponses => {
                    self.plan.push_front(step);
                    return None;
                }
                Step::SetReadPace(read_pace) => {
                    self.read_pace = read_pace;
                    self.paused_until = env.now + GLANCE;
                }
                Step::Drip { byte, every } => {
                    self.outgoing.push_back(byte);
                    self.paused_until = env.now + env.random.micros(0, 2 * every.as_micros() as usize);
                    let is_finished = env.network.connections[connection].is_dead()
                        || env.network.connections[connection].shut_down.is_some();
                    if !is_finished {
                        self.plan.push_front(step);
                    }
                }
                Step::SendClose { code } => {
                    let bytes = self.codec.close(code, &mut env.random);
                    self.outgoing.extend(bytes);
                    self.expectations.responses_are_optional = true;
                }
                Step::SendInvalidFrames { bytes, code } => {
                    self.codec.close(Some(code), &mut env.random);
                    self.outgoing.extend(bytes);
                    self.expectations.responses_are_optional = true;
                }
                Step::Finish => {
                    if self.codec.framing == Framing::WebSocket {
                        // Without a close frame the server regards the client as gone.
                        self.codec.responses_are_optional = true;
                        self.expectations.responses_are_optional = true;
                    }
                    env.log(|| format!("client {} finishes", self.number));
                    env.network.connections[connection].finish();
                }
                Step::Reset => {
                    env.log(|| format!("client {} resets", self.number));
                    env.network.connections[connection].reset();
                    self.is_done = true;
                    return None;
                }
            }
        }
    }

    /// Whether the output waits for the next request, to be sent with it.
    fn waits_for_more(&self, env: &mut Environment) -> bool {
        let sends_more = matches!(
            self.plan.front(),
            Some(
                Step::Update { .. }
                    | Step::Action { .. }
                    | Step::Metric { .. }
                    | Step::Ask { .. }
                    | Step::AskAndClose { .. }
                    | Step::Convert
                    | Step::AskAnything { .. }
                    | Step::Expect(_)
                    | Step::Send(_)
                    | Step::SendHttp(_)
            )
        );
        sends_more
            && self.withheld_body.is_none()
            && self.outgoing.len() < CORKED_BYTES_MAX
            && env.random.chance(self.corked_percent)
    }

    fn send(&mut self, connection: usize, env: &mut Environment) {
        let count = if env.random.chance(50) {
            self.outgoing.len()
        } else {
            env.random.mostly_few(1, self.outgoing.len())
        };
        let bytes = &self.outgoing.make_contiguous()[..count];
        let sent = env.network.connections[connection].send(bytes);
        env.log(|| format!("client {} sends {}", self.number, bytes[..sent.min(160)].escape_ascii()));
        self.outgoing.drain(..sent);
        self.last_activity = env.now;
        // A request is sent within a second or so, however long it is.
        let pause = (1_000_000 / (self.outgoing.len() + 1)).min(30_000);
        self.paused_until = env.now + env.random.micros(0, pause);
    }

    fn ask(&mut self, request: Request, has_id: bool, env: &mut Environment) {
        match self.codec.framing {
            Framing::Http => {
                let own = self.expectations.issued.last().copied();
                let request = match own.filter(|_| env.random.chance(70)) {
                    Some(token) => request.with_token(token),
                    None => request,
                };
                self.post(request, has_id, false, env);
            }
            Framing::Text => {
                let line = line_of(&request, &mut env.random);
                self.outgoing.extend(line.bytes());
                self.expectations.expect(request, None, false, env);
            }
            framing => {
                let request = if matches!(request, Request::Health | Request::FrontPage) {
                    Request::Ping
                } else {
                    request
                };
                let id = self.choose_id(&request, has_id, env);
                let text = request.text(id.as_deref(), true, &env.knowledge.model);
                if framing == Framing::WebSocket {
                    let bytes = self.codec.frames(text.as_bytes(), &mut env.random);
                    self.outgoing.extend(bytes);
                } else {
                    self.outgoing.extend(text.bytes());
                    if env.random.chance(60) {
                        self.outgoing.extend(env.random.pick(&["\n", " ", "\r\n", "  \t\n"]).bytes());
                    }
                }
                self.expectations.on_sent(&request, env);
                self.expectations.expect(request, id, false, env);
            }
        }
    }

    /// Sends a request over HTTP.
    fn post(&mut self, request: Request, has_id: bool, is_last: bool, env: &mut Environment) {
        let page = match request {
            Request::Health => Some("/healthz"),
            Request::FrontPage => Some("/"),
            _ => None,
        };
        let id = self.choose_id(&request, has_id, env);
        let mut has_bearer_token = false;
        // A client that reads late, or has other responses to read first, would send the body too late.
        let reads_response_soon = self.read_pace == ReadPace::Eager
            && (self.has_nothing_pending() || env.config.window_bytes >= WINDOW_BYTES_ASKED);
        if let Some(path) = page {
            let last = if is_last { "Connection: close\r\n" } else { "" };
            self.outgoing.extend(format!("GET {path} HTTP/1.1\r\nHost: [::1]\r\n{last}\r\n").bytes());
        } else {
            let random = &mut env.random;
            let token = request.token().filter(|_| random.chance(70));
            has_bearer_token = token.is_some();
            let http_style = HttpStyle {
                bearer_token: token.map(|token| env.knowledge.model.tokens[token].text.clone()),
                is_chunked: random.chance(30),
                expects_continue: reads_response_soon && random.chance(10),
                is_last,
            };
            let text = request.text(id.as_deref(), !has_bearer_token, &env.knowledge.model);
            let (head, body) = ClientCodec::request(&text, &http_style, random);
            self.outgoing.extend(head);
            match http_style.expects_continue {
                true => self.withheld_body = Some(body),
                false => self.outgoing.extend(body),
            }
        }
        self.expectations.on_sent(&request, env);
        self.expectations.expect(request, id, has_bearer_token, env);
    }

    /// Sends a request, and over HTTP also ends the connection: what follows must have no effect.
    fn ask_and_close(&mut self, request: Request, env: &mut Environment) {
        if self.codec.framing != Framing::Http {
            return self.ask(request, false, env);
        }
        self.post(request, false, true, env);
        if env.random.chance(60) {
            let after = Request::Ping.text(None, true, &env.knowledge.model);
            let (head, body) = ClientCodec::request(&after, &HttpStyle::default(), &mut env.random);
            let bytes = [head, body].concat();
            match &mut self.withheld_body {
                Some(withheld_body) => withheld_body.extend(bytes),
                None => self.outgoing.extend(bytes),
            }
        }
    }

    fn choose_id(&mut self, request: &Request, has_id: bool, env: &mut Environment) -> Option<String> {
        let has_id = has_id || matches!(request, Request::Convert { .. });
        (has_id && !request.has_no_id()).then(|| self.new_id(request, env))
    }

    /// An id for a request; sometimes that of another request like it.
    fn new_id(&mut self, request: &Request, env: &mut Environment) -> String {
        self.marks += 1;
        // Of two equal requests it is unknown which one was refused.
        let is_alone = matches!(request, Request::Get { .. });
        let may_share = !matches!(request, Request::Convert { .. }) || !env.config.limits_requests();
        if may_share
            && !is_alone
            && let Some(id) = self.expectations.id_of_last(request)
            && env.random.chance(10)
        {
            return id;
        }
        if env.random.chance(50) { format!("\"c{}\"", self.marks) } else { self.marks.to_string() }
    }

    /// The context of its requests for metrics.
    fn metric_context(&self, has_id: bool, env: &Environment) -> MetricContext {
        let is_text = self.codec.framing == Framing::Text;
        let is_in_turn = !has_id || is_text || self.codec.framing == Framing::Http;
        MetricContext { requester: Requester { client: self.number, is_in_turn }, is_text, now: env.now }
    }
}

/// Whether a reply says that there is no memory for the request.
fn is_out_of_memory(text: &str) -> bool {
    text.contains(&*Failure::RequestMemoryFull.message())
}

/// Most bytes that a client withholds.
const CORKED_BYTES_MAX: usize = 60_000;
/// The least window of a client that waits for `100 Continue` while other responses are due.
const WINDOW_BYTES_ASKED: usize = 4096;
/// Between a change of the read pace and the next step.
const GLANCE: Duration = Duration::from_micros(10);
/// How long a client waits when the network is full.
const FULL_PAUSE: Duration = Duration::from_millis(50);
/// The longest time of one request: a token, a hash, its credentials and a write, and some pages.
const REPLY_WITHIN: Duration = Duration::from_secs(50);
/// The same where workers never fail and only another client keeps them busy: a delayed conversion, and some jobs.
const FAIR_REPLY_WITHIN: Duration = Duration::from_secs(10);

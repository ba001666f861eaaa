//! A fake client: follows its plan at its pace, and checks that its connection does not end without a reason.

use std::collections::VecDeque;
use std::time::Duration;

use super::action_requests::ActionRequest;
use super::client_codec::Framing;
use super::connection::{Eviction, ReadPace, Received};
use super::environment::Environment;
use super::exchange::Exchange;
use super::network::SLACK;
use super::reply_context::RequestHead;
use super::request::Request;
use super::steps::Step;
use super::verification::Verification;
use vmherd::internals::clock::Instant;
use vmherd::internals::limits;

/// One client and its one connection.
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) listener: usize,
    /// Its connection, once there is one.
    pub(super) connection: Option<usize>,
    plan: VecDeque<Step>,
    /// Percent of requests that wait for the next one, to be sent together.
    corked_percent: usize,
    /// It only reads before.
    paused_until: Instant,
    read_pace: ReadPace,
    next_read: Option<Instant>,
    exchange: Exchange,
    /// When the server has to end the connection.
    deadline: Option<Deadline>,
    /// A line of HTTP was sent: the connection ends without a reply.
    pub(super) has_sent_http: bool,
    /// When something was last sent or received.
    last_activity: Instant,
    /// When something was last received.
    last_received: Instant,
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
            corked_percent,
            paused_until: Instant::ORIGIN,
            read_pace: ReadPace::Eager,
            next_read: None,
            exchange: Exchange::new(number, listener, framing),
            deadline: None,
            has_sent_http: false,
            last_activity: Instant::ORIGIN,
            last_received: Instant::ORIGIN,
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
            // The last bytes may take long where the network takes few at a time.
            && env.now > (deadline.since.max(accepted) + deadline.after).max(self.last_received) + SLACK
        {
            return Err("the connection is not ended in time".to_owned());
        }
        let closed_by_handler = connection.closed_by_handler.map(|(at, _)| at);
        if let Some(since) = closed_by_handler.filter(|_| connection.stalled_since.is_none())
            && env.now > since.max(self.last_received).max(connection.stalled_until.unwrap_or(since)) + SLACK
        {
            return Err("it is not ended, and a handler has closed it".to_owned());
        }
        let waits = !self.exchange.has_nothing_pending()
            && self.exchange.outgoing.is_empty()
            && self.read_pace == ReadPace::Eager;
        let is_fair = env.config.has_greedy_client && !env.config.is_greedy(self.number);
        let within = if is_fair { FAIR_REPLY_WITHIN } else { REPLY_WITHIN };
        if waits && self.deadline.is_none() && env.now > self.last_activity.max(accepted) + within {
            return Err("no reply comes".to_owned());
        }
        Ok(())
    }

    /// Describes what it waits for.
    pub(super) fn describe(&self) -> String {
        let (due, next) = (self.exchange.expectations.describe(), self.plan.front());
        format!("client {}: {due}, next {next:?}, {:?}", self.number, self.read_pace)
    }

    fn connect(&mut self, env: &mut Environment) -> usize {
        let connection = env.connect(self.number, self.listener);
        self.connection = Some(connection);
        self.last_activity = env.now;
        self.exchange.outgoing.extend(self.exchange.codec.handshake());
        // Some wait for the response before they send more.
        if self.exchange.codec.awaits_handshake && env.random.chance(50) {
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
        let connection = &env.network.connections[connection];
        let (port, is_refused) = (connection.port, connection.evicted_for == Some(Eviction::ForMemory));
        (self.last_activity, self.last_received) = (env.now, env.now);
        let taken = self.exchange.take(bytes, port, is_refused, env);
        taken.map_err(|why| format!("client {}: {why}; {}", self.number, self.describe()))?;
        if self.exchange.codec.is_finished() && self.deadline.is_none() {
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
        let is_torn = !self.exchange.codec.is_at_boundary()
            || self.exchange.codec.is_in_message()
            || connection.lost > 0;
        let may_be_torn =
            self.exchange.expectations.may_be_broken_off(connection.closed_by_handler.is_some(), env);
        if was_cut || has_stalled || is_torn && may_be_torn {
            return Ok(());
        }
        if !self.exchange.codec.is_at_boundary() {
            return Err(format!("client {}: a torn reply", self.number));
        }
        let has_lingered = connection
            .shut_down
            .zip(connection.closed)
            .is_some_and(|(since, until)| until >= since + limits::LINGER_TIMEOUT);
        if connection.lost > 0 && !has_lingered {
            return Err(format!("client {}: a reset overtook its replies", self.number));
        }
        if let Some((_, act)) = connection.closed_by_handler {
            self.exchange
                .expectations
                .check_answered_before(act, env)
                .map_err(|why| format!("client {}: {why}", self.number))?;
        }
        let has_all = self.exchange.has_nothing_pending();
        let accepted = connection.accepted.unwrap_or(closed);
        let is_over_time = self
            .deadline
            .is_some_and(|deadline| closed + SLACK >= deadline.since.max(accepted) + deadline.after);
        let was_evicted = connection.inbound_total == 0 && env.config.connections_max < env.config.clients;
        let is_explained = self.exchange.expectations.has_closing_error
            || env.shutdown.stopped.is_some()
            || was_evicted
            || connection.closed_by_handler.is_some()
            || has_all
                && (self.exchange.codec.is_finished()
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
        if self.exchange.expectations.is_logged_in(env) {
            return Err(format!("client {} is authenticated and is evicted", self.number));
        }
        // An error that is expected for what comes next is not due yet.
        let comes_next = matches!(self.plan.front(), Some(Step::Send(_)));
        let has_sent_all =
            self.exchange.outgoing.is_empty() && self.exchange.withheld_body.is_none() && !comes_next;
        let has_read_all = !connection.has_unread() && !connection.broken && !connection.client_has_reset();
        let is_waiting = has_sent_all && has_read_all && !self.exchange.has_nothing_pending();
        if why == Eviction::ForSlot && is_waiting && !self.exchange.expectations.responses_are_optional {
            return Err(format!("evicted with a request under way; {}", self.describe()));
        }
        Ok(())
    }

    // ── Output ──

    /// Follows the plan as far as possible now; returns when to go on.
    fn go_on(&mut self, connection: usize, env: &mut Environment) -> Option<Instant> {
        loop {
            if env.now < self.paused_until {
                return Some(self.paused_until);
            }
            if !self.exchange.outgoing.is_empty() && !self.waits_for_more(env) {
                if !env.network.connections[connection].is_writable_by_client() {
                    return Some(env.now + FULL_PAUSE);
                }
                self.send(connection, env);
                continue;
            }
            if self.exchange.withheld_body.is_some() {
                return None;
            }
            let step = self.plan.pop_front()?;
            match step {
                Step::Ask { request, has_id } => self.ask(request, has_id, env),
                Step::AskAnything { has_id } => {
                    if let Some(request) = self.exchange.choose_anything(has_id, env) {
                        self.ask(request, has_id, env);
                    }
                }
                Step::Convert => {
                    let request = self.exchange.new_conversion();
                    self.ask(request, true, env);
                }
                Step::Custom { has_id } => {
                    let request = self.exchange.new_custom(env);
                    self.ask(request, has_id, env);
                }
                Step::Action { has_id } => {
                    let action = ActionRequest::choose(&mut env.random, &mut env.knowledge.model);
                    self.ask(Request::Action(action), has_id, env);
                }
                Step::Metric { metric_request, has_id } => {
                    let request = self.exchange.choose_for_points(metric_request, has_id, env);
                    self.ask(request, has_id, env);
                }
                Step::Update { has_id } => {
                    if self.exchange.expectations.is_login_certain() {
                        let request = Request::Update { ram: env.knowledge.model.new_ram(), token: None };
                        self.ask(request, has_id, env);
                    }
                }
                Step::Send(bytes) => self.exchange.outgoing.extend(bytes),
                Step::SendHttp(bytes) => {
                    self.has_sent_http = true;
                    self.exchange.outgoing.extend(bytes);
                }
                Step::AskAndClose { request } => {
                    self.exchange.ask_and_close(request, self.read_pace == ReadPace::Eager, env);
                }
                Step::Expect(request) => {
                    self.exchange.expectations.expect(request, None, RequestHead::default(), env);
                }
                Step::Deadline(after) => {
                    self.deadline = Some(Deadline { since: env.now, after });
                    self.exchange.expectations.timed_out_from = Some(env.now + after);
                }
                Step::Pause(pause) => self.paused_until = env.now + pause,
                Step::AwaitResponses if self.exchange.has_nothing_pending() => {}
                Step::AwaitResponses => {
                    self.plan.push_front(step);
                    return None;
                }
                Step::SetReadPace(read_pace) => {
                    self.read_pace = read_pace;
                    self.paused_until = env.now + GLANCE;
                }
                Step::Drip { byte, every } => {
                    self.exchange.outgoing.push_back(byte);
                    self.paused_until = env.now + env.random.micros(0, 2 * every.as_micros() as usize);
                    let is_finished = env.network.connections[connection].is_dead()
                        || env.network.connections[connection].shut_down.is_some();
                    if !is_finished {
                        self.plan.push_front(step);
                    }
                }
                Step::SendClose { code } => {
                    let bytes = self.exchange.codec.close(code, &mut env.random);
                    self.exchange.outgoing.extend(bytes);
                    self.exchange.expectations.responses_are_optional = true;
                }
                Step::SendInvalidFrames { bytes, code } => {
                    self.exchange.codec.close(Some(code), &mut env.random);
                    self.exchange.outgoing.extend(bytes);
                    self.exchange.expectations.responses_are_optional = true;
                }
                Step::Finish => {
                    if self.exchange.codec.framing == Framing::WebSocket {
                        // Without a close frame the server regards the client as gone.
                        self.exchange.codec.responses_are_optional = true;
                        self.exchange.expectations.responses_are_optional = true;
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
                    | Step::Custom { .. }
                    | Step::AskAnything { .. }
                    | Step::Expect(_)
                    | Step::Send(_)
                    | Step::SendHttp(_)
            )
        );
        sends_more
            && self.exchange.withheld_body.is_none()
            && self.exchange.outgoing.len() < CORKED_BYTES_MAX
            && env.random.chance(self.corked_percent)
    }

    fn ask(&mut self, request: Request, has_id: bool, env: &mut Environment) {
        self.exchange.ask(request, has_id, self.read_pace == ReadPace::Eager, env);
    }

    fn send(&mut self, connection: usize, env: &mut Environment) {
        let count = if env.random.chance(50) {
            self.exchange.outgoing.len()
        } else {
            env.random.mostly_few(1, self.exchange.outgoing.len())
        };
        let bytes = &self.exchange.outgoing.make_contiguous()[..count];
        let sent = env.network.connections[connection].send(bytes);
        env.log(|| format!("client {} sends {}", self.number, bytes[..sent.min(160)].escape_ascii()));
        self.exchange.outgoing.drain(..sent);
        self.last_activity = env.now;
        // A request is sent within a second or so, however long it is.
        let pause = (1_000_000 / (self.exchange.outgoing.len() + 1)).min(30_000);
        self.paused_until = env.now + env.random.micros(0, pause);
    }
}

/// Most bytes that a client withholds.
const CORKED_BYTES_MAX: usize = 60_000;
/// Between a change of the read pace and the next step.
const GLANCE: Duration = Duration::from_micros(10);
/// How long a client waits when the network is full.
const FULL_PAUSE: Duration = Duration::from_millis(50);
/// The longest time of one request: a token, a hash, its credentials and a write, and some pages.
const REPLY_WITHIN: Duration = Duration::from_secs(50);
/// The same where workers never fail and only another client keeps them busy: a delayed conversion, and some jobs.
const FAIR_REPLY_WITHIN: Duration = Duration::from_secs(10);

//! A fake client: follows its plan at its pace, and checks that its connection does not end without a reason.

use std::collections::VecDeque;
use std::time::Duration;

use super::action_requests::ActionRequest;
use super::connection::{Eviction, ReadPace, Received};
use super::environment::Environment;
use super::exchange::Exchange;
use super::framing::Framing;
use super::reply_context::RequestHead;
use super::request::Request;
use super::steps::Step;
use vmherd::internals::clock::Instant;

/// One client and its one connection.
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) listener: usize,
    /// Its connection, once there is one.
    pub(super) connection: Option<usize>,
    pub(super) plan: VecDeque<Step>,
    /// Percent of requests that wait for the next one, to be sent together.
    corked_percent: usize,
    /// It only reads before.
    paused_until: Instant,
    pub(super) read_pace: ReadPace,
    next_read: Option<Instant>,
    pub(super) exchange: Exchange,
    /// When the server has to end the connection.
    pub(super) deadline: Option<Deadline>,
    /// A line of HTTP was sent: the connection ends without a reply.
    pub(super) has_sent_http: bool,
    /// When something was last sent or received.
    pub(super) last_activity: Instant,
    /// When something was last received.
    pub(super) last_received: Instant,
    pub(super) is_done: bool,
}

/// When the server has to end a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) since: Instant,
    pub(super) after: Duration,
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

    /// Describes what it waits for.
    pub(super) fn describe(&self) -> String {
        let (due, next) = (self.exchange.expectations.describe(), self.plan.front());
        format!("client {}: {due}, next {next:?}, {:?}", self.number, self.read_pace)
    }

    fn connect(&mut self, env: &mut Environment) -> usize {
        let connection = env.connect(self.number, self.listener);
        self.connection = Some(connection);
        self.last_activity = env.now;
        #[cfg(feature = "sealed")]
        if let Some(sealed) = &mut self.exchange.codec.sealed {
            sealed.note_progress(env.now);
        }
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

    /// Takes what its system has received before a reset.
    fn receive_rest(&mut self, connection: usize, env: &mut Environment) {
        while let Received::Bytes(bytes) = env.network.connections[connection].receive(usize::MAX) {
            if let Err(why) = self.take(&bytes, connection, env) {
                env.fail(why);
            }
        }
    }

    fn take(&mut self, bytes: &[u8], connection: usize, env: &mut Environment) -> Result<(), String> {
        let connection = &env.network.connections[connection];
        let (port, is_refused) = (connection.port, connection.evicted_for == Some(Eviction::ForMemory));
        (self.last_activity, self.last_received) = (env.now, env.now);
        let taken = self.exchange.take(bytes, port, is_refused, env);
        taken.map_err(|why| format!("client {}: {why}; {}", self.number, self.describe()))?;
        #[cfg(feature = "sealed")]
        self.exchange.plan_sealed(&mut self.plan);
        if self.exchange.codec.is_finished() && self.deadline.is_none() {
            // The server has sent its last response.
            self.deadline = Some(Deadline { since: env.now, after: Duration::ZERO });
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
                #[cfg(feature = "sealed")]
                Step::Seal => {
                    self.exchange.seal(env);
                    self.exchange.plan_sealed(&mut self.plan);
                }
                Step::Convert => {
                    let request = self.exchange.new_conversion();
                    self.ask(request, true, env);
                }
                Step::Custom { has_id } => {
                    let request = self.exchange.new_custom(env);
                    self.ask(request, has_id, env);
                }
                Step::Container { has_id } => {
                    let container = env.knowledge.model.containers.choose(&mut env.random);
                    self.ask(Request::Container(container), has_id, env);
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
                    (self.read_pace, self.next_read) = (read_pace, None);
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
                    self.receive_rest(connection, env);
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
                    | Step::Container { .. }
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
        #[cfg(feature = "sealed")]
        if let Some(sealed) = &mut self.exchange.codec.sealed {
            sealed.note_progress(env.now);
        }
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

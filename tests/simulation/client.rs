//! A fake client: does what its plan says, and knows what it must get.
//!
//! It holds every byte it is sent against what it is owed: replies without an id in the order of their
//! requests, those with one exactly once, none of anybody else's, no end without a reason.

use std::collections::VecDeque;
use std::time::Duration;

use super::action_requests::ActionRequest;
use super::client_codec::{ClientCodec, Framing, HttpStyle, ServerMessage};
use super::connection::{Eviction, ReadPace, Received};
use super::expectations::Expectations;
use super::metric_requests::{MetricContext, line_of};
use super::plan::Step;
use super::point_model::Requester;
use super::random_request;
use super::request::Request;
use super::world::World;
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
    /// Nothing is done before, reading aside.
    paused_until: Instant,
    read_pace: ReadPace,
    next_read: Option<Instant>,
    codec: ClientCodec,
    /// The body of a request of HTTP that waits to be asked for.
    withheld_body: Option<Vec<u8>>,
    expectations: Expectations,
    marks: u64,
    /// When the server has to end it, or since when it may.
    deadline: Option<Deadline>,
    /// A line of HTTP was sent: the end comes without a word.
    pub(super) has_sent_http: bool,
    /// When something was last sent or received.
    last_activity: Instant,
    pub(super) is_done: bool,
}

/// Why the server is going to end a connection, and when.
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

    /// Does what can be done now; when to be called again at the latest.
    pub(super) fn run(&mut self, world: &mut World) -> Result<Option<Instant>, String> {
        if self.is_done {
            return Ok(None);
        }
        let connection = match self.connection {
            Some(connection) => connection,
            None => self.connect(world),
        };
        self.receive(connection, world)?;
        if self.is_done {
            return Ok(None);
        }
        let goes_on = self.go_on(connection, world);
        if self.is_done {
            return Ok(None);
        }
        Ok([goes_on, self.next_read].into_iter().flatten().min())
    }

    /// What is wrong with the time, if anything: the server keeps it waiting, or lets it live too long.
    pub(super) fn check_deadlines(&self, world: &World) -> Result<(), String> {
        let Some(connection) = self.connection.map(|connection| &world.connections[connection]) else {
            return Ok(());
        };
        let Some(accepted) = connection.accepted else { return Ok(()) };
        if self.is_done || connection.is_dead() || connection.shut_down.is_some() {
            return Ok(());
        }
        if let Some(deadline) = self.deadline
            && world.now > deadline.since.max(accepted) + deadline.after + SLACK
        {
            return Err("it lives longer than it may".to_owned());
        }
        let waits =
            !self.has_nothing_pending() && self.outgoing.is_empty() && self.read_pace == ReadPace::Eager;
        if waits && self.deadline.is_none() && world.now > self.last_activity.max(accepted) + REPLY_WITHIN {
            return Err("no reply comes".to_owned());
        }
        Ok(())
    }

    /// What it waits for, for people.
    pub(super) fn describe(&self) -> String {
        let (due, next) = (self.expectations.describe(), self.plan.front());
        format!("client {}: {due}, next {next:?}, {:?}", self.number, self.read_pace)
    }

    fn connect(&mut self, world: &mut World) -> usize {
        let connection = world.connect(self.number, self.listener);
        self.connection = Some(connection);
        self.last_activity = world.now;
        self.outgoing.extend(self.codec.handshake());
        // Some wait for the answer before they go on.
        if self.codec.awaits_handshake && world.random.chance(50) {
            self.plan.push_front(Step::AwaitResponses);
        }
        connection
    }

    // ── What comes ──

    fn receive(&mut self, connection: usize, world: &mut World) -> Result<(), String> {
        let count = match self.read_pace {
            ReadPace::Never if world.connections[connection].is_dead() => usize::MAX,
            ReadPace::Never => return Ok(()),
            ReadPace::Slow { .. } if self.next_read.is_some_and(|next| next > world.now) => return Ok(()),
            ReadPace::Slow { bytes, .. } => bytes,
            ReadPace::Eager => usize::MAX,
        };
        self.next_read = None;
        loop {
            match world.connections[connection].receive(count) {
                Received::Nothing => return Ok(()),
                Received::Bytes(bytes) => self.take(&bytes, connection, world)?,
                Received::End => return self.end(connection, false, world),
                Received::Reset => return self.end(connection, true, world),
            }
            if let ReadPace::Slow { every, .. } = self.read_pace {
                self.next_read = Some(world.now + every);
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8], connection: usize, world: &mut World) -> Result<(), String> {
        let (port, is_refused) = (
            world.connections[connection].port,
            world.connections[connection].evicted_for == Some(Eviction::ForMemory),
        );
        self.last_activity = world.now;
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
                    self.expectations.take(&text, status, port, world).map_err(|error| {
                        let shown = String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned();
                        format!("client {}: {error}: {shown}", self.number)
                    })?
                }
                ServerMessage::Continue => match self.withheld_body.take() {
                    Some(body) => self.outgoing.extend(body),
                    None => return Err(format!("client {}: told to go on with nothing", self.number)),
                },
            }
        }
        if self.codec.is_finished && self.deadline.is_none() {
            // All that is to be said is said.
            self.deadline = Some(Deadline { since: world.now, after: Duration::ZERO });
        }
        Ok(())
    }

    /// The connection has ended: was there a reason, and has everything come?
    fn end(&mut self, at: usize, is_reset: bool, world: &mut World) -> Result<(), String> {
        self.is_done = true;
        world.log(|| format!("client {} sees the {}", self.number, if is_reset { "reset" } else { "end" }));
        let connection = &world.connections[at];
        if connection.broken || connection.client_has_reset() {
            return Ok(());
        }
        let closed = connection.shut_down.or(connection.closed).unwrap_or(world.now);
        let was_cut = world
            .stopped
            .is_some_and(|stopped| connection.closed.is_some_and(|at| at >= stopped + world.config.grace));
        let has_stalled =
            connection.stalled_since.is_some_and(|since| closed >= since + limits::WRITE_TIMEOUT);
        if connection.evicted_for.is_some() {
            return Ok(());
        }
        let is_torn = !self.codec.is_at_boundary() || self.codec.is_in_message || connection.lost > 0;
        if was_cut || has_stalled || is_torn && self.expectations.may_be_broken_off(world) {
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
        let was_evicted =
            connection.inbound_total == 0 && world.config.connections_max < world.config.clients;
        let is_explained = self.expectations.has_closing_error
            || world.stopped.is_some()
            || was_evicted
            || has_all
                && (self.codec.is_finished
                    || is_over_time
                    || self.has_sent_http
                    || connection.client_has_finished());
        if is_explained { Ok(()) } else { Err(format!("ended without a reason; {}", self.describe())) }
    }

    /// It is sent away: not if it has shown who it is, and for its place not while it is owed an answer.
    pub(super) fn check_eviction(&self, why: Eviction, world: &World) -> Result<(), String> {
        let Some(connection) = self.connection.map(|connection| &world.connections[connection]) else {
            return Ok(());
        };
        if self.expectations.is_logged_in(world) {
            return Err(format!("client {} is known and is sent away", self.number));
        }
        let has_said_all = self.outgoing.is_empty() && self.withheld_body.is_none();
        let has_heard_all = !connection.has_unheard() && !connection.broken && !connection.client_has_reset();
        let is_waiting = has_said_all && has_heard_all && !self.has_nothing_pending();
        if why == Eviction::ForSlot && is_waiting && !self.expectations.responses_are_optional {
            return Err(format!("sent away with a request under way; {}", self.describe()));
        }
        Ok(())
    }

    fn has_nothing_pending(&self) -> bool {
        self.expectations.has_nothing_pending() && self.codec.has_nothing_pending()
    }

    // ── What goes ──

    /// Does what the plan says, as far as it can be done now; when to go on.
    fn go_on(&mut self, connection: usize, world: &mut World) -> Option<Instant> {
        loop {
            if world.now < self.paused_until {
                return Some(self.paused_until);
            }
            if !self.outgoing.is_empty() && !self.waits_for_more(world) {
                if !world.connections[connection].is_writable_by_client() {
                    return Some(world.now + FULL_PAUSE);
                }
                self.send(connection, world);
                continue;
            }
            if self.withheld_body.is_some() {
                return None;
            }
            let step = self.plan.pop_front()?;
            match step {
                Step::Ask { request, has_id } => self.ask(request, has_id, world),
                Step::AskAnything { has_id } => {
                    let by = self.metric_context(has_id, world);
                    if let Some(request) =
                        random_request::choose(by, &mut self.marks, &self.expectations, world)
                    {
                        self.ask(request, has_id, world);
                    }
                }
                Step::Convert => {
                    self.marks += 1;
                    self.ask(Request::Convert { mark: self.marks }, true, world);
                }
                Step::Action { has_id } => {
                    let action = ActionRequest::choose(&mut world.random, &mut world.model);
                    self.ask(Request::Action(action), has_id, world);
                }
                Step::Metric { metric_request, has_id } => {
                    let by = self.metric_context(has_id, world);
                    let World { point_model, random, .. } = &mut *world;
                    let request = metric_request.choose(by, &mut self.marks, point_model, random);
                    self.ask(request, has_id, world);
                }
                Step::Update { has_id } => {
                    if self.expectations.is_login_certain() {
                        let request = Request::Update { ram: world.model.new_ram(), token: None };
                        self.ask(request, has_id, world);
                    }
                }
                Step::Send(bytes) => self.outgoing.extend(bytes),
                Step::SendHttp(bytes) => {
                    self.has_sent_http = true;
                    self.outgoing.extend(bytes);
                }
                Step::AskAndClose { request } => self.ask_and_close(request, world),
                Step::Expect(request) => self.expectations.expect(request, None, false, world),
                Step::Deadline(after) => {
                    self.deadline = Some(Deadline { since: world.now, after });
                    self.expectations.timed_out_from = Some(world.now + after);
                }
                Step::Pause(pause) => self.paused_until = world.now + pause,
                Step::AwaitResponses if self.has_nothing_pending() => {}
                Step::AwaitResponses => {
                    self.plan.push_front(step);
                    return None;
                }
                Step::SetReadPace(read_pace) => {
                    self.read_pace = read_pace;
                    self.paused_until = world.now + GLANCE;
                }
                Step::Drip { byte, every } => {
                    self.outgoing.push_back(byte);
                    self.paused_until = world.now + world.random.micros(0, 2 * every.as_micros() as usize);
                    let is_finished = world.connections[connection].is_dead()
                        || world.connections[connection].shut_down.is_some();
                    if !is_finished {
                        self.plan.push_front(step);
                    }
                }
                Step::SendClose { code } => {
                    let bytes = self.codec.close(code, &mut world.random);
                    self.outgoing.extend(bytes);
                    self.expectations.responses_are_optional = true;
                }
                Step::SendInvalidFrames { bytes, code } => {
                    self.codec.close(Some(code), &mut world.random);
                    self.outgoing.extend(bytes);
                    self.expectations.responses_are_optional = true;
                }
                Step::Finish => {
                    if self.codec.framing == Framing::WebSocket {
                        // Who goes without a close frame is not there any more.
                        self.codec.responses_are_optional = true;
                        self.expectations.responses_are_optional = true;
                    }
                    world.log(|| format!("client {} finishes", self.number));
                    world.connections[connection].finish();
                }
                Step::Reset => {
                    world.log(|| format!("client {} resets", self.number));
                    world.connections[connection].reset();
                    self.is_done = true;
                    return None;
                }
            }
        }
    }

    /// Whether what is to be sent waits for the next request.
    fn waits_for_more(&self, world: &mut World) -> bool {
        let says_more = matches!(
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
        says_more
            && self.withheld_body.is_none()
            && self.outgoing.len() < CORKED_BYTES_MAX
            && world.random.chance(self.corked_percent)
    }

    fn send(&mut self, connection: usize, world: &mut World) {
        let count = if world.random.chance(50) {
            self.outgoing.len()
        } else {
            world.random.mostly_few(1, self.outgoing.len())
        };
        let bytes = &self.outgoing.make_contiguous()[..count];
        let sent = world.connections[connection].send(bytes);
        world.log(|| format!("client {} sends {}", self.number, bytes[..sent.min(160)].escape_ascii()));
        self.outgoing.drain(..sent);
        self.last_activity = world.now;
        // A request is sent within a second or so, however long it is.
        let pause = (1_000_000 / (self.outgoing.len() + 1)).min(30_000);
        self.paused_until = world.now + world.random.micros(0, pause);
    }

    fn ask(&mut self, request: Request, has_id: bool, world: &mut World) {
        match self.codec.framing {
            Framing::Http => {
                let own = self.expectations.issued.last().copied();
                let request = match own.filter(|_| world.random.chance(70)) {
                    Some(token) => request.with_token(token),
                    None => request,
                };
                self.post(request, has_id, false, world);
            }
            Framing::Text => {
                let line = line_of(&request, &mut world.random);
                self.outgoing.extend(line.bytes());
                self.expectations.expect(request, None, false, world);
            }
            framing => {
                let request = if matches!(request, Request::Health | Request::FrontPage) {
                    Request::Ping
                } else {
                    request
                };
                let id = self.choose_id(&request, has_id, world);
                let text = request.text(id.as_deref(), true, &world.model);
                if framing == Framing::WebSocket {
                    let bytes = self.codec.frames(text.as_bytes(), &mut world.random);
                    self.outgoing.extend(bytes);
                } else {
                    self.outgoing.extend(text.bytes());
                    if world.random.chance(60) {
                        self.outgoing.extend(world.random.pick(&["\n", " ", "\r\n", "  \t\n"]).bytes());
                    }
                }
                self.expectations.on_sent(&request, world);
                self.expectations.expect(request, id, false, world);
            }
        }
    }

    /// Asks over HTTP.
    fn post(&mut self, request: Request, has_id: bool, is_last: bool, world: &mut World) {
        let page = match request {
            Request::Health => Some("/healthz"),
            Request::FrontPage => Some("/"),
            _ => None,
        };
        let id = self.choose_id(&request, has_id, world);
        let mut has_bearer_token = false;
        // Who reads late, or what is due before, would be told too late.
        let is_told_soon = self.read_pace == ReadPace::Eager
            && (self.has_nothing_pending() || world.config.window_bytes >= WINDOW_BYTES_ASKED);
        if let Some(path) = page {
            let last = if is_last { "Connection: close\r\n" } else { "" };
            self.outgoing.extend(format!("GET {path} HTTP/1.1\r\nHost: [::1]\r\n{last}\r\n").bytes());
        } else {
            let random = &mut world.random;
            let token = request.token().filter(|_| random.chance(70));
            has_bearer_token = token.is_some();
            let http_style = HttpStyle {
                bearer_token: token.map(|token| world.model.tokens[token].text.clone()),
                is_chunked: random.chance(30),
                expects_continue: is_told_soon && random.chance(10),
                is_last,
            };
            let text = request.text(id.as_deref(), !has_bearer_token, &world.model);
            let (head, body) = ClientCodec::request(&text, &http_style, random);
            self.outgoing.extend(head);
            match http_style.expects_continue {
                true => self.withheld_body = Some(body),
                false => self.outgoing.extend(body),
            }
        }
        self.expectations.on_sent(&request, world);
        self.expectations.expect(request, id, has_bearer_token, world);
    }

    /// Asks for something and for the end. Over HTTP what is sent behind it must have no effect.
    fn ask_and_close(&mut self, request: Request, world: &mut World) {
        if self.codec.framing != Framing::Http {
            return self.ask(request, false, world);
        }
        self.post(request, false, true, world);
        if world.random.chance(60) {
            let behind = Request::Ping.text(None, true, &world.model);
            let (head, body) = ClientCodec::request(&behind, &HttpStyle::default(), &mut world.random);
            let bytes = [head, body].concat();
            match &mut self.withheld_body {
                Some(withheld_body) => withheld_body.extend(bytes),
                None => self.outgoing.extend(bytes),
            }
        }
    }

    fn choose_id(&mut self, request: &Request, has_id: bool, world: &mut World) -> Option<String> {
        let has_id = has_id || matches!(request, Request::Convert { .. });
        (has_id && !request.has_no_id()).then(|| self.new_id(request, world))
    }

    /// A name for a request; sometimes one that another request like it has.
    fn new_id(&mut self, request: &Request, world: &mut World) -> String {
        self.marks += 1;
        // Of two that are alike it can't be told which one was refused.
        let is_alone = matches!(request, Request::Get { .. });
        let may_share = !matches!(request, Request::Convert { .. }) || !world.config.limits_requests();
        if may_share
            && !is_alone
            && let Some(id) = self.expectations.id_of_last(request)
            && world.random.chance(10)
        {
            return id;
        }
        if world.random.chance(50) { format!("\"c{}\"", self.marks) } else { self.marks.to_string() }
    }

    /// Who it is to those who follow metrics.
    fn metric_context(&self, has_id: bool, world: &World) -> MetricContext {
        let is_text = self.codec.framing == Framing::Text;
        let is_in_turn = !has_id || is_text || self.codec.framing == Framing::Http;
        MetricContext { requester: Requester { client: self.number, is_in_turn }, is_text, now: world.now }
    }
}

/// Whether a reply says that there is no room.
fn is_out_of_memory(text: &[u8]) -> bool {
    let message = Failure::RequestMemoryFull.message();
    let words = message.as_bytes();
    text.windows(words.len()).any(|window| window == words)
}

/// No client keeps more to itself.
const CORKED_BYTES_MAX: usize = 60_000;
/// Bytes on their way to a client that asks before it sends a body, if it waits for other answers.
const WINDOW_BYTES_ASKED: usize = 4096;
/// Between a change of mind and the next look.
const GLANCE: Duration = Duration::from_micros(10);
/// How long a client that finds the network full waits before it tries again.
const FULL_PAUSE: Duration = Duration::from_millis(50);
/// How much later than promised things may happen in a world where turns take time.
const SLACK: Duration = Duration::from_secs(1);
/// The longest way of one request: a token, a hash, its credentials and a write, and some pages.
const REPLY_WITHIN: Duration = Duration::from_secs(50);

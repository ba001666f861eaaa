//! A fake client: does what its plan says, and knows what it must get.
//!
//! It holds every byte it is sent against what it is owed: replies without an id in the order of their
//! requests, those with one exactly once, none of anybody else's, no end without a reason.

use std::collections::VecDeque;
use std::time::Duration;

use super::choice;
use super::deed::Deed;
use super::ledger::Ledger;
use super::measure::{Measurer, line_of};
use super::metrics::Asker;
use super::plan::Act;
use super::request::What;
use super::speech::{Framing, Heard, Manner, Speech};
use super::wire::{Away, Reading, Received};
use super::world::World;
use crate::clock::Instant;
use crate::limits;
use crate::model::Failure;

/// One client and its one connection.
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) listener: usize,
    /// Its connection, once there is one.
    pub(super) wire: Option<usize>,
    plan: VecDeque<Act>,
    outgoing: VecDeque<u8>,
    /// Percent of requests that wait for the next one, to be sent together.
    corked_percent: usize,
    /// Nothing is done before, reading aside.
    rests_until: Instant,
    reading: Reading,
    reads_next: Option<Instant>,
    speech: Speech,
    /// The body of a request of HTTP that waits to be asked for.
    held_back: Option<Vec<u8>>,
    ledger: Ledger,
    marks: u64,
    /// When the server has to end it, or since when it may.
    doom: Option<Doom>,
    /// A line of HTTP was sent: the end comes without a word.
    pub(super) has_sent_http: bool,
    /// When something was last sent or received.
    moved: Instant,
    pub(super) is_done: bool,
}

/// Why the server is going to end a connection, and when.
#[derive(Clone, Copy, Debug)]
struct Doom {
    since: Instant,
    after: Duration,
}

impl Client {
    pub(super) fn new(
        number: usize,
        listener: usize,
        corked_percent: usize,
        framing: Framing,
        plan: VecDeque<Act>,
    ) -> Client {
        Client {
            number,
            listener,
            wire: None,
            plan,
            outgoing: VecDeque::new(),
            corked_percent,
            rests_until: Instant::ORIGIN,
            reading: Reading::Eager,
            reads_next: None,
            speech: Speech::new(framing),
            held_back: None,
            ledger: Ledger::new(number, listener, framing),
            marks: number as u64 * 1_000_000,
            doom: None,
            has_sent_http: false,
            moved: Instant::ORIGIN,
            is_done: false,
        }
    }

    /// Does what can be done now; when to be called again at the latest.
    pub(super) fn act(&mut self, world: &mut World) -> Result<Option<Instant>, String> {
        if self.is_done {
            return Ok(None);
        }
        let wire = match self.wire {
            Some(wire) => wire,
            None => self.connect(world),
        };
        self.receive(wire, world)?;
        if self.is_done {
            return Ok(None);
        }
        let goes_on = self.go_on(wire, world);
        if self.is_done {
            return Ok(None);
        }
        Ok([goes_on, self.reads_next].into_iter().flatten().min())
    }

    /// What is wrong with the time, if anything: the server keeps it waiting, or lets it live too long.
    pub(super) fn check_time(&self, world: &World) -> Result<(), String> {
        let Some(wire) = self.wire.map(|wire| &world.wires[wire]) else { return Ok(()) };
        let Some(accepted) = wire.accepted else { return Ok(()) };
        if self.is_done || wire.is_dead() || wire.shut_down.is_some() {
            return Ok(());
        }
        if let Some(doom) = self.doom
            && world.now > doom.since.max(accepted) + doom.after + SLACK
        {
            return Err("it lives longer than it may".to_owned());
        }
        let waits = !self.is_owed_nothing() && self.outgoing.is_empty() && self.reading == Reading::Eager;
        if waits && self.doom.is_none() && world.now > self.moved.max(accepted) + REPLY_WITHIN {
            return Err("no reply comes".to_owned());
        }
        Ok(())
    }

    /// What it waits for, for people.
    pub(super) fn describe(&self) -> String {
        let (due, next) = (self.ledger.describe(), self.plan.front());
        format!("client {}: {due}, next {next:?}, {:?}", self.number, self.reading)
    }

    fn connect(&mut self, world: &mut World) -> usize {
        let wire = world.connect(self.number, self.listener);
        self.wire = Some(wire);
        self.moved = world.now;
        self.outgoing.extend(self.speech.greeting());
        // Some wait for the answer before they go on.
        if self.speech.awaits_switch && world.random.chance(50) {
            self.plan.push_front(Act::Await);
        }
        wire
    }

    // ── What comes ──

    fn receive(&mut self, wire: usize, world: &mut World) -> Result<(), String> {
        let count = match self.reading {
            Reading::Never if world.wires[wire].is_dead() => usize::MAX,
            Reading::Never => return Ok(()),
            Reading::Slow { .. } if self.reads_next.is_some_and(|next| next > world.now) => return Ok(()),
            Reading::Slow { bytes, .. } => bytes,
            Reading::Eager => usize::MAX,
        };
        self.reads_next = None;
        loop {
            match world.wires[wire].receive(count) {
                Received::Nothing => return Ok(()),
                Received::Bytes(bytes) => self.take(&bytes, wire, world)?,
                Received::End => return self.end(wire, false, world),
                Received::Reset => return self.end(wire, true, world),
            }
            if let Reading::Slow { every, .. } = self.reading {
                self.reads_next = Some(world.now + every);
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8], wire: usize, world: &mut World) -> Result<(), String> {
        let (port, is_refused) = (world.wires[wire].port, world.wires[wire].sent_away == Some(Away::ForRoom));
        self.moved = world.now;
        let heard = self.speech.hear(bytes).map_err(|error| {
            let shown = bytes[..bytes.len().min(300)].escape_ascii();
            format!("client {}: {error}: {shown}; {}", self.number, self.describe())
        })?;
        for heard in heard {
            match heard {
                Heard::Reply(text, _) if is_refused && tells_of_room(&text) => {
                    self.ledger.has_last_words = true
                }
                Heard::Reply(text, status) => {
                    self.ledger.take(&text, status, port, world).map_err(|error| {
                        let shown = String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned();
                        format!("client {}: {error}: {shown}", self.number)
                    })?
                }
                Heard::Continue => match self.held_back.take() {
                    Some(body) => self.outgoing.extend(body),
                    None => return Err(format!("client {}: told to go on with nothing", self.number)),
                },
            }
        }
        if self.speech.is_over && self.doom.is_none() {
            // All that is to be said is said.
            self.doom = Some(Doom { since: world.now, after: Duration::ZERO });
        }
        Ok(())
    }

    /// The connection has ended: was there a reason, and has everything come?
    fn end(&mut self, at: usize, is_reset: bool, world: &mut World) -> Result<(), String> {
        self.is_done = true;
        world.log(|| format!("client {} sees the {}", self.number, if is_reset { "reset" } else { "end" }));
        let wire = &world.wires[at];
        if wire.broken || wire.client_has_reset() {
            return Ok(());
        }
        let closed = wire.shut_down.or(wire.closed).unwrap_or(world.now);
        let was_cut = world
            .stopped
            .is_some_and(|stopped| wire.closed.is_some_and(|at| at >= stopped + world.weather.grace));
        let has_stalled = wire.stalled_since.is_some_and(|since| closed >= since + limits::WRITE_TIMEOUT);
        if wire.sent_away.is_some() {
            return Ok(());
        }
        let is_torn = !self.speech.is_between() || self.speech.is_inside || wire.lost > 0;
        if was_cut || has_stalled || is_torn && self.ledger.may_be_broken_off(world) {
            return Ok(());
        }
        if !self.speech.is_between() {
            return Err(format!("client {}: a torn reply", self.number));
        }
        let has_lingered = wire
            .shut_down
            .zip(wire.closed)
            .is_some_and(|(since, until)| until >= since + limits::LINGER_TIMEOUT);
        if wire.lost > 0 && !has_lingered {
            return Err(format!("client {}: a reset overtook its replies", self.number));
        }
        let has_all = self.is_owed_nothing();
        let accepted = wire.accepted.unwrap_or(closed);
        let is_over_time =
            self.doom.is_some_and(|doom| closed + SLACK >= doom.since.max(accepted) + doom.after);
        let was_evicted = wire.inbound_total == 0 && world.weather.connections_max < world.weather.clients;
        let is_explained = self.ledger.has_last_words
            || world.stopped.is_some()
            || was_evicted
            || has_all
                && (self.speech.is_over || is_over_time || self.has_sent_http || wire.client_has_finished());
        if is_explained { Ok(()) } else { Err(format!("ended without a reason; {}", self.describe())) }
    }

    /// It is sent away: not if it has shown who it is, and for its place not while it is owed an answer.
    pub(super) fn check_sent_away(&self, why: Away, world: &World) -> Result<(), String> {
        let Some(wire) = self.wire.map(|wire| &world.wires[wire]) else { return Ok(()) };
        if self.ledger.is_logged_in(world) {
            return Err(format!("client {} is known and is sent away", self.number));
        }
        let has_said_all = self.outgoing.is_empty() && self.held_back.is_none();
        let has_heard_all = !wire.has_unheard() && !wire.broken && !wire.client_has_reset();
        let is_waiting = has_said_all && has_heard_all && !self.is_owed_nothing();
        if why == Away::ForPlace && is_waiting && !self.ledger.is_forgiven {
            return Err(format!("sent away with a request under way; {}", self.describe()));
        }
        Ok(())
    }

    fn is_owed_nothing(&self) -> bool {
        self.ledger.is_owed_nothing() && self.speech.is_owed_nothing()
    }

    // ── What goes ──

    /// Does what the plan says, as far as it can be done now; when to go on.
    fn go_on(&mut self, wire: usize, world: &mut World) -> Option<Instant> {
        loop {
            if world.now < self.rests_until {
                return Some(self.rests_until);
            }
            if !self.outgoing.is_empty() && !self.waits_for_more(world) {
                if !world.wires[wire].is_writable_by_client() {
                    return Some(world.now + FULL_PAUSE);
                }
                self.send(wire, world);
                continue;
            }
            if self.held_back.is_some() {
                return None;
            }
            let act = self.plan.pop_front()?;
            match act {
                Act::Ask { what, is_named } => self.ask(what, is_named, world),
                Act::Choose { is_named } => {
                    let by = self.measurer(is_named, world);
                    if let Some(what) = choice::choose(by, &mut self.marks, &self.ledger, world) {
                        self.ask(what, is_named, world);
                    }
                }
                Act::Convert => {
                    self.marks += 1;
                    self.ask(What::Convert { mark: self.marks }, true, world);
                }
                Act::Manage { is_named } => {
                    let deed = Deed::choose(&mut world.random, &mut world.herd);
                    self.ask(What::Do(deed), is_named, world);
                }
                Act::Measure { measure, is_named } => {
                    let by = self.measurer(is_named, world);
                    let World { metrics, random, .. } = &mut *world;
                    let what = measure.choose(by, &mut self.marks, metrics, random);
                    self.ask(what, is_named, world);
                }
                Act::Update { is_named } => {
                    if self.ledger.is_login_certain() {
                        let what = What::Update { ram: world.herd.new_ram(), token: None };
                        self.ask(what, is_named, world);
                    }
                }
                Act::Send(bytes) => self.outgoing.extend(bytes),
                Act::SendHttp(bytes) => {
                    self.has_sent_http = true;
                    self.outgoing.extend(bytes);
                }
                Act::AskLast { what } => self.ask_last(what, world),
                Act::Expect(what) => self.ledger.expect(what, None, false, world),
                Act::Doom(after) => {
                    self.doom = Some(Doom { since: world.now, after });
                    self.ledger.timed_out_from = Some(world.now + after);
                }
                Act::Pause(pause) => self.rests_until = world.now + pause,
                Act::Await if self.is_owed_nothing() => {}
                Act::Await => {
                    self.plan.push_front(act);
                    return None;
                }
                Act::Read(reading) => {
                    self.reading = reading;
                    self.rests_until = world.now + GLANCE;
                }
                Act::Drip { byte, every } => {
                    self.outgoing.push_back(byte);
                    self.rests_until = world.now + world.random.micros(0, 2 * every.as_micros() as usize);
                    let is_over = world.wires[wire].is_dead() || world.wires[wire].shut_down.is_some();
                    if !is_over {
                        self.plan.push_front(act);
                    }
                }
                Act::Leave { code } => {
                    let bytes = self.speech.close(code, &mut world.random);
                    self.outgoing.extend(bytes);
                    self.ledger.is_forgiven = true;
                }
                Act::Break { bytes, code } => {
                    self.speech.close(Some(code), &mut world.random);
                    self.outgoing.extend(bytes);
                    self.ledger.is_forgiven = true;
                }
                Act::Finish => {
                    if self.speech.framing == Framing::WebSocket {
                        // Who goes without a close frame is not there any more.
                        self.speech.is_forgiven = true;
                        self.ledger.is_forgiven = true;
                    }
                    world.log(|| format!("client {} finishes", self.number));
                    world.wires[wire].finish();
                }
                Act::Reset => {
                    world.log(|| format!("client {} resets", self.number));
                    world.wires[wire].reset();
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
                Act::Update { .. }
                    | Act::Manage { .. }
                    | Act::Measure { .. }
                    | Act::Ask { .. }
                    | Act::AskLast { .. }
                    | Act::Convert
                    | Act::Choose { .. }
                    | Act::Expect(_)
                    | Act::Send(_)
                    | Act::SendHttp(_)
            )
        );
        says_more
            && self.held_back.is_none()
            && self.outgoing.len() < CORKED_BYTES_MAX
            && world.random.chance(self.corked_percent)
    }

    fn send(&mut self, wire: usize, world: &mut World) {
        let count = if world.random.chance(50) {
            self.outgoing.len()
        } else {
            world.random.mostly_few(1, self.outgoing.len())
        };
        let bytes = &self.outgoing.make_contiguous()[..count];
        let sent = world.wires[wire].send(bytes);
        world.log(|| format!("client {} sends {}", self.number, bytes[..sent.min(160)].escape_ascii()));
        self.outgoing.drain(..sent);
        self.moved = world.now;
        // A request is sent within a second or so, however long it is.
        let pause = (1_000_000 / (self.outgoing.len() + 1)).min(30_000);
        self.rests_until = world.now + world.random.micros(0, pause);
    }

    fn ask(&mut self, what: What, is_named: bool, world: &mut World) {
        match self.speech.framing {
            Framing::Http => {
                let own = self.ledger.issued.last().copied();
                let what = match own.filter(|_| world.random.chance(70)) {
                    Some(token) => what.with_token(token),
                    None => what,
                };
                self.post(what, is_named, false, world);
            }
            Framing::Text => {
                let line = line_of(&what, &mut world.random);
                self.outgoing.extend(line.bytes());
                self.ledger.expect(what, None, false, world);
            }
            framing => {
                let what = if matches!(what, What::Health | What::Front) { What::Ping } else { what };
                let id = self.name(&what, is_named, world);
                let text = what.text(id.as_deref(), true, &world.herd);
                if framing == Framing::WebSocket {
                    let bytes = self.speech.frames(text.as_bytes(), &mut world.random);
                    self.outgoing.extend(bytes);
                } else {
                    self.outgoing.extend(text.bytes());
                    if world.random.chance(60) {
                        self.outgoing.extend(world.random.pick(&["\n", " ", "\r\n", "  \t\n"]).bytes());
                    }
                }
                self.ledger.foresee(&what, world);
                self.ledger.expect(what, id, false, world);
            }
        }
    }

    /// Asks over HTTP.
    fn post(&mut self, what: What, is_named: bool, is_last: bool, world: &mut World) {
        let page = match what {
            What::Health => Some("/healthz"),
            What::Front => Some("/"),
            _ => None,
        };
        let id = self.name(&what, is_named, world);
        let mut is_bearer = false;
        // Who reads late, or what is due before, would be told too late.
        let is_told_soon = self.reading == Reading::Eager
            && (self.is_owed_nothing() || world.weather.window_bytes >= WINDOW_BYTES_ASKED);
        if let Some(path) = page {
            let last = if is_last { "Connection: close\r\n" } else { "" };
            self.outgoing.extend(format!("GET {path} HTTP/1.1\r\nHost: [::1]\r\n{last}\r\n").bytes());
        } else {
            let random = &mut world.random;
            let token = what.token().filter(|_| random.chance(70));
            is_bearer = token.is_some();
            let manner = Manner {
                bearer: token.map(|token| world.herd.tokens[token].text.clone()),
                is_chunked: random.chance(30),
                asks_first: is_told_soon && random.chance(10),
                is_last,
            };
            let text = what.text(id.as_deref(), !is_bearer, &world.herd);
            let (head, body) = Speech::request(&text, &manner, random);
            self.outgoing.extend(head);
            match manner.asks_first {
                true => self.held_back = Some(body),
                false => self.outgoing.extend(body),
            }
        }
        self.ledger.foresee(&what, world);
        self.ledger.expect(what, id, is_bearer, world);
    }

    /// Asks for something and for the end. Over HTTP what is sent behind it must have no effect.
    fn ask_last(&mut self, what: What, world: &mut World) {
        if self.speech.framing != Framing::Http {
            return self.ask(what, false, world);
        }
        self.post(what, false, true, world);
        if world.random.chance(60) {
            let behind = What::Ping.text(None, true, &world.herd);
            let (head, body) = Speech::request(&behind, &Manner::default(), &mut world.random);
            let bytes = [head, body].concat();
            match &mut self.held_back {
                Some(held_back) => held_back.extend(bytes),
                None => self.outgoing.extend(bytes),
            }
        }
    }

    fn name(&mut self, what: &What, is_named: bool, world: &mut World) -> Option<String> {
        let is_named = is_named || matches!(what, What::Convert { .. });
        (is_named && !what.is_nameless()).then(|| self.new_id(what, world))
    }

    /// A name for a request; sometimes one that another request like it has.
    fn new_id(&mut self, what: &What, world: &mut World) -> String {
        self.marks += 1;
        // Of two that are alike it can't be told which one was refused.
        let is_alone = matches!(what, What::Get { .. });
        let may_share = !matches!(what, What::Convert { .. }) || !world.weather.has_few_requests();
        if may_share
            && !is_alone
            && let Some(id) = self.ledger.id_of_last(what)
            && world.random.chance(10)
        {
            return id;
        }
        if world.random.chance(50) { format!("\"c{}\"", self.marks) } else { self.marks.to_string() }
    }

    /// Who it is to those who follow metrics.
    fn measurer(&self, is_named: bool, world: &World) -> Measurer {
        let is_text = self.speech.framing == Framing::Text;
        let is_in_turn = !is_named || is_text || self.speech.framing == Framing::Http;
        Measurer { asker: Asker { client: self.number, is_in_turn }, is_text, now: world.now }
    }
}

/// Whether a reply says that there is no room.
fn tells_of_room(text: &[u8]) -> bool {
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

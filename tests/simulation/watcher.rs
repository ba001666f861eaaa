//! A client that watches: it loses its connection now and then, resumes, and checks what it gets.

use std::time::Duration;

use serde_json::{Value, json};

use super::codec::Decoder;
use super::connection::{ReadPace, Received};
use super::environment::Environment;
use super::network::SLACK;
use super::random::Random;
use super::response::{Outcome, Response};
use super::verification::{Verification, ensure};
use super::watch_oracle::{Filter, Part, View};
use vmherd::internals::clock::Instant;

/// One client, and its connections one after the other.
pub(super) struct Watcher {
    number: usize,
    random: Random,
    connection: Option<usize>,
    decoder: Decoder,
    outgoing: Vec<u8>,
    asked: Option<(Asked, Instant)>,
    filter: Filter,
    /// The id of its request, which all its messages have.
    id: Option<String>,
    /// The changes since its snapshot, or since it resumed; `None` before that, and after its watch has ended.
    part: Option<Part>,
    /// What it knows, and the number of the last change in it; `None`: it has to list again.
    known: Option<(View, u64)>,
    /// A snapshot of which pages are missing.
    snapshot: Option<View>,
    read_pace: ReadPace,
    next_read: Option<Instant>,
    next_act: Instant,
    /// From then on it keeps its connection, until it knows what is there.
    calm_from: Instant,
    /// Since when nothing but this client acts, and it gets nothing.
    quiet_since: Option<Instant>,
    pub(super) is_done: bool,
}

/// The request that waits for its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Watch { from: Option<u64>, replaces: bool },
    Unwatch,
    Ping,
}

impl Watcher {
    pub(super) fn new(number: usize, mut random: Random, start: Instant) -> Watcher {
        Watcher {
            number,
            connection: None,
            decoder: Decoder::default(),
            outgoing: Vec::new(),
            asked: None,
            filter: Filter::draw(&mut random),
            id: None,
            part: None,
            known: None,
            snapshot: None,
            read_pace: ReadPace::Eager,
            next_read: None,
            next_act: start + random.micros(0, 3_000_000),
            calm_from: start + random.micros(1_000_000, 30_000_000),
            quiet_since: None,
            random,
            is_done: false,
        }
    }

    /// Does what can be done now; returns when to be called again at the latest.
    pub(super) fn run(&mut self, is_quiet: bool, env: &mut Environment) -> Result<Option<Instant>, String> {
        let named =
            |why: String, this: &Watcher| format!("watcher {}: {why}; {}", this.number, this.describe());
        self.receive(env).map_err(|why| named(why, self))?;
        if self.is_done {
            return Ok(None);
        }
        self.check_reply_time(env).map_err(|why| named(why, self))?;
        if env.now >= self.next_act {
            self.act(is_quiet, env).map_err(|why| named(why, self))?;
        }
        self.send(env);
        let next = [self.next_read, Some(self.next_act)].into_iter().flatten().min();
        Ok(next.filter(|_| !self.is_done))
    }

    /// Describes what it waits for.
    pub(super) fn describe(&self) -> String {
        let last = self.part.as_ref().map(Part::last);
        format!("{:?} of {:?}, at {last:?}, {:?}", self.asked, self.filter, self.read_pace)
    }

    // ── Acts ──

    fn act(&mut self, is_quiet: bool, env: &mut Environment) -> Verification {
        self.next_act = env.now + Duration::from_micros(self.random.mostly_few(1_000, 2_000_000) as u64);
        let Some(connection) = self.connection else {
            self.connect(env);
            return Ok(());
        };
        if env.now >= self.calm_from {
            (self.read_pace, self.next_read) = (ReadPace::Eager, None);
            return self.finish_if_quiet(is_quiet, connection, env);
        }
        match self.random.between(0, 99) {
            0..=19 => self.lose_connection(connection, env),
            20..=34 => {
                let (bytes, every) = (self.random.between(1, 4000), self.random.micros(1_000, 500_000));
                self.read_pace = self.random.pick(&[ReadPace::Eager, ReadPace::Slow { bytes, every }]);
                self.next_read = None;
            }
            _ if self.asked.is_some() => {}
            35..=49 => self.ask(Asked::Ping, env),
            50..=59 if self.part.is_some() => self.ask(Asked::Unwatch, env),
            60..=64 => {
                // What it has seen of other changes is not all of these.
                (self.filter, self.known) = (Filter::draw(&mut self.random), None);
                self.ask_watch(env);
            }
            65..=74 => self.ask_watch(env),
            _ if self.part.is_none() => self.ask_watch(env),
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, env: &mut Environment) {
        self.connection = Some(env.connect(self.number, 0));
        (self.decoder, self.part, self.snapshot, self.asked) = (Decoder::default(), None, None, None);
        (self.read_pace, self.next_read) = (ReadPace::Eager, None);
        self.outgoing.clear();
        self.ask_watch(env);
    }

    fn ask_watch(&mut self, env: &mut Environment) {
        let from = self.known.as_ref().map(|(_, last)| *last);
        self.ask(Asked::Watch { from, replaces: self.part.is_some() }, env);
    }

    fn ask(&mut self, asked: Asked, env: &mut Environment) {
        let mut request = match asked {
            Asked::Ping => json!({"command": "ping", "data": {}}),
            Asked::Unwatch => json!({"command": "unwatch", "data": {}}),
            Asked::Watch { from, .. } => {
                self.id = self.random.chance(50).then(|| format!("\"w{}\"", self.random.between(0, 99)));
                let mut data = json!({"what": self.filter.what()});
                if let Some(from) = from {
                    data["from"] = json!(env.knowledge.watch.text_of(from));
                }
                json!({"command": "watch", "data": data})
            }
        };
        if let (Asked::Watch { .. }, Some(id)) = (asked, &self.id) {
            request["request_id"] = serde_json::from_str(id).expect("a string");
        }
        env.log(|| format!("watcher {} asks {request}", self.number));
        self.outgoing.extend(request.to_string().bytes());
        self.asked = Some((asked, env.now));
    }

    fn lose_connection(&mut self, connection: usize, env: &mut Environment) {
        let how = self.random.between(0, 3);
        env.log(|| format!("watcher {} loses its connection: {how}", self.number));
        let connection = &mut env.network.connections[connection];
        match how {
            // It gets what was on its way.
            0 => connection.finish(),
            1 => connection.reset(),
            2 => connection.fail(),
            _ => {
                // The last changes are torn off.
                connection.receive(self.random.between(1, 4000));
                connection.reset();
                self.leave(env);
            }
        }
    }

    /// It has no connection any more, and makes a new one later.
    fn leave(&mut self, env: &mut Environment) {
        (self.connection, self.asked, self.snapshot) = (None, None, None);
        self.end_part(env);
        self.next_act = env.now + Duration::from_micros(self.random.mostly_few(100, 4_000_000) as u64);
        self.is_done |= env.shutdown.stopped.is_some();
    }

    fn end_part(&mut self, env: &mut Environment) {
        if let Some(part) = self.part.take() {
            env.knowledge.watch.end(part);
        }
    }

    /// Ends when it knows all that is there, which may take a while.
    fn finish_if_quiet(&mut self, is_quiet: bool, connection: usize, env: &mut Environment) -> Verification {
        let since = *self.quiet_since.get_or_insert(env.now);
        self.next_act = env.now + Duration::from_secs(1);
        if !is_quiet {
            self.quiet_since = None;
            // Some others stay for hours.
            if env.now > self.calm_from + CALM_MAX {
                self.finish(connection, env);
            }
            return Ok(());
        }
        if self.asked.is_some() {
            return Ok(());
        }
        let difference = match (&self.known, &self.part) {
            (Some((view, _)), Some(_)) => {
                let knows_vms = self.filter.vms && !env.config.operator_acts;
                view.difference(knows_vms, self.filter.presence, &*env.store)
            }
            _ => {
                self.ask_watch(env);
                Some("it has no snapshot".to_owned())
            }
        };
        match difference {
            // The result of a write may get lost, and then only the store knows it.
            Some(why) if env.config.stuck_percent == 0 && env.now > since + CONVERGED_WITHIN => Err(why),
            Some(_) if env.config.stuck_percent == 0 => Ok(()),
            _ => {
                env.log(|| format!("watcher {} knows all", self.number));
                self.finish(connection, env);
                Ok(())
            }
        }
    }

    fn finish(&mut self, connection: usize, env: &mut Environment) {
        env.network.connections[connection].reset();
        self.end_part(env);
        self.is_done = true;
    }

    // ── Input and output ──

    fn send(&mut self, env: &mut Environment) {
        let Some(connection) = self.connection else { return };
        let sent = env.network.connections[connection].send(&self.outgoing);
        self.outgoing.drain(..sent);
    }

    fn receive(&mut self, env: &mut Environment) -> Verification {
        if self.next_read.is_some_and(|next| next > env.now) {
            return Ok(());
        }
        self.next_read = None;
        while let Some(connection) = self.connection {
            let count = match self.read_pace {
                ReadPace::Slow { bytes, .. } => bytes,
                _ => usize::MAX,
            };
            match env.network.connections[connection].receive(count) {
                Received::Nothing => return Ok(()),
                Received::Bytes(bytes) => {
                    self.quiet_since = None;
                    self.decoder.push(&bytes);
                }
                Received::End => {
                    self.check_end(connection, env)?;
                    self.leave(env);
                }
                Received::Reset => self.leave(env),
            }
            // It may leave because of a line, and drop those after it.
            while self.connection.is_some()
                && let Some(line) = self.decoder.line().map_err(|error| error.to_string())?
            {
                self.take(&line, env).map_err(|why| format!("{why}: {line}"))?;
            }
            if let (ReadPace::Slow { every, .. }, Some(_)) = (self.read_pace, self.connection) {
                self.next_read = Some(env.now + every);
                return Ok(());
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str, env: &mut Environment) -> Verification {
        env.log(|| format!("watcher {} gets {line}", self.number));
        let response = Response::read(line)?;
        let (data, message) = (&response.data, response.message.as_deref());
        let asked = self.asked.map(|(asked, _)| asked);
        if response.outcome != Outcome::Success {
            return self.take_error(&response, asked, env);
        }
        match (message, asked) {
            (Some("change"), _) => {
                let part = self.part.as_mut().ok_or("a change without a watch")?;
                // A second watch may have another id.
                let may_be_before = matches!(asked, Some(Asked::Watch { .. }));
                ensure(response.id == self.id || may_be_before, "the id of another request")?;
                env.knowledge.watch.note(part, data)?;
                if let Some((view, last)) = &mut self.known {
                    view.apply(data, self.filter.vms && !env.config.operator_acts)?;
                    *last = part.last();
                }
            }
            (Some("snapshot"), Some(Asked::Watch { from: None, .. })) => {
                let number = env.knowledge.watch.revision(data)?;
                let is_first = self.snapshot.is_none();
                let view = self.snapshot.get_or_insert_default();
                view.add(data)?;
                if is_first {
                    self.end_part(env);
                }
                if data["more"] == Value::Bool(false) {
                    self.known = self.snapshot.take().map(|view| (view, number));
                    self.part = Some(Part::new(self.filter.clone(), number));
                    self.asked = None;
                }
            }
            (Some("resumed"), Some(Asked::Watch { from: Some(from), .. })) => {
                ensure(env.knowledge.watch.revision(data)? == from, "it resumes elsewhere")?;
                self.end_part(env);
                self.part = Some(Part::new(self.filter.clone(), from));
                // A second watch begins with changes that the first may have brought.
                if let Some((view, last)) = &mut self.known
                    && *last != from
                {
                    view.go_back();
                }
                self.asked = None;
            }
            (Some("unwatched"), Some(Asked::Unwatch)) => {
                self.end_part(env);
                self.asked = None;
            }
            (_, Some(Asked::Ping)) if data["addr"].is_array() || message.is_some() => self.asked = None,
            _ => return Err("a reply to nothing".to_owned()),
        }
        Ok(())
    }

    fn take_error(
        &mut self,
        response: &Response,
        asked: Option<Asked>,
        env: &mut Environment,
    ) -> Verification {
        let is_too_far_behind = response.message.as_deref() == Some("too far behind, list again");
        let may_fail =
            matches!(response.outcome, Outcome::Busy | Outcome::StoreUnavailable | Outcome::Internal);
        if is_too_far_behind {
            self.known = None;
        }
        match asked {
            // Its watch may go on, or not.
            Some(Asked::Watch { replaces: true, .. }) if is_too_far_behind || may_fail => {
                if let Some(connection) = self.connection {
                    env.network.connections[connection].reset();
                }
                self.leave(env);
            }
            Some(Asked::Watch { .. }) if is_too_far_behind || may_fail => {
                (self.asked, self.snapshot) = (None, None);
            }
            Some(_) if may_fail => self.asked = None,
            _ if is_too_far_behind && self.part.is_some() => self.end_part(env),
            _ => return Err("an error without a reason".to_owned()),
        }
        Ok(())
    }

    /// The server has ended the connection: at its stop, each VM went offline before.
    fn check_end(&self, connection: usize, env: &Environment) -> Verification {
        let connection = &env.network.connections[connection];
        let (Some(stopped), Some(shut_down)) = (env.shutdown.stopped, connection.shut_down) else {
            return Ok(());
        };
        let was_cut = shut_down >= stopped + env.config.grace;
        let is_torn = !self.decoder.is_between_replies() || connection.lost > 0;
        let is_sure = !was_cut && !is_torn && !connection.client_has_finished() && self.asked.is_none();
        match (&self.known, &self.part) {
            (Some((view, _)), Some(_)) if is_sure && self.filter.presence => {
                ensure(view.online.is_empty(), "VMs are online after the stop")
            }
            _ => Ok(()),
        }
    }

    fn check_reply_time(&self, env: &Environment) -> Verification {
        let (Some((_, since)), Some(connection)) = (self.asked, self.connection) else { return Ok(()) };
        let connection = &env.network.connections[connection];
        let is_served =
            connection.accepted.is_some_and(|accepted| env.now > accepted.max(since) + REPLY_WITHIN);
        let waits =
            connection.is_dead() || connection.shut_down.is_some() || self.read_pace != ReadPace::Eager;
        ensure(waits || !is_served || connection.client_has_finished(), "no reply comes")
    }
}

/// The longest time of a snapshot of several pages, with jobs that fail.
const REPLY_WITHIN: Duration = Duration::from_secs(50);
/// How long it waits for others.
const CALM_MAX: Duration = Duration::from_secs(300);
/// How long a read of changed VMs may fail again and again.
const CONVERGED_WITHIN: Duration = Duration::from_secs(60 + SLACK.as_secs());

//! Handlers of a simulated embedding program. They do all that a handler may do, at random times: answer, drop the
//! responder, panic, close the client, and leave some of that to other threads, which do it at any later time or never.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use super::fault_config::FaultConfig;
use super::handler_calls::{Call, CallResult, Script, When};
use super::random::Random;
use super::response::Outcome;
use super::verb_requests::Custom;
use super::verification::{Verification, ensure};
use vmherd::internals::clock::Instant;
use vmherd::internals::embed::{
    Client, ClientFactory, Disconnector, Embedding, HandlerCall, HandlerFailure, HandlerRequest, Handlers,
    RequestHandler, Responder,
};
use vmherd::internals::model::{CustomCommands, Response};
use vmherd::internals::work::{WorkError, WorkResult};
use vmherd::internals::worker::{Completion, JobKey};

/// The handlers of a world, and what they have done.
#[derive(Clone)]
pub(super) struct FakeHandlers {
    state: Arc<Mutex<HandlerState>>,
    /// Set when the reactor is to close a client.
    is_woken: Arc<AtomicBool>,
}

/// What handlers share.
struct HandlerState {
    random: Random,
    config: FaultConfig,
    now: Instant,
    /// The job of the call that begins now, and its deadline.
    job: Option<(JobKey, Instant)>,
    calls: BTreeMap<u64, Call>,
    /// The clients that were shown, by their ports; most have left.
    clients: BTreeMap<u16, Client>,
    /// The marks of requests that were refused.
    refused: BTreeSet<u64>,
    /// Bytes of the answers to each port.
    answered_bytes: BTreeMap<u16, usize>,
    later: Vec<Later>,
    /// Acts so far.
    acts: usize,
    completions: Vec<Completion>,
    /// The latest acts.
    records: Vec<ActRecord>,
    /// Failures that the calls must have reported.
    failures: u64,
    /// Failures that they have reported.
    reported: u64,
    verification: Verification,
}

/// What a handler has left to another thread.
struct Later {
    /// `None`: never.
    at: Option<Instant>,
    mark: u64,
    act: Act,
}

/// What a handler does.
enum Act {
    Respond(Responder, Response, CallResult),
    Drop(Responder),
    Close(Client),
}

/// An act that a handler has done.
#[derive(Clone, Copy, Debug)]
pub(super) struct ActRecord {
    /// How many acts of all handlers there were then.
    pub(super) number: usize,
    pub(super) mark: u64,
    /// The port of the client.
    pub(super) port: u16,
    pub(super) kind: ActKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ActKind {
    Called,
    Answered,
    Dropped,
    Panicked,
    Closed,
}

impl FakeHandlers {
    pub(super) fn new(config: &FaultConfig, random: Random) -> FakeHandlers {
        let state = HandlerState {
            random,
            config: config.clone(),
            now: Instant::ORIGIN,
            job: None,
            calls: BTreeMap::new(),
            clients: BTreeMap::new(),
            refused: BTreeSet::new(),
            answered_bytes: BTreeMap::new(),
            later: Vec::new(),
            acts: 0,
            completions: Vec::new(),
            records: Vec::new(),
            failures: 0,
            reported: 0,
            verification: Ok(()),
        };
        FakeHandlers { state: Arc::new(Mutex::new(state)), is_woken: Arc::default() }
    }

    /// What the program gives to the server.
    pub(super) fn embedding(&self, config: &FaultConfig) -> Embedding {
        let by_id = Custom::ALL.map(|custom| -> Arc<dyn RequestHandler> {
            let handlers = self.clone();
            Arc::new(move |request: HandlerRequest, responder: Responder| {
                handlers.handle(custom, &request, responder);
            })
        });
        let handlers = Handlers {
            commands: Arc::new(custom_commands()),
            by_id: by_id.into(),
            deadline: config.handler_deadline,
        };
        let is_woken = Arc::clone(&self.is_woken);
        let disconnector = Disconnector::new(move || is_woken.store(true, Ordering::Relaxed));
        let clients = ClientFactory { run: 0, disconnector: Arc::new(disconnector) };
        Embedding { handlers, clients, ..Embedding::default() }
    }

    /// Whether a client is to be closed; true once.
    pub(super) fn take_wake(&self) -> bool {
        self.is_woken.swap(false, Ordering::Relaxed)
    }

    /// Calls a handler as a thread of the pool does.
    pub(super) fn call(&self, key: JobKey, deadline: Instant, call: HandlerCall, now: Instant) {
        {
            let mut state = self.lock();
            (state.now, state.job) = (now, Some((key, deadline)));
        }
        let handlers = self.clone();
        let panic = call.run(Responder::new(move |result| handlers.complete(key, result)));
        if let Some(message) = panic {
            self.complete(key, Err(HandlerFailure::Panicked(message)));
        }
    }

    /// Does what other threads do by `now`.
    pub(super) fn advance(&self, now: Instant) {
        loop {
            let Some(later) = ({
                let mut state = self.lock();
                state.now = now;
                let due = |later: &Later| later.at.is_some_and(|at| at <= now);
                let at = state.later.iter().position(due);
                at.map(|at| state.later.swap_remove(at))
            }) else {
                return;
            };
            self.act(later.mark, later.act);
        }
    }

    /// Other threads may do early what they would do later, at any point of an iteration of the reactor.
    pub(super) fn hurry(&self, now: Instant) {
        {
            let mut state = self.lock();
            let HandlerState { random, later, .. } = &mut *state;
            if !random.chance(30) {
                return;
            }
            // Acts of one call stay in their order.
            let marks: Vec<u64> =
                later.iter().filter(|later| later.at.is_some()).map(|later| later.mark).collect();
            if marks.is_empty() {
                return;
            }
            let mark = random.pick(&marks);
            later
                .iter_mut()
                .filter(|later| later.mark == mark && later.at.is_some())
                .for_each(|later| later.at = Some(now));
        }
        self.advance(now);
    }

    /// When other threads do something next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lock().later.iter().filter_map(|later| later.at).min()
    }

    /// Takes the results since the last call.
    pub(super) fn take_completions(&self) -> Vec<Completion> {
        std::mem::take(&mut self.lock().completions)
    }

    /// Whether there are results.
    pub(super) fn has_completions(&self) -> bool {
        !self.lock().completions.is_empty()
    }

    /// Takes the acts since the last call.
    pub(super) fn take_records(&self) -> Vec<ActRecord> {
        std::mem::take(&mut self.lock().records)
    }

    /// The call for the request with this mark.
    pub(super) fn call_of(&self, mark: u64) -> Option<Call> {
        self.lock().calls.get(&mark).cloned()
    }

    /// Bytes of the data of all answers to the client at this port.
    pub(super) fn answered_bytes(&self, port: u16) -> usize {
        self.lock().answered_bytes.get(&port).copied().unwrap_or(0)
    }

    /// A client has got the reply to the request with this mark: one that was refused is not handled.
    pub(super) fn on_response(&self, mark: u64, outcome: &Outcome) {
        let is_refused = matches!(
            outcome,
            Outcome::Busy
                | Outcome::StoreUnavailable
                | Outcome::AuthenticationRequired
                | Outcome::InvalidToken
                | Outcome::TokenOfAnotherVm
        );
        if is_refused {
            self.lock().refused.insert(mark);
        }
    }

    /// Ends the program: the responders that it has kept are dropped.
    pub(super) fn end(&self) {
        let later = std::mem::take(&mut self.lock().later);
        drop(later);
    }

    /// Checks all calls: `client_of_port` is the client of each port.
    pub(super) fn check(&self, client_of_port: impl Fn(u64) -> Option<usize>) -> Verification {
        let state = self.lock();
        state.verification.clone()?;
        ensure(state.failures == state.reported, "a handler failed, and its failure was not reported")?;
        let is_handled = |mark: &u64| state.calls.contains_key(mark);
        ensure(!state.refused.iter().any(is_handled), "a refused request is handled")?;
        let is_own = |(mark, call): (&u64, &Call)| {
            client_of_port(call.port.into()) == Some((mark / MARKS_PER_CLIENT) as usize)
        };
        ensure(state.calls.iter().all(is_own), "a handler was shown another client than the one that asks")
    }

    fn handle(&self, custom: Custom, request: &HandlerRequest, responder: Responder) {
        let begun = self.lock().begin(custom, request);
        let (mark, script) = match begun {
            Ok(begun) => begun,
            Err(why) => {
                let mut state = self.lock();
                state.failures += 1;
                state.verification = Err(why);
                return;
            }
        };
        let client = self.lock().choose_client(request.client());
        let Script { answers, answers_at, closes, closes_at, closes_first, panics, panics_first, .. } =
            script;
        if panics && panics_first {
            self.lock().note_panic(mark);
            resume_unwind(Box::new("a simulated panic"));
        }
        let act = match answers {
            true => Act::Respond(responder, script.response, script.result),
            false => Act::Drop(responder),
        };
        let mut acts = vec![(answers_at, act)];
        if closes {
            acts.insert(usize::from(!closes_first), (closes_at, Act::Close(client)));
        }
        for (at, act) in acts {
            match at {
                When::AtOnce => self.act(mark, act),
                When::At(at) => self.lock().later.push(Later { at: Some(at), mark, act }),
                When::Never => self.lock().later.push(Later { at: None, mark, act }),
            }
        }
        if panics {
            // It may own the responder of an earlier request, which is dropped now.
            let _other = self.lock().take_kept(mark);
            self.lock().note_panic(mark);
            resume_unwind(Box::new("a simulated panic".to_owned()));
        }
    }

    /// Does it, on any thread. Nothing is locked meanwhile, as the server calls back.
    fn act(&self, mark: u64, act: Act) {
        match act {
            Act::Respond(responder, response, result) => {
                self.lock().finish(mark, ActKind::Answered, result);
                responder.respond(response);
            }
            Act::Drop(responder) => {
                self.lock().finish(mark, ActKind::Dropped, CallResult::Failure);
                drop(responder);
            }
            Act::Close(client) => {
                self.lock().record(mark, port_of(&client), ActKind::Closed);
                client.close();
            }
        }
    }

    fn complete(&self, key: JobKey, result: Result<Response, HandlerFailure>) {
        let mut state = self.lock();
        state.reported += u64::from(result.is_err());
        let result = result.map(WorkResult::Handled).map_err(WorkError::Handler);
        state.completions.push(Completion { key, result });
    }

    fn lock(&self) -> MutexGuard<'_, HandlerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandlerState {
    /// Records a call, and plans what the handler does.
    fn begin(&mut self, custom: Custom, request: &HandlerRequest) -> Result<(u64, Script), String> {
        ensure(request.name() == custom.name(), "a handler is called for another name")?;
        let mark = check_parameters(request.parameters())?;
        let (_, deadline) = self.job.take().ok_or("a handler is called without a job")?;
        let client = request.client();
        let vm = client.vm().map(|name| name.as_str().to_owned());
        let (port, vm_shown) = (port_of(client), json!(vm));
        let call = Call { custom, port, vm, deadline, result: None };
        ensure(self.calls.insert(mark, call).is_none(), "a request is handled twice")?;
        self.clients.insert(port, client.clone());
        self.record(mark, port, ActKind::Called);
        let data = json!({"mark": mark, "vm": vm_shown, "port": port, "number": self.calls.len()});
        Ok((mark, Script::new(data, &mut self.random, &self.config, self.now)))
    }

    /// The client that a call may close: its own, or one of an earlier call.
    fn choose_client(&mut self, own: &Client) -> Client {
        let HandlerState { random, clients, .. } = self;
        let ports: Vec<u16> = clients.keys().copied().collect();
        let earlier = match random.between(0, 2) {
            0 => None,
            1 => ports.first().copied(),
            _ => Some(random.pick(&ports)),
        };
        earlier.and_then(|port| clients.get(&port)).unwrap_or(own).clone()
    }

    /// Takes the responder of an earlier request than that of `mark`, sometimes.
    fn take_kept(&mut self, mark: u64) -> Option<Act> {
        let HandlerState { random, later, .. } = self;
        let is_other = |later: &Later| later.mark != mark && matches!(later.act, Act::Respond(..));
        let at = later.iter().position(is_other);
        let Later { mark, act, .. } = later.swap_remove(at.filter(|_| random.chance(30))?);
        self.finish(mark, ActKind::Dropped, CallResult::Failure);
        Some(act)
    }

    fn record(&mut self, mark: u64, port: u16, kind: ActKind) {
        self.acts += 1;
        self.records.push(ActRecord { number: self.acts, mark, port, kind });
    }

    /// Records an act that is the result of a call, if it is the first.
    fn finish(&mut self, mark: u64, kind: ActKind, result: CallResult) {
        let port = self.calls.get(&mark).map_or(0, |call| call.port);
        self.record(mark, port, kind);
        let (now, acts) = (self.now, self.acts);
        let Some(call) = self.calls.get_mut(&mark) else { return };
        if call.result.is_none() {
            if let CallResult::Answer { data, .. } = &result {
                *self.answered_bytes.entry(call.port).or_default() += data.to_string().len();
            }
            self.failures += u64::from(result == CallResult::Failure);
            call.result = Some((now, acts, result));
        }
    }

    /// Records a panic: it is the result, or comes after one and is reported nevertheless.
    fn note_panic(&mut self, mark: u64) {
        let has_result = self.calls.get(&mark).is_some_and(|call| call.result.is_some());
        self.failures += u64::from(has_result);
        self.finish(mark, ActKind::Panicked, CallResult::Failure);
    }
}

/// The names and rights of the added verbs and commands.
fn custom_commands() -> CustomCommands {
    let mut commands = CustomCommands::default();
    for custom in Custom::ALL {
        commands.add(custom.kind(), custom.name(), custom.access()).expect("a name in its form");
    }
    commands
}

/// The mark among the parameters of a request, which must be as they were sent.
fn check_parameters(parameters: &Map<String, Value>) -> Result<u64, String> {
    ensure(parameters.len() == 2, "a handler gets other parameters than were sent")?;
    let filler = parameters.get("filler").and_then(Value::as_str).ok_or("no filler")?;
    ensure(filler.bytes().all(|byte| byte == b'x'), "another filler")?;
    parameters.get("mark").and_then(Value::as_u64).ok_or_else(|| "no mark".to_owned())
}

fn port_of(client: &Client) -> u16 {
    client.address().map_or(0, |address| address.port())
}

/// A mark is a number of its client, with this times the number of the client.
pub(super) const MARKS_PER_CLIENT: u64 = 1_000_000;

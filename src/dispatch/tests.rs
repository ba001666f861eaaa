//! Verbs on a listener that demands access tokens: from the text of a request to that of its reply, with jobs that the
//! test runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::app::login_limiter::LoginLimits;
use crate::app::presence::ListenerPolicy;
use crate::app::token::{self, SystemRandom};
use crate::app::{self, App};
use crate::embed::{Embedding, HandlerRequest, Handlers, HypervisorHandle, Responder, TestHypervisor};
use crate::ids::{AccessTokenId, ServerId, VmId};
use crate::model::{
    Access, AccessGroup, AccessTokenChange, AnonymousAccess, CustomCommands, CustomKind, Peer, Response,
    Secret, SeenVm,
};
use crate::session::{Capacity, Rules, Step, StepContext};
use crate::store::{self, Location, StoreError, Write};
use crate::work::password::{Cost, known_costs};
use crate::work::{Read, Work, WorkerContext};
use crate::worker::{Job, QueueFull, RunId};

/// Jobs that wait for the test.
#[derive(Default)]
pub(super) struct Waiting(pub(super) Vec<Job>);

impl Jobs for Waiting {
    fn try_submit(&mut self, job: Job) -> Result<(), QueueFull> {
        self.0.push(job);
        Ok(())
    }

    fn drain(&mut self, _: &mut VecDeque<Completion>) {}

    fn replace_worker(&mut self, _: Lane, _: RunId) {}

    fn statistics(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// A server with one connection, on a listener that demands access tokens.
struct Bed {
    dispatcher: Dispatcher<Waiting>,
    worker: WorkerContext,
    session: Session,
    rules: Rules,
    load: JobLoad,
    /// An enabled token, and a disabled one.
    tokens: [Secret; 2],
    /// How many steps the session has taken.
    steps: u64,
}

const CONN: ConnId = ConnId { index: 0, generation: 1 };
const NOW: Now = Now { instant: Instant::ORIGIN, unix: UnixSeconds(1_800_000_000) };
const POLICY: ListenerPolicy = ListenerPolicy {
    open_registration: false,
    anonymous_access: AnonymousAccess::ALL,
    has_operators: false,
    is_local: false,
    demands_access_token: true,
};

/// What a job does, in short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    AccessToken,
    Token,
    Write,
    Handler,
    Container,
}

impl Bed {
    fn new(requests_max: usize) -> Bed {
        let hypervisor = Arc::new(HypervisorHandle::new(Box::new(TestHypervisor::default()), || {}));
        let mut customs = CustomCommands::default();
        customs.add(CustomKind::Verb, "ECHO", Access::OpenOrAnyVm(AccessGroup::Verb)).expect("a verb");
        let customs = Arc::new(customs);
        let handler =
            |_: HandlerRequest, responder: Responder| responder.respond(Response::failure("not run"));
        let handlers = Handlers {
            commands: Arc::clone(&customs),
            by_id: vec![Arc::new(handler)],
            ..Handlers::default()
        };
        let embedding = Embedding {
            handlers,
            hypervisor: Some(hypervisor),
            containers_max: Some(5),
            server: Some(ServerId([2; 16])),
            ..Embedding::default()
        };
        let settings = app::Settings {
            vms_max: 10,
            token_lifetime: Duration::from_secs(60),
            log_addresses: Default::default(),
            logins: LoginLimits { failures: None, delay_max: None },
            conversion_delay: Duration::ZERO..=Duration::ZERO,
            metrics_points: false,
            inline_bytes_max: limits::INLINE_BYTES_MAX,
        };
        let app = App::new(settings, embedding, Box::new(SystemRandom), Arc::default());
        let mut dispatcher = Dispatcher::new(app, Waiting::default(), requests_max, 10, Instant::ORIGIN);
        dispatcher.opened(CONN, Peer::Tcp([192, 0, 2, 1].into(), 7), POLICY, 0);
        let store = store::open(&Location::Memory).expect("memory");
        let mut worker = WorkerContext::new(store, known_costs(Cost { memory_kib: 64, passes: 1, lanes: 1 }));
        let tokens = [true, false].map(|is_enabled| {
            let token =
                token::base64url::<{ limits::ACCESS_TOKEN_BYTES }>(&mut SystemRandom).expect("random");
            let (count_max, now) = (10, NOW.unix);
            let (hash, reader_name) = (token::hash(&token), None);
            let add = AccessTokenChange::Add { token: hash, is_enabled, reader_name, count_max, now };
            worker.run([&Work::Write(Write::ChangeAccessTokens(add))]).remove(0).expect("it is added");
            token
        });
        let second = Duration::from_secs(1);
        let rules = Rules {
            customs,
            inline_bytes_max: limits::INLINE_BYTES_MAX,
            first_request_timeout: None,
            request_timeout: second,
            idle_timeout_anonymous: None,
            idle_timeout_authenticated: None,
            idle_timeout_http: None,
            write_timeout: second,
            request_bytes_max_anonymous: 1 << 16,
            request_bytes_max_forwarded: 1 << 16,
            requests_max: 10,
            #[cfg(feature = "sealed")]
            sealed: None,
            #[cfg(feature = "http")]
            http: Default::default(),
        };
        let (session, load) = (Session::default(), JobLoad::default());
        Bed { dispatcher, worker, session, rules, load, tokens, steps: 0 }
    }

    /// The message of the reply to `request`, and the jobs that it took. `run` runs them, and may do so in its own way.
    fn ask_with(
        &mut self,
        request: &str,
        run: impl Fn(&mut WorkerContext, &Work) -> Result<WorkResult, WorkError>,
    ) -> (String, Vec<Kind>) {
        let (mut input, mut output) = (Buffer::new(), Buffer::new());
        input.push(request.as_bytes());
        let date = HttpDate::new(NOW.unix);
        self.steps += 1;
        let context = StepContext {
            rules: &self.rules,
            capacity: Capacity { for_request: true, for_page: true },
            now: NOW.instant,
            date: &date,
            seq: RequestSeq(self.steps),
            keeps_refusals: false,
        };
        let step = self.session.next(&mut input, &mut output, context);
        let (session, load) = (&mut self.session, &mut self.load);
        let mut client = Client { conn: CONN, session, output: &mut output, load, now: NOW };
        match step {
            Step::Call(head, request) => self.dispatcher.begin(head, request, &mut client),
            Step::Ping => self.dispatcher.ping(&mut client),
            _ => {}
        }
        let mut kinds = Vec::new();
        while let Some(Job { key, work, .. }) = self.dispatcher.jobs.0.pop() {
            kinds.push(kind(&work));
            let result = run(&mut self.worker, &work);
            self.dispatcher.resume(Completion { key, result }, &mut client);
        }
        let text = std::str::from_utf8(output.as_slice()).expect("a reply is text");
        let reply: serde_json::Value = serde_json::from_str(text).expect(text);
        (reply["message"].as_str().expect("a message").to_owned(), kinds)
    }

    /// As [`Bed::ask_with`], on the store. A handler and the hypervisor only fail.
    fn ask(&mut self, request: &str) -> (String, Vec<Kind>) {
        self.ask_with(request, |worker, work| match work {
            Work::Handle(_) => Ok(WorkResult::Handled(Response::failure("handled"))),
            Work::Container(_) => Err(WorkError::NoRoom),
            work => worker.run([work]).remove(0),
        })
    }

    fn change(&mut self, change: AccessTokenChange) {
        self.worker.run([&Work::Write(Write::ChangeAccessTokens(change))]).remove(0).expect("it is done");
    }
}

fn kind(work: &Work) -> Kind {
    match work {
        Work::Read(Read::FindAccessToken { .. }) => Kind::AccessToken,
        Work::Read(Read::FindToken { .. }) => Kind::Token,
        Work::Write(_) => Kind::Write,
        Work::Handle(_) => Kind::Handler,
        Work::Container(_) => Kind::Container,
        other => panic!("{other:?}"),
    }
}

/// A request for `verb`, with these parameters and an access token, if any.
fn verb(verb: &str, token: Option<&str>, parameters: &str) -> String {
    let token = token.map(|token| format!("\"access_token\": {token}"));
    let parameters = [token.as_deref(), Some(parameters).filter(|text| !text.is_empty())];
    let parameters: Vec<&str> = parameters.into_iter().flatten().collect();
    format!("{{\"verb\": \"{verb}\", \"parameters\": {{{}}}}}", parameters.join(", "))
}

fn quoted(token: &Secret) -> String {
    format!("\"{}\"", token.expose())
}

/// Every kind of verb, with parameters, and the answer and the jobs for a client with a valid access token.
const VERBS: [(&str, &str, &str, &[Kind]); 8] = [
    ("STAT", "", "OK", &[]),
    ("STAT", "\"client_token\": 1", "OK", &[]),
    ("CREATE", "", "Unavailable (busy)", &[Kind::Container]),
    ("CREATE", "\"client_token\": 1", "Bad request (Malformed request)", &[]),
    ("DESTROY", "", "Bad authentication", &[]),
    ("DESTROY", "\"client_token\": 1", "Bad request (Malformed request)", &[]),
    ("ECHO", "", "handled", &[Kind::Handler]),
    ("REBOOT", "", "Bad request (Unknown verb)", &[]),
];

const REQUIRED: &str = "Bad request (Access token is required)";
const INVALID: &str = "Bad authentication (Invalid access token)";
const MALFORMED: &str = "Bad request (Malformed request)";

#[test]
fn without_a_valid_access_token_all_verbs_look_alike_and_nothing_is_begun() {
    let mut bed = Bed::new(10);
    let unknown = quoted(&Secret::new(&"x".repeat(limits::ACCESS_TOKEN_CHARS)));
    let disabled = quoted(&bed.tokens[1]);
    let look_up: &[Kind] = &[Kind::AccessToken];
    for (token, message, jobs) in [
        (None, REQUIRED, &[][..]),
        (Some("null"), MALFORMED, &[]),
        (Some("\"short\""), MALFORMED, &[]),
        (Some(&unknown), INVALID, look_up),
        (Some(&disabled), INVALID, look_up),
    ] {
        for (name, parameters, ..) in VERBS {
            let request = verb(name, token, parameters);
            assert_eq!(bed.ask(&request), (message.to_owned(), jobs.to_vec()), "{request}");
        }
    }
    assert_eq!(bed.dispatcher.app.containers().available(), Some(5));
}

#[test]
fn with_a_valid_access_token_a_verb_is_checked_and_run_as_elsewhere() {
    let mut bed = Bed::new(10);
    let token = quoted(&bed.tokens[0]);
    for (name, parameters, message, jobs) in VERBS {
        let request = verb(name, Some(&token), parameters);
        let jobs = [&[Kind::AccessToken], jobs].concat();
        assert_eq!(bed.ask(&request), (message.to_owned(), jobs), "{request}");
    }
    bed.dispatcher.set_policy(CONN, ListenerPolicy { anonymous_access: AnonymousAccess::NONE, ..POLICY });
    let closed = "Bad authentication (Authentication required)".to_owned();
    for name in ["STAT", "CREATE", "DESTROY", "ECHO"] {
        let found = bed.ask(&verb(name, Some(&token), ""));
        assert_eq!(found, (closed.clone(), vec![Kind::AccessToken]), "the rights count as well: {name}");
    }
}

#[test]
fn the_shape_of_a_request_is_checked_before_its_access_token() {
    let mut bed = Bed::new(10);
    let token = quoted(&bed.tokens[0]);
    for request in [
        verb("stat", Some(&token), ""),
        verb("stat", None, ""),
        "{\"verb\": \"STAT\"}".to_owned(),
        format!("{{\"verb\": \"STAT\", \"access_token\": {token}, \"parameters\": []}}"),
    ] {
        assert_eq!(bed.ask(&request), (MALFORMED.to_owned(), Vec::new()), "{request}");
    }
}

#[test]
fn a_change_of_an_access_token_holds_for_the_next_request() {
    let mut bed = Bed::new(10);
    let stat = verb("STAT", Some(&quoted(&bed.tokens[0])), "");
    let id = AccessTokenId(1);
    for (change, message) in [
        (AccessTokenChange::SetEnabled { id, is_enabled: false }, INVALID),
        (AccessTokenChange::SetEnabled { id, is_enabled: true }, "OK"),
        (AccessTokenChange::Remove(id), INVALID),
    ] {
        bed.change(change);
        assert_eq!(bed.ask(&stat).0, message);
    }
}

#[test]
fn a_store_that_fails_refuses_every_verb() {
    let mut bed = Bed::new(10);
    let token = quoted(&bed.tokens[0]);
    for (error, message) in [
        (WorkError::Store(StoreError::Unavailable("away".to_owned())), "Unavailable (store unavailable)"),
        (WorkError::Store(StoreError::Busy), "Unavailable (busy)"),
        (WorkError::NoRoom, "Unavailable (busy)"),
        (WorkError::Internal, "Internal error"),
    ] {
        for (name, parameters, ..) in VERBS {
            let found = bed.ask_with(&verb(name, Some(&token), parameters), |_, _| Err(error.clone()));
            assert_eq!(found, (message.to_owned(), vec![Kind::AccessToken]), "{name} {error:?}");
        }
    }
}

#[test]
fn an_overloaded_server_looks_up_no_access_token() {
    let mut bed = Bed::new(0);
    let token = quoted(&bed.tokens[0]);
    for (name, parameters, ..) in VERBS {
        let found = bed.ask(&verb(name, Some(&token), parameters));
        assert_eq!(found, ("Unavailable (busy)".to_owned(), Vec::new()), "{name}");
    }
    assert_eq!(bed.ask(&verb("STAT", None, "")), (REQUIRED.to_owned(), Vec::new()));
}

#[test]
fn where_none_is_demanded_an_access_token_is_ignored() {
    let mut bed = Bed::new(10);
    let disabled = quoted(&bed.tokens[1]);
    bed.dispatcher.set_policy(CONN, ListenerPolicy { demands_access_token: false, ..POLICY });
    for token in [None, Some("null"), Some("\"short\""), Some(&disabled)] {
        for (name, parameters, message, jobs) in VERBS {
            let request = verb(name, token, parameters);
            assert_eq!(bed.ask(&request), (message.to_owned(), jobs.to_vec()), "{request}");
        }
    }
}

#[test]
fn other_dialects_need_no_access_token() {
    let mut bed = Bed::new(10);
    assert_eq!(bed.ask("{\"command\": \"ping\"}"), ("PONG".to_owned(), Vec::new()));
}

/// Each tick of a stop forgets a batch of times that are stored already, and the next follows at once.
#[test]
fn a_stop_does_not_pause_between_batches_of_times() {
    let mut bed = Bed::new(10);
    let batches = 3;
    let seen = bed.dispatcher.app.presence_mut().last_seen_mut();
    for vm in 0..batches * limits::SEEN_BATCH_MAX as i64 {
        seen.note(SeenVm { vm: VmId(vm), at: NOW.unix, address: None }, NOW.instant);
    }
    while seen.take_batch(NOW.instant).is_some() {
        seen.written(NOW.instant);
    }
    let now = Now { instant: NOW.instant + Duration::from_secs(1), ..NOW };
    bed.dispatcher.begin_stop(now.instant);
    for _ in 0..=batches {
        assert!(bed.dispatcher.timers.next().is_some_and(|at| at <= now.instant), "it goes on at once");
        while bed.dispatcher.timers.pop_due(now.instant).is_some() {}
        bed.dispatcher.write_seen(now);
        if bed.dispatcher.has_written_seen() {
            return;
        }
    }
    panic!("times are left");
}

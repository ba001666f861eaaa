//! Commands run by an app with a store in memory; most requests carry a login of their own.

mod token_updates;
mod watched_puts;

use super::*;
use crate::app::presence::ListenerPolicy;
use crate::ids::VmId;
use crate::limits;
use crate::model::{
    ActionAnswer, AnonymousAccess, Answer, BadField, Caller, Command, CommandName, Cursor, Dialect, Items,
    List, Listing, Membership, MetricKey, MetricValue, NewPoint, OfflineReason, Page, Peer, Point,
    PointFilter, Put, Scope, Secret, Series, VmChange, VmName, VmShape,
};
use crate::store::{self, Location, Write};
use crate::work::pages::PageRead;
use crate::work::{Work, WorkerContext};

/// An app, a worker's context, and one connection.
struct Bed {
    app: App,
    worker: WorkerContext,
}

const CONN: ConnId = ConnId { index: 0, generation: 1 };
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const SHAPE: VmShape = VmShape { ram_mib: 1, cpus: 1 };

impl Bed {
    /// A bed on a listener that opens `anonymous_access`.
    fn new(anonymous_access: AnonymousAccess) -> Bed {
        let settings = Settings {
            metrics_points: false,
            inline_bytes_max: 100,
            vms_max: 10_000,
            token_lifetime: Duration::from_secs(60),
            log_addresses: Default::default(),
            logins: LoginLimits { failures: None, delay_max: None },
            conversion_delay: Duration::ZERO..=Duration::ZERO,
        };
        let mut app = App::new(settings, Embedding::default(), Box::new(token::SystemRandom), Arc::default());
        let policy = ListenerPolicy {
            open_registration: true,
            anonymous_access,
            has_operators: false,
            is_local: true,
            demands_access_token: false,
        };
        app.presence_mut().open(CONN, Peer::Unix { uid: None }, policy, 0);
        let cost = crate::work::password::Cost { memory_kib: 64, passes: 1, lanes: 1 };
        Bed {
            app,
            worker: WorkerContext::new(
                store::open(&Location::Memory).expect("memory"),
                crate::work::password::known_costs(cost),
            ),
        }
    }

    /// Runs work until there is something to answer.
    fn settle(&mut self, name: CommandName, mut action: Next) -> Next {
        while let Next::Work { work, stage } = action {
            let result = self.worker.run([&work]).remove(0);
            action = self.app.resume(CONN, name, stage, result, NOW);
        }
        action
    }

    fn call(&mut self, scope: Scope, token: Option<&Secret>, command: Command) -> Next {
        let token: Result<Option<Secret>, BadField> = Ok(token.cloned());
        let name = name_of(&command);
        let (dialect, command) = (Dialect::Command, Ok(command));
        let action = self.app.begin(
            CONN,
            Box::new(Request { scope, token, ..Request::new(dialect, name, command) }),
            NOW,
        );
        self.settle(name, action)
    }

    /// The answer to a request with scope `Request`.
    fn ask(&mut self, token: Option<&Secret>, command: Command) -> Answer {
        match self.call(Scope::Request, token, command) {
            Next::Answer(answer) => answer,
            other => panic!("not an answer: {other:?}"),
        }
    }

    fn list(&mut self, token: Option<&Secret>, list: List) -> Page {
        let command = match list {
            List::AuthorizedVms | List::ConnectedVms | List::EverConnectedVms => Command::ActionList(list),
            _ => Command::List(list),
        };
        match self.call(Scope::Request, token, command) {
            Next::Page(page) => page,
            other => panic!("no page: {other:?}"),
        }
    }

    fn register(&mut self, name: &str) {
        let password = password();
        let (name, disk_sizes_gib) = (VmName::from_store(name), vec![1]);
        let answer = self.ask(None, Command::Register { name, shape: SHAPE, disk_sizes_gib, password });
        assert!(matches!(answer, Answer::Registered(_)), "{answer:?}");
    }

    /// The token of a login that applies to one request.
    fn token(&mut self, name: &str) -> Secret {
        let login = Command::Authenticate { name: VmName::from_store(name), password: password() };
        match self.ask(None, login) {
            Answer::Authenticated(token) => token,
            other => panic!("no token: {other:?}"),
        }
    }

    /// Whether the connection has neither a login nor a token.
    #[track_caller]
    fn is_anonymous(&self) -> bool {
        let presence = self.app.presence();
        let (peers, _) = presence.page(List::ActiveVms, 0);
        let is_anonymous = !presence.is_authenticated(CONN) && presence.authenticated_count() == 0;
        is_anonymous && peers.iter().all(|peer| peer.vm.is_none()) && presence.tokens(CONN).is_empty()
    }
}

/// The name of a command: their variants have the same names.
fn name_of(command: &Command) -> CommandName {
    let (command, has_name) =
        (format!("{command:?}"), |name: &CommandName, text: &str| format!("{name:?}") == text);
    let variant = command.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    *CommandName::ALL.iter().find(|name| has_name(name, variant)).expect(variant)
}

fn password() -> Secret {
    Secret::new("12345678")
}

fn ram(mib: u32) -> VmChange {
    VmChange { ram_mib: Some(mib), ..VmChange::default() }
}

fn failed(failure: Failure) -> Answer {
    Answer::Failed(failure)
}

fn vm_ids(page: &Page) -> Vec<i64> {
    match &page.items {
        Items::Vms(vms) => vms.iter().map(|vm| vm.id.0).collect(),
        other => panic!("no VMs: {other:?}"),
    }
}

#[test]
fn a_token_applies_to_its_request_only() {
    let mut bed = Bed::new(AnonymousAccess::ALL);
    bed.register("a");
    bed.register("b");
    let (a, b) = (bed.token("a"), bed.token("b"));
    assert!(bed.is_anonymous());
    for token in [&a, &b, &a] {
        assert_eq!(bed.ask(Some(token), Command::Update(ram(5))), Answer::Updated);
        assert!(bed.is_anonymous());
        // The next request is anonymous.
        let refused = failed(Failure::AuthenticationRequired);
        assert_eq!(bed.ask(None, Command::Update(ram(6))), refused);
    }
    let foreign = Secret::new("unknown");
    assert_eq!(bed.ask(Some(&foreign), Command::Update(ram(6))), failed(Failure::InvalidToken));
    let page = bed.list(Some(&a), List::ActiveVms);
    assert!(matches!(&page.items, Items::Peers(peers) if peers.len() == 1 && peers[0].vm.is_none()));
    assert_eq!(bed.list(Some(&a), List::AuthenticatedVms).items, Items::Peers(vec![]));
    assert_eq!(vm_ids(&bed.list(None, List::AuthorizedVms)), [0; 0], "no VM is authorized");
}

#[test]
fn a_logout_revokes_its_own_token() {
    let mut bed = Bed::new(AnonymousAccess::ALL);
    bed.register("a");
    let (first, second) = (bed.token("a"), bed.token("a"));
    assert_eq!(bed.ask(Some(&first), Command::Logout), Answer::LoggedOut(VmName::from_store("a")));
    assert_eq!(bed.ask(Some(&first), Command::Logout), failed(Failure::InvalidToken));
    let done = Answer::Action(ActionAnswer::LoggedOut);
    assert_eq!(bed.ask(Some(&second), Command::LogoutVm(VmId(1))), done);
    assert_eq!(bed.ask(Some(&second), Command::Logout), failed(Failure::InvalidToken));
    assert_eq!(bed.ask(None, Command::LogoutVm(VmId(1))), failed(Failure::NotAuthorized));
}

#[test]
fn an_action_login_leaves_the_connection_anonymous() {
    let mut bed = Bed::new(AnonymousAccess::ALL);
    bed.register("a");
    let authorize = |password| Command::AuthorizeVm { vm: VmId(1), password };
    let right = authorize(Some(password()));
    assert_eq!(bed.ask(None, right), Answer::Action(ActionAnswer::Authorized));
    assert!(bed.is_anonymous());
    assert_eq!(vm_ids(&bed.list(None, List::AuthorizedVms)), [0; 0]);
    assert_eq!(vm_ids(&bed.list(None, List::EverConnectedVms)), [1]);
    for password in [None, Some(Secret::new("87654321"))] {
        assert_eq!(bed.ask(None, authorize(password)), failed(Failure::InvalidCredentials));
    }
    let change = Command::UpdateVm { vm: VmId(1), change: Some(ram(7)) };
    assert_eq!(bed.ask(None, change.clone()), failed(Failure::NotAuthorized));
    let token = bed.token("a");
    assert_eq!(bed.ask(Some(&token), change), Answer::Updated);
}

#[test]
fn a_vm_without_a_password_is_authorized_for_the_whole_server() {
    let mut bed = Bed::new(AnonymousAccess::ALL);
    let add = Command::AddVm { shape: SHAPE, disk_sizes_gib: vec![1] };
    assert_eq!(bed.ask(None, add), Answer::Action(ActionAnswer::Added(VmId(1))));
    let connect = Command::ConnectVm { vm: VmId(1), password: None };
    assert_eq!(bed.ask(None, connect), Answer::Action(ActionAnswer::Connected));
    assert_eq!(vm_ids(&bed.list(None, List::ConnectedVms)), [1]);
    let change = Command::UpdateVm { vm: VmId(1), change: Some(ram(7)) };
    assert_eq!(bed.ask(None, change), Answer::Updated);
}

fn put(points: &[(&str, i64)], undated: &[usize], is_atomic: bool) -> Command {
    let point = |(key, second): &(&str, i64)| {
        let value = MetricValue::new(0.5).expect("finite");
        NewPoint { key: MetricKey::parse(key).expect(key), point: Point { timestamp: *second, value } }
    };
    let points = points.iter().map(point).collect();
    Command::Put(Put { points, undated: undated.to_vec(), is_atomic })
}

const STORED: Answer = Answer::Put { refused: Vec::new() };

#[test]
fn points_are_stored_and_returned_and_undated_ones_get_now() {
    let mut bed = Bed::new(AnonymousAccess::ALL);
    assert_eq!(bed.ask(None, put(&[("a", 7), ("b", 0), ("a", 0)], &[1, 2], true)), STORED);
    let points =
        |bed: &mut Bed, filter: PointFilter| match bed.call(Scope::Request, None, Command::Get(filter)) {
            Next::Page(Page { items: Items::Points(series), next: None, .. }) => {
                let of = |series: &Series| {
                    (series.key.to_string(), series.points.iter().map(|p| p.timestamp).collect())
                };
                series.iter().map(of).collect::<Vec<(String, Vec<i64>)>>()
            }
            other => panic!("no points: {other:?}"),
        };
    let all = vec![("a".to_owned(), vec![7, NOW.0]), ("b".to_owned(), vec![NOW.0])];
    assert_eq!(points(&mut bed, PointFilter::default()), all);
    let early = PointFilter { to: Some(7), ..PointFilter::default() };
    assert_eq!(points(&mut bed, early), [("a".to_owned(), vec![7])]);
    let unknown = PointFilter { key: Some(MetricKey::from_store("c")), ..PointFilter::default() };
    assert_eq!(points(&mut bed, unknown), []);
    assert_eq!(bed.app.points_counted(), PointCounters { put: 3, refused: 0 });
}

#[test]
fn a_key_beyond_the_limit_is_reported_and_counted() {
    let mut bed = Bed::new(AnonymousAccess::ALL);
    let keys: Vec<String> = (0..limits::METRIC_KEYS_MAX).map(|key| format!("k{key}")).collect();
    for chunk in keys.chunks(limits::POINTS_PER_REQUEST_MAX) {
        let points: Vec<(&str, i64)> = chunk.iter().map(|key| (key.as_str(), 1)).collect();
        assert_eq!(bed.ask(None, put(&points, &[], false)), STORED);
    }
    let mixed = [("k1", 2), ("x", 2), ("k2", 2)];
    assert_eq!(bed.ask(None, put(&mixed, &[], false)), Answer::Put { refused: vec![1] });
    assert_eq!(bed.ask(None, put(&mixed, &[], true)), failed(Failure::KeyLimitReached(Some(1))));
    assert_eq!(bed.ask(None, put(&mixed[1..2], &[], true)), failed(Failure::KeyLimitReached(None)));
    let put = limits::METRIC_KEYS_MAX + 2;
    assert_eq!(bed.app.points_counted(), PointCounters { put, refused: 1 + 3 + 1 });
}

#[test]
fn with_closed_metrics_a_login_must_be_valid_until_the_points_are_stored() {
    let mut bed = Bed::new(AnonymousAccess::NONE);
    let refused = failed(Failure::AuthenticationRequired);
    assert_eq!(bed.ask(None, put(&[("a", 1)], &[], false)), refused);
    assert_eq!(bed.ask(None, Command::Get(PointFilter::default())), refused);
    bed.register("vm");
    let token = bed.token("vm");
    assert_eq!(bed.ask(Some(&token), put(&[("a", 1)], &[], false)), STORED);
    let get = bed.call(Scope::Request, Some(&token), Command::Get(PointFilter::default()));
    assert!(matches!(get, Next::Page(_)), "{get:?}");
    // The password changes while the points are being written.
    let (scope, dialect) = (Scope::Request, Dialect::Command);
    let (id, name, command) = (None, CommandName::Put, Ok(put(&[("b", 1)], &[], false)));
    let request = Request { scope, id, token: Ok(Some(token)), ..Request::new(dialect, name, command) };
    let mut action = bed.app.begin(CONN, Box::new(request), NOW);
    while let Next::Work { work, stage } = action {
        if matches!(work, Work::Write(_)) {
            let (name, password_hash) = (VmName::from_store("vm"), "another".to_owned());
            bed.worker.run([&Work::Write(Write::ChangePassword { name, password_hash })]);
        }
        let result = bed.worker.run([&work]).remove(0);
        action = bed.app.resume(CONN, CommandName::Put, stage, result, NOW);
    }
    assert!(matches!(action, Next::Answer(answer) if answer == refused), "the put is refused");
}

#[test]
fn all_pages_of_a_list_have_the_login_of_its_request() {
    let mut bed = Bed::new(AnonymousAccess::NONE);
    bed.register("a");
    let token = bed.token("a");
    for _ in 0..limits::PAGE_ROWS_MAX {
        let write = Write::AddVm { shape: SHAPE, disk_sizes_gib: vec![1], vms_max: 10_000, now: NOW };
        bed.worker.run([&Work::Write(write)]);
    }
    let refused = Answer::Failed(Failure::AuthenticationRequired);
    for command in [Command::List(List::AllVms), Command::ActionList(List::AllVms)] {
        let Next::Page(mut page) = bed.call(Scope::Request, Some(&token), command) else { panic!("no page") };
        let (listing, mut seen) = (page.listing.clone(), vm_ids(&page));
        while let Some(cursor) = page.next {
            // Other requests come between the pages.
            assert_eq!(bed.ask(None, Command::Ping), Answer::Pong(Peer::Unix { uid: None }));
            assert_eq!(bed.ask(None, Command::Update(ram(1))), refused);
            let name = page.listing.command;
            let next = bed.app.page(CONN, page.listing, cursor);
            let Next::Page(next) = bed.settle(name, next) else { panic!("no page") };
            page = next;
            seen.extend(vm_ids(&page));
        }
        assert_eq!(seen, (1..=limits::PAGE_ROWS_MAX as i64 + 1).collect::<Vec<_>>());
        let without_login = Listing { caller: Caller::default(), ..listing };
        let next = bed.app.page(CONN, without_login, Cursor::AfterVm(VmId(1)));
        assert!(matches!(next, Next::Answer(answer) if answer == refused));
        assert!(bed.is_anonymous());
    }
}

#[test]
fn a_list_ends_when_its_login_does() {
    for (anonymous_access, ends) in [(AnonymousAccess::NONE, true), (AnonymousAccess::ALL, false)] {
        let mut bed = Bed::new(anonymous_access);
        bed.register("a");
        let token = bed.token("a");
        let list = Command::ActionList(List::AllVms);
        let Next::Page(page) = bed.call(Scope::Request, Some(&token), list) else { panic!("no page") };
        assert!(page.listing.caller.login.is_some());
        let (name, password_hash) = (VmName::from_store("a"), "another".to_owned());
        bed.worker.run([&Work::Write(Write::ChangePassword { name, password_hash })]);
        let next = bed.app.page(CONN, page.listing, Cursor::AfterVm(VmId(0)));
        match bed.settle(CommandName::ActionList, next) {
            Next::Answer(Answer::Failed(Failure::AuthenticationRequired)) => assert!(ends),
            Next::Page(page) => assert!(!ends && page.listing.caller.login.is_none()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn with_closed_actions_a_token_lets_its_vm_act_for_itself() {
    let mut bed = Bed::new(AnonymousAccess::NONE);
    bed.register("a");
    bed.register("b");
    let token = bed.token("a");
    let change = |vm| Command::UpdateVm { vm: VmId(vm), change: Some(ram(7)) };
    assert_eq!(bed.ask(None, change(1)), failed(Failure::AuthenticationRequired));
    assert_eq!(bed.ask(Some(&token), change(1)), Answer::Updated);
    assert_eq!(bed.ask(Some(&token), change(2)), failed(Failure::NotAuthorized));
    let login = |vm| Command::ConnectVm { vm: VmId(vm), password: Some(password()) };
    assert_eq!(bed.ask(Some(&token), login(2)), failed(Failure::UnknownVm));
    assert_eq!(bed.ask(Some(&token), login(1)), Answer::Action(ActionAnswer::Connected));
    assert!(bed.is_anonymous());
    assert_eq!(bed.ask(None, login(1)), failed(Failure::AuthenticationRequired));
}

#[test]
fn a_login_may_apply_to_the_connection() {
    let mut bed = Bed::new(AnonymousAccess::ALL);
    bed.register("a");
    let login = Command::AuthorizeVm { vm: VmId(1), password: Some(password()) };
    let action = bed.call(Scope::Connection, None, login);
    assert!(matches!(action, Next::Answer(Answer::Action(ActionAnswer::Authorized))));
    assert!(bed.app.presence().is_authenticated(CONN));
    assert_eq!(vm_ids(&bed.list(None, List::AuthorizedVms)), [1]);
    bed.app.presence_mut().close(CONN, OfflineReason::Closed);
    assert_eq!(bed.app.presence().authenticated_count(), 0);
    assert!(bed.app.presence().membership().page(Membership::Authorized, 0).0.is_empty());
}

#[test]
fn a_long_text_is_converted_by_a_worker_and_a_short_one_at_once() {
    for (length, is_work) in [(100, false), (101, true)] {
        let mut bed = Bed::new(AnonymousAccess::ALL);
        let data = format!("e&&a&&{}", "1".repeat(length - 6));
        let action = bed.app.convert_now(data.into());
        assert_eq!(matches!(action, Next::Work { .. }), is_work, "{length}");
        let Next::Answer(Answer::Converted(entities)) = bed.settle(CommandName::Convert, action) else {
            panic!("no entities")
        };
        assert_eq!(entities, format!("{{\"e\":{{\"a\":\"{}\"}}}}", "1".repeat(length - 6)));
    }
}

#[test]
fn a_late_failure_ends_only_the_login_that_failed() {
    let mut bed = Bed::new(AnonymousAccess::NONE);
    ["a", "b"].iter().for_each(|name| bed.register(name));
    let authenticate = |name| Command::Authenticate { name: VmName::from_store(name), password: password() };
    let begin = |bed: &mut Bed, command: Command| {
        let (name, dialect, scope) = (name_of(&command), Dialect::Command, Scope::Connection);
        let (command, token, is_forwarded) = (Ok(command), Ok(None), false);
        match bed.app.begin(
            CONN,
            Box::new(Request { scope, token, is_forwarded, ..Request::new(dialect, name, command) }),
            NOW,
        ) {
            Next::Work { stage, .. } => stage,
            other => panic!("nothing to do: {other:?}"),
        }
    };
    let not_current = || Err(WorkError::Store(StoreError::NotCurrent));
    let lost_page = || {
        let page = PageRead { items: Items::Vms(Vec::new()), next: None };
        Ok(WorkResult::Page { page, login_holds: false })
    };
    let update = || Command::Update(ram(2));
    // All commands that depend on a login of the connection until they are done.
    let late = [
        update(),
        Command::UpdateVm { vm: VmId(1), change: Some(ram(2)) },
        Command::Logout,
        Command::LogoutVm(VmId(1)),
        put(&[("k", 1)], &[], true),
        Command::List(List::AllVms),
        Command::ActionList(List::AllVms),
    ];
    for command in late {
        let (name, is_list) = (name_of(&command), name_of(&command).is_paged());
        bed.call(Scope::Connection, None, authenticate("a"));
        let stage = begin(&mut bed, command);
        bed.call(Scope::Connection, None, authenticate("b"));
        bed.app.resume(CONN, name, stage, if is_list { lost_page() } else { not_current() }, NOW);
        let login = bed.app.presence().login(CONN).map(|login| login.name.as_str().to_owned());
        assert_eq!(login.as_deref(), Some("b"), "{name:?}");
        // A failure of the current login does end it.
        let stage = begin(&mut bed, update());
        bed.app.resume(CONN, CommandName::Update, stage, not_current(), NOW);
        assert!(!bed.app.presence().is_authenticated(CONN), "{name:?}");
    }
}

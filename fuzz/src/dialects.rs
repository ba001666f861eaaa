//! Each dialect by itself: every request is decoded or refused, and every reply is one line of JSON.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use vmherd::internals::clock::UnixSeconds;
use vmherd::internals::dialect::{self, PageProgress, decode_message, encode_answer, encode_page};
use vmherd::internals::embed::{
    ClientFactory, HandlerFailure, HandlerRequest, Handlers, RequestHandler, Responder,
};
use vmherd::internals::ids::{ConnId, CustomId, DiskId, SeriesId, VmId};
use vmherd::internals::model::{
    Access, ActionAnswer, Answer, BadField, Caller, Command, CommandName, Cursor, CustomCommands, CustomKind,
    Dialect, Disk, DiskOfVm, Failure, Items, List, Listing, LongText, MetricKey, MetricValue, Page, Peer,
    PeerEntry, Point, Principal, Query, Request, RequestId, Response, Secret, Series, ServerStatus, VerbPath,
    Vm, VmName, VmPresence, VmShape,
};

/// A byte that decides what surrounds the rest, and the rest of a request.
pub fn command(input: &[u8]) {
    decode(input, b"{\"command\":");
}

/// The same for the dialect `action`.
pub fn action(input: &[u8]) {
    decode(input, b"{\"action\":");
}

/// The same for a conversion, which is then run.
pub fn conversion(input: &[u8]) {
    decode(input, b"{\"request_id\":1,\"data\":");
}

/// The same for the dialect `verb`; or the path of an HTTP request, a line break, and the body.
pub fn verb(input: &[u8]) {
    match input.split_first() {
        Some((form, rest)) if form % 4 >= 2 => decode_for_path(rest),
        _ => decode(input, b"{\"verb\":"),
    }
}

/// All verbs that have a path.
const VERBS: [&str; 5] = ["STAT", "CREATE", "DESTROY", "REBOOT", "STATE"];

/// The verbs and commands that the embedding program adds.
pub fn customs() -> Arc<CustomCommands> {
    let mut customs = CustomCommands::default();
    for (kind, name) in
        [(CustomKind::Verb, "REBOOT"), (CustomKind::Verb, "STATE"), (CustomKind::Command, "reboot")]
    {
        customs.add(kind, name, Access::Public).expect("a name in its form");
    }
    Arc::new(customs)
}

/// The answers that a request may get, chosen by `choice`.
pub fn answer(request: &Request, choice: u8) -> Answer {
    if choice.is_multiple_of(4) {
        return Answer::Failed(failure(choice));
    }
    let name = VmName::from_store("vm \"é\"\n");
    match (&request.command, request.dialect) {
        (Ok(Command::Convert { data }), _) => convert(data),
        (Ok(Command::VerbStat), _) => {
            let containers_available = choice.is_multiple_of(3).then_some(choice.into());
            Answer::Status(ServerStatus { uptime: Duration::from_secs(choice.into()), containers_available })
        }
        (Ok(Command::Custom { .. }), _) => Answer::Custom(match choice % 4 {
            1 => Response::success(json!({"a \"field\"\n": choice})),
            2 => Response::success(json!({})).with_message("a \"message\"\n"),
            _ => Response::failure("a \"failure\"\n"),
        }),
        (_, Dialect::Verb | Dialect::Conversion) => Answer::Failed(Failure::Busy),
        (Ok(Command::Health), _) => Answer::Healthy,
        (Ok(Command::Ping), _) => Answer::Pong(Peer::Unix { uid: None }),
        (Ok(Command::Register { name, .. }), _) => Answer::Registered(name.clone()),
        (Ok(Command::Authenticate { .. }), _) => Answer::Authenticated(Secret::new("a token\"")),
        (Ok(Command::Logout), _) => Answer::LoggedOut(name),
        (Ok(Command::Update(_) | Command::UpdateVm { .. }), _) => Answer::Updated,
        (Ok(Command::Put(put)), _) => {
            let is_refused =
                |index: &usize| !put.is_atomic && (index + usize::from(choice)).is_multiple_of(3);
            Answer::Put { refused: (0..put.points.len()).filter(is_refused).collect() }
        }
        (_, Dialect::Action) => Answer::Action(match choice % 3 {
            0 => ActionAnswer::Added(VmId(i64::from(choice))),
            1 => ActionAnswer::Connected,
            _ => ActionAnswer::LoggedOut,
        }),
        _ => Answer::Failed(failure(choice)),
    }
}

/// The listing that `request` gets in pages, if it does.
pub fn paged(request: &Request) -> Option<Listing> {
    match &request.command {
        Ok(Command::List(list) | Command::ActionList(list)) => {
            Some(listing(request.name, Query::List(*list)))
        }
        Ok(Command::Get(filter)) => Some(listing(request.name, Query::Points(filter.clone()))),
        Ok(Command::Web { query, .. }) => Some(listing(request.name, query.clone())),
        _ => None,
    }
}

/// A listing of an anonymous client.
pub fn listing(command: CommandName, query: Query) -> Listing {
    Listing { command, query, caller: Caller::default() }
}

/// A page of it, the last one or not.
pub fn page(listing: &Listing, choice: u8) -> Page {
    let has_more = choice >= 128;
    match &listing.query {
        Query::List(list) => {
            let next = has_more.then_some(Cursor::AfterVm(VmId(7)));
            Page { listing: listing.clone(), items: entries(*list, choice), next }
        }
        Query::Points(_) => {
            let next = has_more.then_some(Cursor::AfterPoint(None));
            Page { listing: listing.clone(), items: Items::Points(series(choice)), next }
        }
        Query::Metrics => {
            let next = has_more.then_some(Cursor::BeforePoints);
            Page { listing: listing.clone(), items: Items::Metrics(Box::default()), next }
        }
        Query::VmTable(_) | Query::Targets { .. } | Query::Snapshot(_) => {
            let next = has_more.then_some(Cursor::AfterVm(VmId(7)));
            let Items::Vms(vms) = entries(List::AllVms, choice) else { unreachable!("a list of VMs") };
            let vms = vms.into_iter().map(|vm| (vm, VmPresence::default())).collect();
            Page { listing: listing.clone(), items: Items::ObservedVms(vms), next }
        }
    }
}

fn series(choice: u8) -> Vec<Series> {
    let value = MetricValue::new(f64::from(choice) * 1e-9).expect("it is finite");
    let points = vec![Point { timestamp: -i64::from(choice), value }; usize::from(choice % 5)];
    // Series that continue on the next page, or others.
    let numbers = i64::from(choice % 2)..i64::from(choice % 4);
    let one = |id| Series {
        id: SeriesId(id),
        key: MetricKey::from_store(&format!("key\"{id}")),
        points: points.clone(),
    };
    numbers.map(one).collect()
}

fn entries(list: List, choice: u8) -> Items {
    let vm = Vm {
        id: VmId(7),
        name: VmName::from_store("vm \"7\""),
        shape: VmShape { ram_mib: 1, cpus: 1 },
        has_password: true,
        is_managed: false,
        last_seen: None,
        last_address: None,
        disks: vec![Disk { id: DiskId(1), size_gib: 1 << 50 }; usize::from(choice % 5)],
    };
    let count = usize::from(choice % 7);
    let disk = DiskOfVm { disk: Disk { id: DiskId(9), size_gib: 3 }, vm_id: vm.id, vm_name: vm.name.clone() };
    match list {
        List::AllDisks => Items::Disks(vec![disk; count]),
        List::ActiveVms | List::AuthenticatedVms => {
            let vm = choice.is_multiple_of(2).then_some(vm);
            let (peer, connected_since) = (Peer::Tcp([127, 0, 0, 1].into(), 1), UnixSeconds(5));
            Items::Peers(vec![PeerEntry { peer, connected_since, vm }; count])
        }
        _ => Items::Vms(vec![vm; count]),
    }
}

fn decode(input: &[u8], prefix: &[u8]) {
    let Some((&is_surrounded, rest)) = input.split_first() else { return };
    let text = match is_surrounded % 2 {
        0 => rest.to_vec(),
        _ => [prefix, rest, b"}"].concat(),
    };
    decode_text(&text, None);
}

fn decode_for_path(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let Ok(path) = std::str::from_utf8(&input[..end]) else { return };
    let parsed = VerbPath::parse(path, &customs());
    let first = path.split('/').nth(1).filter(|_| path.starts_with('/')).unwrap_or_default();
    let names_verb = VERBS.iter().any(|known| known.eq_ignore_ascii_case(first));
    assert_eq!(parsed.is_some(), names_verb, "{path:?} names {parsed:?}");
    decode_text(input.get(end + 1..).unwrap_or_default(), parsed);
}

/// Decodes a message that came for the path of a verb, if it came for one.
fn decode_text(text: &[u8], path: Option<VerbPath>) {
    let customs = customs();
    let again = decode_message(text, path, &customs);
    match decode_message(text, path, &customs) {
        Err(refusal) => {
            check(refusal.dialect, refusal.id.as_ref(), &Answer::Failed(refusal.failure.clone()));
            assert_eq!(again, Err(refusal), "the same text is the same request");
        }
        Ok(request) => {
            check_request(&request);
            for choice in 0..=32 {
                check(request.dialect, request.id.as_ref(), &answer(&request, choice));
            }
            if let Some(listing) = paged(&request) {
                check_pages(&request, &listing);
            }
            assert_eq!(again, Ok(request), "the same text is the same request");
        }
    }
}

/// What must hold for every request that is run.
fn check_request(request: &Request) {
    assert!(!format!("{request:?}").is_empty());
    if request.dialect == Dialect::Conversion {
        assert!(request.id.is_some() && request.name == CommandName::Convert);
    }
    if let Some(RequestId(id)) = &request.id {
        assert!(id.len() <= 2 + vmherd::internals::limits::REQUEST_ID_BYTES_MAX);
    }
    if let Ok(Command::Register { name, disk_sizes_gib, password, .. }) = &request.command {
        assert_eq!(VmName::parse_new(name.as_str()), Ok(name.clone()));
        assert!(disk_sizes_gib.len() <= vmherd::internals::limits::DISKS_PER_VM_MAX);
        assert!((8..=1024).contains(&password.expose().len()));
    }
    if let Ok(Command::Custom { id, parameters }) = &request.command {
        call_handler(*id, parameters);
    }
    if let Ok(Command::Update(change)) = &request.command {
        assert!(!change.is_empty());
    }
    if let Ok(Command::Put(put)) = &request.command {
        assert!((1..=vmherd::internals::limits::POINTS_PER_REQUEST_MAX).contains(&put.points.len()));
        assert!(put.undated.iter().all(|index| put.points[*index].point.timestamp == 0));
        assert!(put.is_atomic && request.reply_count() == 1);
    }
}

/// Calls a handler with the parameters of a request: it gets an object without a token of the server.
fn call_handler(id: CustomId, parameters: &LongText) {
    let handler: Arc<dyn RequestHandler> = Arc::new(|request: HandlerRequest, responder: Responder| {
        let is_command = request.name() == "reboot";
        assert!(!is_command || !request.parameters().contains_key("token"), "a handler gets a token");
        responder.respond(Response::success(json!(request.parameters())));
    });
    let by_id = vec![handler; customs().all().len()];
    let handlers = Handlers { commands: customs(), by_id, ..Handlers::default() };
    let conn = ConnId { index: 0, generation: 1 };
    let client = ClientFactory::default().client(conn, Peer::Unix { uid: None }, Principal::Anonymous);
    let results = Arc::<Mutex<Vec<Result<Response, HandlerFailure>>>>::default();
    let found = Arc::clone(&results);
    let send = move |result| found.lock().expect("no panic is caught here").push(result);
    let panic = handlers.call(id, parameters.clone(), client).run(Responder::new(send));
    assert_eq!(panic, None);
    let results = results.lock().expect("no panic is caught here");
    assert!(matches!(results[..], [Ok(_) | Err(HandlerFailure::BadParameters(_))]), "{results:?}");
}

fn check(dialect: Dialect, id: Option<&RequestId>, answer: &Answer) {
    if matches!(answer, Answer::Healthy) {
        return;
    }
    let mut text = Vec::new();
    encode_answer(dialect, id, answer, &mut text);
    check_reply(&text, id);
}

fn check_pages(request: &Request, listing: &Listing) {
    for choices in [&[1][..], &[128, 130, 3], &[135, 0], &[129, 128, 127]] {
        let (mut text, mut progress) = (Vec::new(), PageProgress::default());
        for choice in choices {
            let page = page(listing, *choice);
            encode_page(request.dialect, request.id.as_ref(), &page, &mut progress, &mut text);
        }
        check_reply(&text, request.id.as_ref());
    }
}

/// A reply is one line of JSON, with the id first and verbatim.
fn check_reply(text: &[u8], id: Option<&RequestId>) {
    assert!(!text.contains(&b'\n'), "{}", text.escape_ascii());
    if let Some(RequestId(id)) = id {
        assert!(text.starts_with(format!("{{\"request_id\":{id},").as_bytes()), "{}", text.escape_ascii());
    }
    // serde_json refuses half a pair of surrogates, which the server returns verbatim.
    if id.is_none_or(|RequestId(id)| serde_json::from_str::<Value>(id).is_ok()) {
        let value: Result<Value, _> = serde_json::from_slice(text);
        assert!(value.as_ref().is_ok_and(Value::is_object), "{value:?}: {}", text.escape_ascii());
    }
}

fn convert(data: &str) -> Answer {
    let entities = dialect::convert(data);
    let value: Value = serde_json::from_str(&entities).expect("entities are JSON");
    for (name, parameters) in value.as_object().expect("entities are an object") {
        let parameters = parameters.as_object().expect("an entity is an object");
        assert!(!name.is_empty() && !parameters.is_empty());
        assert!(parameters.iter().all(|(name, value)| !name.is_empty() && value != ""));
    }
    Answer::Converted(entities)
}

fn failure(choice: u8) -> Failure {
    match choice / 4 % 8 {
        0 => Failure::Busy,
        1 => Failure::StoreUnavailable,
        2 => Failure::OutcomeUnknown,
        3 => Failure::InvalidToken,
        4 => Failure::AuthenticationRequired,
        5 => Failure::BadField(BadField("a \"field\"\n".to_owned())),
        6 => Failure::UnknownDisk(DiskId(3)),
        _ => Failure::Internal,
    }
}

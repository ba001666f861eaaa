//! Requests to watch, and the messages to clients that do.

use super::*;
use crate::clock::UnixSeconds;
use crate::dialect::{decode_json, encode_page};
use crate::model::{
    Caller, Cursor, CustomCommands, Dialect, Listing, MetricKey, MetricValue, Peer, Point, Query, Scope,
    VmShape,
};

fn decode(data: &str) -> Result<Watch, String> {
    let text = format!(r#"{{"command":"watch","data":{data}}}"#);
    let request = decode_json(text.as_bytes(), &CustomCommands::default()).expect("an envelope");
    assert_eq!(request.scope, Scope::Request, "a token does not make the VM online");
    match request.command {
        Ok(Command::Watch(watch)) => Ok(watch),
        Ok(other) => panic!("{other:?}"),
        Err(failure) => Err(failure.message().into_owned()),
    }
}

#[test]
fn requests_are_read() {
    let filter = |vms, presence, prefixes: &[&str]| {
        WatchFilter::new(vms, presence, prefixes.iter().map(|prefix| (*prefix).into()).collect())
    };
    for (data, from, wanted) in [
        ("{}", None, filter(true, true, &[])),
        (r#"{"what":[]}"#, None, filter(false, false, &[])),
        (r#"{"what":["vms"]}"#, None, filter(true, false, &[])),
        (r#"{"what":["presence","points:","presence"]}"#, None, filter(false, true, &[""])),
        (
            r#"{"from":"00000000000000ff-7","what":["points:a.","points:\u0062:"]}"#,
            Some(Revision { epoch: 255, number: 7 }),
            filter(false, false, &["a.", "b:"]),
        ),
    ] {
        assert_eq!(decode(data), Ok(Watch { from, filter: wanted }), "{data}");
    }
}

#[test]
fn errors_name_the_field() {
    let long = format!(r#"{{"what":["points:{}"]}}"#, "x".repeat(limits::METRIC_KEY_BYTES_MAX + 1));
    let many = format!(r#"{{"what":["{}"]}}"#, vec!["vms"; limits::WATCH_WHAT_MAX + 1].join("\",\""));
    let what = r#""vms", "presence" or "points:PREFIX", where PREFIX begins keys of points"#;
    let list = format!("it must be a list of at most 256 entries {what}");
    let from = "it must be a revision that the server has sent: 16 hexadecimal digits, '-' and a number";
    for (data, wanted) in [
        (r#"{"from":7}"#, format!("from: 7 is not allowed; {from}")),
        (r#"{"from":"x-1"}"#, format!("from: \"x-1\" is not allowed; {from}")),
        (r#"{"what":"vms"}"#, format!("what: \"vms\" is not allowed; {list}")),
        (r#"{"what":null}"#, format!("what: null is not allowed; {list}")),
        (&many, format!("what: a list of 257 is not allowed; {list}")),
        (r#"{"what":["vms",7]}"#, format!("what[1]: 7 is not allowed; it must be {what}")),
        (r#"{"what":["points: a"]}"#, format!("what[0]: \"points: a\" is not allowed; it must be {what}")),
        (r#"{"what":[{}]}"#, format!("what[0]: an object is not allowed; it must be {what}")),
        (r#"{"what":["vms"],"what":[]}"#, "what: the same field may not stand twice".to_owned()),
        (r#"{"since":1}"#, "unknown field \"since\"; allowed: from, what, token".to_owned()),
    ] {
        assert_eq!(decode(data), Err(wanted), "{data}");
    }
    assert!(decode(&long).is_err_and(|error| error.starts_with("what[0]: \"points:xxx")));
}

const REVISION: Revision = Revision { epoch: 1, number: 2 };

fn vm() -> Vm {
    Vm {
        id: VmId(7),
        name: VmName::from_store("a\""),
        shape: VmShape { ram_mib: 512, cpus: 2 },
        has_password: true,
        is_managed: false,
        last_seen: None,
        last_address: None,
        disks: Vec::new(),
    }
}

fn online() -> VmPresence {
    let time = Some(UnixSeconds(5));
    VmPresence {
        connected_since: time,
        last_seen: time,
        peers: vec![Peer::Tcp([10, 0, 0, 7].into(), 9)],
        ..VmPresence::default()
    }
}

#[test]
fn each_page_of_a_snapshot_is_a_message() {
    let query = Query::Snapshot(REVISION);
    let listing = Listing { command: CommandName::Watch, query, caller: Caller::default() };
    let mut progress = crate::dialect::PageProgress::default();
    let mut page = |next| {
        let items = Items::ObservedVms(vec![(vm(), VmPresence::default())]);
        let page = Page { listing: listing.clone(), items, next };
        let mut output = Vec::new();
        let id = RequestId("7".into());
        encode_page(Dialect::Command, Some(&id), &page, &mut progress, &mut output);
        String::from_utf8(output).expect("JSON is UTF-8")
    };
    let wanted = |more| {
        format!(
            r#"{{"request_id":7,"status":"success","message":"snapshot","data":{{"revision":"0000000000000001-2","vms":[{{"id":7,"connected_since":null,"last_seen":null,"offline_since":null,"addrs":[],"vm_id":"a\"","ram":512,"cpu":2,"disks":[]}}],"more":{more}}}}}"#
        )
    };
    assert_eq!(page(Some(Cursor::AfterVm(VmId(7)))), wanted(true));
    assert_eq!(page(None), wanted(false));
}

fn message(change: &Change, filter: &WatchFilter) -> String {
    let mut output = Vec::new();
    write_change(None, REVISION, change, filter, &mut output);
    let text = String::from_utf8(output).expect("JSON is UTF-8");
    let head = r#"{"status":"success","message":"change","data":{"revision":"0000000000000001-2","#;
    text.strip_prefix(head).and_then(|rest| rest.strip_suffix("}}")).expect(&text).to_owned()
}

#[test]
fn changes_are_written() {
    let filter = WatchFilter::new(true, true, Vec::new());
    let connected = r#""id":7,"connected_since":5,"last_seen":5,"offline_since":null,"addrs":[["10.0.0.7",9]],"vm_id":"a\"""#;
    let gone = r#""id":7,"connected_since":null,"last_seen":5,"offline_since":5,"addrs":[],"vm_id":"a\"""#;
    let offline = VmPresence { last_seen: Some(UnixSeconds(5)), ..VmPresence::default() };
    let name = vm().name;
    for (change, wanted) in [
        (
            vm_changed(VmChangeKind::Updated, &vm(), &online()),
            format!(r#""kind":"updated","vm_id":"a\"","vm":{{{connected},"ram":512,"cpu":2,"disks":[]}}"#),
        ),
        (vm_removed(&name, None), r#""kind":"removed","vm_id":"a\"""#.to_owned()),
        (
            vm_online(VmId(7), &name, &online(), true),
            format!(r#""kind":"online","vm_id":"a\"","reason":"taken over","vm":{{{connected}}}"#),
        ),
        (
            vm_offline(VmId(7), &name, &offline, OfflineReason::Reset),
            format!(r#""kind":"offline","vm_id":"a\"","reason":"reset","vm":{{{gone}}}"#),
        ),
    ] {
        assert_eq!(message(&change, &filter), wanted);
    }
}

#[test]
fn a_client_gets_the_points_that_it_wants() {
    let point = |key: &str, number| {
        let value = MetricValue::new(number).expect("it is finite");
        NewPoint { key: MetricKey::from_store(key), point: Point { timestamp: 3, value } }
    };
    let points = [point("a.x", 1.0), point("b.x", 0.5), point("a.y", 2.0)];
    let message = |vm: Option<&VmName>, prefix: &str| {
        let filter = WatchFilter::new(false, false, vec![prefix.into()]);
        message(&points_put(vm, points.clone().into()), &filter)
    };
    let name = VmName::from_store("b");
    assert_eq!(
        message(Some(&name), "b"),
        r#""kind":"points","vm_id":"b","points":[{"key":"b.x","value":0.5,"timestamp":3}]"#
    );
    let both = message(None, "a.");
    let data: serde_json::Value = serde_json::from_str(&format!("{{{both}}}")).expect("it is JSON");
    assert_eq!(data["vm_id"], serde_json::Value::Null);
    let keys: Vec<_> = data["points"].as_array().expect("a list").iter().map(|point| &point["key"]).collect();
    assert_eq!(keys, ["a.x", "a.y"]);
}

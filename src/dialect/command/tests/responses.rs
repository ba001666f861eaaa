//! Replies of the dialect, byte for byte.

use crate::clock::UnixSeconds;
use crate::dialect::{self, PageProgress};
use crate::ids::{DiskId, VmId};
use crate::model::{
    Answer, BadField, Caller, CommandName, Cursor, Dialect, Disk, DiskOfVm, Failure, Items, List, Listing,
    Page, Peer, PeerEntry, Query, RequestId, Secret, Statistics, Vm, VmName, VmPresence, VmShape,
};

fn encode(id: Option<&str>, answer: &Answer) -> String {
    let id = id.map(|id| RequestId(id.into()));
    let mut output = b"before ".to_vec();
    dialect::encode_answer(Dialect::Command, id.as_ref(), answer, &mut output);
    String::from_utf8(output).unwrap().strip_prefix("before ").expect("it only appends").to_string()
}

fn peer_at(address: &str) -> Peer {
    Peer::from(address.parse::<std::net::SocketAddr>().unwrap())
}

fn vm_of_two_disks() -> Vm {
    let disk = |id, size_gib| Disk { id: DiskId(id), size_gib };
    Vm {
        id: VmId(7),
        name: VmName::from_store("a\"\u{1}é"),
        shape: VmShape { ram_mib: 512, cpus: 4 },
        has_password: true,
        is_managed: false,
        last_seen: None,
        last_address: None,
        disks: vec![disk(1, 100), disk(2, 1 << 50)],
    }
}

const VM_OF_TWO_DISKS: &str = r#"{"vm_id":"a\"\u0001é","ram":512,"cpu":4,"disks":[{"id":1,"vm_id":"a\"\u0001é","disk_size":100},{"id":2,"vm_id":"a\"\u0001é","disk_size":1125899906842624}]}"#;

#[test]
fn answers_are_written_byte_for_byte() {
    let name = VmName::from_store("st\\alin");
    let cases = [
        (
            Answer::Pong(peer_at("127.0.0.1:5000")),
            r#"{"status":"success","message":"PONG","data":{"addr":["127.0.0.1",5000]}}"#,
        ),
        (
            Answer::Pong(peer_at("[::ffff:10.0.0.1]:1")),
            r#"{"status":"success","message":"PONG","data":{"addr":["10.0.0.1",1]}}"#,
        ),
        (
            Answer::Pong(peer_at("[2001:db8::1]:65535")),
            r#"{"status":"success","message":"PONG","data":{"addr":["2001:db8::1",65535]}}"#,
        ),
        (
            Answer::Pong(Peer::Unix { uid: Some(0) }),
            r#"{"status":"success","message":"PONG","data":{"addr":["unix",0]}}"#,
        ),
        (
            Answer::Registered(name.clone()),
            r#"{"status":"success","message":"Save the vm_id for authentication","data":{"auth_id":"st\\alin"}}"#,
        ),
        (
            Answer::Added(name.clone(), VmId(7)),
            r#"{"status":"success","message":"Save the vm_id for authentication","data":{"auth_id":"st\\alin","id":7}}"#,
        ),
        (
            Answer::Removed(name.clone()),
            r#"{"status":"success","message":"VM (st\\alin) removed successfully","data":{}}"#,
        ),
        (
            Answer::PasswordChanged(name.clone()),
            r#"{"status":"success","message":"Password of VM (st\\alin) changed successfully","data":{}}"#,
        ),
        (
            Answer::SessionsEnded(name.clone(), 2),
            r#"{"status":"success","message":"Sessions of VM (st\\alin) ended","data":{"ended":2}}"#,
        ),
        (
            Answer::Authenticated(Secret::new("abc_-")),
            r#"{"status":"success","message":"Authentication successful","data":{"token":"abc_-"}}"#,
        ),
        (Answer::Updated, r#"{"status":"success","message":"VM info updated successfully","data":{}}"#),
        (
            Answer::LoggedOut(name),
            r#"{"status":"success","message":"VM (st\\alin) logged out successfully","data":{}}"#,
        ),
        (
            Answer::Statistics(Statistics {
                counters: vec![("a".into(), 0), ("b".into(), u64::MAX)],
                ..Statistics::default()
            }),
            r#"{"status":"success","message":null,"data":{"a":0,"b":18446744073709551615}}"#,
        ),
        (Answer::Statistics(Statistics::default()), r#"{"status":"success","message":null,"data":{}}"#),
        (Answer::Failed(Failure::Busy), r#"{"status":"error","message":"busy","data":{}}"#),
    ];
    for (answer, text) in cases {
        assert_eq!(encode(None, &answer), text);
        for id in ["\"\\u0061\"", "1.50"] {
            let with_id = text.replacen('{', &format!("{{\"request_id\":{id},"), 1);
            assert_eq!(encode(Some(id), &answer), with_id);
        }
    }
}

#[test]
fn every_failure_has_its_message() {
    let cases = [
        (Failure::InvalidJson("why \"so\"".to_string()), "Invalid JSON: why \"so\""),
        (Failure::BadField(BadField("ram: \"a\\u0000\"\n".to_string())), "ram: \"a\\u0000\"\n"),
        (Failure::UnknownCommand, "Unknown command"),
        (Failure::UnknownList, "Unknown list command type"),
        (Failure::EmptyUpdate, "No fields for update"),
        (Failure::AuthenticationRequired, "You have to authenticate to run this operation"),
        (Failure::InvalidCredentials, "Invalid credentials"),
        (Failure::InvalidToken, "Invalid access token. Try refreshing with the 'authenticate' command"),
        (Failure::TokenOfAnotherVm, "Token belongs to another VM"),
        (Failure::AlreadyRegistered, "VM is already registered"),
        (Failure::RegistrationClosed, "Registration is closed"),
        (Failure::VmLimitReached, "VM limit reached"),
        (Failure::UnknownDisk(DiskId(7)), "disks: the VM has no disk with id 7"),
        (Failure::Busy, "busy"),
        (Failure::StoreUnavailable, "store unavailable"),
        (Failure::OutcomeUnknown, "outcome unknown"),
        (Failure::Internal, "internal error"),
        (Failure::TooLarge(65536), "Request too large: it may have at most 65536 bytes"),
        (Failure::TimedOut, "Request timeout: the request did not end in time"),
        (Failure::UnexpectedEnd, "Invalid JSON: the input ended inside a request"),
    ];
    for (failure, words) in cases {
        let reply = encode(None, &Answer::Failed(failure));
        assert!(!reply.contains('\n'), "a reply is one line: {reply}");
        let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
        assert_eq!(reply, serde_json::json!({"status": "error", "message": words, "data": {}}));
    }
}

/// The text of a list that consists of these pages.
fn pages(id: Option<&str>, list: List, pages: Vec<Items>) -> String {
    let id = id.map(|id| RequestId(id.into()));
    let (mut output, mut progress, count) = (Vec::new(), PageProgress::default(), pages.len());
    for (index, items) in pages.into_iter().enumerate() {
        let next = (index + 1 < count).then_some(Cursor::FromPeer(0));
        let listing =
            Listing { command: CommandName::List, query: Query::List(list), caller: Caller::default() };
        let page = Page { listing, items, next };
        dialect::encode_page(Dialect::Command, id.as_ref(), &page, &mut progress, &mut output);
    }
    String::from_utf8(output).unwrap()
}

#[test]
fn lists_are_written_page_by_page() {
    let vm = VM_OF_TWO_DISKS;
    let vms = |count| Items::Vms(vec![vm_of_two_disks(); count]);
    let all_vms = |items: &str| {
        format!("{{\"status\":\"success\",\"message\":null,\"data\":{{\"all_vms\":[{items}]}}}}")
    };
    assert_eq!(pages(None, List::AllVms, vec![vms(0)]), all_vms(""));
    assert_eq!(pages(None, List::AllVms, vec![vms(1)]), all_vms(vm));
    let managed = Vm { is_managed: true, ..vm_of_two_disks() };
    let marked = VM_OF_TWO_DISKS.strip_suffix('}').expect("an object").to_owned() + r#","managed":true}"#;
    assert_eq!(pages(None, List::AllVms, vec![Items::Vms(vec![managed])]), all_vms(&marked));
    let three = all_vms(&format!("{vm},{vm},{vm}"));
    for split in [vec![3], vec![3, 0], vec![0, 3], vec![1, 2], vec![1, 0, 1, 1, 0]] {
        let split: Vec<Items> = split.into_iter().map(vms).collect();
        assert_eq!(pages(None, List::AllVms, split), three);
    }
    assert_eq!(
        pages(Some("\"x\""), List::AllVms, vec![vms(0), vms(0)]),
        all_vms("").replacen('{', "{\"request_id\":\"x\",", 1)
    );
}

#[test]
fn disks_and_connections_are_written_byte_for_byte() {
    let disk = DiskOfVm {
        disk: Disk { id: DiskId(3), size_gib: 10 },
        vm_id: VmId(7),
        vm_name: VmName::from_store("b"),
    };
    assert_eq!(
        pages(None, List::AllDisks, vec![Items::Disks(vec![disk])]),
        r#"{"status":"success","message":null,"data":{"all_disks":[{"id":3,"vm_id":"b","disk_size":10}]}}"#
    );
    let connected_since = UnixSeconds(1_700_000_000);
    let of_vm = PeerEntry { peer: peer_at("10.1.2.3:4"), connected_since, vm: Some(vm_of_two_disks()) };
    let anonymous = PeerEntry { peer: Peer::Unix { uid: None }, connected_since, vm: None };
    let written_of_vm = format!(r#"{{"addr":["10.1.2.3",4],"vm_info":{VM_OF_TWO_DISKS}}}"#);
    assert_eq!(
        pages(None, List::ActiveVms, vec![Items::Peers(vec![of_vm.clone(), anonymous])]),
        format!(
            r#"{{"status":"success","message":null,"data":{{"active_vms":[{written_of_vm},{{"addr":["unix",0]}}]}}}}"#
        )
    );
    assert_eq!(
        pages(None, List::AuthenticatedVms, vec![Items::Peers(vec![of_vm])]),
        format!(r#"{{"status":"success","message":null,"data":{{"authenticated_vms":[{written_of_vm}]}}}}"#)
    );
}

#[test]
fn operators_see_more() {
    let [since, opened] = [UnixSeconds(1_700_000_000), UnixSeconds(1_600_000_000)];
    let peers = vec![peer_at("10.1.2.3:4"), Peer::Unix { uid: Some(0) }];
    let online =
        VmPresence { connected_since: Some(since), last_seen: Some(since), last_address: None, peers };
    let offline = VmPresence { last_seen: Some(opened), ..VmPresence::default() };
    let vm = VM_OF_TWO_DISKS.strip_prefix('{').expect("an object");
    let vms = [online.clone(), offline, VmPresence::default()].map(|presence| (vm_of_two_disks(), presence));
    let vms = vms.to_vec();
    let listed = |list: &str, items: &str| {
        format!(r#"{{"status":"success","message":null,"data":{{"{list}":[{items}]}}}}"#)
    };
    let entries = [
        r#""connected_since":1700000000,"last_seen":1700000000,"offline_since":null,"addrs":[["10.1.2.3",4],["unix",0]]"#,
        r#""connected_since":null,"last_seen":1600000000,"offline_since":1600000000,"addrs":[]"#,
        r#""connected_since":null,"last_seen":null,"offline_since":null,"addrs":[]"#,
    ];
    let wanted = entries.map(|entry| format!(r#"{{"id":7,{entry},{vm}"#)).join(",");
    assert_eq!(pages(None, List::AllVms, vec![Items::ObservedVms(vms)]), listed("all_vms", &wanted));
    let peer = peer_at("10.1.2.3:4");
    let of_vm = PeerEntry { peer, connected_since: opened, vm: Some(vm_of_two_disks()) };
    let anonymous = PeerEntry { peer, connected_since: opened, vm: None };
    let peers = vec![(of_vm, online), (anonymous, VmPresence::default())];
    let wanted = format!(
        r#"{{"addr":["10.1.2.3",4],"connected_since":1600000000,"vm_info":{{"id":7,"connected_since":1700000000,"last_seen":1700000000,"offline_since":null,{vm}}},{{"addr":["10.1.2.3",4],"connected_since":1600000000}}"#
    );
    assert_eq!(
        pages(None, List::ActiveVms, vec![Items::ObservedPeers(peers)]),
        listed("active_vms", &wanted)
    );
}

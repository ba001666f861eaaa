//! Requests of the dialect: parsing and errors. Replies, byte for byte.

use super::*;
use crate::dialect::{self, decode_json};
use crate::model::{Caller, Cursor, CustomCommands, Disk, DiskOfVm, Listing, Scope, VmName};

fn decode(text: &str) -> Result<Request, Refusal> {
    decode_json(text.as_bytes(), &CustomCommands::default()).map(|request| *request)
}

/// Parses the action `name` with `fields` (a comma before each) to a command.
fn command(name: &str, fields: &str) -> Result<Command, Failure> {
    let text = format!("{{\"action\": \"{name}\"{fields}}}");
    let request = decode(&text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
    assert_eq!((request.dialect, request.scope), (Dialect::Action, Scope::Connection), "{text}");
    request.command
}

fn add(ram_mib: u32, cpus: u16, sizes: &[u64]) -> Result<Command, Failure> {
    Ok(Command::AddVm { shape: VmShape { ram_mib, cpus }, disk_sizes_gib: sizes.to_vec() })
}

fn update(vm: i64, change: VmChange) -> Result<Command, Failure> {
    Ok(Command::UpdateVm { vm: VmId(vm), change: Some(change) })
}

#[test]
fn every_action_is_parsed_with_its_fields() {
    let password = Some(Secret::new("12345678"));
    let list = |list| Ok(Command::ActionList(list));
    let cases = [
        ("add_vm", r#", "ram": 2048, "disks": [100, 200]"#, add(2048, 2, &[100, 200])),
        (
            "add_vm",
            r#","disks":[1125899906842624],"cpu":65535,"ram":1073741824"#,
            add(1 << 30, 65535, &[1 << 50]),
        ),
        ("add_vm", r#", "ram": 1, "disks": [1], "cpu": null"#, add(1, 1, &[1])),
        ("list_all_vms", "", list(List::AllVms)),
        ("list_all_disks", "", list(List::AllDisks)),
        ("list_authorized_vms", "", list(List::AuthorizedVms)),
        ("list_connected_vms", "", list(List::ConnectedVms)),
        ("list_ever_connected", "", list(List::EverConnectedVms)),
        ("authenticate", r#", "vm_id": 1"#, Ok(Command::AuthorizeVm { vm: VmId(1), password: None })),
        (
            "authenticate",
            r#", "vm_id": 1, "password": "1234\u0035678""#,
            Ok(Command::AuthorizeVm { vm: VmId(1), password: password.clone() }),
        ),
        ("connect", r#", "vm_id": 2"#, Ok(Command::ConnectVm { vm: VmId(2), password: None })),
        (
            "connect",
            r#", "password": "12345678", "vm_id": 2"#,
            Ok(Command::ConnectVm { vm: VmId(2), password }),
        ),
        ("logout_vm", r#", "vm_id": 9223372036854775807"#, Ok(Command::LogoutVm(VmId(i64::MAX)))),
        (
            "update_vm",
            r#", "vm_id": 1, "ram": 1028"#,
            update(1, VmChange { ram_mib: Some(1028), ..VmChange::default() }),
        ),
        (
            "update_vm",
            r#", "vm_id": 1, "ram": null, "cpu": 3, "disks": [5, 6]"#,
            update(
                1,
                VmChange { ram_mib: None, cpus: Some(3), disks: Some(DiskChange::Replace(vec![5, 6])) },
            ),
        ),
        (
            "update_vm",
            r#", "vm_id": 1, "disks": []"#,
            update(1, VmChange { disks: Some(DiskChange::Replace(vec![])), ..VmChange::default() }),
        ),
        (
            "update_vm",
            r#", "vm_id": 1, "disks": {"7": 10, "\u0033": 20}"#,
            update(
                1,
                VmChange {
                    disks: Some(DiskChange::Resize(vec![(DiskId(7), 10), (DiskId(3), 20)])),
                    ..VmChange::default()
                },
            ),
        ),
        (
            "update_vm",
            r#", "vm_id": 1, "cpu": 1, "disks": {}"#,
            update(1, VmChange { cpus: Some(1), ..VmChange::default() }),
        ),
        ("\\u0061dd_vm", r#", "ram": 1, "disks": [1]"#, add(1, 1, &[1])),
    ];
    for (name, fields, wanted) in cases {
        assert_eq!(command(name, fields), wanted, "{name} {fields}");
    }
}

#[test]
fn every_action_belongs_to_this_dialect_and_has_one_name() {
    let mut texts: Vec<&str> = ACTIONS.iter().map(|known| known.text).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), ACTIONS.len());
    for known in &ACTIONS {
        let request = decode(&format!("{{\"action\": \"{}\"}}", known.text)).expect(known.text);
        assert_eq!(request.name, known.name);
        if let Ok(Command::ActionList(_)) = request.command {
            assert_eq!(known.name, CommandName::ActionList, "{}", known.text);
        }
    }
}

#[test]
fn unknown_fields_are_ignored() {
    for fields in [
        r#", "x": 1, "x": 2, "y": {"vm_id": 7}, "password": 5, "password": 6"#,
        r#", "vm_id": "a", "vm_id": "b""#,
        r#", "data": [1]"#,
        r#", "data": {"ram": "none", "ram": 2}"#,
        r#", "\ud800": 1"#,
    ] {
        let wanted = add(1, 1, &[1]);
        assert_eq!(command("add_vm", &format!("{fields}, \"ram\": 1, \"disks\": [1]")), wanted, "{fields}");
        assert_eq!(command("list_all_vms", fields), Ok(Command::ActionList(List::AllVms)), "{fields}");
    }
}

#[test]
fn every_invalid_shape_has_the_same_error() {
    let many = format!("[{}]", vec!["1"; limits::DISKS_PER_VM_MAX + 1].join(","));
    let disks = [
        "[]",
        "[0]",
        "[-1]",
        "[1.0]",
        "[1e3]",
        "[\"1\"]",
        "[null]",
        "[1, 2, {}]",
        "{}",
        "{\"1\": 2}",
        "7",
        "\"7\"",
        "null",
        "true",
        "[1125899906842625]",
        "[99999999999999999999]",
        &many,
    ];
    let rams =
        ["0", "-1", "1.5", "1e2", "\"1\"", "null", "true", "[1]", "1073741825", "99999999999999999999"];
    let cpus = ["0", "-1", "65536", "2.0", "\"2\"", "[]", "false"];
    let cases = disks.iter().map(|disks| format!(", \"ram\": 1, \"disks\": {disks}"));
    let cases = cases.chain(rams.iter().map(|ram| format!(", \"ram\": {ram}, \"disks\": [1]")));
    let cases = cases.chain(cpus.iter().map(|cpu| format!(", \"ram\": 1, \"disks\": [1], \"cpu\": {cpu}")));
    let missing = [
        "",
        r#", "ram": 2048"#,
        r#", "disks": [1]"#,
        r#", "ram": 1, "ram": 1, "disks": [1]"#,
        r#", "ram": 1, "disks": [1], "disks": [1]"#,
        r#", "ram": 1, "disks": [1], "cpu": 1, "cpu": 1"#,
    ];
    for fields in cases.chain(missing.map(str::to_owned)) {
        assert_eq!(command("add_vm", &fields), Err(Failure::InvalidVmShape), "{fields}");
    }
    let all = format!("[{}]", vec!["1"; limits::DISKS_PER_VM_MAX].join(","));
    assert!(command("add_vm", &format!(", \"ram\": 1, \"disks\": {all}")).is_ok());
}

#[test]
fn an_empty_or_invalid_update_has_no_change() {
    let many: Vec<String> = (1..=limits::DISKS_PER_VM_MAX + 1).map(|id| format!("\"{id}\":1")).collect();
    let many = format!(", \"disks\": {{{}}}", many.join(","));
    for fields in [
        "",
        r#", "ram": null"#,
        r#", "disks": {}"#,
        r#", "ram": 0"#,
        r#", "ram": 1, "cpu": 0"#,
        r#", "ram": 1, "disks": "1""#,
        r#", "ram": 1, "disks": [0]"#,
        r#", "ram": 1, "ram": 2"#,
        r#", "disks": {"1": 0}"#,
        r#", "disks": {"1": "2"}"#,
        r#", "disks": {"1": 2, "1": 2}"#,
        r#", "disks": {"1": 2, "01": 2}"#,
        r#", "disks": {"0": 2}"#,
        r#", "disks": {"-1": 2}"#,
        r#", "disks": {"+1": 2}"#,
        r#", "disks": {" 1": 2}"#,
        r#", "disks": {"": 2}"#,
        r#", "disks": {"9223372036854775808": 2}"#,
        r#", "disks": {"\u0000": 2}"#,
        r#", "disks": {"1": 2, "x": 3}"#,
        &many,
    ] {
        let wanted = Ok(Command::UpdateVm { vm: VmId(1), change: None });
        assert_eq!(command("update_vm", &format!(", \"vm_id\": 1{fields}")), wanted, "{fields}");
    }
}

#[test]
fn a_vm_id_is_an_integer_and_may_be_unknown() {
    for name in ["authenticate", "connect", "logout_vm", "update_vm"] {
        for fields in [
            "",
            r#", "vm_id": null"#,
            r#", "vm_id": "1""#,
            r#", "vm_id": 1.0"#,
            r#", "vm_id": 1e2"#,
            r#", "vm_id": [1]"#,
            r#", "vm_id": true"#,
            r#", "vm_id": 1, "vm_id": 1"#,
            r#", "data": {"vm_id": 1}"#,
        ] {
            assert_eq!(command(name, fields), Err(Failure::MissingVmId), "{name} {fields}");
        }
        for (id, wanted) in [
            ("0", 0),
            ("-0", 0),
            ("-1", -1),
            ("9223372036854775808", 0),
            ("-99999999999999999999", 0),
            ("123456789012345678901234567890", 0),
        ] {
            let vm = match command(name, &format!(", \"vm_id\": {id}")) {
                Ok(Command::AuthorizeVm { vm, .. } | Command::ConnectVm { vm, .. }) => vm,
                Ok(Command::LogoutVm(vm) | Command::UpdateVm { vm, .. }) => vm,
                other => panic!("{name} {id}: {other:?}"),
            };
            assert_eq!(vm, VmId(wanted), "{name} {id}");
        }
    }
}

#[test]
fn an_invalid_password_counts_as_absent() {
    let long = "p".repeat(limits::PASSWORD_BYTES_MAX + 1);
    for password in [
        "null",
        "12345678",
        "\"1234567\"",
        "[\"12345678\"]",
        "\"12345678\\u0000\"",
        "\"12345678\\ud800\"",
        &format!("\"{long}\""),
        "\"12345678\", \"password\": \"12345678\"",
    ] {
        let wanted = Ok(Command::ConnectVm { vm: VmId(1), password: None });
        assert_eq!(command("connect", &format!(", \"vm_id\": 1, \"password\": {password}")), wanted);
    }
}

#[test]
fn the_token_is_in_data_and_the_id_at_the_top() {
    let token = |data: &str| decode(&format!("{{\"action\": \"add_vm\", \"data\": {data}}}")).unwrap().token;
    assert_eq!(token(r#"{"token": "abc"}"#), Ok(Some(Secret::new("abc"))));
    for data in
        ["{}", "null", "7", "[]", "\"abc\"", r#"{"token": null}"#, r#"{"token": ""}"#, r#"{"tokens": 5}"#]
    {
        assert_eq!(token(data), Ok(None), "{data}");
    }
    for (data, why) in [
        (r#"{"token": 5}"#, "token: a number is not allowed; it must be a string or null"),
        (
            r#"{"token": "\u0000"}"#,
            "token: a string with \\u0000 is not allowed; it must be a string or null",
        ),
        (r#"{"token": "a", "token": "a"}"#, "token: the same field may not stand twice"),
    ] {
        assert_eq!(token(data), Err(BadField(why.to_owned())), "{data}");
    }
    let request = decode(r#"{"vm_id": 1, "request_id": 1.50, "action": "connect"}"#).unwrap();
    assert_eq!(request.id, Some(RequestId("1.50".into())));
    assert!(request.is_barrier());
}

#[test]
fn an_unknown_action_is_rejected_in_this_dialect() {
    for value in
        ["\"fly\"", "\"\"", "\"ADD_VM\"", "\"ping\"", "7", "null", "{}", "[\"add_vm\"]", "\"add_vm\\u0000\""]
    {
        let text = format!("{{\"action\": {value}, \"request_id\": \"a\"}}");
        let id = Some(RequestId("\"a\"".into()));
        let refusal = Refusal { dialect: Dialect::Action, id, failure: Failure::UnknownCommand };
        assert_eq!(decode(&text), Err(refusal), "{text}");
    }
    // Before the dialect is known, the refusal has the format of `command`.
    for text in [
        r#"{"action": "add_vm", "action": "add_vm"}"#,
        r#"{"action": "add_vm", "command": "ping"}"#,
        r#"{"action": "add_vm", "request_id": []}"#,
        r#"{"action": "add_vm""#,
    ] {
        assert_eq!(decode(text).unwrap_err().dialect, Dialect::Command, "{text}");
    }
}

/// The reply, without and with an id.
fn replies(answer: &Answer) -> [String; 2] {
    [None, Some(RequestId("1.0".into()))].map(|id| {
        let mut output = Vec::new();
        dialect::encode_answer(Dialect::Action, id.as_ref(), answer, &mut output);
        String::from_utf8(output).expect("UTF-8")
    })
}

#[test]
fn answers_are_written_byte_for_byte() {
    let failed = Answer::Failed;
    let cases = [
        (Answer::Action(ActionAnswer::Added(VmId(7))), r#""status":"vm added","vm_id":7"#),
        (Answer::Action(ActionAnswer::Authorized), r#""status":"authenticated""#),
        (Answer::Action(ActionAnswer::Connected), r#""status":"connected and authenticated""#),
        (Answer::Action(ActionAnswer::LoggedOut), r#""status":"logged out""#),
        (Answer::Updated, r#""status":"vm updated""#),
        (failed(Failure::UnknownCommand), r#""error":"invalid action""#),
        (failed(Failure::MissingVmId), r#""error":"required data: vm_id""#),
        (failed(Failure::InvalidVmShape), r#""error":"required data: ram, disks""#),
        (failed(Failure::UnknownDisk(DiskId(5))), r#""error":"required data: ram, disks""#),
        (failed(Failure::UnknownVm), r#""error":"VM ID does not exist""#),
        (failed(Failure::NotAuthorized), r#""error":"vm not authenticated""#),
        (failed(Failure::AuthenticationRequired), r#""error":"authentication required""#),
        (failed(Failure::RegistrationClosed), r#""error":"registration is closed""#),
        (failed(Failure::InvalidCredentials), r#""error":"Invalid credentials""#),
        (failed(Failure::VmLimitReached), r#""error":"VM limit reached""#),
        (failed(Failure::Busy), r#""error":"busy""#),
        (failed(Failure::StoreUnavailable), r#""error":"store unavailable""#),
        (failed(Failure::OutcomeUnknown), r#""error":"outcome unknown""#),
        (failed(Failure::Internal), r#""error":"internal error""#),
        (
            failed(Failure::InvalidToken),
            r#""error":"Invalid access token. Try refreshing with the 'authenticate' command""#,
        ),
        (failed(Failure::TokenOfAnotherVm), r#""error":"Token belongs to another VM""#),
        (failed(Failure::BadField(BadField("token: \"no\"".into()))), r#""error":"token: \"no\"""#),
    ];
    for (answer, wanted) in cases {
        assert_eq!(replies(&answer), [format!("{{{wanted}}}"), format!("{{\"request_id\":1.0,{wanted}}}")]);
    }
}

/// Writes a list that consists of `pages`.
fn list(list: List, id: Option<&RequestId>, pages: Vec<Items>) -> String {
    let (mut output, mut progress, count) = (Vec::new(), PageProgress::default(), pages.len());
    for (index, items) in pages.into_iter().enumerate() {
        let next = (index + 1 < count).then_some(Cursor::FromMember(1));
        let listing =
            Listing { command: CommandName::List, query: Query::List(list), caller: Caller::default() };
        let page = Page { listing, items, next };
        dialect::encode_page(Dialect::Action, id, &page, &mut progress, &mut output);
    }
    String::from_utf8(output).expect("UTF-8")
}

#[test]
fn lists_are_written_with_numeric_vm_ids() {
    let disk = |id, size_gib| Disk { id: DiskId(id), size_gib };
    let vm = |id, disks| Vm {
        id: VmId(id),
        name: VmName::from_store("not shown"),
        shape: VmShape { ram_mib: 512, cpus: 4 },
        has_password: true,
        is_managed: false,
        last_seen: None,
        last_address: None,
        disks,
    };
    let one = r#"{"id":1,"ram":512,"cpu":4,"disks":[{"id":1,"size":100},{"id":2,"size":1125899906842624}]}"#;
    let other = r#"{"id":9,"ram":512,"cpu":4,"disks":[]}"#;
    for (of, name) in [
        (List::AllVms, "all_vms"),
        (List::AuthorizedVms, "authorized_vms"),
        (List::ConnectedVms, "connected_vms"),
        (List::EverConnectedVms, "all_connected_vms"),
    ] {
        let vms = || vec![vm(1, vec![disk(1, 100), disk(2, 1 << 50)])];
        let wanted = format!("{{\"{name}\":[{one},{other}]}}");
        let pages =
            vec![Items::Vms(vec![]), Items::Vms(vms()), Items::Vms(vec![]), Items::Vms(vec![vm(9, vec![])])];
        assert_eq!(list(of, None, pages), wanted);
        assert_eq!(list(of, None, vec![Items::Vms(vec![])]), format!("{{\"{name}\":[]}}"));
        let id = RequestId("\"x\"".into());
        let wanted = format!("{{\"request_id\":\"x\",\"{name}\":[{one}]}}");
        assert_eq!(list(of, Some(&id), vec![Items::Vms(vms())]), wanted);
    }
    let managed = Vm { is_managed: true, ..vm(9, vec![]) };
    let wanted = r#"{"all_vms":[{"id":9,"ram":512,"cpu":4,"disks":[],"managed":true}]}"#;
    assert_eq!(list(List::AllVms, None, vec![Items::Vms(vec![managed])]), wanted);
    let of_vm = DiskOfVm { disk: disk(3, 10), vm_id: VmId(7), vm_name: VmName::from_store("b") };
    let wanted = r#"{"all_disks":[{"id":3,"vm_id":7,"size":10},{"id":3,"vm_id":7,"size":10}]}"#;
    let pages = vec![Items::Disks(vec![of_vm.clone()]), Items::Disks(vec![of_vm])];
    assert_eq!(list(List::AllDisks, None, pages), wanted);
}

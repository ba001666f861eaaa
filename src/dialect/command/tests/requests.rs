//! Requests of the dialect: parsing and the exact error messages.

use super::{data_error, decode, request};
use crate::dialect::command::FAMILIES;
use crate::ids::DiskId;
use crate::limits;
use crate::model::{
    BadField, Command, Dialect, DiskChange, Failure, List, Refusal, RequestId, Secret, VmChange, VmField,
    VmName, VmOperation, VmShape,
};

fn name(text: &str) -> VmName {
    VmName::parse(text).unwrap()
}

#[test]
fn every_command_is_parsed_with_its_data() {
    let register = Command::Register {
        name: name("stalin"),
        shape: VmShape { ram_mib: 512, cpus: 4 },
        disk_sizes_gib: vec![100, 200],
        password: Secret::new("securePass123"),
    };
    let resize = DiskChange::Resize(vec![(DiskId(1), 150), (DiskId(2), 250)]);
    let cases = [
        ("ping", "{}", Command::Ping),
        (
            "register",
            r#"{
        "vm_id": "stalin",
        "ram": 512,
        "cpu": 4,
        "password": "securePass123",
        "disks": [
            {
                "disk_size": 100
            },
            {
                "disk_size": 200
            }
        ]
    }"#,
            register,
        ),
        (
            "register",
            r#"{"disks":[],"password":"\u0431\ud83d\ude00\"\\\/\n","cpu":65535,"ram":1073741824,"vm_id":"a\u002db"}"#,
            Command::Register {
                name: name("a-b"),
                shape: VmShape { ram_mib: 1 << 30, cpus: 65_535 },
                disk_sizes_gib: vec![],
                password: Secret::new("б😀\"\\/\n"),
            },
        ),
        (
            "authenticate",
            r#"{"vm_id": "1", "password": "12345678"}"#,
            Command::Authenticate { name: name("1"), password: Secret::new("12345678") },
        ),
        ("list", r#"{"list_type": "active_vms"}"#, Command::List(List::ActiveVms)),
        ("list", r#"{"list_type": "authenticated_vms"}"#, Command::List(List::AuthenticatedVms)),
        ("list", r#"{"list_type": "all_vms"}"#, Command::List(List::AllVms)),
        ("list", r#"{"list_type": "all_\u0064isks"}"#, Command::List(List::AllDisks)),
        (
            "update",
            r#"{"ram": 1024}"#,
            Command::Update(VmChange { ram_mib: Some(1024), ..VmChange::default() }),
        ),
        (
            "update",
            r#"{"ram":2048,"cpu":8,"disks":[{"id":1,"disk_size":150},{"disk_size":250,"id":2}]}"#,
            Command::Update(VmChange { ram_mib: Some(2048), cpus: Some(8), disks: Some(resize) }),
        ),
        (
            "update",
            r#"{"disks":[{"disk_size":1},{"disk_size":1125899906842624}]}"#,
            Command::Update(VmChange {
                disks: Some(DiskChange::Replace(vec![1, 1 << 50])),
                ..VmChange::default()
            }),
        ),
        (
            "update",
            r#"{"disks":[]}"#,
            Command::Update(VmChange { disks: Some(DiskChange::Replace(vec![])), ..VmChange::default() }),
        ),
        ("logout", "{}", Command::Logout),
        ("logout", r#"{"vm_id":"a"}"#, Command::OfVm { name: name("a"), operation: VmOperation::LogOut }),
        (
            "update",
            r#"{"vm_id":"a","ram":1024}"#,
            Command::OfVm {
                name: name("a"),
                operation: VmOperation::Update(VmChange { ram_mib: Some(1024), ..VmChange::default() }),
            },
        ),
        (
            "add",
            r#"{"vm_id":"a","ram":1,"cpu":2,"disks":[{"disk_size":3}]}"#,
            Command::Add {
                name: name("a"),
                shape: VmShape { ram_mib: 1, cpus: 2 },
                disk_sizes_gib: vec![3],
                password: None,
            },
        ),
        (
            "add",
            r#"{"vm_id":"a","ram":1,"cpu":2,"disks":[],"password":"12345678"}"#,
            Command::Add {
                name: name("a"),
                shape: VmShape { ram_mib: 1, cpus: 2 },
                disk_sizes_gib: vec![],
                password: Some(Secret::new("12345678")),
            },
        ),
        ("remove", r#"{"vm_id":"7"}"#, Command::OfVm { name: name("7"), operation: VmOperation::Remove }),
        (
            "end_sessions",
            r#"{"vm_id":"a"}"#,
            Command::OfVm { name: name("a"), operation: VmOperation::EndSessions },
        ),
        (
            "passwd",
            r#"{"vm_id":"a","password":"12345678"}"#,
            Command::OfVm {
                name: name("a"),
                operation: VmOperation::ChangePassword(Secret::new("12345678")),
            },
        ),
        ("stats", "{}", Command::Stats),
    ];
    for (name, data, command) in cases {
        let request = request(name, data);
        assert_eq!(request.command, Ok(command), "{name} {data}");
        assert_eq!((request.id, request.token), (None, Ok(None)), "{name} {data}");
    }
    for known in FAMILIES.into_iter().flatten() {
        assert_eq!(request(known.name.as_str(), "{}").name, known.name);
    }
}

#[test]
fn absent_data_is_empty_data() {
    assert_eq!(decode(r#"{"command":"ping"}"#), decode(r#"{"command":"ping","data":{}}"#));
    let update = decode(r#"{"command":"update"}"#).unwrap();
    assert_eq!(update.command, Err(Failure::EmptyUpdate));
}

#[test]
fn invalid_data_has_exact_messages() {
    let ram = "it must be an integer from 1 to 1073741824 (MiB)";
    let register = r#""vm_id":"a","ram":1,"cpu":1,"password":"12345678","disks""#;
    let cases: Vec<(&str, String, String)> = [
        ("ping", "5", "data: a number is not allowed; it must be an object"),
        ("ping", "null", "data: null is not allowed; it must be an object"),
        ("ping", "[]", "data: a list is not allowed; it must be an object"),
        ("ping", r#""{\"password\":\"x\"}""#, "data: a string is not allowed; it must be an object"),
        ("ping", r#"{"a":1}"#, "unknown field \"a\"; allowed: token"),
        ("ping", r#"{"vm_id":"a"}"#, "unknown field \"vm_id\"; allowed: token"),
        ("stats", r#"{"ram":1,"a\u0000\n":1}"#, r#"unknown fields "a\u0000\n", "ram"; allowed: token"#),
        (
            "logout",
            r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"a":1}"#,
            r#"unknown fields "a", "b", "c", "d" and 2 more; allowed: token"#,
        ),
        ("register", "{}", "missing fields: vm_id, ram, cpu, password, disks"),
        ("authenticate", r#"{"vm_id":"a"}"#, "missing field: password"),
        ("list", "{}", "missing field: list_type"),
        ("update", r#"{"disk":1}"#, r#"unknown field "disk"; allowed: ram, cpu, disks, token"#),
        ("add", "{}", "missing fields: vm_id, ram, cpu, disks"),
        ("remove", "{}", "missing field: vm_id"),
        ("passwd", r#"{"vm_id":"a"}"#, "missing field: password"),
        ("end_sessions", r#"{"ram":1}"#, r#"unknown field "ram"; allowed: vm_id, token"#),
        ("update", r#"{"ram":1,"cpu":1,"ram":1}"#, "ram: the same field may not stand twice"),
        ("update", r#"{"ram":1,"\u0072am":1}"#, "ram: the same field may not stand twice"),
        ("ping", r#"{"token":"a","token":"b"}"#, "token: the same field may not stand twice"),
        (
            "list",
            r#"{"list_type":7}"#,
            "list_type: 7 is not allowed; it must be one of active_vms, authenticated_vms, all_vms, all_disks",
        ),
        (
            "list",
            r#"{"list_type":"all\u0000"}"#,
            "list_type: a string with \\u0000 is not allowed; it must be one of active_vms, \
             authenticated_vms, all_vms, all_disks",
        ),
        (
            "update",
            r#"{"cpu":65536}"#,
            "cpu: 65536 is not allowed; it must be an integer from 1 to 65535 (processors)",
        ),
        ("update", r#"{"disks":{}}"#, "disks: an object is not allowed; it must be a list of 0 to 1024 objects {\"disk_size\": GIB}"),
        ("update", r#"{"disks":[{"disk_size":1},7]}"#, "disks[1]: 7 is not allowed; it must be an object {\"disk_size\": GIB}"),
        ("update", r#"{"disks":[{"id":1}]}"#, "disks[0]: missing field: disk_size"),
        ("update", r#"{"disks":[{"disk_size":1,"x":1}]}"#, r#"disks[0]: unknown field "x"; allowed: id, disk_size"#),
        (
            "update",
            r#"{"disks":[{"disk_size":1,"disk_size":2}]}"#,
            "disks[0].disk_size: the same field may not stand twice",
        ),
        (
            "update",
            r#"{"disks":[{"id":1,"disk_size":1},{"disk_size":1}]}"#,
            "disks[1]: missing field: id; either all disks have one or none",
        ),
        (
            "update",
            r#"{"disks":[{"id":7,"disk_size":1},{"id":8,"disk_size":1},{"id":7,"disk_size":1}]}"#,
            "disks[2].id: 7, the id of disks[0], is not allowed; it must be the id of another disk",
        ),
        (
            "update",
            r#"{"disks":[{"id":9223372036854775808,"disk_size":1}]}"#,
            "disks[0].id: 9223372036854775808 is not allowed; \
             it must be an integer from 1 to 9223372036854775807 (the id of a disk)",
        ),
    ]
    .into_iter()
    .map(|(name, data, error)| (name, data.to_string(), error.to_string()))
    .chain(
        // Not an integer, or out of range.
        [
            ("0", "0"),
            ("-1", "-1"),
            ("-0", "-0"),
            ("1073741825", "1073741825"),
            ("1.0", "1.0"),
            ("1e3", "1e3"),
            ("1E0", "1E0"),
            ("\"5\"", "\"5\""),
            ("null", "null"),
            ("true", "true"),
            ("[1]", "a list"),
            ("{\"a\":1}", "an object"),
            ("18446744073709551616", "18446744073709551616"),
            ("1e400", "1e400"),
            ("-1e-400", "-1e-400"),
            ("100000000000000000000000000000000000000000", "1000000000000000000000000000000000000000…"),
            ("\"ééééééééééééééééééééééééééééééééééééééééé\"", "\"ééééééééééééééééééééééééééééééééééééééé…"),
        ]
        .map(|(value, was)| ("update", format!("{{\"ram\":{value}}}"), format!("ram: {was} is not allowed; {ram}"))),
    )
    .chain(
        [
            (r#"[{"id":1,"disk_size":1}]"#, r#"disks[0]: unknown field "id"; allowed: disk_size"#),
            (
                r#"[{"disk_size":1},{"disk_size":1},{"disk_size":1},{"disk_size":0}]"#,
                "disks[3].disk_size: 0 is not allowed; it must be an integer from 1 to 1125899906842624 (GiB)",
            ),
            (r#"[{"disk_size":1},{}]"#, "disks[1]: missing field: disk_size"),
        ]
        .map(|(disks, error)| ("register", format!("{{{register}:{disks}}}"), error.to_string())),
    )
    .collect();
    for (name, data, error) in cases {
        assert_eq!(data_error(name, &data), error, "{name} {data}");
    }
}

#[test]
fn names_are_validated() {
    let allowed = "it must be a string of 1 to 128 bytes without white space, control or format characters, \
        in Unicode's form NFC, not digits only";
    let long = format!("\"{}\"", "a".repeat(129));
    let cases = [
        ("\"\"", "a string of 0 bytes"),
        (&long, "a string of 129 bytes"),
        ("\"a b\"", "a text with U+0020"),
        ("\"a\\nb\"", "a text with U+000A"),
        ("\"a\\u200bb\"", "a text with U+200B"),
        ("\"a\u{200b}b\"", "a text with U+200B"),
        ("\"e\u{301}\"", "a text that is not in NFC, with U+0301"),
        ("\"a\\u0000b\"", "a string with \\u0000"),
        ("\"a\\ud800b\"", "a string with half of a surrogate pair"),
        ("\"\\ud800\\u0041\"", "a string with half of a surrogate pair"),
        ("\"\\udc00\\ud800\"", "a string with half of a surrogate pair"),
        ("\"a\u{2003}b\"", "a text with U+2003"),
        ("\"123\"", "\"123\""),
        ("12", "12"),
        ("null", "null"),
    ];
    for (value, was) in cases {
        let data = format!(r#"{{"vm_id":{value},"ram":1,"cpu":1,"password":"12345678","disks":[]}}"#);
        assert_eq!(
            data_error("register", &data),
            format!("vm_id: {was} is not allowed; {allowed}"),
            "{value}"
        );
    }
}

#[test]
fn a_password_is_validated_and_never_shown() {
    let long = format!("\"{}\"", "x".repeat(1025));
    let cases = [
        ("\"hunter2\"", "a string of 7 bytes"),
        (&long, "a string of 1025 bytes"),
        ("\"hunter2\\u0000\"", "a string with \\u0000"),
        ("\"hunter2\\udbff\"", "a string with half of a surrogate pair"),
        ("1234567890", "a number"),
        ("-1234567890", "a number"),
        ("null", "null"),
        ("[\"hunter2\"]", "a list"),
        ("{\"hunter2\":\"hunter2\"}", "an object"),
    ];
    for (value, was) in cases {
        let error = format!("password: {was} is not allowed; it must be a string of 8 to 1024 bytes");
        let data = format!("{{\"vm_id\":\"a\",\"password\":{value}}}");
        assert_eq!(data_error("authenticate", &data), error, "{value}");
        let data = format!(r#"{{"vm_id":"a","ram":1,"cpu":1,"password":{value},"disks":[]}}"#);
        assert_eq!(data_error("register", &data), error, "{value}");
    }
    for length in [8, 1024] {
        let data = format!("{{\"vm_id\":\"a\",\"password\":\"{}\"}}", "x".repeat(length));
        assert!(request("authenticate", &data).command.is_ok());
    }
}

#[test]
fn a_vm_is_limited_in_disks() {
    let disks = |count: usize| format!("{{\"disks\":[{}]}}", vec!["{\"disk_size\":1}"; count].join(","));
    let change = Command::Update(VmChange {
        disks: Some(DiskChange::Replace(vec![1; limits::DISKS_PER_VM_MAX])),
        ..VmChange::default()
    });
    assert_eq!(request("update", &disks(limits::DISKS_PER_VM_MAX)).command, Ok(change));
    assert_eq!(
        data_error("update", &disks(limits::DISKS_PER_VM_MAX + 1)),
        "disks: a list of 1025 is not allowed; it must be a list of 0 to 1024 objects {\"disk_size\": GIB}"
    );
}

#[test]
fn an_empty_update_and_an_unknown_list_are_errors_of_the_data() {
    assert_eq!(request("update", "{}").command, Err(Failure::EmptyUpdate));
    assert_eq!(request("update", r#"{"token":"a"}"#).command, Err(Failure::EmptyUpdate));
    for list in ["", "active", "ALL_VMS", "all_vms "] {
        let data = format!("{{\"list_type\":\"{list}\"}}");
        assert_eq!(request("list", &data).command, Err(Failure::UnknownList), "{list}");
    }
}

#[test]
fn a_token_is_read_even_if_the_data_is_invalid() {
    let token = |name: &str, data: &str| request(name, data).token;
    let good = Ok(Some(Secret::new("abc")));
    assert_eq!(token("logout", r#"{"token":"abc"}"#), good);
    assert_eq!(token("list", r#"{"token":"\u0061bc","list_type":"all_vms"}"#), good);
    assert_eq!(token("update", r#"{"token":"abc","ram":0,"x":1}"#), good);
    assert_eq!(token("stats", r#"{"token":null}"#), Ok(None));
    assert_eq!(token("stats", r#"{"token":""}"#), Ok(None));
    assert_eq!(token("logout", "7"), Ok(None));
    let bad = |was: &str| Err(BadField(format!("token: {was} is not allowed; it must be a string or null")));
    assert_eq!(token("list", r#"{"token":7}"#), bad("a number"));
    assert_eq!(token("list", r#"{"token":["abc"]}"#), bad("a list"));
    assert_eq!(token("list", r#"{"token":"abc\u0000"}"#), bad("a string with \\u0000"));
    let twice = Err(BadField("token: the same field may not stand twice".to_string()));
    assert_eq!(token("list", r#"{"token":"abc","token":"abc"}"#), twice);
    for (name, data) in [
        ("ping", r#"{"token":7}"#),
        ("register", r#"{"token":"abc","vm_id":"a","ram":1,"cpu":1,"password":"12345678","disks":[]}"#),
        ("authenticate", r#"{"token":{},"vm_id":"a","password":"12345678"}"#),
    ] {
        let request = request(name, data);
        assert_eq!(request.token, Ok(None), "{name} ignores tokens");
        assert!(request.command.is_ok(), "{name} ignores tokens");
    }
}

#[test]
fn errors_are_found_in_the_order_shape_name_data() {
    let refused = |text: &str| decode(text).unwrap_err();
    let bad = |text: &str| Failure::BadField(BadField(text.to_string()));
    let cases = [
        (r#"{"command":"fly","data":7}"#, Failure::UnknownCommand),
        (r#"{"command":"","data":{"token":7}}"#, Failure::UnknownCommand),
        (r#"{"command":"PING"}"#, Failure::UnknownCommand),
        (r#"{"command":"fly","x":1}"#, bad("unknown field \"x\"; allowed: command, data, request_id")),
        (r#"{"command":7}"#, bad("command: 7 is not allowed; it must be a string")),
        (r#"{"command":{"ping":1}}"#, bad("command: an object is not allowed; it must be a string")),
        (
            r#"{"command":"ping\u0000"}"#,
            bad("command: a string with \\u0000 is not allowed; it must be a string"),
        ),
    ];
    for (text, failure) in cases {
        let refusal = Refusal { dialect: Dialect::Command, id: None, failure };
        assert_eq!(refused(text), refusal, "{text}");
        let with_id = text.replacen('{', "{\"request_id\":1,", 1);
        let id = Some(RequestId("1".into()));
        assert_eq!(refused(&with_id), Refusal { id, ..refusal }, "{with_id}");
    }
    assert!(decode(r#"{"command":"p\u0069ng"}"#).is_ok());
}

/// What a VM is told that names another one is the same as before operators could.
#[test]
fn a_named_vm_is_an_error_for_all_but_operators() {
    let given = |text: &str| Some(VmField::Given(BadField(text.to_owned())));
    let missing = Some(VmField::Missing("vm_id"));
    for (name, data, vm_field) in [
        ("update", r#"{"ram":1}"#, missing.clone()),
        ("update", "{}", missing.clone()),
        ("logout", "{}", missing),
        ("logout", r#"{"vm_id":"a"}"#, given(r#"unknown field "vm_id"; allowed: token"#)),
        (
            "update",
            r#"{"vm_id":"a","x":1,"ram":0}"#,
            given(r#"unknown fields "x", "vm_id"; allowed: ram, cpu, disks, token"#),
        ),
        ("update", r#"{"vm_id":"a","ram":1,"ram":1}"#, None),
        ("update", "7", None),
        ("remove", r#"{"vm_id":"a"}"#, None),
    ] {
        assert_eq!(request(name, data).vm_field, vm_field, "{name} {data}");
    }
    assert_eq!(
        data_error("update", r#"{"vm_id":"a","x":1,"ram":0}"#),
        r#"unknown field "x"; allowed: vm_id, ram, cpu, disks, token"#
    );
}

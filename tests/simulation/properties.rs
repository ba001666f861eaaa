//! Properties that hold for any input: in every framing and dialect one end decodes what the other end encodes, in
//! whatever parts it arrives.
//!
//! Each test tries many cases; the number in a failure is the seed of its case.

use std::fmt::Write;

use super::client_codec::{ClientCodec, Framing, HttpStyle, ServerMessage, frame};
use super::codec;
use super::random::Random;
use vmherd::internals::buffer::Buffer;
use vmherd::internals::clock::HttpDate;
use vmherd::internals::dialect::{convert, decode_json, encode_answer};
use vmherd::internals::framing::http::{
    self, Authorization, BodyBytesMax, ContentType, Http, HttpRules, Status,
};
use vmherd::internals::framing::raw_json::{self, RawJson};
use vmherd::internals::framing::websocket::{self, WebSocket};
use vmherd::internals::ids::{DiskId, VmId};
use vmherd::internals::limits;
use vmherd::internals::model::{
    Answer, Command, CommandName, Dialect, DiskChange, List, Request, RequestId, Scope, Secret, VmChange,
    VmName, VmShape,
};

const CASES: u64 = 1000;

/// Splits bytes into random parts.
fn split<'a>(mut bytes: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let (largest, mut parts) = (random.pick(&[1, 7, 300, usize::MAX]), Vec::new());
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at(random.between(1, largest.min(bytes.len())));
        parts.push(part);
        bytes = rest;
    }
    parts
}

/// A text; its characters have one to four bytes, and some have to be escaped.
fn text(random: &mut Random, most: usize) -> String {
    let count = random.mostly_few(0, most);
    let characters =
        ['a', 'Z', '7', ' ', '"', '\\', '/', '{', '}', '[', '\n', '\u{1}', 'é', '한', '😀', '\u{7f}'];
    (0..count).map(|_| random.pick(&characters)).collect()
}

/// Letters, often as many as where the header of a frame changes.
fn body(random: &mut Random) -> String {
    let length = match random.between(0, 9) {
        0 => random.pick(&[0, 125, 126, 65_535, 65_536]),
        _ => random.mostly_few(0, 3000),
    };
    (0..length).map(|index| char::from(b'a' + (index % 23) as u8)).collect()
}

#[test]
fn the_server_reads_what_a_websocket_client_sends() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let (mut client, mut server) = (ClientCodec::new(Framing::WebSocket), WebSocket::default());
        client.awaits_handshake = false;
        let sent: Vec<String> = (0..random.between(1, 5)).map(|_| body(&mut random)).collect();
        let stream: Vec<u8> =
            sent.iter().flat_map(|text| client.frames(text.as_bytes(), &mut random)).collect();
        let (mut input, mut output, mut received) = (Buffer::new(), Buffer::new(), Vec::new());
        for part in split(&stream, &mut random) {
            input.push(part);
            loop {
                match server.next(&mut input, &mut output, 1 << 20) {
                    websocket::WebSocketEvent::NeedMore => break,
                    websocket::WebSocketEvent::Frame => {}
                    websocket::WebSocketEvent::Message(_) => {
                        received.push(String::from_utf8_lossy(server.message(&input)).into_owned());
                        server.consume(&mut input);
                    }
                    other => panic!("case {case}: {other:?}"),
                }
            }
        }
        assert!(received == sent, "case {case}");
        assert_eq!(client.decode(output.as_slice()), Ok(Vec::new()), "case {case}: pongs only");
        assert!(client.has_nothing_pending(), "case {case}: every ping has its pong");
    }
}

#[test]
fn a_websocket_client_reads_what_the_server_frames() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let (mut client, mut output) = (ClientCodec::new(Framing::WebSocket), Buffer::new());
        client.awaits_handshake = false;
        let sent: Vec<String> = (0..random.between(1, 5)).map(|_| body(&mut random)).collect();
        for text in &sent {
            let parts = split(text.as_bytes(), &mut random);
            let parts = if (1..=50).contains(&parts.len()) { parts } else { vec![text.as_bytes()] };
            for (at, part) in parts.iter().enumerate() {
                let append = |bytes: &mut Vec<u8>| bytes.extend_from_slice(part);
                websocket::append_fragment(at == 0, at + 1 == parts.len(), &mut output, append);
            }
        }
        let mut received = Vec::new();
        for part in split(output.as_slice(), &mut random) {
            received.extend(client.decode(part).unwrap_or_else(|why| panic!("case {case}: {why}")));
        }
        let sent: Vec<ServerMessage> =
            sent.into_iter().map(|text| ServerMessage::Response(text, None)).collect();
        assert!(received == sent && client.is_at_boundary(), "case {case}");
    }
}

/// The tokens and bodies that the server finds in a stream of HTTP.
fn bodies(stream: &[u8], random: &mut Random) -> Vec<(Option<String>, Vec<u8>)> {
    let (mut server, rules) = (Http::default(), HttpRules::default());
    let body_bytes_max = BodyBytesMax { direct: 1 << 20, forwarded: 1 << 20 };
    let (mut input, mut output, mut found) = (Buffer::new(), Buffer::new(), Vec::new());
    for part in split(stream, random) {
        input.push(part);
        loop {
            match server.next(&mut input, &mut output, body_bytes_max, &rules) {
                http::HttpEvent::NeedMore => break,
                http::HttpEvent::Message { authorization } => {
                    let token = match authorization {
                        Authorization::Bearer(token) => Some(token.expose().to_owned()),
                        Authorization::Absent => None,
                        Authorization::Unusable => panic!("an unusable token"),
                    };
                    found.push((token, server.body(&input).to_vec()));
                    server.consume(&mut input);
                    server.write_whole(Status::Ok, ContentType::Json, &date(), b"{}\n", &mut output);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    found
}

#[test]
fn the_server_reads_what_an_http_client_posts() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let (mut sent, mut stream) = (Vec::new(), Vec::new());
        for _ in 0..random.between(1, 4) {
            let body = body(&mut random);
            let http_style = HttpStyle {
                bearer_token: random.chance(30).then(|| format!("{:x}", random.number())),
                is_chunked: random.chance(50),
                expects_continue: random.chance(20),
                is_last: false,
            };
            let (head, encoded) = ClientCodec::request(&body, &http_style, &mut random);
            stream.extend([head, encoded].concat());
            sent.push((http_style.bearer_token, body.into_bytes()));
        }
        assert!(bodies(&stream, &mut random) == sent, "case {case}");
    }
}

#[test]
fn an_http_client_reads_what_the_server_answers() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let (mut client, mut server, mut output) =
            (ClientCodec::new(Framing::Http), Http::default(), Buffer::new());
        let sent: Vec<String> = (0..random.between(1, 4)).map(|_| body(&mut random)).collect();
        for text in &sent {
            let (text, is_paged) = (format!("{text}\n").into_bytes(), random.chance(50));
            if !is_paged {
                server.write_whole(Status::Ok, ContentType::Json, &date(), &text, &mut output);
                continue;
            }
            server.begin_pages(&date(), &mut output);
            let parts = split(&text, &mut random);
            for (at, part) in parts.iter().enumerate() {
                let is_last = at + 1 == parts.len();
                server.write_page(is_last, &mut output, |bytes| bytes.extend_from_slice(part));
            }
        }
        let mut received = Vec::new();
        for part in split(output.as_slice(), &mut random) {
            received.extend(client.decode(part).unwrap_or_else(|why| panic!("case {case}: {why}")));
        }
        let sent: Vec<ServerMessage> =
            sent.into_iter().map(|text| ServerMessage::Response(text, Some(200))).collect();
        assert!(received == sent && client.is_at_boundary(), "case {case}");
    }
}

// ── Requests ──

/// A JSON string of `text`; some characters are escaped that need not be.
fn quoted(text: &str, random: &mut Random) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        let mut units = [0; 2];
        if random.chance(15) || matches!(character, '"' | '\\') || (character as u32) < 0x20 {
            for unit in character.encode_utf16(&mut units) {
                write!(quoted, "\\u{unit:04x}").expect("a text can be written to a String");
            }
        } else {
            quoted.push(character);
        }
    }
    quoted + "\""
}

/// An object of `fields` in any order, with any white space.
fn object(mut fields: Vec<(&str, String)>, random: &mut Random) -> String {
    random.shuffle(&mut fields);
    let mut blank = || random.pick(&["", "", " ", "\n", "\r\n\t"]);
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}\"{name}\"{}:{}{value}{}", blank(), blank(), blank(), blank()))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

fn shape(random: &mut Random) -> VmShape {
    let ram_mib = random.between(1, limits::RAM_MIB_MAX as usize) as u32;
    VmShape { ram_mib, cpus: random.between(1, usize::from(limits::CPUS_MAX)) as u16 }
}

fn sizes(random: &mut Random, least: usize) -> Vec<u64> {
    let count = random.mostly_few(least, 40);
    (0..count).map(|_| random.between(1, limits::DISK_GIB_MAX as usize) as u64).collect()
}

fn secret(random: &mut Random) -> Secret {
    Secret::new(&format!("{}12345678", text(random, 50)))
}

fn change(random: &mut Random) -> VmChange {
    let shape = shape(random);
    let disks = match random.between(0, 2) {
        0 => None,
        1 => Some(DiskChange::Replace(sizes(random, 0))),
        _ => {
            let sizes = sizes(random, 1).into_iter().enumerate();
            Some(DiskChange::Resize(sizes.map(|(at, size)| (DiskId(1 + at as i64 * 7), size)).collect()))
        }
    };
    VmChange { ram_mib: Some(shape.ram_mib), cpus: random.chance(50).then_some(shape.cpus), disks }
}

/// A request of the dialect `command`, and one of its texts.
fn command(random: &mut Random) -> (Request, String) {
    let disk = |size: &u64| format!("{{\"disk_size\": {size}}}");
    let name = || VmName::from_store("vm-é\"1");
    let mut data: Vec<(&str, String)> = Vec::new();
    let (text, kind, command) = match random.between(0, 5) {
        0 => ("ping", CommandName::Ping, Command::Ping),
        1 => {
            let (shape, disk_sizes_gib, password) = (shape(random), sizes(random, 0), secret(random));
            data.push(("vm_id", quoted("vm-é\"1", random)));
            data.push(("ram", shape.ram_mib.to_string()));
            data.push(("cpu", shape.cpus.to_string()));
            data.push(("password", quoted(password.expose(), random)));
            data.push(("disks", list(disk_sizes_gib.iter().map(disk))));
            let register = Command::Register { name: name(), shape, disk_sizes_gib, password };
            ("register", CommandName::Register, register)
        }
        2 => {
            let password = secret(random);
            data.push(("vm_id", quoted("vm-é\"1", random)));
            data.push(("password", quoted(password.expose(), random)));
            ("authenticate", CommandName::Authenticate, Command::Authenticate { name: name(), password })
        }
        3 => {
            let lists = [
                ("active_vms", List::ActiveVms),
                ("authenticated_vms", List::AuthenticatedVms),
                ("all_vms", List::AllVms),
                ("all_disks", List::AllDisks),
            ];
            let (name, list) = random.pick(&lists);
            data.push(("list_type", quoted(name, random)));
            ("list", CommandName::List, Command::List(list))
        }
        4 => {
            let change = change(random);
            data.extend(change.ram_mib.map(|ram| ("ram", ram.to_string())));
            data.extend(change.cpus.map(|cpus| ("cpu", cpus.to_string())));
            let disks = change.disks.as_ref().map(|disks| match disks {
                DiskChange::Replace(sizes) => list(sizes.iter().map(disk)),
                DiskChange::Resize(sizes) => list(sizes.iter().map(|(id, size)| {
                    object(vec![("id", id.0.to_string()), ("disk_size", size.to_string())], random)
                })),
            });
            data.extend(disks.map(|disks| ("disks", disks)));
            ("update", CommandName::Update, Command::Update(change))
        }
        _ => ("logout", CommandName::Logout, Command::Logout),
    };
    let token = (!kind.ignores_token() && random.chance(40)).then(|| secret(random));
    data.extend(token.as_ref().map(|token| ("token", quoted(token.expose(), random))));
    let fields = vec![("command", quoted(text, random)), ("data", object(data, random))];
    finish(Dialect::Command, kind, command, token, fields, random)
}

/// A request of the dialect `action`, and one of its texts.
fn action(random: &mut Random) -> (Request, String) {
    let vm = VmId(random.between(0, 1 << 40) as i64);
    let mut fields: Vec<(&str, String)> = Vec::new();
    let (text, kind, command) = match random.between(0, 5) {
        0 => {
            let (shape, disk_sizes_gib) = (shape(random), sizes(random, 1));
            fields.push(("ram", shape.ram_mib.to_string()));
            fields.push(("cpu", shape.cpus.to_string()));
            fields.push(("disks", list(disk_sizes_gib.iter().map(u64::to_string))));
            ("add_vm", CommandName::AddVm, Command::AddVm { shape, disk_sizes_gib })
        }
        1 => {
            let lists = [
                ("list_all_vms", List::AllVms),
                ("list_all_disks", List::AllDisks),
                ("list_authorized_vms", List::AuthorizedVms),
                ("list_connected_vms", List::ConnectedVms),
                ("list_ever_connected", List::EverConnectedVms),
            ];
            let (name, list) = random.pick(&lists);
            (name, CommandName::ActionList, Command::ActionList(list))
        }
        2 | 3 => {
            let password = random.chance(50).then(|| secret(random));
            fields.push(("vm_id", vm.0.to_string()));
            fields.extend(password.as_ref().map(|password| ("password", quoted(password.expose(), random))));
            match random.chance(50) {
                true => ("connect", CommandName::ConnectVm, Command::ConnectVm { vm, password }),
                false => ("authenticate", CommandName::AuthorizeVm, Command::AuthorizeVm { vm, password }),
            }
        }
        4 => {
            fields.push(("vm_id", vm.0.to_string()));
            ("logout_vm", CommandName::LogoutVm, Command::LogoutVm(vm))
        }
        _ => {
            let change = change(random);
            fields.push(("vm_id", vm.0.to_string()));
            fields.extend(change.ram_mib.map(|ram| ("ram", ram.to_string())));
            fields.extend(change.cpus.map(|cpus| ("cpu", cpus.to_string())));
            fields.extend(change.disks.as_ref().map(|disks| match disks {
                DiskChange::Replace(sizes) => ("disks", list(sizes.iter().map(u64::to_string))),
                DiskChange::Resize(sizes) => {
                    let sizes = sizes.iter().map(|(id, size)| format!("\"{}\": {size}", id.0));
                    ("disks", format!("{{{}}}", sizes.collect::<Vec<_>>().join(",")))
                }
            }));
            ("update_vm", CommandName::UpdateVm, Command::UpdateVm { vm, change: Some(change) })
        }
    };
    fields.push(("action", quoted(text, random)));
    finish(Dialect::Action, kind, command, None, fields, random)
}

/// A conversion, and one of its texts.
fn conversion(random: &mut Random) -> (Request, String) {
    let data = text(random, 200);
    let fields = vec![("data", quoted(&data, random))];
    let command = Command::Convert { data: data.into() };
    finish(Dialect::Conversion, CommandName::Convert, command, None, fields, random)
}

fn finish(
    dialect: Dialect,
    name: CommandName,
    command: Command,
    token: Option<Secret>,
    mut fields: Vec<(&str, String)>,
    random: &mut Random,
) -> (Request, String) {
    let has_id = dialect == Dialect::Conversion || random.chance(50);
    let id = has_id.then(|| match random.chance(50) {
        true => random.pick(&["1", "-0", "1.50e+3", "123456789012345678901234567890"]).to_owned(),
        false => {
            let text = text(random, 20);
            quoted(&text, random)
        }
    });
    fields.extend(id.clone().map(|id| ("request_id", id)));
    let id = id.map(|id| RequestId(id.into()));
    let request = Request {
        dialect,
        scope: Scope::Connection,
        is_forwarded: false,
        id,
        token: Ok(token),
        name,
        command: Ok(command),
    };
    (request, object(fields, random))
}

fn any_request(random: &mut Random) -> (Request, String) {
    match random.between(0, 2) {
        0 => command(random),
        1 => action(random),
        _ => conversion(random),
    }
}

/// The messages that the server finds in a stream of raw JSON.
fn raw_messages(stream: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    let (mut framing, mut input, mut found) = (RawJson::default(), Buffer::new(), Vec::new());
    for part in split(stream, random) {
        input.push(part);
        loop {
            match framing.next(&mut input, 1 << 20) {
                raw_json::JsonEvent::NeedMore => break,
                raw_json::JsonEvent::Message(length) => {
                    found.push(input.as_slice()[..length].to_vec());
                    input.consume(length);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    found
}

#[test]
fn requests_round_trip_through_every_framing() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let meant: Vec<(Request, String)> =
            (0..random.between(1, 4)).map(|_| any_request(&mut random)).collect();
        let texts: Vec<Vec<u8>> = meant.iter().map(|(_, text)| text.clone().into_bytes()).collect();
        for ((request, text), bytes) in meant.iter().zip(&texts) {
            assert_eq!(decode_json(bytes).as_ref(), Ok(request), "case {case}: {text}");
        }
        let between = random.pick(&["", "\n", " \r\n"]);
        let lines: Vec<u8> = texts.iter().flat_map(|text| [text, between.as_bytes()].concat()).collect();
        assert!(raw_messages(&lines, &mut random) == texts, "case {case}: raw JSON");
        let (mut posts, mut frames) = (Vec::new(), Vec::new());
        for (_, text) in &meant {
            let http_style = HttpStyle { is_chunked: random.chance(50), ..HttpStyle::default() };
            let (head, body) = ClientCodec::request(text, &http_style, &mut random);
            posts.extend([head, body].concat());
            frame(true, codec::TEXT, text.as_bytes(), &mut random, &mut frames);
        }
        let posted: Vec<Vec<u8>> = bodies(&posts, &mut random).into_iter().map(|(_, body)| body).collect();
        assert!(posted == texts, "case {case}: HTTP");
    }
}

#[test]
fn encoded_conversions_decode_to_the_same_entities() {
    for case in 0..CASES {
        let mut random = Random::new(case);
        let unique = |at: usize, random: &mut Random| format!("{at}{}", text(random, 10));
        let entities: Vec<(String, Vec<(String, String)>)> = (0..random.mostly_few(0, 20))
            .map(|at| {
                let parameters = (0..random.between(1, 5))
                    .map(|at| (unique(at, &mut random), format!("={}", text(&mut random, 10))))
                    .collect();
                (unique(at, &mut random), parameters)
            })
            .collect();
        let mut packed = String::new();
        for (name, parameters) in &entities {
            packed += name;
            for (name, value) in parameters {
                packed += &format!("&&{name}&&{value}");
            }
            packed += "%%";
        }
        let mut encoded = Vec::new();
        let (id, answer) = (RequestId("7".into()), Answer::Converted(convert(&packed)));
        encode_answer(Dialect::Conversion, Some(&id), &answer, &mut encoded);
        let value: serde_json::Value = serde_json::from_slice(&encoded).expect("a reply is JSON");
        let data = value["data"].as_object().expect("data is an object");
        assert_eq!(data.len(), entities.len(), "case {case}");
        for (name, parameters) in &entities {
            let read = data[name].as_object().expect("an entity is an object");
            assert_eq!(read.len(), parameters.len(), "case {case}");
            assert!(parameters.iter().all(|(name, value)| read[name] == *value), "case {case}");
        }
    }
}

fn date() -> HttpDate {
    HttpDate::new(vmherd::internals::clock::UnixSeconds(0))
}

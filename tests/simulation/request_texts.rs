//! Random requests of the dialects in JSON, each with one of the texts that mean it.

use std::fmt::Write;

use super::random::Random;
use vmherd::internals::ids::{DiskId, VmId};
use vmherd::internals::limits;
use vmherd::internals::model::{
    BadField, Command, CommandName, Dialect, DiskChange, List, Request, RequestId, Secret, VmChange, VmField,
    VmName, VmOperation, VmShape,
};

/// A request of any dialect, and one of its texts.
pub(super) fn any_request(random: &mut Random) -> (Request, String) {
    match random.between(0, 2) {
        0 => command(random),
        1 => action(random),
        _ => conversion(random),
    }
}

/// A text; its characters have one to four bytes, and some have to be escaped.
pub(super) fn text(random: &mut Random, most: usize) -> String {
    let count = random.mostly_few(0, most);
    let characters =
        ['a', 'Z', '7', ' ', '"', '\\', '/', '{', '}', '[', '\n', '\u{1}', 'é', '한', '😀', '\u{7f}'];
    (0..count).map(|_| random.pick(&characters)).collect()
}

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
    let mut vm_field = None;
    let (text, kind, command) = match random.between(0, 7) {
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
            vm_field = Some(MISSING);
            ("update", CommandName::Update, Command::Update(change))
        }
        5 => {
            vm_field = Some(MISSING);
            ("logout", CommandName::Logout, Command::Logout)
        }
        6 => {
            let (shape, disk_sizes_gib) = (shape(random), sizes(random, 0));
            let password = random.chance(50).then(|| secret(random));
            data.push(("vm_id", quoted("vm-é\"1", random)));
            data.push(("ram", shape.ram_mib.to_string()));
            data.push(("cpu", shape.cpus.to_string()));
            data.extend(password.as_ref().map(|password| ("password", quoted(password.expose(), random))));
            data.push(("disks", list(disk_sizes_gib.iter().map(disk))));
            ("add", CommandName::Add, Command::Add { name: name(), shape, disk_sizes_gib, password })
        }
        _ => {
            data.push(("vm_id", quoted("vm-é\"1", random)));
            let (text, kind, operation) = match random.between(0, 3) {
                0 => ("remove", CommandName::Remove, VmOperation::Remove),
                1 => ("end_sessions", CommandName::EndSessions, VmOperation::EndSessions),
                2 => {
                    let password = secret(random);
                    data.push(("password", quoted(password.expose(), random)));
                    ("passwd", CommandName::Passwd, VmOperation::ChangePassword(password))
                }
                _ => {
                    vm_field = Some("unknown field \"vm_id\"; allowed: token");
                    ("logout", CommandName::Logout, VmOperation::LogOut)
                }
            };
            (text, kind, Command::OfVm { name: name(), operation })
        }
    };
    let vm_field = vm_field.map(|text| match text {
        MISSING => VmField::Missing("vm_id"),
        unknown => VmField::Given(BadField(unknown.to_owned())),
    });
    let token = (!kind.ignores_token() && random.chance(40)).then(|| secret(random));
    data.extend(token.as_ref().map(|token| ("token", quoted(token.expose(), random))));
    let fields = vec![("command", quoted(text, random)), ("data", object(data, random))];
    let (request, text) = finish(Dialect::Command, kind, command, token, fields, random);
    (Request { vm_field, ..request }, text)
}

/// What an operator is told that names no VM.
const MISSING: &str = "missing field: vm_id";

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
    let request = Request { id, token: Ok(token), ..Request::new(dialect, name, Ok(command)) };
    (request, object(fields, random))
}

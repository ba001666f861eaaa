//! A value as text: for people by the kind of its column, for programs plainly.

use serde_json::Value;
use vmherd::Escaped;

use super::Kind;
use crate::size::Unit;
use crate::time::display_time;

/// The value for people, escaped. An unknown value is `-`.
pub fn for_people(kind: Kind, value: &Value) -> String {
    let text = match (kind, value) {
        (_, Value::Null) => "-".into(),
        (Kind::Memory, Value::Number(mib)) => Unit::Mib.display(mib),
        (Kind::Disk, Value::Number(gib)) => Unit::Gib.display(gib),
        (Kind::Time, Value::Number(seconds)) => seconds.as_i64().map_or("-".into(), display_time),
        (Kind::Disks, Value::Array(disks)) => {
            let size =
                |size: &Value| size.as_number().map_or_else(|| plain(size), |gib| Unit::Gib.display(gib));
            joined(disks, |value| disk(value, size))
        }
        (Kind::Addresses, Value::Array(addresses)) => joined(addresses, address),
        (_, Value::Bool(true)) => "yes".into(),
        (_, Value::Bool(false)) => "no".into(),
        _ => plain(value),
    };
    Escaped(text).to_string()
}

/// The value for programs: numbers without units; `None` if it is unknown.
pub fn for_programs(kind: Kind, value: &Value) -> Option<String> {
    match (kind, value) {
        (_, Value::Null) => None,
        (Kind::Disks, Value::Array(disks)) => {
            Some(disks.iter().map(|value| disk(value, plain)).collect::<Vec<_>>().join(" "))
        }
        (Kind::Addresses, Value::Array(addresses)) => {
            Some(addresses.iter().map(address).collect::<Vec<_>>().join(" "))
        }
        _ => Some(plain(value)),
    }
}

/// A disk as `ID=SIZE`, as arguments have it; a new one has no id.
fn disk(value: &Value, size: impl Fn(&Value) -> String) -> String {
    let size = size(&value["disk_size"]);
    if value["id"].is_null() { size } else { format!("{}={size}", plain(&value["id"])) }
}

/// `[ip, port]` as `ip:port`; on a unix socket there is neither.
fn address(value: &Value) -> String {
    match (value[0].as_str(), value[1].as_u64()) {
        (Some(ip), Some(port)) if ip.contains(':') => format!("[{ip}]:{port}"),
        (Some("unix"), _) => "unix".into(),
        (Some(ip), Some(port)) => format!("{ip}:{port}"),
        _ => plain(value),
    }
}

fn joined(items: &[Value], text: impl Fn(&Value) -> String) -> String {
    if items.is_empty() { "-".into() } else { items.iter().map(text).collect::<Vec<_>>().join(" ") }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

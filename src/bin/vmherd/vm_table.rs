//! The output of `vmherd vm list` and `vmherd vm show`: tables, or JSON with the names of the protocol.

use std::fmt::Write as _;
use std::io;

use serde_json::{Number, Value, json};
use vmherd::Escaped;

use crate::date::rfc3339;
use crate::size::Unit;
use crate::tool::ToolError;
use crate::vm_registry::{VmEntry, VmRegistry};

/// Prints every VM, in batches: columns widen from one to the next, since exact widths would need all rows in memory. The
/// disks come last: they are long.
pub fn write_list(vms: &mut VmRegistry, output: &mut impl io::Write) -> Result<(), ToolError> {
    let mut widths = [0; COLUMNS.len()];
    let mut rows = vec![COLUMNS.map(String::from)];
    vms.for_each(|vm| {
        rows.push(row(&vm));
        if rows.len() == BATCH_ROWS {
            write_rows(&mut rows, &mut widths, output)?;
        }
        Ok(())
    })?;
    Ok(write_rows(&mut rows, &mut widths, output)?)
}

/// Prints every VM as an array of objects.
pub fn write_list_as_json(vms: &mut VmRegistry, output: &mut impl io::Write) -> Result<(), ToolError> {
    let mut separator = "[";
    vms.for_each(|vm| {
        write!(output, "{separator}\n{}", object(&vm))?;
        separator = ",";
        Ok(())
    })?;
    Ok(output.write_all(if separator == "[" { b"[]\n" } else { b"\n]\n" })?)
}

/// Prints one VM, with the ids of its disks.
pub fn write_vm(vm: &VmEntry, as_json: bool, output: &mut impl io::Write) -> io::Result<()> {
    if as_json {
        return writeln!(output, "{}", object(vm));
    }
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String never fails.
        let _ = writeln!(text, "{name:15}  {value}");
    };
    line("name", &Escaped(&vm.name).to_string());
    line("id", &vm.id.to_string());
    line("state", state(vm));
    if let Some(presence) = &vm.presence {
        line("connected since", &time(presence.connected_since));
        line("offline since", &time(presence.offline_since));
        let addresses = presence.addresses.iter().map(|(host, port)| format!("{} {port}", Escaped(host)));
        line("addresses", &or_dash(addresses.collect::<Vec<_>>().join(", ")));
    }
    line("last seen", &time(vm.last_seen));
    line("managed", if vm.is_managed { "yes" } else { "no" });
    line("RAM", &Unit::Mib.display(&vm.ram_mib.into()));
    line("CPUs", &vm.cpus.to_string());
    for (id, size) in &vm.disks {
        line(&format!("disk {id}"), &Unit::Gib.display(&(*size).into()));
    }
    output.write_all(text.as_bytes())
}

fn write_rows(
    rows: &mut Vec<[String; COLUMNS.len()]>,
    widths: &mut [usize; COLUMNS.len()],
    output: &mut impl io::Write,
) -> io::Result<()> {
    for row in &*rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for cells in rows.drain(..) {
        let mut line = String::new();
        for ((cell, width), heading) in cells.iter().zip(&*widths).zip(COLUMNS) {
            let width = *width;
            // Writing to a String never fails.
            let _ = match heading {
                "ID" | "RAM" | "CPU" => write!(line, "{cell:>width$}  "),
                _ => write!(line, "{cell:width$}  "),
            };
        }
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(vm: &VmEntry) -> [String; COLUMNS.len()] {
    let sizes: Vec<String> = vm.disks.iter().map(|(_, size)| Unit::Gib.display(&(*size).into())).collect();
    [
        Escaped(&vm.name).to_string(),
        vm.id.to_string(),
        state(vm).to_owned(),
        time(vm.last_seen),
        Unit::Mib.display(&vm.ram_mib.into()),
        vm.cpus.to_string(),
        or_dash(sizes.join(",")),
    ]
}

/// Only a daemon knows it.
fn state(vm: &VmEntry) -> &'static str {
    match &vm.presence {
        None => "-",
        Some(presence) if presence.connected_since.is_some() => "online",
        Some(_) => "offline",
    }
}

fn time(seconds: Option<i64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), rfc3339)
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The VM with the names of the protocol. What only a daemon knows is null without one.
fn object(vm: &VmEntry) -> Value {
    let disks: Vec<Value> = vm.disks.iter().map(|(id, size)| json!({"id": id, "disk_size": size})).collect();
    let presence = vm.presence.as_ref();
    json!({
        "vm_id": vm.name,
        "id": vm.id,
        "state": presence.map(|_| state(vm)),
        "connected_since": presence.and_then(|presence| presence.connected_since),
        "offline_since": presence.and_then(|presence| presence.offline_since),
        "last_seen": vm.last_seen,
        "addrs": presence.map(|presence| &presence.addresses),
        "managed": vm.is_managed,
        "ram": Number::from(vm.ram_mib),
        "cpu": vm.cpus,
        "disks": disks,
    })
}

const COLUMNS: [&str; 7] = ["NAME", "ID", "STATE", "LAST SEEN", "RAM", "CPU", "DISKS"];
/// Rows that are measured together.
const BATCH_ROWS: usize = 1024;

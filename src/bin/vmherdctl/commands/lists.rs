//! The lists of VMs and disks.

use std::time::Duration;

use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

use crate::arguments::{duration, flag, option};
use crate::failure::{Class, Failure};
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::session::Session;
use crate::time::unix_now;

/// What the operator and readers see besides is null for others.
pub static VMS: Schema = Schema {
    name: "vms",
    shape: Shape::Rows,
    columns: &[
        Column::new("vm_id", "NAME", Kind::Text),
        Column::new("ram", "RAM", Kind::Memory),
        Column::new("cpu", "CPUS", Kind::Number),
        Column::new("disks", "DISKS", Kind::Disks),
        Column::if_known("addresses", "ADDRESSES", Kind::Addresses),
        Column::if_known("offline_since", "OFFLINE SINCE", Kind::Time),
        Column::extra("connected_since", "CONNECTED SINCE", Kind::Time),
        Column::extra("last_seen", "LAST SEEN", Kind::Time),
        Column::extra("managed", "MANAGED", Kind::Text),
        Column::extra("id", "ID", Kind::Number),
    ],
};

pub static DISKS: Schema = Schema {
    name: "disks",
    shape: Shape::Rows,
    columns: &[
        Column::new("id", "ID", Kind::Number),
        Column::new("vm_id", "VM", Kind::Text),
        Column::new("disk_size", "SIZE", Kind::Disk),
    ],
};

pub fn vms_arguments() -> Vec<Arg> {
    vec![
        flag("active", "The open connections").conflicts_with("authenticated"),
        flag("authenticated", "Those that VMs are logged in on"),
        option("offline-for", "TIME", "Offline for so long: 1h (operator, readers)")
            .value_parser(duration())
            .conflicts_with_all(["active", "authenticated"]),
    ]
}

pub fn vms(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    if matches.get_flag("active") {
        return connections(session, "active_vms");
    }
    if matches.get_flag("authenticated") {
        return connections(session, "authenticated_vms");
    }
    let Some(offline_for) = matches.get_one::<Duration>("offline-for") else { return list_all(session) };
    let entries = fetch(session, "all_vms")?;
    rows_offline_for(&entries, *offline_for)
}

/// The VMs of a list that have been offline for so long.
pub fn rows_offline_for(entries: &[Value], time: Duration) -> Result<Output, Failure> {
    let latest = unix_now() - i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    if entries.iter().any(|entry| entry.get("offline_since").is_none()) {
        return Err(Failure::new(Class::Denied, "only the operator and readers see when VMs were online")
            .or_hint("on the server's host: vmherdctl vm list --offline-for TIME"));
    }
    let is_offline = |entry: &&Value| entry["offline_since"].as_i64().is_some_and(|since| since <= latest);
    Ok(Output::rows(&VMS, entries.iter().filter(is_offline).map(row).collect()))
}

pub fn active(session: &mut Session, _: &ArgMatches) -> Result<Output, Failure> {
    connections(session, "active_vms")
}

pub fn authenticated(session: &mut Session, _: &ArgMatches) -> Result<Output, Failure> {
    connections(session, "authenticated_vms")
}

pub fn all(session: &mut Session, _: &ArgMatches) -> Result<Output, Failure> {
    list_all(session)
}

pub fn disks(session: &mut Session, _: &ArgMatches) -> Result<Output, Failure> {
    let entries = fetch(session, "all_disks")?;
    let row = |entry: &Value| DISKS.columns.iter().map(|column| entry[column.name].clone()).collect();
    Ok(Output::rows(&DISKS, entries.iter().map(row).collect()))
}

fn list_all(session: &mut Session) -> Result<Output, Failure> {
    let entries = fetch(session, "all_vms")?;
    session.remember_names(entries.iter().filter_map(|entry| entry["vm_id"].as_str()));
    Ok(Output::rows(&VMS, entries.iter().map(row).collect()))
}

/// The connections of a list; one without a login has only an address.
fn connections(session: &mut Session, list: &str) -> Result<Output, Failure> {
    let entries = fetch(session, list)?;
    let row = |entry: &Value| {
        let mut vm = entry["vm_info"].clone();
        if vm.is_null() {
            vm = json!({});
        }
        vm["addrs"] = json!([entry["addr"]]);
        vm["connected_since"] = entry["connected_since"].clone();
        row(&vm)
    };
    Ok(Output::rows(&VMS, entries.iter().map(row).collect()))
}

/// The entries of a list of the server.
pub fn fetch(session: &mut Session, list: &str) -> Result<Vec<Value>, Failure> {
    let (mut data, _) = session.command("list", json!({"list_type": list}))?;
    match data.get_mut(list).map(Value::take) {
        Some(Value::Array(entries)) => Ok(entries),
        _ => Err(Failure::failed(format!("the reply has no list {list}"))),
    }
}

/// A VM of the server as a row of [`VMS`].
pub fn row(entry: &Value) -> Vec<Value> {
    let value = |column: &Column| match column.name {
        "addresses" => entry["addrs"].clone(),
        // The server names it where it is true.
        "managed" if entry["vm_id"].is_null() => Value::Null,
        "managed" => entry["managed"].as_bool().unwrap_or(false).into(),
        "disks" => sizes_of_disks(entry),
        name => entry[name].clone(),
    };
    VMS.columns.iter().map(value).collect()
}

/// The disks of a VM of the server, as columns of [`Kind::Disks`] have them.
pub fn sizes_of_disks(entry: &Value) -> Value {
    match &entry["disks"] {
        Value::Array(disks) => {
            disks.iter().map(|disk| json!({"id": disk["id"], "disk_size": disk["disk_size"]})).collect()
        }
        other => other.clone(),
    }
}

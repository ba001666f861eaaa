//! What the operator does on the server's host: `vm …` and `stats`.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Value, json};

use super::containers::each;
use super::lists::{VMS, fetch, row, rows_offline_for};
use super::login::{name, register_arguments, vm_data};
use super::update::{change, update_arguments, updated};
use crate::arguments::{duration, flag, option, positional};
use crate::failure::{Class, Failure};
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::secrets;
use crate::session::Session;

pub static ADDED: Schema = Schema {
    name: "added",
    shape: Shape::Record,
    columns: &[Column::new("vm_id", "NAME", Kind::Text), Column::new("id", "ID", Kind::Number)],
};

pub static REMOVED: Schema = Schema {
    name: "removed",
    shape: Shape::Rows,
    columns: &[Column::new("vm_id", "NAME", Kind::Text), Column::new("error", "ERROR", Kind::Text)],
};

pub static PASSWORD: Schema =
    Schema { name: "changed", shape: Shape::Record, columns: &[Column::new("vm_id", "NAME", Kind::Text)] };

/// The columns of [`VMS`], all of them for people too.
pub static VM: Schema = Schema {
    name: "vm",
    shape: Shape::Record,
    columns: &[
        Column::new("vm_id", "NAME", Kind::Text),
        Column::new("ram", "RAM", Kind::Memory),
        Column::new("cpu", "CPUS", Kind::Number),
        Column::new("disks", "DISKS", Kind::Disks),
        Column::new("addresses", "ADDRESSES", Kind::Addresses),
        Column::new("offline_since", "OFFLINE SINCE", Kind::Time),
        Column::new("connected_since", "CONNECTED SINCE", Kind::Time),
        Column::new("last_seen", "LAST SEEN", Kind::Time),
        Column::new("managed", "MANAGED", Kind::Text),
        Column::new("id", "ID", Kind::Number),
    ],
};

pub static COUNTERS: Schema = Schema {
    name: "counters",
    shape: Shape::Rows,
    columns: &[Column::new("name", "NAME", Kind::Text), Column::new("value", "VALUE", Kind::Number)],
};

pub fn add_arguments() -> Vec<Arg> {
    let without = flag("no-password", "No client can log in as it by password");
    [register_arguments(), vec![without]].concat()
}

pub fn add(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let mut data = vm_data(matches);
    let name = name(matches).to_owned();
    if !matches.get_flag("no-password") {
        data["password"] = secrets::read_new_password(&session.settings, &name)?.expose().into();
    }
    let (reply, _) = run(session, "add", data)?;
    let note = format!("added {name}");
    Ok(Output::record(&ADDED, vec![name.into(), reply["id"].clone()]).note(note))
}

pub fn names_arguments() -> Vec<Arg> {
    vec![positional("name", "NAME", "The VM").required(true).num_args(1..).action(ArgAction::Append)]
}

pub fn remove(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let names: Vec<String> = matches.get_many("name").unwrap_or_default().cloned().collect();
    let results = names.into_iter().map(|name| {
        let result = run(session, "remove", json!({"vm_id": name})).map(drop);
        (name, result)
    });
    each(&REMOVED, "removed", results.collect())
}

pub fn name_arguments() -> Vec<Arg> {
    vec![positional("name", "NAME", "The VM").required(true)]
}

pub fn passwd(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let name = name(matches).to_owned();
    let password = secrets::read_new_password(&session.settings, &name)?;
    run(session, "passwd", json!({"vm_id": name, "password": password.expose()}))?;
    let note = format!("changed the password of {name}; its tokens are no longer valid");
    Ok(Output::record(&PASSWORD, vec![name.into()]).note(note))
}

pub fn list_arguments() -> Vec<Arg> {
    vec![option("offline-for", "TIME", "Offline for so long: 1h").value_parser(duration())]
}

pub fn list(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let entries = fetch(session, "all_vms").map_err(for_operator)?;
    session.remember_names(entries.iter().filter_map(|entry| entry["vm_id"].as_str()));
    match matches.get_one::<Duration>("offline-for") {
        Some(time) => rows_offline_for(&entries, *time),
        None => Ok(Output::rows(&VMS, entries.iter().map(row).collect())),
    }
}

pub fn show(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let name = name(matches);
    let entries = fetch(session, "all_vms").map_err(for_operator)?;
    let entry = entries.iter().find(|entry| entry["vm_id"] == name);
    let entry = entry.ok_or_else(|| Failure::not_found("VM does not exist"))?;
    Ok(Output::record(&VM, row(entry)))
}

pub fn set_arguments() -> Vec<Arg> {
    [name_arguments(), update_arguments()].concat()
}

pub fn set(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let name = name(matches);
    let mut data = change(matches)?;
    let output = updated(&data).note(format!("updated {name}"));
    data.insert("vm_id".into(), name.into());
    run(session, "update", Value::Object(data))?;
    Ok(output)
}

pub fn stats(session: &mut Session, _: &ArgMatches) -> Result<Output, Failure> {
    let counters = session.call(|client| client.stats()).map_err(for_operator)?;
    let rows = counters.into_iter().map(|(name, value)| vec![name.into(), value.into()]);
    Ok(Output::rows(&COUNTERS, rows.collect()))
}

/// Runs a command of the operator.
fn run(session: &mut Session, command: &str, data: Value) -> Result<(Value, Option<String>), Failure> {
    session.command(command, data).map_err(for_operator)
}

/// To others, the server does not say that there is such a command.
fn for_operator(failure: Failure) -> Failure {
    match &*failure.message {
        "Unknown command" | "You have to authenticate to run this operation" => Failure::new(
            Class::Denied,
            "only root and the daemon's user may do this, on the daemon's own socket",
        )
        .or_hint("run it on the server's host without --server; --state-dir names the daemon"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_vm_has_the_columns_of_the_list() {
        let names = |schema: &Schema| schema.columns.iter().map(|column| column.name).collect::<Vec<_>>();
        assert_eq!(names(&VM), names(&VMS));
    }
}

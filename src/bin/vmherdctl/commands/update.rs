//! Changes of the VM: `update`, and the document's two commands for it.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Map, Value, json};

use super::login::cpu;
use crate::arguments::{memory, option, positional};
use crate::failure::Failure;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::session::Session;
use crate::size::Unit;

pub static UPDATED: Schema = Schema {
    name: "updated",
    shape: Shape::Record,
    columns: &[
        Column::new("ram", "RAM", Kind::Memory),
        Column::new("cpu", "CPUS", Kind::Number),
        Column::new("disks", "DISKS", Kind::Disks),
    ],
};

/// A disk as it is to be: one with an id, or the next of a new list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct DiskChange {
    id: Option<u64>,
    size_gib: u64,
}

pub fn update_arguments() -> Vec<Arg> {
    vec![ram_option(), cpu(), disk_option()]
}

fn ram_option() -> Arg {
    option("ram", "SIZE", "Its memory: 512M, 2G; without a unit: MiB").value_parser(memory())
}

fn disk_option() -> Arg {
    option("disk", "[ID=]SIZE", "A disk: 1=150G, or 150G; may be repeated")
        .action(ArgAction::Append)
        .value_parser(ValueParser::new(parse_disk))
}

pub fn update_ram_arguments() -> Vec<Arg> {
    vec![positional("ram", "SIZE", "512M, 2G; without a unit: MiB").required(true).value_parser(memory())]
}

pub fn update_ram_cpu_disks_arguments() -> Vec<Arg> {
    let disks = positional("disk", "[ID=]SIZE", "Disks: 1=150G 2=250G; without ids: all")
        .num_args(1..)
        .required(true)
        .value_parser(ValueParser::new(parse_disk));
    let cpus = positional("cpu", "CPUS", "Its processors")
        .required(true)
        .value_parser(clap::value_parser!(u16).range(1..));
    [update_ram_arguments(), vec![cpus, disks]].concat()
}

pub fn update(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    send(session, change(matches)?)
}

pub fn update_ram(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    send(session, Map::from_iter([("ram".into(), json!(matches.get_one::<u64>("ram")))]))
}

pub fn update_ram_cpu_disks(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    send(session, change(matches)?)
}

/// The change that the arguments describe.
pub fn change(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let mut data = Map::new();
    if let Some(ram) = matches.get_one::<u64>("ram") {
        data.insert("ram".into(), (*ram).into());
    }
    if let Some(cpu) = matches.get_one::<u16>("cpu") {
        data.insert("cpu".into(), (*cpu).into());
    }
    let disks: Vec<DiskChange> = matches.get_many("disk").unwrap_or_default().copied().collect();
    if !disks.is_empty() {
        data.insert("disks".into(), disks_data(&disks)?);
    }
    match data.is_empty() {
        true => Err(Failure::usage("say what to change: --ram, --cpu or --disk")),
        false => Ok(data),
    }
}

fn send(session: &mut Session, data: Map<String, Value>) -> Result<Output, Failure> {
    let output = updated(&data);
    session.command("update", Value::Object(data))?;
    Ok(output.note("updated the VM"))
}

/// The values of a change.
pub fn updated(data: &Map<String, Value>) -> Output {
    let value = |column: &Column| data.get(column.name).cloned().unwrap_or_default();
    Output::record(&UPDATED, UPDATED.columns.iter().map(value).collect())
}

fn disks_data(disks: &[DiskChange]) -> Result<Value, Failure> {
    if disks.iter().any(|disk| disk.id.is_some() != disks[0].id.is_some()) {
        return Err(Failure::usage("give the ids of all disks, or of none")
            .or_hint("ID=SIZE changes that disk; SIZE alone makes a new list of disks"));
    }
    let data = disks.iter().map(|disk| match disk.id {
        Some(id) => json!({"id": id, "disk_size": disk.size_gib}),
        None => json!({"disk_size": disk.size_gib}),
    });
    Ok(data.collect())
}

fn parse_disk(text: &str) -> Result<DiskChange, String> {
    let (id, size) = match text.split_once('=') {
        Some((id, size)) => (Some(id.parse().map_err(|_| "the id of a disk is a whole number")?), size),
        None => (None, text),
    };
    Ok(DiskChange { id, size_gib: Unit::Gib.parse(size)? })
}

//! The server's state, and the VMs that it runs: `stat`, `create`, `destroy`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use serde_json::{Value, json};
use vmherd::ContainerId;

use super::ssh::forget_key;
use super::wait::{Target, wait_for_ssh, within};
use crate::arguments::{flag, option, positional};
use crate::credentials::Credentials;
use crate::failure::{Class, Failure};
use crate::limits;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::secrets;
use crate::session::Session;

pub static SERVER: Schema = Schema {
    name: "server",
    shape: Shape::Record,
    columns: &[
        Column::new("version", "VERSION", Kind::Text),
        Column::new("uptime", "UPTIME s", Kind::Number),
        Column::new("available", "AVAILABLE VMS", Kind::Text),
    ],
};

pub static CREATED: Schema = Schema {
    name: "created",
    shape: Shape::Record,
    columns: &[
        Column::new("container_uuid", "NAME", Kind::Text),
        Column::new("container_listen_port", "SSH PORT", Kind::Number),
        Column::new("container_username", "USER", Kind::Text),
        Column::new("container_password", "PASSWORD", Kind::Text),
        Column::new("client_token", "TOKEN", Kind::Text),
        Column::extra("container_iso_sha256", "IMAGE SHA-256", Kind::Text),
    ],
};

pub static DESTROYED: Schema = Schema {
    name: "destroyed",
    shape: Shape::Rows,
    columns: &[Column::new("vm_id", "NAME", Kind::Text), Column::new("error", "ERROR", Kind::Text)],
};

pub fn stat(session: &mut Session, _: &ArgMatches) -> Result<Output, Failure> {
    let data = session.call(|client| client.verb("STAT", json!({})))?;
    Ok(record(&SERVER, &data))
}

pub fn create_arguments() -> Vec<Arg> {
    vec![
        flag("wait", "Wait until its SSH server answers"),
        within(),
        flag("no-store", "Print its credentials, and do not keep them"),
    ]
}

pub fn create(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let server = session.server().to_string();
    let is_stored = !matches.get_flag("no-store");
    if is_stored {
        // Found out before there is a VM whose credentials have no place.
        drop(Credentials::open()?);
    }
    let data = session.call_within(limits::CONTAINER_TIMEOUT, |client| client.verb("CREATE", json!({})))?;
    let output = record(&CREATED, &data);
    let output = if is_stored { output } else { output.unique() };
    let name = data["container_uuid"].as_str().unwrap_or_default();
    let is_whole = CREATED.columns.iter().all(|column| !data[column.name].is_null());
    if !is_whole || ContainerId::parse(name).is_none() {
        return Err(Failure::failed("the reply to CREATE is not one of this protocol").with_output(output));
    }
    let stored = match is_stored {
        true => Credentials::open().and_then(|mut kept| kept.add(&server, name, data.clone())),
        false => Ok(()),
    };
    let stored = stored.map_err(|failure| failure.or_hint("keep what was printed: destroy needs the token"));
    let waited = stored.and_then(|()| match matches.get_flag("wait") {
        true => wait_for_ssh(&Target::of_container(session.server(), &data)?, matches).map(drop),
        false => Ok(()),
    });
    match waited {
        Ok(()) => Ok(output),
        Err(failure) => Err(Failure { class: class_of_rest(failure.class), ..failure }.with_output(output)),
    }
}

/// The class of a failure after the VM was created.
fn class_of_rest(class: Class) -> Class {
    if class == Class::Timeout { class } else { Class::Partial }
}

pub fn destroy_arguments() -> Vec<Arg> {
    vec![
        positional("name", "NAME", "The VM: the container_uuid of create")
            .required(true)
            .num_args(1..)
            .action(ArgAction::Append),
        option("client-token-file", "FILE", "Its client_token [default: as create has kept]")
            .value_parser(value_parser!(PathBuf)),
        flag("forget", "Only remove the credentials of an ended VM"),
    ]
}

pub fn destroy(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let names: Vec<String> = matches.get_many("name").unwrap_or_default().cloned().collect();
    let results = names.iter().map(|name| (name.clone(), destroy_one(session, matches, name)));
    each(&DESTROYED, "destroyed", results.collect())
}

fn destroy_one(session: &mut Session, matches: &ArgMatches, name: &str) -> Result<(), Failure> {
    let server = session.server().to_string();
    let given = match matches.get_one::<PathBuf>("client-token-file") {
        Some(path) => Some(secrets::read_file("--client-token-file", path)?.expose().to_owned()),
        None => None,
    };
    let kept = Credentials::open()?.find(&server, name).map(|data| data["client_token"].clone());
    let Some(token) = given.map(Value::from).or(kept) else {
        return Err(Failure::not_found(format!("no credentials of {name} on {server} are kept here"))
            .or_hint("give its token with --client-token-file FILE"));
    };
    if !matches.get_flag("forget") {
        let parameters = json!({"container_uuid": name, "client_token": token});
        let result =
            session.call_within(limits::CONTAINER_TIMEOUT, |client| client.verb("DESTROY", parameters));
        result.map_err(|failure| match failure.class {
            Class::Denied => failure.or_hint("if the VM has ended by itself: destroy --forget NAME"),
            _ => failure,
        })?;
    }
    Credentials::open()?.remove(&server, name)?;
    forget_key(name)
}

/// The output of a command that does the same to several VMs, each with its result. What failed is a row with the
/// reason; if all failed, that is the failure of the command.
pub fn each(
    schema: &'static Schema,
    done: &str,
    results: Vec<(String, Result<(), Failure>)>,
) -> Result<Output, Failure> {
    let row = |(name, result): &(String, Result<(), Failure>)| {
        let error = result.as_ref().err().map(|failure| failure.message.clone());
        vec![name.clone().into(), error.into()]
    };
    let line =
        |(name, result): &(String, Result<(), Failure>)| result.is_ok().then(|| format!("{done} {name}"));
    let lines = results.iter().filter_map(line).collect();
    let output = Output::rows(schema, results.iter().map(row).collect()).lines(lines);
    let count = results.len();
    let mut failures: Vec<(String, Failure)> =
        results.into_iter().filter_map(|(name, result)| Some((name, result.err()?))).collect();
    match failures.len() {
        0 => Ok(output),
        1 if count == 1 => Err(failures.remove(0).1),
        failed => {
            let texts: Vec<String> =
                failures.iter().map(|(name, failure)| format!("{name}: {}", failure.message)).collect();
            let first = failures.remove(0).1;
            let class = if failed == count { first.class } else { Class::Partial };
            Err(Failure { class, message: texts.join("; "), ..first }.with_output(output))
        }
    }
}

fn record(schema: &'static Schema, data: &Value) -> Output {
    Output::record(schema, schema.columns.iter().map(|column| data[column.name].clone()).collect())
}

//! The connection and the login: `ping`, `register`, `authenticate`, `logout`.

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Value, json};
use vmherd::Secret;

use crate::arguments::{disk_size, memory, option, positional};
use crate::failure::Failure;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::secrets;
use crate::session::Session;
use crate::time::now;

pub static PING: Schema = Schema {
    name: "ping",
    shape: Shape::Record,
    columns: &[
        Column::new("server", "SERVER", Kind::Text),
        Column::new("milliseconds", "MILLISECONDS", Kind::Number),
        Column::new("address", "YOUR ADDRESS", Kind::Addresses),
    ],
};

pub static REGISTERED: Schema =
    Schema { name: "registered", shape: Shape::Record, columns: &[Column::new("vm_id", "NAME", Kind::Text)] };

pub static TOKEN: Schema = Schema {
    name: "login",
    shape: Shape::Record,
    columns: &[Column::new("vm_id", "NAME", Kind::Text), Column::new("token", "TOKEN", Kind::Text)],
};

pub static LOGGED_OUT: Schema = Schema {
    name: "logged_out",
    shape: Shape::Record,
    columns: &[Column::new("message", "MESSAGE", Kind::Text)],
};

pub fn ping(session: &mut Session, _: &ArgMatches) -> Result<Output, Failure> {
    let begin = now();
    let (data, _) = session.command("ping", json!({}))?;
    // To a hundredth: less is noise.
    let milliseconds = (begin.elapsed().as_secs_f64() * 1e5).round() / 100.0;
    let server = session.server().to_string();
    let note = format!("PONG from {server} in {milliseconds} ms");
    let values = vec![server.into(), milliseconds.into(), Value::Array(vec![data["addr"].clone()])];
    Ok(Output::record(&PING, values).note(note))
}

pub fn register_arguments() -> Vec<Arg> {
    vec![
        positional("name", "NAME", "The name of the new VM").required(true),
        option("ram", "SIZE", "Its memory: 512M, 2G; without a unit: MiB")
            .required(true)
            .value_parser(memory()),
        cpu().required(true),
        option("disk", "SIZE", "A disk: 100G, 1.5T; may be repeated")
            .action(ArgAction::Append)
            .value_parser(disk_size()),
    ]
}

/// The option for the number of processors.
pub fn cpu() -> Arg {
    option("cpu", "N", "Its processors").value_parser(clap::value_parser!(u16).range(1..))
}

pub fn register(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let password = secrets::read_new_password(&session.settings, name(matches))?;
    send_registration(session, vm_data(matches), &password)
}

/// Registers the VM that `data` describes.
pub fn send_registration(
    session: &mut Session,
    mut data: Value,
    password: &Secret,
) -> Result<Output, Failure> {
    let name = data["vm_id"].as_str().unwrap_or_default().to_owned();
    data["password"] = password.expose().into();
    session.command("register", data)?;
    let note = format!("registered {name}");
    Ok(Output::record(&REGISTERED, vec![name.into()]).note(note))
}

/// The new VM that the arguments describe.
pub fn vm_data(matches: &ArgMatches) -> Value {
    let sizes = matches.get_many::<u64>("disk").unwrap_or_default();
    let disks: Vec<Value> = sizes.map(|size| json!({"disk_size": size})).collect();
    json!({
        "vm_id": name(matches),
        "ram": matches.get_one::<u64>("ram"),
        "cpu": matches.get_one::<u16>("cpu"),
        "disks": disks,
    })
}

pub fn name(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("name").map_or("", String::as_str)
}

pub fn authenticate_arguments() -> Vec<Arg> {
    vec![positional("name", "NAME", "The VM to log in as [default: that of --vm]")]
}

pub fn authenticate(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let given = matches.get_one::<String>("name").cloned().or_else(|| session.settings.vm.clone());
    let name = given.ok_or_else(|| Failure::usage("say which VM: authenticate NAME"))?;
    let token = session.authenticate(&name)?;
    let note = format!("logged in as {name}");
    let output = Output::record(&TOKEN, vec![name.into(), token.into()]);
    // In a console the login itself is what counts.
    Ok(if session.is_console() { output.note(note) } else { output.unique() })
}

pub fn logout(session: &mut Session, _: &ArgMatches) -> Result<Output, Failure> {
    let message = session.log_out()?;
    Ok(Output::record(&LOGGED_OUT, vec![message.clone().into()]).note(message))
}

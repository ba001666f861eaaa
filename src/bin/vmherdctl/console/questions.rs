//! The questions with which the console registers a VM, in the order of the protocol's first client: name, password,
//! RAM, CPUs, the number of disks, and the size of each.

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::{Value, json};

use crate::commands::login::send_registration;
use crate::failure::Failure;
use crate::limits;
use crate::output::Output;
use crate::secrets;
use crate::session::Session;
use crate::size::Unit;

/// Asks, and registers the VM.
pub fn register(session: &mut Session) -> Result<Output, Failure> {
    let mut editor = DefaultEditor::new().map_err(failure)?;
    let name = ask_name(&mut editor)?;
    let password = secrets::read_new_password(&session.settings, &name)?;
    let ram = ask(&mut editor, "RAM (512M, 2G)", |text| Unit::Mib.parse(text))?;
    let cpu = ask(&mut editor, "CPUs", |text| parse_count(text, 1, u64::from(u16::MAX)))?;
    let disk_count = ask(&mut editor, "Number of disks", |text| parse_count(text, 0, limits::DISKS_MAX))?;
    let mut disks: Vec<Value> = Vec::new();
    for number in 1..=disk_count {
        let question = format!("Size of disk {number} (100G, 1.5T)");
        let size = ask(&mut editor, &question, |text| Unit::Gib.parse(text))?;
        disks.push(json!({"disk_size": size}));
    }
    let data = json!({"vm_id": name, "ram": ram, "cpu": cpu, "disks": disks});
    send_registration(session, data, &password)
}

/// Asks for the name of a VM.
pub fn vm_name() -> Result<String, Failure> {
    ask_name(&mut DefaultEditor::new().map_err(failure)?)
}

fn ask_name(editor: &mut DefaultEditor) -> Result<String, Failure> {
    ask(editor, "VM ID", |text| match text {
        "" => Err("a VM has a name".into()),
        text => Ok(text.to_owned()),
    })
}

/// Asks until the answer is right.
fn ask<T>(
    editor: &mut DefaultEditor,
    question: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    loop {
        let answer = editor.readline(&format!("{question}: ")).map_err(failure)?;
        match parse(answer.trim()) {
            Ok(value) => return Ok(value),
            Err(why) => eprintln!("{why}"),
        }
    }
}

fn parse_count(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let count = text.parse().ok().filter(|count| (least..=most).contains(count));
    count.ok_or_else(|| format!("a whole number from {least} to {most}"))
}

fn failure(error: ReadlineError) -> Failure {
    match error {
        ReadlineError::Interrupted | ReadlineError::Eof => Failure::failed("nothing was sent"),
        error => Failure::failed(format!("the terminal: {error}")),
    }
}

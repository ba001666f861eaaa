//! The example of a program that runs VMs, as a program.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::common::Client;
use crate::guest::guest_iso;
use crate::real::{boot, ssh};
use crate::support::*;

#[test]
fn a_program_runs_vms() {
    let mut build = Command::new(env!("CARGO"));
    build.args(["run", "--quiet", "--example", "virtual_machines", "--"]).arg(guest_iso());
    build.args(["tcp://127.0.0.1:0", &ports(10)]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let mut child = build.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cargo runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("it prints a line").expect("text");
    let first = line();
    let address = first.split("tcp://").nth(1).and_then(|rest| rest.split(';').next()).expect(&first);
    let mut client = Client::connect(address.parse().expect("an address"));
    let created = boot(&mut client);
    let id = created["container_uuid"].as_str().expect("an id").to_owned();
    assert!(line().starts_with(&format!("created {id} for ")));
    assert_eq!(ssh(&created, "hostname"), id);
    assert_eq!(destroy(&mut client, &created), json!({"success": true, "message": "OK", "data": {}}));
    assert_eq!(line(), format!("destroyed {id}"));
    child.stdin.take().expect("a pipe").write_all(b"\n").expect("it reads");
    assert!(child.wait().expect("it ends").success());
}

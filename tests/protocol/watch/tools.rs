//! What tools of the host change in the store beside the daemon.

use std::time::Instant;

use super::*;
use crate::common::PASSWORD;

#[test]
fn a_client_sees_what_tools_change_in_the_store() {
    let daemon = Daemon::start();
    let mut client = watcher(&daemon);
    let store = format!("sqlite:{}", daemon.state_dir().join("vmherd.sqlite3").display());
    let mut run = |arguments: &[&str], input: &str| {
        let started = Instant::now();
        daemon.vm_command(&[arguments, &["--store", &store]].concat(), input).expect_success();
        let change = change(&mut client);
        println!("{arguments:?} is seen {:?} after the tool was started", started.elapsed());
        let vm = &change["vm"];
        (
            change["kind"].clone(),
            change["vm_id"].clone(),
            vm["ram"].clone(),
            vm["disks"][0]["disk_size"].clone(),
        )
    };
    let password = format!("{PASSWORD}\n");
    let added = run(&["add", "web-1", "--ram", "2G", "--cpu", "4", "--disk", "100G"], &password);
    assert_eq!(added, (json!("registered"), json!("web-1"), json!(2048), json!(100)));
    let set = run(&["set", "web-1", "--ram", "4G"], "");
    assert_eq!(set, (json!("updated"), json!("web-1"), json!(4096), json!(100)));
    let removed = run(&["remove", "web-1"], "");
    assert_eq!(removed, (json!("removed"), json!("web-1"), json!(null), json!(null)));
}

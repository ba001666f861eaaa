//! What HTTP says while the store is gone, and once it is back.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::common::{DEADLINE, Daemon, wait_until};
use crate::programs::fetch;

#[test]
fn a_daemon_whose_database_stops_is_not_well_until_it_is_back() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let daemon = Daemon::builder().args(["--store", &database.url()]).start();
    let url = format!("http://{}/", daemon.address());
    let health = format!("{url}healthz");
    let is_well = |answer: &crate::programs::Answer| (answer.status, answer.body.as_str()) == (200, "ok\n");
    assert!(is_well(&fetch([&health])));
    let unavailable = |body: Value, arguments: &[&str]| {
        let answer = match arguments {
            [request] => fetch(["-d", request, &url]),
            _ => fetch([&health]),
        };
        assert_eq!(answer.json(), (503, body));
        assert_eq!(answer.header("Retry-After"), Some("1"));
    };
    cluster.stop();
    let in_commands = json!({"status": "error", "message": "store unavailable", "data": {}});
    unavailable(in_commands.clone(), &[]);
    assert_eq!(fetch(["--head", &health]).status, 503);
    let login = json!({"command": "authenticate", "data": {"vm_id": "a", "password": "securePass123"}});
    unavailable(in_commands, &[&login.to_string()]);
    unavailable(json!({"error": "store unavailable"}), &[r#"{"action": "list_all_vms"}"#]);
    // What needs no store is answered.
    assert_eq!(fetch(["-d", r#"{"command": "ping"}"#, &url]).status, 200);
    assert_eq!(fetch([&url]).status, 200);
    cluster.restart();
    wait_until("it is well again", DEADLINE, || is_well(&fetch([&health])));
}

//! A database that allows fewer connections than the daemon would use: work waits for a connection.

use std::thread;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Database};
use crate::common::{Client, DEADLINE, Daemon, registration, wait_until};
use crate::pgbouncer::PgBouncer;

/// The URL of `database` for a role of its own, which may have so many connections.
fn url_with(database: &Database<'_>, connections: usize) -> String {
    let role = format!("few_of_{}", database.name());
    let make = format!(
        "CREATE ROLE {role} LOGIN CONNECTION LIMIT {connections}; ALTER DATABASE {name} OWNER TO {role}",
        name = database.name()
    );
    database.client().batch_execute(&make).expect("a role");
    database.url().replace("//vmherd@", &format!("//{role}@"))
}

/// Many clients add, change and read VMs at once: all are served, or answered `busy` where much waits.
#[track_caller]
fn all_are_served(daemon: &Daemon) {
    const CLIENTS: usize = 12;
    const ROUNDS: usize = 15;
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let mut client = daemon.client();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let name = format!("vm-{number}-{round}");
                    served(&mut client, registration(&name, &[1, 2]));
                    let added = served(&mut client, json!({"action": "add_vm", "ram": 1, "disks": [1]}));
                    assert_eq!(added["status"], "vm added", "{added}");
                    let point = json!({"key": name, "value": round, "timestamp": round});
                    served(&mut client, json!({"command": "put", "data": point}));
                    served(&mut client, json!({"command": "get", "data": {"key": name}}));
                }
            });
        }
    });
    let vms = served(&mut daemon.client(), json!({"action": "list_all_vms"}));
    assert_eq!(vms["all_vms"].as_array().map(Vec::len), Some(2 * CLIENTS * ROUNDS));
}

/// The answer, which must be a success.
#[track_caller]
fn served(client: &mut Client, request: Value) -> Value {
    let reply = client.call(request);
    assert!(reply["status"] != "error" && reply["error"].is_null(), "{reply}");
    reply
}

#[test]
fn a_role_with_few_connections_serves_all() {
    for connections in [4, 1] {
        let database = Cluster::shared().database();
        let daemon = Daemon::builder().args(["--store", &url_with(&database, connections)]).start();
        all_are_served(&daemon);
        daemon.wait_for_log("which take turns: ");
        assert!(!daemon.log().contains("can't be reached"), "{}", daemon.log());
    }
}

#[test]
fn a_pooler_with_few_connections_serves_all() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let pooler = PgBouncer::before(&cluster, "default_pool_size = 2");
    let daemon = Daemon::builder().args(["--store", &pooler.url(database.name())]).start();
    all_are_served(&daemon);
}

#[test]
fn one_connection_suffices_for_everything() {
    let database = Cluster::shared().database();
    let arguments = [
        "--store",
        &database.url(),
        "--store-connections",
        "1",
        "--metrics-durability",
        "memory",
        "--metrics-retention",
        "10s",
    ];
    let mut daemon = Daemon::builder().args(arguments).start();
    // Never more than that, as the server counts them.
    let mut administrator = database.client();
    let mut connections = move || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'vmherd'";
        administrator.query_one(sql, &[]).expect("a count").get::<_, i64>(0)
    };
    let mut client = daemon.client();
    // Of the year 1000: old enough to be removed.
    served(
        &mut client,
        json!({"command": "put", "data": {"key": "old", "value": 1, "timestamp": -30_610_224_000_i64}}),
    );
    all_are_served(&daemon);
    assert_eq!(connections(), 1);
    wait_until("old points are removed", 3 * DEADLINE, || {
        let found = served(&mut client, json!({"command": "get", "data": {"key": "old"}}));
        assert_eq!(connections(), 1);
        found["data"] == json!({})
    });
    served(
        &mut client,
        json!({"command": "put", "data": {"key": "last", "value": 1, "timestamp": 253_402_300_799_i64}}),
    );
    daemon.stop();
    daemon.restart();
    let kept = served(&mut daemon.client(), json!({"command": "get", "data": {"key": "last"}}));
    assert_eq!(kept["data"], json!({"last": [[253_402_300_799_i64, 1.0]]}));
}

//! PgBouncer between the daemon and its database.

use serde_json::json;

use crate::cluster::Cluster;
use crate::common::{DEADLINE, Daemon, request, wait_until};
use crate::pgbouncer::PgBouncer;

#[test]
fn a_session_pooler_works_with_default_settings() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let pooler = PgBouncer::before(&cluster, "");
    // Options in the URL apply to its sessions.
    database.client().batch_execute("CREATE SCHEMA herd").unwrap();
    let url = format!("{}?options=-csearch_path%3Dherd", pooler.url(database.name()));
    let mut daemons = [(); 2].map(|()| Daemon::builder().args(["--store", &url]).start());
    for (number, daemon) in daemons.iter_mut().enumerate() {
        let name = format!("vm-{number}");
        let mut client = daemon.client();
        client.register(&name, &[10]);
        let token = client.authenticate(&name);
        client.succeed("update", json!({"ram": 2048}));
        // The next client gets their sessions.
        daemon.restart();
        let mut client = daemon.client();
        client.succeed("list", json!({"list_type": "all_vms", "token": token}));
        assert_eq!(client.list("all_vms").len(), number + 1);
    }
    let mut owner = database.client();
    assert_eq!(owner.query_one("SELECT count(*) FROM herd.vms", &[]).unwrap().get::<_, i64>(0), 2);
    let mut client = daemons[0].client();
    client.authenticate("vm-0");
    owner
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .unwrap();
    wait_until("it goes on", DEADLINE, || {
        client.call(request("list", json!({"list_type": "all_vms"})))["status"] == "success"
    });
}

#[test]
fn a_transaction_or_statement_pooler_is_refused() {
    let cluster = Cluster::start();
    let database = cluster.database();
    for mode in ["transaction", "statement"] {
        let pooler = PgBouncer::before(&cluster, &format!("pool_mode = {mode}"));
        let ended = Daemon::builder().args(["--store", &pooler.url(database.name())]).run_to_end();
        assert!(ended.code() == Some(1), "{ended:?}");
        let why = "a pooler before the database that pools transactions or statements can't be used: \
                   set PgBouncer's pool_mode to session for it";
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
}

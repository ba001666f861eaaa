//! A database with serializable transactions: they fail where others would wait, and are tried again.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::Cluster;
use crate::common::{Client, Daemon, DaemonFate, request};
use crate::overload::{LatencyProbe, alone, best_of_three};
use crate::traffic::Traffic;
use crate::{STORE_DEADLINE, amount, daemon_on};

/// How long a transaction that conflicts with others is retried.
const RETRY_TIME: Duration = Duration::from_millis(1500);
/// Connections that change the same VM.
const RIVALS: usize = 6;

#[test]
fn no_client_sees_an_error_that_a_retry_avoids() {
    let _alone = alone();
    best_of_three("serializable transactions", || {
        let cluster = Cluster::shared();
        let database = cluster.database();
        let sql =
            format!("ALTER DATABASE {} SET default_transaction_isolation = serializable", database.name());
        database.client().batch_execute(&sql).expect(&sql);
        // Two daemons: a single one could serialize its own writes.
        let log = ["--log", "info,vmherd::store=debug"];
        let daemons = [(); 2].map(|()| daemon_on(&database).args(log).start());
        daemons[0].client().register("shared", &[1, 2]);
        let probe = LatencyProbe::start(&daemons[0]);
        let traffics = [0, 1].map(|at: usize| Traffic::start(&daemons[at], 4, DaemonFate::Lives));
        let rivals: Vec<Client> = (0..RIVALS).map(|rival| rival_on(&daemons[rival % 2])).collect();
        let rounds = amount(60, 600);
        thread::scope(|scope| {
            for (rival, mut client) in rivals.into_iter().enumerate() {
                scope.spawn(move || {
                    for round in 0..rounds {
                        let ram = 1 + RIVALS * round + rival;
                        let disks = vec![json!({"disk_size": ram}); 1 + round % 3];
                        let begin = Instant::now();
                        let reply = client.call(request("update", json!({"ram": ram, "disks": disks})));
                        let time = begin.elapsed();
                        // On a slow machine the time for the retries, or for the store, may be over.
                        let is_late = match reply["message"].as_str() {
                            Some("busy") => time >= RETRY_TIME,
                            Some("outcome unknown") => time >= STORE_DEADLINE,
                            _ => false,
                        };
                        assert!(reply["status"] == "success" || is_late, "{reply} after {time:?}");
                    }
                });
            }
        });
        for (history, daemon) in traffics.map(Traffic::finish).iter().zip(&daemons) {
            history.check_answers(&[]);
            history.check_tokens(daemon);
            history.check_vms(&mut database.client());
        }
        let sql =
            "SELECT bool_and(size_gib = ram_mib) FROM disks JOIN vms ON vm = vms.id WHERE name = 'shared'";
        let is_whole: bool = database.client().query_one(sql, &[]).expect(sql).get(0);
        assert!(is_whole, "an update was done by half");
        probe.finish()
    });
}

fn rival_on(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    client.authenticate("shared");
    client
}

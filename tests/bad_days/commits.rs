//! Connections that end between a commit and its answer: the outcome is unknown, and the write is not tried again.

use std::time::Instant;

use serde_json::{Value, json};
use vmherd::internals::limits::POSTGRES_RECENTLY_USED;

use crate::amount;
use crate::cluster::{Cluster, Database};
use crate::common::{Client, DEADLINE, Daemon, PASSWORD, registration, request, wait_until};
use crate::overload::{LatencyProbe, alone, best_of_three};
use crate::proxy::{Cut, Proxy};

/// A commit, as the daemon sends it. Registrations soon after a commit are one statement, without it.
const COMMIT: &str = "COMMIT\0";

#[test]
fn a_commit_without_an_answer_is_unknown_and_applied_at_most_once() {
    let _alone = alone();
    best_of_three("commits without an answer", || {
        let cluster = Cluster::shared();
        let database = cluster.database();
        let proxy = Proxy::to(cluster.socket());
        let daemon = Daemon::builder().args(["--store", &proxy.url(database.name())]).start();
        let probe = LatencyProbe::start(&daemon);
        let mut vms = 0;
        for round in 0..amount(12, 100) {
            // Half of the commits arrive.
            let is_done = round % 2 == 0;
            let owner = format!("owner-{round}");
            let (asked, effect) = request_of(round / 2, &owner);
            let mut client = daemon.client();
            client.register(&owner, &[1, 2]);
            client.authenticate(&owner);
            let begin = Instant::now();
            wait_until("no commit is recent", DEADLINE, || begin.elapsed() > POSTGRES_RECENTLY_USED);
            let (commits, before) = (proxy.commits(), count(&database, &effect));
            proxy.cut(if is_done { Cut::After(COMMIT) } else { Cut::Before(COMMIT) });
            assert_eq!(client.fail(asked.clone()), "outcome unknown", "{asked}");
            assert!(!proxy.is_armed() && proxy.commits() == commits + 1, "it was sent again: {asked}");
            let after = before + i64::from(is_done);
            // The server may still be running it.
            wait_until("it is done", DEADLINE, || count(&database, &effect) == after);
            assert!(proxy.commits() == commits + 1, "it was sent again: {asked}");
            vms += i64::from(is_done && asked["command"] == "register");
            // Another request gets a working connection.
            let mut other = daemon.client();
            other.register(&format!("after-{round}"), &[1]);
            vms += 2;
            assert_eq!(count(&database, &effect), after, "{asked}");
        }
        assert_eq!(count(&database, "vms"), vms);
        assert_eq!(count(&database, &format!("vm_total WHERE vms = {vms}")), 1);
        probe.finish()
    });
}

/// Writes of several clients share a commit: all of them or none.
#[test]
fn writes_that_share_a_commit_share_its_fate() {
    let _alone = alone();
    best_of_three("a shared commit without an answer", || {
        let cluster = Cluster::shared();
        let database = cluster.database();
        let proxy = Proxy::to(cluster.socket());
        let daemon = Daemon::builder().args(["--store", &proxy.url(database.name())]).start();
        let mut clients: Vec<Client> = (0..16).map(|_| daemon.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.register(&format!("vm-{number}"), &[1]);
            client.authenticate(&format!("vm-{number}"));
        }
        let probe = LatencyProbe::start(&daemon);
        let (mut unknown, mut acknowledged) = (0, 0);
        for round in 0..amount(5, 50) {
            proxy.cut(Cut::After(COMMIT));
            let ram = 1000 + round;
            for client in &mut clients {
                let data = json!({"ram": ram, "disks": [{"disk_size": ram}, {"disk_size": 2}]});
                client.send(&request("update", data).to_string());
            }
            for client in &mut clients {
                let reply = client.reply();
                match reply["message"].as_str() {
                    Some("outcome unknown") => unknown += 1,
                    _ => {
                        assert_eq!(reply["status"], "success", "{reply}");
                        acknowledged += 1;
                    }
                }
            }
            assert!(!proxy.is_armed());
            // All commits have arrived, so everything is there, once.
            let updated =
                format!("disks JOIN vms ON vm = vms.id WHERE ram_mib = {ram} AND size_gib IN ({ram}, 2)");
            wait_until("all of it is done", DEADLINE, || count(&database, &updated) == 32);
            assert_eq!(count(&database, "disks"), 32);
        }
        eprintln!("  {acknowledged} acknowledged, {unknown} unknown");
        assert!(unknown > 0);
        probe.finish()
    });
}

/// A write for `owner` or, if it registers, of another VM; and the rows of which there is one more when it is done.
fn request_of(kind: usize, owner: &str) -> (Value, String) {
    let disks_of = |name: &str| format!("disks JOIN vms ON vm = vms.id WHERE name = '{name}'");
    match kind % 3 {
        0 => {
            let name = format!("child-of-{owner}");
            (registration(&name, &[77]), format!("{} AND size_gib = 77", disks_of(&name)))
        }
        1 => {
            let disks = json!([{"disk_size": 77}, {"disk_size": 2}]);
            let update = request("update", json!({"ram": 77, "disks": disks}));
            (update, format!("{} AND size_gib = 77 AND ram_mib = 77", disks_of(owner)))
        }
        _ => {
            let login = request("authenticate", json!({"vm_id": owner, "password": PASSWORD}));
            (login, format!("tokens JOIN vms ON vm = vms.id WHERE name = '{owner}'"))
        }
    }
}

fn count(database: &Database<'_>, of: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {of}");
    database.client().query_one(&sql, &[]).expect(&sql).get(0)
}

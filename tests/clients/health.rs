//! The health check over HTTP while the store is down or takes no writes, and afterwards.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::common::{Client, DEADLINE, Daemon, registration, wait_until};
use crate::programs::{Answer, fetch};

fn is_well(answer: &Answer) -> bool {
    (answer.status, answer.body.as_str()) == (200, "ok\n")
}

#[test]
fn the_daemon_is_unhealthy_while_its_database_is_stopped() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let daemon = Daemon::builder().args(["--store", &database.url()]).start();
    let url = format!("http://{}/", daemon.address());
    let health = format!("{url}healthz");
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
    // Requests that need no store are answered.
    assert_eq!(fetch(["-d", r#"{"command": "ping"}"#, &url]).status, 200);
    assert_eq!(fetch([&url]).status, 200);
    cluster.restart();
    wait_until("it is well again", DEADLINE, || is_well(&fetch([&health])));
}

/// Changes `cluster` by `changes` and later by `back`, with writes by `attempt`: the health check shows the failure.
#[track_caller]
fn writes_fail_and_come_back(
    cluster: &Cluster,
    arguments: &[&str],
    changes: &[&str],
    back: &[&str],
    mut attempt: impl FnMut(&mut Client) -> String,
) {
    let database = cluster.database();
    let daemon = Daemon::builder().args(["--store", &database.url()]).args(arguments.iter().copied()).start();
    let health = format!("http://{}/healthz", daemon.address());
    let mut client = daemon.client();
    attempt(&mut client);
    let mut administrator = database.client();
    let mut change = |statements: &[&str]| {
        let own = "SELECT pg_reload_conf(), pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = 'vmherd'";
        let all =
            statements.iter().map(|sql| sql.replace("DATABASE", &format!("DATABASE {}", database.name())));
        all.for_each(|sql| administrator.batch_execute(&sql).expect("a setting"));
        administrator.batch_execute(own).expect("new sessions");
    };
    change(changes);
    wait_until("writing is known to be ill", 3 * DEADLINE, || {
        attempt(&mut client);
        !is_well(&fetch([&health]))
    });
    let answer = fetch([&health]);
    assert_eq!(answer.json(), (503, json!({"status": "error", "message": "store unavailable", "data": {}})));
    daemon.wait_for_log("no write to the store comes through: ");
    change(back);
    wait_until("writing is well again", 3 * DEADLINE, || {
        attempt(&mut client);
        is_well(&fetch([&health]))
    });
    daemon.wait_for_log("writes to the store come through again");
}

/// Registers another VM; the reply.
fn registers() -> impl FnMut(&mut Client) -> String {
    let mut count = 0;
    move |client| {
        count += 1;
        client.call(registration(&format!("vm-{count}"), &[1])).to_string()
    }
}

#[test]
fn the_daemon_is_unhealthy_from_a_failed_write_to_the_next_success() {
    let read_only = "ALTER DATABASE SET default_transaction_read_only = on";
    let back = "SET default_transaction_read_only = off; ALTER DATABASE RESET default_transaction_read_only";
    writes_fail_and_come_back(&Cluster::start(), &[], &[read_only], &[back], registers());
}

#[test]
fn the_daemon_is_unhealthy_from_a_hung_write_to_the_next_success() {
    let (waits, back) = (
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        "ALTER SYSTEM RESET synchronous_standby_names",
    );
    writes_fail_and_come_back(&Cluster::start(), &[], &[waits], &[back], registers());
}

#[test]
fn write_behind_is_unhealthy_while_it_cannot_flush() {
    let read_only = "ALTER DATABASE SET default_transaction_read_only = on";
    let back = "SET default_transaction_read_only = off; ALTER DATABASE RESET default_transaction_read_only";
    let mut second = 0;
    let puts = |client: &mut Client| {
        second += 1;
        let point = json!({"key": "a", "value": 1, "timestamp": second});
        client.call(json!({"command": "put", "data": point})).to_string()
    };
    let arguments = ["--metrics-durability", "memory"];
    writes_fail_and_come_back(&Cluster::start(), &arguments, &[read_only], &[back], puts);
}

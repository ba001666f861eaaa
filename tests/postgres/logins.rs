//! A request that waits for a row of the database, before a login of its connection as another VM.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::common::{DEADLINE, request, wait_until};
use crate::daemon_on;

#[test]
fn a_login_waits_for_the_writes_before_it() {
    let database = Cluster::shared().database();
    let daemon = daemon_on(&database);
    let mut client = daemon.client();
    client.register("a", &[1]);
    client.register("b", &[1]);
    let token = client.authenticate("b");
    let with_token = request("list", json!({"list_type": "all_vms", "token": token}));
    let mut other = database.client();
    for (update, refusal) in [
        (json!({"request_id": 7, "command": "update", "data": {"ram": 7}}), "You have to authenticate"),
        (json!({"request_id": 7, "action": "update_vm", "vm_id": 1, "ram": 7}), "vm not authenticated"),
    ] {
        wait_until("an attempt without a timeout of the lock", 4 * DEADLINE, || {
            client.authenticate("a");
            // As a change of the password does, which is not committed yet.
            other.batch_execute("BEGIN; UPDATE vms SET epoch = epoch + 1 WHERE name = 'a'").expect("a lock");
            client.send(&update.to_string());
            daemon.wait_in_flight(1);
            let login = json!({"request_id": 8, "command": "authenticate", "data": {"vm_id": "b", "password": crate::common::PASSWORD}});
            client.send(&login.to_string());
            other.batch_execute("COMMIT").expect("a commit");
            let [late, login] = [client.reply(), client.reply()];
            assert_eq!(
                [&late["request_id"], &login["request_id"]],
                [7, 8],
                "a login waits for the writes before it"
            );
            assert_eq!(login["status"], "success", "{login}");
            let is_late = late.to_string().contains(refusal);
            if !is_late {
                eprintln!("{late}");
            }
            // The connection is that of the second VM, also by the way of a token of its own.
            let own = client.list("authenticated_vms");
            assert!(own.iter().any(|entry| is_own(entry, client.local_address().port())), "{own:?}");
            assert_eq!(client.call(with_token.clone())["status"], "success");
            is_late
        });
    }
}

/// Whether an entry of a list is that of the VM `b` on the connection with this port.
fn is_own(entry: &Value, port: u16) -> bool {
    entry["addr"][1] == port && entry["vm_info"]["vm_id"] == "b"
}

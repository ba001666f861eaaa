//! A daemon that is started while its database is down: it serves requests that need no database, and waits.

use std::os::unix::net::UnixDatagram;

use serde_json::json;

use crate::cluster::Cluster;
use crate::common::{DEADLINE, Daemon, TempDir, registration, request, wait_until};
use crate::daemon_on;
use crate::proxy::Proxy;

#[test]
fn a_daemon_started_first_serves_once_its_database_is_up() {
    let cluster = Cluster::start();
    let database = cluster.database();
    cluster.stop();
    let mut daemon = daemon_on(&database);
    daemon.wait_for_log("is not available yet; retrying");
    let mut client = daemon.client();
    client.ping();
    assert_eq!(client.fail(registration("web", &[10])), "store unavailable");
    client.ping();
    let tool = daemon.vm_command(&["list", "--store", &database.url()], "");
    assert!(tool.code() == Some(1) && !tool.stderr.is_empty(), "the tool does not wait: {tool:?}");
    cluster.restart();
    wait_until("it is there", DEADLINE, || client.call(registration("web", &[10]))["status"] == "success");
    assert!(daemon.log().contains(" is open"), "{}", daemon.log());
    // It can be stopped while it waits.
    cluster.stop();
    daemon.restart();
    daemon.stop();
}

/// The status line of a health check's response.
#[cfg(feature = "http")]
fn health_status(daemon: &Daemon) -> String {
    let mut checker = daemon.client();
    checker.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    checker.raw_line().trim_end().to_owned()
}

/// What a server says while it starts up, recovers, or shuts down.
const NOT_READY: [(&str, &str); 3] = [
    ("57P03", "the database system is starting up"),
    ("57P03", "the database system is in recovery mode"),
    ("57P03", "the database system is shutting down"),
];

#[test]
fn a_daemon_waits_for_a_database_that_recovers() {
    let cluster = Cluster::start();
    let database = cluster.database();
    for refusal in NOT_READY {
        let proxy = Proxy::to(cluster.socket());
        proxy.refuse(Some(refusal));
        let dir = TempDir::new();
        let manager = UnixDatagram::bind(dir.path().join("notify")).expect("a new socket");
        let mut daemon = Daemon::builder()
            .args(["--store", &proxy.url(database.name())])
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .start();
        daemon.wait_for_log("is not available yet; retrying");
        daemon.wait_for_log(refusal.1);
        manager.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        let message = || {
            let mut bytes = [0; 4096];
            let length = manager.recv(&mut bytes).expect("the manager is notified");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        assert!(message().starts_with("STATUS=opening the store "));
        let ready = message();
        assert!(ready.starts_with("READY=1\nSTATUS=waiting for the store; "), "{ready}");

        // It serves what needs no store, and goes on trying.
        let mut client = daemon.client();
        let name = refusal.1.replace(' ', "-");
        let refused = proxy.refused();
        wait_until("it has tried again", DEADLINE, || {
            client.ping();
            assert_eq!(client.fail(registration(&name, &[10])), "store unavailable");
            proxy.refused() > refused
        });
        #[cfg(feature = "http")]
        assert_eq!(health_status(&daemon), "HTTP/1.1 503 Service Unavailable");

        proxy.refuse(None);
        let registration = registration(&name, &[10]);
        wait_until("it is there", DEADLINE, || client.call(registration.clone())["status"] == "success");
        let opened = message();
        assert!(opened.starts_with("STATUS=listening on "), "{opened}");
        daemon.stop();
    }
}

#[test]
fn a_daemon_with_only_a_standby_waits_for_its_promotion() {
    let primary = Cluster::start();
    let database = primary.database();
    daemon_on(&database).client().register("web", &[10]);
    let standby = primary.standby();
    let url = format!("postgresql://vmherd@{}/{}", standby.host(), database.name());
    let daemon = Daemon::builder().args(["--store", &url]).start();
    daemon.wait_for_log("this server is a standby");
    primary.kill();
    standby.promote();
    let mut client = daemon.client();
    wait_until("it takes writes", DEADLINE, || client.call(registration("db", &[1]))["status"] == "success");
}

#[test]
fn a_permanent_database_error_ends_the_daemon_at_once() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let nowhere = database.url().replace(database.name(), "elsewhere");
    let role = database.url().replace("//vmherd@", "//nobody_known@");
    let schema = format!("{}?options=-csearch_path%3Dnowhere", database.url());
    let encoding = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0";
    database.client().batch_execute(encoding).expect(encoding);
    let latin = database.url().replace(database.name(), "latin");
    let cases =
        [(&nowhere, 1, "3D000"), (&role, 1, "28000"), (&schema, 78, "search_path"), (&latin, 78, "UTF8")];
    for (url, code, why) in cases {
        let ended = Daemon::builder().args(["--store", url]).run_to_end();
        assert!(ended.code() == Some(code) && ended.stderr.contains(why), "{why}: {ended:?}");
    }
    cluster.stop();
    let mut daemons = cases.map(|(url, code, why)| {
        let daemon = Daemon::builder().args(["--store", url]).start();
        daemon.client().ping();
        (daemon, code, why)
    });
    cluster.restart();
    for (daemon, code, why) in &mut daemons {
        assert_eq!(daemon.wait().code(), Some(*code), "{}", daemon.log());
        assert!(daemon.log().contains(*why), "{}", daemon.log());
    }
}

#[test]
fn no_client_is_accepted_before_the_database_is_open() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut daemon = daemon_on(&database);
    let mut client = daemon.client();
    client.register("web", &[10]);
    let token = client.authenticate("web");
    cluster.stop();
    daemon.restart();
    let mut client = daemon.client();
    let with_token = request("list", json!({"list_type": "all_vms", "token": token}));
    assert_eq!(client.fail(with_token.clone()), "store unavailable");
    assert_eq!(client.fail(request("list", json!({"list_type": "all_vms"}))), NOT_AUTHENTICATED);
    cluster.restart();
    wait_until("the token counts", DEADLINE, || client.call(with_token.clone())["status"] == "success");
}

const NOT_AUTHENTICATED: &str = "You have to authenticate to run this operation";

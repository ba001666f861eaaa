//! Settings that change while the daemon runs.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::DEADLINE;
use crate::common::{Client, Daemon, PASSWORD, TempDir, request, wait_until};
use crate::support::Manager;
#[cfg(feature = "http")]
use crate::web::Web;

/// A daemon with a settings file that can be replaced, and a manager that gets its messages.
pub(crate) struct Reloadable {
    pub(crate) daemon: Daemon,
    manager: Manager,
    file: PathBuf,
    _dir: TempDir,
}

impl Reloadable {
    pub(crate) fn start(settings: &str) -> Reloadable {
        let (dir, manager) = (TempDir::new(), Manager::new());
        let file = dir.path().join("vmherd.conf");
        fs::write(&file, settings).unwrap();
        let builder = Daemon::builder().arg("--config").arg(&file).arg("--store=memory:");
        let daemon = builder.env("NOTIFY_SOCKET", manager.path()).start();
        manager.wait_for("READY=1");
        Reloadable { daemon, manager, file, _dir: dir }
    }

    /// Reloads the daemon with `settings`; the status that the manager gets afterwards.
    pub(crate) fn reload(&self, settings: impl AsRef<[u8]>) -> String {
        fs::write(&self.file, settings).unwrap();
        self.daemon.signal("HUP");
        assert!(self.manager.next().starts_with("RELOADING=1"));
        let ready = self.manager.next();
        ready.strip_prefix("READY=1\nSTATUS=").unwrap_or_else(|| panic!("{ready}")).to_owned()
    }
}

fn register(client: &mut Client, name: &str) -> Value {
    let data = json!({"vm_id": name, "ram": 1, "cpu": 1, "password": PASSWORD, "disks": []});
    client.call(request("register", data))["message"].take()
}

#[test]
fn a_reload_changes_registration_and_limits_of_open_connections() {
    let service = Reloadable::start("VMHERD_VMS_MAX=1\n");
    let mut client = service.daemon.client();
    client.register("one", &[]);
    assert_eq!(register(&mut client, "two"), "VM limit reached");
    service.reload("VMHERD_VMS_MAX=2\n");
    client.register("two", &[]);
    service.reload("VMHERD_REGISTRATION=closed\n");
    assert_eq!(register(&mut client, "three"), "Registration is closed");
    service.reload("");
    client.register("three", &[]);
    service.daemon.wait_for_log("--vms-max is 2 instead of 1 (");
    service.daemon.wait_for_log("--registration is closed instead of open on this host only (");
    service.daemon.wait_for_log("--registration is open on this host only instead of closed (default)");
}

#[test]
fn a_reload_changes_the_login_limits() {
    let service = Reloadable::start("VMHERD_LOGIN_FAILURES=none\n");
    let daemon = &service.daemon;
    let mut client = daemon.client();
    client.register("vm", &[]);
    let guess = request("authenticate", json!({"vm_id": "vm", "password": "notThePassword"}));
    let mut guess = |times: usize| (0..times).for_each(|_| assert!(!client.fail(guess.clone()).is_empty()));
    guess(7);
    daemon.wait_for_counter("logins_delayed", |delayed| delayed == 0);
    service.reload("VMHERD_LOGIN_FAILURES=2\nVMHERD_LOGIN_DELAY_MAX=none\n");
    guess(7);
    daemon.wait_for_counter("logins_delayed", |delayed| delayed == 0);
    // Failures are remembered: from now on each guess has the maximum delay.
    service.reload("VMHERD_LOGIN_FAILURES=2\nVMHERD_LOGIN_DELAY_MAX=1s\n");
    guess(2);
    daemon.wait_for_counter("logins_delayed", |delayed| delayed >= 1);
    daemon.wait_for_log("--login-failures is 2 instead of none (");
    daemon.wait_for_log("--login-delay-max is 1s instead of none (");
}

#[test]
fn a_reload_changes_timeouts_of_open_connections() {
    let service = Reloadable::start("VMHERD_IDLE_TIMEOUT=none\n");
    let (mut idle, mut half) = (service.daemon.client(), service.daemon.client());
    idle.ping();
    half.send("{\"command\":");
    service.reload("VMHERD_REQUEST_TIMEOUT=50ms\nVMHERD_IDLE_TIMEOUT=50ms\n");
    assert!(half.error().contains("time"), "the request took too long");
    idle.expect_closed();
    // And back, for a new connection.
    service.reload("VMHERD_FIRST_REQUEST_TIMEOUT=50ms");
    service.daemon.client().expect_closed();
    service.reload("");
    service.daemon.client().ping();
}

/// The daemon remembers heads of requests.
#[cfg(feature = "http")]
#[test]
fn a_reload_changes_the_hosts_of_open_connections() {
    let service = Reloadable::start("VMHERD_HTTP_HOST=vms.example.org\n");
    let mut client = Web::connect(service.daemon.address());
    let body = r#"{"command": "ping"}"#;
    let request =
        format!("POST / HTTP/1.1\r\nHost: vms.example.org\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut status = || {
        client.send(&request);
        client.reply().status
    };
    assert_eq!([status(), status(), status()], [200; 3]);
    service.reload("VMHERD_HTTP_HOST=herd.example.org\n");
    assert_eq!(status(), 403);
}

#[test]
fn a_reload_starts_the_removal_of_old_points() {
    let service = Reloadable::start("");
    let mut client = service.daemon.client();
    let points =
        json!([{"key": "load", "value": 0.5, "timestamp": 1_503_319_740}, {"key": "load", "value": 1}]);
    client.call(request("put", json!({"points": points})));
    let mut count = || {
        let got = client.call(request("get", json!({"key": "load"})));
        got["data"]["load"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(count(), 2);
    service.reload("VMHERD_METRICS_RETENTION=1d\n");
    wait_until("the old point goes", DEADLINE, || count() == 1);
    service.daemon.wait_for_log("--metrics-retention is 1d instead of none (");
    service.reload("VMHERD_METRICS_DURABILITY=memory\n");
    service.daemon.wait_for_log("--metrics-durability");
    assert_eq!(count(), 1);
}

#[test]
fn a_reload_changes_the_connection_limit() {
    let service = Reloadable::start("VMHERD_CONNECTIONS_MAX=2\n");
    let mut clients = [service.daemon.client(), service.daemon.client()];
    // Anonymous clients would be evicted.
    clients[0].register("vm", &[]);
    clients.iter_mut().for_each(|client| drop(client.authenticate("vm")));
    let mut third = service.daemon.client();
    third.send(&request("ping", json!({})).to_string());
    service.daemon.wait_for_log("accepting is paused");
    service.reload("VMHERD_CONNECTIONS_MAX=3\n");
    assert_eq!(third.reply()["message"], "PONG", "it waited for room");
    service.reload("VMHERD_CONNECTIONS_MAX=1\n");
    clients.iter_mut().for_each(Client::ping);
    third.ping();
}

#[test]
fn a_reload_changes_the_open_request_limit() {
    const SLOWLY: &str = "VMHERD_CONVERSION_DELAY=100ms..200ms\n";
    let service = Reloadable::start(SLOWLY);
    let mut client = service.daemon.client();
    client.register("a", &[]);
    service.reload(format!("{SLOWLY}VMHERD_REQUESTS_PER_CONNECTION=1\n"));
    let login = |id: u32| json!({"command": "authenticate", "request_id": id, "data": {"vm_id": "a", "password": PASSWORD}});
    // A barrier waits for earlier requests, so one is open at a time and no request is refused.
    client.send(&format!("{}{}", login(1), login(2)));
    assert_eq!(
        (&client.reply()["status"], &client.reply()["status"]),
        (&json!("success"), &json!("success"))
    );
    // Conversions are open for a while.
    let conversion = |id: u32| json!({"request_id": id, "data": "a&&b&&c&&d"});
    client.send(&format!("{}{}", conversion(3), conversion(4)));
    assert_eq!(client.reply(), json!({"request_id": 4, "error": "busy"}));
    assert_eq!(client.reply()["request_id"], 3);
    service.reload(format!("{SLOWLY}VMHERD_REQUESTS_PER_CONNECTION=2\n"));
    client.send(&format!("{}{}", conversion(5), conversion(6)));
    let replies = [client.reply(), client.reply()];
    assert!(replies.iter().all(|reply| reply["error"].is_null()), "{replies:?}");
}

#[test]
fn a_reload_changes_the_log_level() {
    let service = Reloadable::start("");
    service.reload("VMHERD_LOG=error\n");
    service.reload("VMHERD_LOG=error\nVMHERD_VMS_MAX=5\n");
    service.reload("VMHERD_LOG=warn,vmherd::service=info\nVMHERD_VMS_MAX=5\n");
    service.reload("VMHERD_LOG=warn,vmherd::service=info\nVMHERD_VMS_MAX=6\n");
    service.daemon.wait_for_log("--vms-max is 6 instead of 5 (");
    let log = service.daemon.log();
    assert!(log.contains("--log is error instead of info (") && !log.contains("--vms-max is 5"), "{log}");
    assert!(log.contains("the settings were read again: 1 changed"), "{log}");
}

#[test]
fn a_reload_reports_settings_that_need_a_restart() {
    let service = Reloadable::start("");
    for _ in 0..2 {
        service.reload("VMHERD_AUTH_WORKERS=9\nVMHERD_LOG_FORMAT=json\n");
    }
    wait_until("both are said", DEADLINE, || service.daemon.log().matches("were read again").count() == 2);
    let log = service.daemon.log();
    let waits = |name: &str| log.matches(&format!("--{name} is ")).count();
    assert_eq!((waits("auth-workers"), waits("log-format")), (2, 2), "{log}");
    assert!(
        log.lines().filter(|line| line.contains("after a restart only")).all(|line| line.contains(" WARN "))
    );
}

#[test]
fn a_hundred_bad_files_change_nothing() {
    let service = Reloadable::start("VMHERD_VMS_MAX=1\n");
    let mut client = service.daemon.client();
    client.register("one", &[]);
    for number in 0..100 {
        let good = "VMHERD_VMS_MAX=9\nVMHERD_REGISTRATION=closed\nVMHERD_FIRST_REQUEST_TIMEOUT=10ms\n";
        let bad: Vec<u8> = match number % 10 {
            0 => b"VMHERD_AUTH_QUEUE=0".into(),
            1 => b"VMHERD_TOKEN_LIFETIME=0".into(),
            2 => b"VMHERD_LOG='".into(),
            3 => b"VMHERD_LOG=\xff".into(),
            4 => b"VMHERD_LOG=\0".into(),
            5 => b"VMHERD_REQUEST_TIMEOUT=none".into(),
            6 => b"VMHERD_LOG=\"nonsense=x\ny\"".into(),
            7 => vec![b'#'; (1 << 20) + number],
            8 => format!("VMHERD_VMS_MAX={number}x").into(),
            _ => format!("VMHERD_STORE_FILE=/nonexistent/{number}").into(),
        };
        let status = service.reload([good.as_bytes(), &bad].concat());
        assert!(status.ends_with("other settings were refused, see the log"), "{number}: {status}");
        client.ping();
    }
    assert_eq!(register(&mut client, "two"), "VM limit reached");
    let refused = || service.daemon.log().matches("the settings stay as they were: ").count();
    wait_until("each is logged", DEADLINE, || refused() == 100);
    assert_eq!(service.daemon.log().lines().filter(|line| line.contains("ERROR")).count(), 100);
    fs::remove_file(&service.file).unwrap();
    service.daemon.signal("HUP");
    service.daemon.wait_for_log("can't read");
    service.manager.wait_for("READY=1");
    let status = service.reload("VMHERD_VMS_MAX=2\n");
    assert!(!status.contains("refused"), "{status}");
    client.register("two", &[]);
}

//! How large a request may be.

use serde_json::{Value, json};

use crate::common::{Client, Daemon, PASSWORD, request};

const MIB: usize = 1 << 20;
const KIB_64: usize = 64 << 10;

/// A ping of exactly so many bytes.
fn ping(bytes: usize) -> String {
    let (begin, end) = (r#"{"command":"ping""#, "}");
    format!("{begin}{}{end}", " ".repeat(bytes - begin.len() - end.len()))
}

/// A request one byte too long gets an error and a closed connection; later requests are not run.
#[track_caller]
fn expect_limit(mut connect: impl FnMut() -> Client, bytes_max: usize) {
    let message = format!("Request too large: it may have at most {bytes_max} bytes");
    let mut client = connect();
    client.send(&ping(bytes_max).repeat(2));
    assert_eq!(client.reply()["message"], "PONG");
    assert_eq!(client.reply()["message"], "PONG");
    let register = json!({"vm_id": "late", "ram": 1, "cpu": 1, "password": PASSWORD, "disks": []});
    let register = request("register", register).to_string();
    let pings = ping(20).repeat(1000);
    for sent in [
        format!("{}{register}{pings}", ping(bytes_max + 1)),
        // Whatever its content: an endless string, endless nesting.
        format!("{{\"{}", "x".repeat(bytes_max)),
        "{".repeat(bytes_max + 1),
        "[".repeat(bytes_max + 1),
        format!("{{\"command\":\"ping\",\"data\":{}", "[".repeat(bytes_max)),
    ] {
        let mut client = connect();
        // The daemon may end the connection while this is on its way.
        let _ = client.try_send(sent.as_bytes());
        assert_eq!(client.error(), message);
        client.expect_closed();
    }
    // The error does not wait for the end of the request, the line or the input.
    let mut client = connect();
    client.send(&ping(bytes_max + 1)[..=bytes_max]);
    assert_eq!(client.error(), message);
    client.half_close();
    client.expect_closed();
}

#[test]
fn on_an_open_listener_a_request_has_at_most_a_mebibyte() {
    let daemon = Daemon::start();
    expect_limit(|| daemon.client(), MIB);
    expect_limit(|| daemon.operator(), MIB);
    let mut client = daemon.client();
    client.register("a", &[]);
    client.authenticate("a");
    assert_eq!(client.list("all_vms").len(), 1, "nothing was run after the limit");
}

#[test]
fn a_closed_listener_has_a_smaller_limit_before_login() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=").start();
    let connect = || Client::connect(daemon.addresses()[1]);
    expect_limit(connect, KIB_64);
    daemon.client().register("a", &[]);
    let authenticated = || {
        let mut client = connect();
        client.authenticate("a");
        client
    };
    expect_limit(authenticated, MIB);
    let mut client = authenticated();
    client.send(&ping(MIB));
    assert_eq!(client.reply()["message"], "PONG");
    client.succeed("logout", json!({}));
    let _ = client.try_send(ping(KIB_64 + 1).as_bytes());
    assert_eq!(client.error(), format!("Request too large: it may have at most {KIB_64} bytes"));
    client.expect_closed();
}

#[test]
fn the_size_limit_excludes_white_space_between_requests() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=").start();
    let mut client = Client::connect(daemon.addresses()[1]);
    for _ in 0..4 {
        client.send(&ping(KIB_64));
        client.send(&"\n".repeat(KIB_64 + 1));
        assert_eq!(client.reply()["message"], "PONG");
    }
    // Only time limits a line that is skipped.
    client.send(&format!("x{}\n", "y".repeat(4 * MIB)));
    assert!(client.error().starts_with("Invalid JSON: "));
    client.ping();
}

/// The memory of a large request is freed.
#[test]
fn large_requests_free_their_memory() {
    let daemon = Daemon::start();
    let mut clients: Vec<Client> = (0..20).map(|_| daemon.client()).collect();
    clients.iter_mut().for_each(Client::ping);
    let before = daemon.memory_kib();
    for client in &mut clients {
        client.send(&ping(MIB));
        assert_eq!(client.reply()["message"], "PONG");
    }
    let after = daemon.memory_kib();
    assert!(after < before + 4096, "{before} KiB before, {after} KiB after");
}

#[test]
fn a_vm_with_the_most_disks_fits_one_request() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[1 << 50; 1024]);
    client.authenticate("a");
    let disks: Vec<Value> = (1..=1024).map(|id| json!({"id": id, "disk_size": id})).collect();
    client.succeed("update", json!({"disks": disks}));
    let listed = client.list("all_disks");
    assert!(listed.iter().all(|disk| disk["id"] == disk["disk_size"]) && listed.len() == 1024);
}

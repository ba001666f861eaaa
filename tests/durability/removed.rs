//! The database file is removed or replaced while the daemon runs, or another daemon is to serve from it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Builder, Client, DEADLINE, Daemon, TempDir, registration, request, wait_until};

fn store(daemon: &Daemon) -> PathBuf {
    daemon.state_dir().join("vmherd.sqlite3")
}

/// `path` with `suffix` appended.
fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The answer to `GET /healthz`.
fn health(daemon: &Daemon) -> String {
    let mut client = daemon.client();
    client.send_bytes(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.raw_line()
}

/// `leave` removes or replaces the file, and `back` restores it: nothing is acknowledged meanwhile, and everything that
/// was acknowledged before is there afterwards.
#[track_caller]
fn nothing_is_acknowledged_until_the_file_is_back(leave: impl FnOnce(&Path), back: impl FnOnce(&Path)) {
    let mut daemon = Daemon::start();
    let [mut client, mut other] = [(); 2].map(|()| daemon.client());
    client.register("before", &[1]);
    client.authenticate("before");

    leave(&store(&daemon));
    // Already the next commit fails.
    assert_eq!(client.fail(request("update", json!({"ram": 7}))), "store unavailable");
    for number in 0..20 {
        assert_eq!(other.fail(registration(&format!("lost-{number}"), &[1])), "store unavailable");
    }
    assert_eq!(client.fail(request("list", json!({"list_type": "all_vms"}))), "store unavailable");
    assert!(health(&daemon).contains(" 503 "));
    daemon.wait_for_log("was removed or replaced");

    back(&store(&daemon));
    wait_until("the store is back", DEADLINE, || health(&daemon).contains(" 200 "));
    daemon.wait_for_log("is the same file again");
    client.succeed("update", json!({"ram": 8}));
    other.register("after", &[1]);
    daemon.restart();
    assert_eq!(names(&mut daemon.client()), ["before", "after"]);
}

#[track_caller]
fn names(client: &mut Client) -> Vec<String> {
    client.register("reader", &[]);
    client.authenticate("reader");
    let vms = client.list("all_vms");
    let names = vms.iter().map(|vm| vm["vm_id"].as_str().expect("a name").to_owned());
    names.filter(|name| name != "reader").collect()
}

fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    fs::rename(from, to).expect("renamed");
}

#[test]
fn the_file_is_moved_away_and_back() {
    nothing_is_acknowledged_until_the_file_is_back(
        |store| rename(store, with(store, ".away")),
        |store| rename(with(store, ".away"), store),
    );
}

#[test]
fn the_file_is_removed_and_linked_again() {
    nothing_is_acknowledged_until_the_file_is_back(
        |store| {
            fs::hard_link(store, with(store, ".kept")).expect("a link");
            fs::remove_file(store).expect("removed");
        },
        |store| fs::hard_link(with(store, ".kept"), store).expect("a link"),
    );
}

#[test]
fn a_replaced_file_is_detected() {
    nothing_is_acknowledged_until_the_file_is_back(
        |store| {
            fs::hard_link(store, with(store, ".kept")).expect("a link");
            fs::copy(store, with(store, ".copy")).expect("a copy");
            rename(with(store, ".copy"), store);
        },
        |store| rename(with(store, ".kept"), store),
    );
}

/// The log holds the last commits.
#[test]
fn the_log_beside_the_file_is_moved_away_and_back() {
    nothing_is_acknowledged_until_the_file_is_back(
        |store| rename(with(store, "-wal"), with(store, ".away")),
        |store| rename(with(store, ".away"), with(store, "-wal")),
    );
}

/// The index shows other processes the content of the log.
#[test]
fn the_index_of_the_log_is_moved_away_and_back() {
    nothing_is_acknowledged_until_the_file_is_back(
        |store| rename(with(store, "-shm"), with(store, ".away")),
        |store| rename(with(store, ".away"), with(store, "-shm")),
    );
}

#[test]
fn the_directory_is_moved_away_and_back() {
    let elsewhere = TempDir::new();
    let away = elsewhere.path().join("away");
    nothing_is_acknowledged_until_the_file_is_back(
        |store| rename(store.parent().expect("a directory"), &away),
        |store| rename(&away, store.parent().expect("a directory")),
    );
}

/// An idle daemon checks the file, too.
#[test]
fn a_removed_file_is_detected_without_a_request() {
    let daemon = Daemon::start();
    fs::remove_file(store(&daemon)).expect("removed");
    let begun = Instant::now();
    daemon.wait_for_log("was removed or replaced");
    println!("missed after {:?}", begun.elapsed());
    assert!(begun.elapsed() < DEADLINE);
    assert!(health(&daemon).contains(" 503 "));
}

/// Clients write while the file is removed: a second later nothing is acknowledged.
#[test]
fn no_write_is_acknowledged_after_the_file_is_removed() {
    let daemon = Daemon::start();
    let (path, away) = (store(&daemon), with(&store(&daemon), ".away"));
    let mut client = daemon.client();
    client.register("a", &[]);
    client.authenticate("a");
    for ram in 1..=200 {
        client.succeed("update", json!({"ram": ram}));
    }
    rename(&path, &away);
    let begun = Instant::now();
    let mut refused = 0;
    while begun.elapsed() < Duration::from_millis(1500) {
        let reply = client.call(request("update", json!({"ram": 9})));
        assert_eq!(reply["status"], "error", "acknowledged {:?} after the file went", begun.elapsed());
        refused += 1;
    }
    assert!(refused > 0);
}

/// Starts a daemon on `store` that must fail.
#[track_caller]
fn refused(builder: Builder, store: &Path) {
    let mut location = OsString::from("sqlite:");
    location.push(store);
    let ended = builder.arg("--store").arg(location).run_to_end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("another vmherd serves from this file"), "{}", ended.stderr);
}

#[test]
fn a_second_daemon_on_one_file_is_refused_under_any_name() {
    let mut daemon = Daemon::start();
    let elsewhere = TempDir::new();
    let at = |name: &str| elsewhere.path().join(name);
    std::os::unix::fs::symlink(store(&daemon), at("symbolic")).expect("a link");
    std::os::unix::fs::symlink(daemon.state_dir(), at("directory")).expect("a link");
    fs::hard_link(store(&daemon), at("hard")).expect("a link");
    for path in [store(&daemon), at("symbolic"), at("hard"), at("directory").join("vmherd.sqlite3")] {
        refused(Daemon::builder(), &path);
    }
    // The lock is still held, and the tools work.
    refused(Daemon::builder(), &store(&daemon));
    daemon.vm_command(&["add", "a", "--ram", "1", "--cpu", "1"], "password-of-a\n").expect_success();
    daemon.vm_command(&["list"], "").expect_success();
    refused(Daemon::builder(), &store(&daemon));
    daemon.client().register("b", &[]);
    daemon.stop();
    let mut location = OsString::from("sqlite:");
    location.push(store(&daemon));
    let mut next = Daemon::builder().arg("--store").arg(location).start();
    assert_eq!(names(&mut next.client()), ["a", "b"]);
    next.stop();
}

/// A daemon in a container has the file of another daemon by a mount.
#[test]
fn a_second_daemon_behind_a_bind_mount_is_refused() {
    let daemon = Daemon::start();
    let (builder, elsewhere) = (Daemon::builder(), TempDir::new());
    let file = elsewhere.path().join("mounted");
    fs::write(&file, "").expect("a file to mount on");
    let script = r#"mount --bind "$1" "$2" && shift 2 && exec "$@""#;
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (from, to) = (text(&store(&daemon)), text(&file));
    let through = ["-m", "sh", "-c", script, "sh", &from, &to];
    refused(builder.through("unshare", &through), &file);
    daemon.client().register("a", &[]);
}

//! `vmherd backup`: a whole copy while the daemon writes, or none; and the owner of files that root makes for a daemon of
//! another user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::common::{Client, DEADLINE, Daemon, Finished, TempDir, require, run, run_with_input, wait_until};

const COPIES: usize = 10;
/// Any user but root.
const USER: u32 = 12_345;

/// Runs `vmherd backup` on the store in `state_dir`.
#[track_caller]
fn back_up(state_dir: &Path, arguments: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmherd"));
    run(command.env_clear().arg("backup").args(arguments).arg("--state-dir").arg(state_dir))
}

fn file_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn each_backup_is_a_consistent_snapshot() {
    let daemon = Daemon::start();
    let copies = TempDir::new();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (is_over, mut client) = (&is_over, daemon.client());
        scope.spawn(move || {
            client.register("a", &[1, 2]);
            client.authenticate("a");
            // Both change together, or not at all.
            for n in 1..60_000 {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                client.succeed("update", json!({"ram": n, "cpu": n}));
            }
        });
        for copy in 0..COPIES {
            let path = copies.path().join(format!("copy-{copy}"));
            let made = back_up(daemon.state_dir(), &[path.to_str().expect("UTF-8")]).expect_success();
            assert_eq!(made.stdout, format!("made {}\n", path.display()));
            assert_eq!(fs::metadata(&path).expect("a copy").permissions().mode() & 0o777, 0o600);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(file_names(copies.path()).len(), COPIES, "{:?}", file_names(copies.path()));
    for copy in 0..COPIES {
        // A copy is a store like any other.
        let state_dir = TempDir::new();
        let store = state_dir.path().join("vmherd.sqlite3");
        fs::rename(copies.path().join(format!("copy-{copy}")), &store).expect("restored");
        let database = rusqlite::Connection::open(&store).expect("a database");
        let text: String =
            database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
        assert_eq!(text, "ok");
        let torn: i64 = database
            .query_row("SELECT count(*) FROM vms WHERE ram_mib <> cpus AND ram_mib <> 512", [], |row| {
                row.get(0)
            })
            .expect("a count");
        assert_eq!(torn, 0);
        drop(database);
        let mut location = std::ffi::OsString::from("sqlite:");
        location.push(&store);
        let mut restored = Daemon::builder().arg("--store").arg(location).start();
        restored.client().register("new", &[]);
        restored.stop();
    }
}

/// A daemon with 50 VMs of 200 disks each, and a client of it.
fn daemon_with_vms() -> (Daemon, Client) {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    (0..50).for_each(|number| client.register(&format!("vm-{number}"), &[1; 200]));
    (daemon, client)
}

#[test]
fn a_failed_backup_leaves_no_file() {
    let (daemon, mut client) = daemon_with_vms();
    let copies = TempDir::new();
    let path = copies.path().join("copy");
    let text = path.to_str().expect("UTF-8");

    fs::write(&path, "mine").expect("a file");
    let refused = back_up(daemon.state_dir(), &[text]);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.stderr.contains("exists"), "{}", refused.stderr);
    assert_eq!(fs::read(&path).expect("the file"), b"mine");
    assert_eq!(file_names(copies.path()), ["copy"]);
    fs::remove_file(&path).expect("removed");

    // Its disk is full after 16 KiB.
    let script = r#"trap '' XFSZ; ulimit -f 32; exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_vmherd"), "backup", text, "--state-dir"]);
    let failed = run(command.arg(daemon.state_dir()));
    assert_eq!(failed.code(), Some(1), "{failed:?}");
    assert_eq!(file_names(copies.path()), [""; 0], "{failed:?}");

    let nowhere = copies.path().join("no/such/directory");
    assert_eq!(back_up(daemon.state_dir(), &[nowhere.to_str().expect("UTF-8")]).code(), Some(1));
    assert_eq!(file_names(copies.path()), [""; 0]);
    back_up(daemon.state_dir(), &[text]).expect_success();
    client.register("after", &[]);
}

/// Killed, a backup cannot clean up: the next one names the files that are left, and works once they are removed. The
/// journal of the copy, which it may leave as well, is not in its way.
#[test]
fn a_killed_backup_leaves_files_that_the_next_one_names() {
    let (daemon, _client) = daemon_with_vms();
    let copies = TempDir::new();
    let path = copies.path().join("copy");
    let text = path.to_str().expect("UTF-8");
    let partial = copies.path().join("copy.partial");
    wait_until("a backup is killed before it is complete", DEADLINE, || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmherd"));
        command.env_clear().args(["backup", text, "--state-dir"]).arg(daemon.state_dir());
        let mut backup = command.stdout(Stdio::null()).spawn().expect("the program");
        while !partial.exists() && backup.try_wait().expect("a child").is_none() {
            thread::yield_now();
        }
        backup.kill().expect("a child");
        backup.wait().expect("a child");
        partial.exists() || fs::remove_file(&path).is_err()
    });
    let journal = copies.path().join("copy.partial-journal");
    if !journal.exists() {
        fs::write(&journal, [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]).expect("a journal");
    }
    assert_eq!(file_names(copies.path()), ["copy", "copy.partial", "copy.partial-journal"]);
    assert_eq!(fs::metadata(&path).expect("the file").len(), 0);

    let refused = back_up(daemon.state_dir(), &[text]);
    assert!(refused.code() == Some(1) && refused.stderr.contains("copy exists"), "{refused:?}");
    fs::remove_file(&path).expect("removed");
    let refused = back_up(daemon.state_dir(), &[text]);
    assert!(refused.code() == Some(1) && refused.stderr.contains("copy.partial"), "{refused:?}");
    fs::remove_file(&partial).expect("removed");
    back_up(daemon.state_dir(), &[text]).expect_success();
    assert_eq!(file_names(copies.path()), ["copy"]);
}

#[test]
fn a_failed_backup_says_what_to_do() {
    let directory = TempDir::new();
    for (arguments, code, part) in [
        (&["x"][..], 1, "there is no store sqlite:"),
        (&["x", "--store", "memory:"], 1, "inside the daemon's process"),
        (&["x", "--store", "postgresql://me:hunter2@127.0.0.1:1/herd"], 1, "pg_dump"),
        (&[], 2, "say which file"),
        (&["x", "y"], 2, "unexpected argument"),
    ] {
        let ended = back_up(directory.path(), arguments);
        assert_eq!(ended.code(), Some(code), "{ended:?}");
        assert!(ended.stderr.contains(part) && !ended.stderr.contains("hunter2"), "{ended:?}");
    }
    assert_eq!(file_names(directory.path()), [""; 0]);
    let help = back_up(directory.path(), &["--help"]).expect_success().stdout;
    assert!(help.contains("--state-dir") && help.contains("restore"), "{help}");
}

/// As `install -d -o vmherd /var/lib/vmherd` leaves it.
#[test]
fn files_made_by_root_belong_to_the_directory_s_owner() {
    require("setpriv", "util-linux");
    let of_user = Daemon::builder();
    let state_dir = of_user.state_dir().to_owned();
    chown(&state_dir, Some(USER), Some(USER)).expect("this test has to be root's");
    let vm = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmherd"));
        command.env_clear().arg("vm").args(arguments).arg("--state-dir").arg(&state_dir);
        command.args(["--argon2-memory", "64", "--argon2-passes", "1"]);
        run_with_input(&mut command, b"password-of-a\n").expect_success()
    };
    vm(&["add", "a", "--ram", "1", "--cpu", "1"]);
    let copy = state_dir.join("copy");
    back_up(&state_dir, &[copy.to_str().expect("UTF-8")]).expect_success();
    // A daemon that root has tried by hand.
    let mut of_root = of_user.clone().start();
    of_root.client().register("b", &[]);
    for name in file_names(&state_dir).iter().filter(|name| *name != "vmherd.sock") {
        assert_eq!(fs::metadata(state_dir.join(name)).expect("a file").uid(), USER, "{name}");
    }
    of_root.stop();

    let number = USER.to_string();
    let mut daemon =
        of_user.through("setpriv", &["--reuid", &number, "--regid", &number, "--clear-groups"]).start();
    daemon.client().register("c", &[]);
    // While it runs, too.
    vm(&["add", "d", "--ram", "1", "--cpu", "1"]);
    daemon.client().register("e", &[]);
    daemon.stop();

    // A file that root has copied there is not the user's: the tool warns.
    assert_eq!(vm(&["list"]).stderr, "");
    chown(state_dir.join("vmherd.sqlite3"), Some(0), Some(0)).expect("root may");
    let warned = vm(&["list"]).stderr;
    assert!(warned.contains("chown --reference="), "{warned}");
}

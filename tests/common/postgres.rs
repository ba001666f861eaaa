//! A PostgreSQL cluster of the tests' own: new, with a unix socket in a new directory, and removed when the test process
//! ends, even by a kill.
//!
//! A shell makes and runs it, as an unprivileged user where the tests run as root, and takes commands on its standard
//! input. The end of that input, which comes with the end of the test process, ends the cluster. A missing PostgreSQL
//! makes the tests fail.

// Tests inside the crate and outside of it take what each needs.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use postgres::{Client, NoTls};

/// A database server; it stops and is deleted when this is dropped.
pub struct Cluster {
    control: Mutex<Control>,
    /// The folder of its socket.
    folder: PathBuf,
}

/// A database of one test's own; dropped with this.
pub struct Database<'c> {
    cluster: &'c Cluster,
    name: String,
}

struct Control {
    shell: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Cluster {
    /// A new cluster, for tests that stop it or change its settings.
    #[track_caller]
    pub fn start() -> Cluster {
        Cluster::make(None)
    }

    /// A standby of this cluster, which takes no writes until its promotion.
    #[track_caller]
    pub fn standby(&self) -> Cluster {
        Cluster::make(Some(&self.folder))
    }

    #[track_caller]
    fn make(primary: Option<&Path>) -> Cluster {
        let mut shell = shell();
        shell.arg("-c").arg(SCRIPT).arg("cluster").arg(programs()).args(primary);
        let mut shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell to run a PostgreSQL cluster (setpriv is of the package util-linux)");
        let commands = shell.stdin.take();
        let mut answers = BufReader::new(shell.stdout.take().expect("piped"));
        let mut folder = String::new();
        answers.read_line(&mut folder).expect("the shell's answer");
        assert!(folder.ends_with('\n'), "no PostgreSQL cluster could be made; see its output above");
        let control = Mutex::new(Control { shell, commands, answers });
        Cluster { control, folder: folder.trim_end().into() }
    }

    /// The cluster that all tests of this process share; no test stops it.
    #[track_caller]
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Cluster::start)
    }

    /// A new, empty database.
    #[track_caller]
    pub fn database(&self) -> Database<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.client("postgres").batch_execute(&format!("CREATE DATABASE {name}")).expect("a new database");
        Database { cluster: self, name }
    }

    /// Stops it in good order: clients are notified and disconnected.
    #[track_caller]
    pub fn stop(&self) {
        self.command("stop");
    }

    /// Stops it without notice to its clients; it has to recover at its next start.
    #[track_caller]
    pub fn stop_at_once(&self) {
        self.command("stop_at_once");
    }

    /// Kills it (SIGKILL).
    #[track_caller]
    pub fn kill(&self) {
        self.command("kill");
    }

    /// Kills all of its processes (SIGKILL), so that none writes what it still has in memory.
    #[track_caller]
    pub fn kill_all(&self) {
        self.command("kill_all");
    }

    /// Starts it again; returns when it takes connections.
    #[track_caller]
    pub fn restart(&self) {
        self.command("start");
    }

    /// Promotes a standby; returns when it takes writes.
    #[track_caller]
    pub fn promote(&self) {
        self.command("promote");
    }

    /// Stops all its processes (SIGSTOP).
    #[track_caller]
    pub fn pause(&self) {
        self.command("pause");
    }

    /// Continues them.
    #[track_caller]
    pub fn resume(&self) {
        self.command("resume");
    }

    /// The folder of its socket, as a URL names a host.
    pub fn host(&self) -> String {
        host(&self.folder)
    }

    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// A connection of its superuser.
    pub fn client(&self, database: &str) -> Client {
        Client::connect(&url(&self.folder, database), NoTls).expect("a connection to the cluster")
    }

    #[track_caller]
    fn command(&self, command: &str) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = control.commands.as_mut().expect("there until it is dropped");
        writeln!(commands, "{command}").expect("the shell listens");
        let mut answer = String::new();
        control.answers.read_line(&mut answer).expect("the shell answers");
        assert_eq!(answer, "done\n", "the cluster cannot {command}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let control = self.control.get_mut().unwrap_or_else(PoisonError::into_inner);
        control.commands = None;
        let _ = control.shell.wait();
    }
}

impl Database<'_> {
    /// Its URL, on the cluster's socket.
    pub fn url(&self) -> String {
        url(&self.cluster.folder, &self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection to it as its owner.
    #[track_caller]
    pub fn client(&self) -> Client {
        self.cluster.client(&self.name)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // The cluster may have been stopped; then the database is removed with it.
        if let Ok(mut client) = Client::connect(&url(&self.cluster.folder, "postgres"), NoTls) {
            let _ = client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

fn url(folder: &Path, database: &str) -> String {
    format!("postgresql://vmherd@{}/{database}", host(folder))
}

fn host(folder: &Path) -> String {
    folder.to_str().expect("a plain path").replace('/', "%2F")
}

/// A shell that is not root's: PostgreSQL refuses to be run by root.
pub fn shell() -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| {
        use std::os::unix::fs::MetadataExt;
        process.uid() == 0
    });
    if !is_root {
        return Command::new("sh");
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let has_own_user = users.lines().any(|line| line.starts_with("postgres:"));
    let user = if has_own_user { "postgres" } else { "nobody" };
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), "--regid=nogroup", "--clear-groups", "sh"]).current_dir("/");
    command
}

/// The folder of PostgreSQL's server programs.
#[track_caller]
fn programs() -> PathBuf {
    find_programs().expect(
        "this test needs PostgreSQL's server programs: install Debian's package postgresql \
         (tests/prerequisites does, without a cluster)",
    )
}

/// The folder of PostgreSQL's server programs, the newest where there are several, if there are any.
pub fn find_programs() -> Option<PathBuf> {
    let version = |folder: &Path| folder.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|entry| entry.path()).max_by_key(|folder| version(folder));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    let folders = newest.map(|folder| folder.join("bin")).into_iter().chain(on_path);
    let has_server = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    folders.into_iter().find(has_server)
}

/// Without syncs: the tests kill processes, not the machine.
const SCRIPT: &str = r#"
set -eu
# The end of input ends this, however the tests end; a write to a closed pipe fails like any other.
trap '' HUP INT TERM PIPE
bin=$1
folder=$(mktemp -d /tmp/vmherd-pg-XXXXXX)
data=$folder/data
# The processes of the server in one of these states. /proc/PID/task/PID/children misses some when one ends meanwhile.
children() {
    sed -n "s/^\([0-9]*\) (.*) [$1] $pid .*/\1/p" /proc/[0-9]*/stat 2>/dev/null || true
}
# Signals the processes, the postmaster first, so that it starts no more. One that has ended needs no signal.
signal() {
    pid=$(head -n 1 "$data/postmaster.pid")
    kill "-$1" "$pid"
    kill "-$1" $(children A-Z) 2>/dev/null || true
}
pause() {
    signal STOP
    while running=$(children RSD) && [ -n "$running" ]; do
        kill -STOP $running 2>/dev/null || true
        sleep 0.01
    done
}
finish() {
    signal CONT 2>/dev/null || true
    "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 </dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
start() { "$bin/pg_ctl" -D "$data" -w -t 60 -l "$folder/log" start >/dev/null 2>&1 </dev/null; }

make() {
    if [ $# -eq 0 ]; then
        "$bin/initdb" -D "$data" -U vmherd -A trust -E UTF8 --locale=C --no-sync
    else
        "$bin/pg_basebackup" -D "$data" -h "$1" -U vmherd -R -c fast --no-sync
    fi
}
shift
if ! make "$@" >"$folder/log" 2>&1; then
    cat "$folder/log" >&2
    exit 1
fi
cat >>"$data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$folder'
fsync = off
full_page_writes = off
autovacuum = off
shared_buffers = 16MB
max_connections = 200
END
if ! start; then
    cat "$folder/log" >&2
    exit 1
fi
echo "$folder"

while read -r command; do
    case $command in
    stop) "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null 2>&1 </dev/null ;;
    stop_at_once) "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 </dev/null ;;
    kill)
        pid=$(head -n 1 "$data/postmaster.pid")
        kill -KILL "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
        ;;
    kill_all)
        pid=$(head -n 1 "$data/postmaster.pid")
        # At once: a postmaster that is there starts others, and those that outlive it may go on for a while.
        kill -STOP "$pid"
        all="$pid $(children A-Z)"
        kill -KILL $all || true
        for pid in $all; do
            while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
        done
        ;;
    promote) "$bin/pg_ctl" -D "$data" -w -t 60 promote >/dev/null 2>&1 </dev/null ;;
    pause) pause ;;
    resume) signal CONT ;;
    start)
        # After a kill the old server's last processes may still hold its memory for a moment.
        tries=0
        until start; do
            tries=$((tries + 1))
            [ "$tries" -lt 100 ] || { cat "$folder/log" >&2; exit 1; }
            sleep 0.05
        done
        ;;
    *) exit 1 ;;
    esac
    echo "done"
done
"#;

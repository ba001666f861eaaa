//! A PgBouncer before a cluster of the tests' own, on a port of its own; it ends with the test process.
//!
//! It has default settings except for its addresses and files. It refuses to be run by root, as PostgreSQL does.

// Tests inside the crate and outside of it take what each needs.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Stdio};

use crate::cluster::{Cluster, shell};
use crate::common::require;

/// A pooler; it ends when this is dropped.
pub struct PgBouncer {
    shell: Child,
    /// The pooler ends with it.
    input: Option<ChildStdin>,
    port: u16,
}

impl PgBouncer {
    /// One before `cluster`, with `settings` (lines) besides the defaults.
    #[track_caller]
    pub fn before(cluster: &Cluster, settings: &str) -> PgBouncer {
        require("pgbouncer", "pgbouncer");
        // Another process may take the port that was free a moment ago.
        let started = (0..10).find_map(|_| PgBouncer::start(cluster, settings));
        started.expect("a PgBouncer on some port; see its output above")
    }

    fn start(cluster: &Cluster, settings: &str) -> Option<PgBouncer> {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let folder = cluster.socket();
        let folder = folder.parent().and_then(|folder| folder.to_str()).expect("a plain path");
        let mut shell = shell();
        shell.args(["-c", SCRIPT, "pgbouncer", folder, &port.to_string(), settings]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let (input, mut output) = (shell.stdin.take(), BufReader::new(shell.stdout.take().expect("piped")));
        let mut line = String::new();
        output.read_line(&mut line).expect("the shell's answer");
        let pooler = PgBouncer { shell, input, port };
        (line == "ready\n").then_some(pooler)
    }

    /// The URL of `database` through this.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://vmherd@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.shell.wait();
    }
}

const SCRIPT: &str = r#"
set -eu
trap '' HUP INT TERM PIPE
folder=$(mktemp -d /tmp/vmherd-pgbouncer-XXXXXX)
trap 'rm -rf "$folder"' EXIT
echo '"vmherd" ""' >"$folder/users"
cat >"$folder/pgbouncer.ini" <<END
[databases]
* = host=$1
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $2
unix_socket_dir =
auth_type = trust
auth_file = $folder/users
logfile = $folder/log
$3
END
pgbouncer -q "$folder/pgbouncer.ini" </dev/null >/dev/null 2>&1 &
pid=$!
until grep -q 'process up' "$folder/log" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.01
done
echo ready
cat >/dev/null
# The shell would tell of the kill.
exec 2>/dev/null
kill -KILL "$pid"
wait "$pid" || true
"#;

//! An agent as a process, and what its server has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use vmherd::client::Client;

use crate::common::{self, Builder, DEADLINE, Daemon, PASSWORD, TempDir, send_signal, wait_until};

/// A directory with the socket of a server, the password, and the state directory of an agent.
pub struct Site(TempDir);

impl Site {
    pub fn new() -> Site {
        let site = Site(TempDir::new());
        fs::write(site.password(), format!("{PASSWORD}\n")).expect("a new file");
        site
    }

    /// A daemon with a socket that is at the same place after a restart.
    pub fn daemon(&self) -> Builder {
        Daemon::builder().only_on(self.server())
    }

    pub fn server(&self) -> String {
        format!("unix:{}", self.0.path().join("socket").display())
    }

    pub fn password(&self) -> PathBuf {
        self.0.path().join("password")
    }

    /// The state directory of the agent.
    pub fn state_dir(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// The file with the token that the agent keeps.
    pub fn token(&self) -> PathBuf {
        self.state_dir().join("token")
    }

    /// The token in it.
    pub fn kept_token(&self) -> String {
        let text = fs::read_to_string(self.token()).expect("a token");
        text.lines().next().expect("a line").to_owned()
    }

    /// The bytes of the agent's backlog.
    pub fn backlog_bytes(&self) -> u64 {
        fs::metadata(self.state_dir().join("backlog")).map_or(0, |metadata| metadata.len())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// An agent for the VM `web-1` that takes a sample each second.
    pub fn agent(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmherdctl"));
        command.env_clear().args(["agent", "--server", &self.server(), "--name", NAME, "--interval", "1s"]);
        command.arg("--state-dir").arg(self.state_dir());
        command
    }

    /// The same, with the password, and registering.
    pub fn registering_agent(&self) -> Command {
        let mut command = self.agent();
        command.arg("--register").arg("--password-file").arg(self.password());
        command
    }
}

/// An agent; dropping it kills it.
pub struct Agent {
    child: Child,
    log: PathBuf,
    _dir: TempDir,
}

impl Agent {
    #[track_caller]
    pub fn start(mut command: Command) -> Agent {
        let dir = TempDir::new();
        let log = dir.path().join("log");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&log).expect("a new file"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
        Agent { child, log, _dir: dir }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log is text")
    }

    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) {
        wait_until(&format!("the agent says {text:?}"), DEADLINE, || {
            let has_ended = self.child.try_wait().expect("a child can be asked").is_some();
            let log = self.log();
            assert!(!has_ended || log.contains(text), "it has ended:\n{log}");
            log.contains(text)
        });
    }

    /// Its own resident memory.
    pub fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        common::wait(&mut self.child, "the agent ends")
    }

    /// Ends it by a signal, which must succeed. Returns its log.
    #[track_caller]
    pub fn stop(&mut self) -> String {
        send_signal("TERM", self.child.id());
        let status = self.wait();
        assert!(status.success(), "it ended with {status}:\n{}", self.log());
        self.log()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("── the agent's log ──\n{}──", self.log());
        }
    }
}

/// The operator of a daemon that runs.
#[track_caller]
pub fn operator(daemon: &Daemon) -> Client {
    let mut connected = None;
    wait_until("the daemon accepts the operator", DEADLINE, || {
        let address = format!("unix:{}", daemon.own_socket().display());
        connected = Client::connect(address, Some(DEADLINE)).ok();
        connected.is_some()
    });
    connected.expect("it was waited for")
}

/// The timestamps of a metric of the agent's VM.
#[track_caller]
pub fn timestamps(daemon: &Daemon, metric: &str) -> Vec<i64> {
    let points = operator(daemon).get(&format!("{NAME}.{metric}")).expect("the operator may get points");
    points.into_values().flatten().map(|(timestamp, _)| timestamp).collect()
}

/// Waits until the server has at least this many seconds of `load`.
#[track_caller]
pub fn wait_for_samples(daemon: &Daemon, count: usize) {
    let what = format!("the server has {count} samples");
    wait_until(&what, DEADLINE, || timestamps(daemon, "load").len() >= count);
}

/// All keys of the server, with the number of their points.
pub fn keys(daemon: &Daemon) -> BTreeMap<String, usize> {
    let points = operator(daemon).get("*").expect("the operator may get points");
    points.into_iter().map(|(key, points)| (key, points.len())).collect()
}

/// Panics unless each second from the first sample of an agent to the last is there once. The first is taken at the start,
/// and the next up to one and a half seconds later.
#[track_caller]
pub fn assert_no_gap(timestamps: &[i64]) {
    let mut steps = timestamps.windows(2).map(|pair| pair[1] - pair[0]);
    let is_first_right = steps.next().is_none_or(|step| [1, 2].contains(&step));
    let are_right = is_first_right && steps.all(|step| step == 1);
    assert!(are_right, "a second is missing or there twice: {timestamps:?}");
}

/// The name of the agent's VM.
pub const NAME: &str = "web-1";
/// Time in which an agent is back after a restart of its server.
pub const BACK: Duration = Duration::from_secs(5);

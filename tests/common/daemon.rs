//! The daemon `vmherd` as a process with a state directory of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{Client, DEADLINE, Finished, TempDir, process, send_signal, wait_until};

/// The settings of a daemon.
#[derive(Clone)]
pub struct Builder {
    listens: Vec<String>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    state_dir: Arc<TempDir>,
    has_cheap_hashes: bool,
    wrapper: Vec<OsString>,
}

/// A daemon; dropping it kills it. Its log is printed when the test fails.
pub struct Daemon {
    builder: Builder,
    running: Option<Running>,
    log: Log,
}

struct Running {
    child: Child,
    log_reader: thread::JoinHandle<()>,
    /// With those of sealed listeners.
    tcp: Vec<SocketAddr>,
}

type Log = Arc<Mutex<String>>;

impl Builder {
    /// Adds one argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Builder {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Builder {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Builder {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Listens on `address` too, after `tcp://127.0.0.1:0`, which is always there.
    pub fn listen(mut self, address: impl Into<String>) -> Builder {
        self.listens.push(address.into());
        self
    }

    /// Listens on `address` instead of `tcp://127.0.0.1:0`.
    pub fn only_on(mut self, address: impl Into<String>) -> Builder {
        self.listens = vec![address.into()];
        self
    }

    /// Hashes at the daemon's own cost.
    pub fn with_costly_hashes(mut self) -> Builder {
        self.has_cheap_hashes = false;
        self
    }

    /// Hashes on one thread, each for some 150 ms of a processor. The daemon's hashing threads have a low priority, so
    /// that beside other processes it takes ten times as long.
    pub fn with_slow_hashes(self) -> Builder {
        self.with_hash_passes(3)
    }

    /// Hashes on one thread, with this many passes over 64 MiB.
    pub fn with_hash_passes(self, passes: u32) -> Builder {
        let passes = passes.to_string();
        let cost = ["--argon2-memory", "65536", "--argon2-passes", &passes, "--auth-workers", "1"];
        self.with_costly_hashes().args(cost)
    }

    /// Runs on the state directory of another daemon.
    pub fn on_state_dir_of(mut self, other: &Daemon) -> Builder {
        self.state_dir = Arc::clone(&other.builder.state_dir);
        self
    }

    /// Runs the daemon through `program` with `arguments`, which becomes the daemon (`exec`).
    pub fn through(mut self, program: &str, arguments: &[&str]) -> Builder {
        self.wrapper = std::iter::once(program).chain(arguments.iter().copied()).map(Into::into).collect();
        self
    }

    /// The state directory, which exists before the daemon.
    pub fn state_dir(&self) -> &Path {
        self.state_dir.path()
    }

    /// Starts the daemon and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Daemon {
        let mut daemon = Daemon { builder: self, running: None, log: Log::default() };
        daemon.launch();
        daemon
    }

    /// Runs a daemon that ends by itself.
    #[track_caller]
    pub fn run_to_end(self) -> Finished {
        process::run(&mut self.command())
    }

    fn command(&self) -> Command {
        let mut line: Vec<OsString> = self.wrapper.clone();
        line.push(env!("CARGO_BIN_EXE_vmherd").into());
        for listen in &self.listens {
            line.extend(["--listen".into(), listen.into()]);
        }
        line.extend(["--state-dir".into(), self.state_dir().into()]);
        if self.has_cheap_hashes {
            line.extend(["--argon2-memory", "64", "--argon2-passes", "1"].map(OsString::from));
        }
        line.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Daemon {
    /// On `tcp://127.0.0.1:0`, with cheap hashes.
    pub fn builder() -> Builder {
        Builder {
            listens: vec!["tcp://127.0.0.1:0".into()],
            arguments: Vec::new(),
            environment: Vec::new(),
            state_dir: Arc::new(TempDir::new()),
            has_cheap_hashes: true,
            wrapper: Vec::new(),
        }
    }

    /// A daemon with default settings.
    #[track_caller]
    pub fn start() -> Daemon {
        Daemon::builder().start()
    }

    /// The address of its first listener.
    pub fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// The addresses of its tcp and sealed listeners, in order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.running().tcp
    }

    /// The socket that every daemon has in its state directory.
    pub fn own_socket(&self) -> PathBuf {
        self.state_dir().join("vmherd.sock")
    }

    pub fn state_dir(&self) -> &Path {
        self.builder.state_dir()
    }

    /// A new connection to the first listener.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// A new connection to the daemon's own socket.
    #[track_caller]
    pub fn operator(&self) -> Client {
        Client::connect_unix(&self.own_socket())
    }

    /// Runs `vmherd vm …` on the daemon's state directory, `input` on stdin.
    #[track_caller]
    pub fn vm_command(&self, arguments: &[&str], input: &str) -> Finished {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmherd"));
        command.env_clear().arg("vm").args(arguments).arg("--state-dir").arg(self.state_dir());
        command.env("VMHERD_ARGON2_MEMORY", "64").env("VMHERD_ARGON2_PASSES", "1");
        process::run_with_input(&mut command, input.as_bytes())
    }

    /// Runs `vmherd token …` on the daemon's state directory.
    #[track_caller]
    pub fn token_command(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmherd"));
        command.env_clear().arg("token").args(arguments).arg("--state-dir").arg(self.state_dir());
        process::run(&mut command)
    }

    /// A new token of the reader `name`.
    #[track_caller]
    pub fn reader_token(&self, name: &str) -> String {
        let added = self.token_command(&["add", "--reader", name]).expect_success().stdout;
        added.lines().nth(1).unwrap_or_else(|| panic!("no token: {added:?}")).to_owned()
    }

    /// Its log, over restarts too.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// Waits until it has logged `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("the log says {text:?}"), DEADLINE, || self.log().contains(text));
    }

    /// Waits until at least so many requests are in flight, by its counters.
    #[track_caller]
    pub fn wait_in_flight(&self, count: u64) {
        self.wait_for_counter("requests_in_flight", |value| value >= count);
    }

    /// Waits until the counter `name` is right.
    #[track_caller]
    pub fn wait_for_counter(&self, name: &str, is_right: impl Fn(u64) -> bool) {
        let mut operator = self.operator();
        wait_until(name, DEADLINE, || {
            let counters = operator.succeed("stats", serde_json::json!({}));
            is_right(counters[name].as_u64().unwrap_or_else(|| panic!("no {name} in {counters}")))
        });
    }

    /// Stops it, which must succeed within the deadline.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "it ended with {status}; its log:\n{}", self.log());
    }

    /// Sends it the signal `name` (`TERM`, `INT`, `STOP`).
    pub fn signal(&self, name: &str) {
        send_signal(name, self.id());
    }

    /// Waits for its end, at most until the deadline.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("it runs");
        let status = process::wait(&mut running.child, "the daemon ends");
        running.log_reader.join().expect("the log is read to its end");
        status
    }

    /// Kills it without a chance to do anything (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
            let _ = running.log_reader.join();
        }
    }

    /// Stops it if it runs, and starts it again on the same state directory. The port is another one.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.running.is_some() {
            self.stop();
        }
        self.launch();
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        let running = self.running.as_mut();
        running.is_some_and(|running| running.child.try_wait().expect("a child can be asked").is_none())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.running().child.id()
    }

    /// Its own resident memory. Pages of files, such as the program's code, are the system's cache, and how many count
    /// depends on what ran before.
    pub fn memory_kib(&self) -> u64 {
        self.status_field("RssAnon:")
    }

    /// The most resident memory of its own since the peak was reset, at most: pages of files count as they are now.
    pub fn memory_peak_kib(&self) -> u64 {
        let of_files = self.status_field("RssFile:") + self.status_field("RssShmem:");
        self.status_field("VmHWM:").saturating_sub(of_files)
    }

    /// The number of its open descriptors.
    pub fn fd_count(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).expect("its descriptors").count()
    }

    /// Its processor time, to a hundredth of a second.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("its stat");
        // The name, which may have any characters, ends with the last parenthesis; utime and stime are the 14th and
        // 15th of all fields, in ticks of a hundredth of a second.
        let (_, after_name) = stat.rsplit_once(')').expect("a name in parentheses");
        let mut fields = after_name.split_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok()).expect("ticks");
        Duration::from_millis(10 * (ticks() + ticks()))
    }

    #[track_caller]
    fn launch(&mut self) {
        let mut command = self.builder.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
        let begin = self.log.lock().expect("the log").len();
        let log_reader = read_log(child.stderr.take().expect("piped"), Arc::clone(&self.log));
        let running = self.running.insert(Running { child, log_reader, tcp: Vec::new() });
        let is_tcp = |listen: &&String| !listen.starts_with("unix:");
        let tcp_count = self.builder.listens.iter().filter(is_tcp).count();
        wait_until("the daemon listens", DEADLINE, || {
            running.tcp = tcp_addresses(&self.log.lock().expect("the log")[begin..]);
            let has_ended = running.child.try_wait().expect("a child can be asked").is_some();
            has_ended || running.tcp.len() >= tcp_count
        });
        assert!(self.is_running(), "the daemon did not start; its log:\n{}", self.log());
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the daemon runs")
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {status}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("── the daemon's log ──\n{}──", self.log());
        }
    }
}

fn read_log(stderr: ChildStderr, log: Log) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            log.lock().expect("the log").push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// The addresses in the log, in order. An incomplete line does not count.
fn tcp_addresses(log: &str) -> Vec<SocketAddr> {
    let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let texts = lines.filter_map(|line| line.split_once("listening on ").map(|(_, text)| text));
    let strip = |text| str::strip_prefix(text, "tcp://").or_else(|| text.strip_prefix("sealed://"));
    let rests = texts.filter_map(strip);
    let is_end = |character: char| character.is_whitespace() || "?\",".contains(character);
    rests.map(|rest| rest.split(is_end).next().unwrap_or("").parse().expect("an address")).collect()
}

//! The servers that are measured: processes that are started, observed and ended here.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{echo, sys};

/// The cores of the servers and of the load generator.
#[derive(Clone, Debug)]
pub struct Cores {
    pub all: Vec<usize>,
    pub server: Vec<usize>,
    pub generator: Vec<usize>,
}

/// A server; killed when this is dropped.
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    child: Child,
    folder: Folder,
}

/// A new, empty folder, removed with this.
pub struct Folder(PathBuf);

impl Cores {
    /// One core for the server and one for the generator, where there are two.
    pub fn shared_out() -> Cores {
        let all = sys::cores();
        let (generator, server) = (vec![all[0]], vec![*all.last().expect("there is a core")]);
        Cores { all, server, generator }
    }

    /// Starts `command` on `cores`.
    pub fn start(&self, cores: &[usize], command: &mut Command) -> Child {
        sys::pin(cores);
        let child = command.spawn();
        sys::pin(&self.all);
        child.unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"))
    }
}

impl Server {
    /// The bare echo server.
    pub fn echo(cores: &Cores) -> Server {
        Server::bare(cores, "echo", echo::ECHO)
    }

    /// The same, but each line is answered by one of so many bytes.
    pub fn answering(cores: &Cores, bytes: usize) -> Server {
        Server::bare(cores, "sockets", &bytes.to_string())
    }

    /// The same, but it puts the point of each line into a hash map and answers as the daemon does.
    pub fn putting(cores: &Cores) -> Server {
        Server::bare(cores, "(echo + parse + map)", echo::PUTS)
    }

    fn bare(cores: &Cores, name: &'static str, answering: &str) -> Server {
        let address = free_address();
        let mut command = own_program("echo");
        let child = cores.start(&cores.server, command.arg(address.to_string()).arg(answering));
        Server { name, address, child, folder: Folder::new_state() }.ready()
    }

    /// VictoriaMetrics, if it is installed, and the address of its counters.
    pub fn victoria_metrics(cores: &Cores) -> Option<(Server, SocketAddr)> {
        let program = installed("victoria-metrics")?;
        let (address, counters, folder) = (free_address(), free_address(), Folder::new_data());
        let mut command = Command::new(program);
        command.arg(format!("-graphiteListenAddr={address}")).arg(format!("-httpListenAddr={counters}"));
        command.arg("-storageDataPath").arg(folder.path());
        // On one core it serves four connections at a time, as long as they are open.
        command.args(["-retentionPeriod=100y", "-maxConcurrentInserts=1000", "-loggerLevel=ERROR"]);
        let child = cores.start(&cores.server, &mut command);
        Some((Server { name: "VictoriaMetrics", address, child, folder }.ready(), counters))
    }

    /// The daemon with a store, on the server's core.
    pub fn vmherd(cores: &Cores, store: &str, arguments: &[&str]) -> Server {
        Server::vmherd_on(cores, &cores.server, store, arguments)
    }

    /// The daemon on any cores.
    pub fn vmherd_on(cores: &Cores, on: &[usize], store: &str, arguments: &[&str]) -> Server {
        Server::start_vmherd(cores, on, store, arguments).ready()
    }

    /// The daemon, which may not listen yet.
    pub fn start_vmherd(cores: &Cores, on: &[usize], store: &str, arguments: &[&str]) -> Server {
        let command = Command::new(env!("CARGO_BIN_EXE_vmherd"));
        Server::start_daemon(cores, on, command, Folder::new_state(), store, arguments)
    }

    /// The daemon under callgrind.
    pub fn counted(cores: &Cores, store: &str) -> Server {
        let folder = Folder::new_state();
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--quiet"]);
        command
            .arg(format!("--callgrind-out-file={}", folder.path().join(COUNTS).display()))
            .arg(env!("CARGO_BIN_EXE_vmherd"));
        Server::start_daemon(cores, &cores.all, command, folder, store, &[]).ready()
    }

    /// Ends one under callgrind; the number of instructions that it has run.
    pub fn instructions(mut self) -> u64 {
        let ended = Command::new("kill").arg(self.id().to_string()).status();
        assert!(ended.is_ok_and(|status| status.success()), "it runs");
        self.child.wait().expect("a child");
        let counts = fs::read_to_string(self.folder.path().join(COUNTS)).expect("callgrind writes it");
        let total = counts.lines().find_map(|line| line.strip_prefix("totals: ")).expect("it ends with it");
        total.trim().parse().expect("a number")
    }

    fn start_daemon(
        cores: &Cores,
        on: &[usize],
        mut command: Command,
        folder: Folder,
        store: &str,
        arguments: &[&str],
    ) -> Server {
        let address = free_address();
        command.env_clear().args(["--listen", &format!("tcp://{address}"), "--store", store]);
        command.args(["--log", "error", "--state-dir"]).arg(folder.path()).args(arguments);
        let child = cores.start(on, &mut command);
        Server { name: "vmherd", address, child, folder }
    }

    /// A program with a server in it, with or without callbacks for all kinds of events.
    pub fn embedded(cores: &Cores, has_callbacks: bool) -> Server {
        let (address, folder) = (free_address(), Folder::new_state());
        let (name, part) = match has_callbacks {
            true => ("with callbacks", "embedded-with-callbacks"),
            false => ("without callbacks", "embedded"),
        };
        let mut command = own_program(part);
        let child = cores.start(&cores.server, command.arg(address.to_string()).arg(folder.path()));
        Server { name, address, child, folder }.ready()
    }

    /// redis, if it is installed; with the files in `folder` where there is one.
    pub fn start_redis(cores: &Cores, folder: Option<&Path>) -> Option<Server> {
        let (address, own) = (free_address(), Folder::new_state());
        let port = address.port().to_string();
        let mut command = Command::new(installed("redis-server")?);
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir"]);
        command.arg(folder.unwrap_or(own.path())).stdout(Stdio::null());
        let child = cores.start(&cores.server, &mut command);
        Some(Server { name: "redis", address, child, folder: own })
    }

    pub fn redis(cores: &Cores) -> Option<Server> {
        Some(Server::start_redis(cores, None)?.ready())
    }

    /// memcached with one thread, if it is installed.
    pub fn memcached(cores: &Cores) -> Option<Server> {
        let address = free_address();
        let port = address.port().to_string();
        let mut command = Command::new(installed("memcached")?);
        command.args(["-l", "127.0.0.1", "-p", &port, "-U", "0", "-t", "1", "-c", "16384", "-u", "root"]);
        let child = cores.start(&cores.server, &mut command);
        Some(Server { name: "memcached", address, child, folder: Folder::new_state() }.ready())
    }

    /// nginx with one worker and a constant answer, if it is installed.
    pub fn nginx(cores: &Cores) -> Option<Server> {
        let program = installed("nginx")?;
        let (address, folder) = (free_address(), Folder::new_state());
        let path = folder.path().display().to_string();
        let settings = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error; \
             events {{ worker_connections 16384; }} \
             http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; \
             client_body_temp_path {path}/1; proxy_temp_path {path}/2; fastcgi_temp_path {path}/3; \
             uwsgi_temp_path {path}/4; scgi_temp_path {path}/5; \
             server {{ listen {address}; location / {{ return 200 'PONG\\n'; }} }} }}"
        );
        fs::write(folder.path().join("settings"), settings).expect("a file can be written");
        let mut command = Command::new(program);
        command.arg("-c").arg(folder.path().join("settings")).arg("-p").arg(folder.path());
        let child = cores.start(&cores.server, command.stderr(Stdio::null()));
        Some(Server { name: "nginx", address, child, folder }.ready())
    }

    /// Waits until it accepts.
    fn ready(self) -> Server {
        drop(self.first_connection());
        self
    }

    /// The first connection that it accepts.
    pub fn first_connection(&self) -> TcpStream {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < end, "{} does not listen: {error}", self.name),
            }
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// The daemon's own socket.
    pub fn own_socket(&self) -> PathBuf {
        self.folder.path().join("vmherd.sock")
    }

    /// One of the daemon's counters.
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.counters();
        counters[name].as_u64().unwrap_or_else(|| panic!("{name} is not in {counters}"))
    }

    /// The daemon's counters, over its own socket.
    pub fn counters(&self) -> serde_json::Value {
        let mut stream = UnixStream::connect(self.own_socket()).expect("the server listens");
        stream.write_all(b"{\"command\": \"stats\", \"data\": {}}\n").expect("the server reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("the server answers");
        serde_json::from_str::<serde_json::Value>(&line).expect("it is JSON")["data"].take()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The `field` of its status in /proc, in KiB.
    pub fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the system reports it");
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    /// Bytes that it has written to disks.
    pub fn written_bytes(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.id())).expect("a child's file");
        let line =
            io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("the system reports it");
        line.parse().expect("a number")
    }

    /// Resets the peak of its memory.
    pub fn reset_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").expect("a child's file");
    }

    /// Waits until it has used so much more processor time.
    pub fn wait_for_processor_time(&self, time: Duration) {
        let before = processor_time(self.id());
        while processor_time(self.id()) < before + time {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends one request; the line that answers it.
    pub fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("the server answers");
        line
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Folder {
    /// With a short path, since a socket's may have 107 bytes only.
    pub fn new_state() -> Folder {
        Folder::new_in(&std::env::temp_dir())
    }

    /// On the disk of the sources: temporary files may be in memory, which does not sync.
    pub fn new_data() -> Folder {
        Folder::new_in(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    fn new_in(place: &Path) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("vmherd-bench-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What callgrind writes.
const COUNTS: &str = "counts";

/// The processor time of the threads of the process `id`, without those that have ended.
pub fn processor_time(id: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).expect("the process runs");
    let times = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}

/// The processor time of the calling thread.
pub fn own_thread_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the system reports it");
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

/// The date.
pub fn today() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    date.map_or_else(|_| "?".into(), |date| String::from_utf8_lossy(&date.stdout).trim_end().to_owned())
}

/// The program `name`, if it is installed.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.exists())
}

/// This program, to run another `part` of it.
pub fn own_program(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the system reports it"));
    command.arg(part);
    command
}

/// An unused address of this host.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound")
}

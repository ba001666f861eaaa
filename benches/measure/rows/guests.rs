//! VMs that the daemon runs: how long their start takes beside QEMU by hand, and what they cost the daemon.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ROUNDS;
use super::ping::PING;
use crate::figures::{Line, Samples, Verdict};
use crate::guest::guest_iso;
use crate::process::{Cores, Folder, Server};

const FIRST_PORT: u16 = 29_000;
const PORTS: &str = "29000-29063";
const CREATE: &[u8] = b"{\"verb\": \"CREATE\", \"parameters\": {}}\n";

/// From the request, or the start of QEMU, to the forwarded port and to the greeting of the guest's SSH server.
pub fn boot(cores: &Cores) -> Vec<Line> {
    let iso = guest_iso().display().to_string();
    let settings = ["--vm-image", &iso, "--vm-memory", "128", "--vm-accel", "tcg", "--vm-ports", PORTS];
    let server = Server::vmherd_on(cores, &cores.all, "memory:", &settings);
    let [mut own_monitor, mut own_greeting, mut bare_monitor, mut bare_greeting]: [Samples; 4] =
        Default::default();
    for round in 0..ROUNDS {
        let port = FIRST_PORT + round as u16;
        let begin = Instant::now();
        let mut stream = server.first_connection();
        stream.write_all(CREATE).expect("it reads");
        own_monitor.push(milliseconds_to_port(begin, port));
        let created = reply(&stream);
        own_greeting.push(begin.elapsed().as_secs_f64() * 1e3);
        let bare = Bare::like_that_of(&server, port + 500);
        let credentials =
            json!({"container_uuid": created["container_uuid"], "client_token": created["client_token"]});
        let destroy = json!({"verb": "DESTROY", "parameters": credentials});
        stream.write_all(destroy.to_string().as_bytes()).expect("it reads");
        reply(&stream);
        let (monitor, greeting) = bare.boot();
        bare_monitor.push(monitor);
        bare_greeting.push(greeting);
    }
    let line = |figure: &str, most: f64, own: &Samples, bare: &Samples| {
        let ratio = own.ratio(bare);
        Line {
            figure: figure.into(),
            wanted: format!("≤ {most} × QEMU by hand"),
            measured: format!("{own} ms"),
            beside: format!("{:.3} × QEMU by hand: {bare} ms", ratio.median()),
            verdict: Verdict::exact(ratio.median() <= most),
        }
    };
    vec![
        line("CREATE to a monitor that has forwarded the port", 1.1, &own_monitor, &bare_monitor),
        line("CREATE to the guest's SSH greeting", 1.1, &own_greeting, &bare_greeting),
    ]
}

/// The time of a ping while four guests boot.
pub fn ping_meanwhile(cores: &Cores) -> Vec<Line> {
    let iso = guest_iso().display().to_string();
    let settings = ["--vm-image", &iso, "--vm-memory", "128", "--vm-accel", "tcg", "--vm-ports", PORTS];
    let server = Server::vmherd_on(cores, &cores.all, "memory:", &settings);
    let mut times: Vec<f64> = thread::scope(|scope| {
        let boot = || {
            let mut stream = server.first_connection();
            stream.write_all(CREATE).expect("it reads");
            reply(&stream);
        };
        let boots: Vec<_> = (0..4).map(|_| scope.spawn(boot)).collect();
        let mut stream = server.first_connection();
        let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
        let mut times = Vec::new();
        while boots.iter().any(|boot| !boot.is_finished()) {
            let begin = Instant::now();
            stream.write_all(PING.as_bytes()).expect("it reads");
            lines.next().expect("it answers").expect("text");
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            thread::sleep(Duration::from_millis(2));
        }
        times
    });
    times.sort_by(f64::total_cmp);
    let (p99, slowest) = (times[times.len() * 99 / 100], times[times.len() - 1]);
    vec![Line {
        figure: "a ping while four guests boot, p99".into(),
        wanted: "≤ 50 ms".into(),
        measured: format!("{p99:.1} ms"),
        beside: format!("the slowest of {}: {slowest:.1} ms", times.len()),
        verdict: Verdict::exact(p99 <= 50.0),
    }]
}

/// Memory of the daemon for each VM that runs. A small program stands in for QEMU.
pub fn memory(cores: &Cores) -> Vec<Line> {
    const VMS: usize = 32;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vms/fake_qemu.py");
    let settings =
        ["--vm-image", "/bin/true", "--vm-accel", "tcg", "--vm-ports", PORTS, "--vm-qemu", program];
    let settings = [&settings[..], &["--vms-running-max", "64"]].concat();
    let mut bytes = Samples::default();
    for _ in 0..ROUNDS {
        let server = Server::vmherd_on(cores, &cores.all, "memory:", &settings);
        let create = || {
            let mut stream = server.first_connection();
            stream.write_all(CREATE).expect("it reads");
            reply(&stream);
        };
        // The first also needs memory that all share.
        create();
        let before = server.status_kib("RssAnon");
        (0..VMS).for_each(|_| create());
        let after = server.status_kib("RssAnon");
        bytes.push((after as f64 - before as f64) / VMS as f64);
    }
    vec![Line {
        figure: format!("memory of the daemon per running VM, {VMS} of them"),
        wanted: "≤ 64 KiB".into(),
        measured: format!("{bytes} KiB"),
        beside: String::new(),
        verdict: Verdict::at_most(64.0, &bytes),
    }]
}

/// A QEMU that is started by hand with the daemon's arguments.
struct Bare {
    command: Vec<String>,
    folder: Folder,
    port: u16,
}

impl Bare {
    /// Like the only one of `server`, with a port of its own.
    fn like_that_of(server: &Server, port: u16) -> Bare {
        let vms = server.own_socket().with_file_name("vms");
        let vm = fs::read_dir(vms).expect("a folder").next().expect("a VM").expect("an entry").path();
        let pid = fs::read_to_string(vm.join("pid")).expect("a number");
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
        let folder = Folder::new_state();
        fs::copy(vm.join("seed.img"), folder.path().join("seed.img")).expect("a file");
        Bare { command: line.split_terminator('\0').map(String::from).collect(), folder, port }
    }

    /// Milliseconds to the forwarded port, and to the greeting.
    fn boot(&self) -> (f64, f64) {
        let begin = Instant::now();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).current_dir(self.folder.path());
        let _qemu = Killed(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("QEMU runs"));
        self.forward();
        let monitor = milliseconds_to_port(begin, self.port);
        loop {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the port is forwarded");
            stream.set_read_timeout(Some(Duration::from_millis(250))).expect("an option");
            if stream.read_exact(&mut [0; 4]).is_ok() {
                return (monitor, begin.elapsed().as_secs_f64() * 1e3);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn forward(&self) {
        let mut monitor = connect(&self.folder.path().join("qmp"));
        let rule = format!("hostfwd_add n0 tcp:127.0.0.1:{}-:22", self.port);
        let forward = json!({"execute": "human-monitor-command", "arguments": {"command-line": rule}});
        let mut lines = BufReader::new(monitor.try_clone().expect("a handle")).lines();
        let mut line = || lines.next().expect("it answers").expect("text");
        line();
        for command in [json!({"execute": "qmp_capabilities"}), forward] {
            monitor.write_all(format!("{command}\n").as_bytes()).expect("it reads");
            line();
        }
    }
}

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().expect("it is a child");
        self.0.wait().expect("it is a child");
    }
}

fn connect(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn milliseconds_to_port(begin: Instant, port: u16) -> f64 {
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no port is forwarded");
        thread::sleep(Duration::from_millis(1));
    }
    begin.elapsed().as_secs_f64() * 1e3
}

fn reply(stream: &TcpStream) -> Value {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it answers");
    let mut reply: Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(reply["success"], true, "{reply}");
    reply["data"].take()
}

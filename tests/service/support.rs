//! Helpers: a service manager that only listens, and daemons that are started in other ways.

#![allow(unreachable_pub)]

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::common::{self, DEADLINE, TempDir, wait_until};

/// A service manager's socket.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _dir: TempDir,
}

impl Manager {
    pub fn new() -> Manager {
        let dir = TempDir::new();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a new socket");
        Manager { socket, path, _dir: dir }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next message that is not for the watchdog.
    #[track_caller]
    pub fn next(&self) -> String {
        loop {
            let message = self.next_within(DEADLINE).expect("the manager is told something");
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    /// The next message of any kind, within the deadline.
    pub fn next_within(&self, time: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(time)).expect("a socket option");
        let mut bytes = [0; 4096];
        let length = loop {
            match self.socket.recv(&mut bytes) {
                Ok(length) => break length,
                // A machine that was put to sleep ends waits that have a timeout.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        };
        Some(String::from_utf8(bytes[..length].to_vec()).expect("messages are text"))
    }

    /// Takes messages until one begins with `beginning`.
    #[track_caller]
    pub fn wait_for(&self, beginning: &str) -> String {
        loop {
            let message = self.next();
            if message.starts_with(beginning) {
                return message;
            }
        }
    }
}

/// A daemon whose standard error is a file; killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    _dir: TempDir,
}

impl Process {
    /// Starts `command`, which is or becomes the daemon.
    #[track_caller]
    pub fn start(mut command: Command) -> Process {
        let dir = TempDir::new();
        let log = dir.path().join("log");
        command.stderr(File::create(&log).expect("a new file"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
        Process { child, log, _dir: dir }
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        let mut file = File::open(&self.log).expect("its log");
        file.rewind().expect("a file");
        file.read_to_string(&mut text).expect("the log is text");
        text
    }

    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) {
        wait_until(&format!("the log says {text:?}"), DEADLINE, || {
            let has_ended = self.child.try_wait().expect("a child can be asked").is_some();
            let log = self.log();
            assert!(!has_ended || log.contains(text), "it has ended:\n{log}");
            log.contains(text)
        });
    }

    pub fn signal(&self, name: &str) {
        common::send_signal(name, self.child.id());
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        common::wait(&mut self.child, "the daemon ends")
    }

    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "it ended with {status}:\n{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The daemon on `state_dir` with an empty environment and cheap hashes.
pub fn vmherd(state_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmherd"));
    clean(&mut command, state_dir);
    command
}

/// The daemon with `sockets` passed to it as a service manager does it, under `names`.
pub fn vmherd_with_sockets(state_dir: &Path, socket: OwnedFd, names: &str) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"";
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_vmherd")]);
    clean(&mut command, state_dir);
    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", names).stdin(Stdio::from(socket));
    command
}

/// An address that is probably unused.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

fn clean(command: &mut Command, state_dir: &Path) {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("VMHERD_STATE_DIR", state_dir).env("VMHERD_ARGON2_MEMORY", "64");
    command.env("VMHERD_ARGON2_PASSES", "1").stdin(Stdio::null());
}

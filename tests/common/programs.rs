//! The client programs as processes: netcat, telnet, curl, and Python with the packages of the tests. Each has a
//! deadline.

// Each test binary takes what it needs of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::common::codec::{Decoder, HttpHead};
use crate::common::{DEADLINE, Finished, require, run, run_with_input, wait};

/// A program with lines of input and output.
pub(crate) struct Dialogue {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// An answer of HTTP as curl shows it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: HttpHead,
    pub(crate) body: String,
}

impl Dialogue {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Dialogue {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (said, lines) = channel();
        thread::spawn(move || {
            // The receiver is dropped at the end of the test.
            stdout.lines().map_while(Result::ok).for_each(|line| drop(said.send(line)));
        });
        Dialogue { stdin: child.stdin.take(), child, lines }
    }

    /// Writes `text` to its input.
    #[track_caller]
    pub(crate) fn feed(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("its input has not ended");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the program reads");
    }

    /// The next line of its output.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("the program says something")
    }

    /// Ends its input; it must end with success, without more output.
    #[track_caller]
    pub(crate) fn end(mut self) {
        assert_eq!(self.rest(), Vec::<String>::new(), "more than was asked for");
    }

    /// Ends its input; the rest of its output. It must end with success.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.stdin = None;
        let status = wait(&mut self.child, "the program ends");
        let rest = self.lines.iter().collect();
        assert!(status.success(), "it ended with {status}; it said {rest:?}");
        rest
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// The value of the header `name`, which may be there once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let names = self.head.text.lines().filter_map(|line| Some(line.split_once(": ")?.0));
        let count = names.filter(|other| other.eq_ignore_ascii_case(name)).count();
        assert!(count <= 1, "{name} is there {count} times in {self:?}");
        self.head.field(name)
    }

    /// The status and the body, which must be one line of JSON, with its content type.
    #[track_caller]
    pub(crate) fn json(&self) -> (u16, serde_json::Value) {
        assert_eq!(self.header("Content-Type"), Some("application/json"), "{self:?}");
        let line = self.body.strip_suffix('\n').unwrap_or_else(|| panic!("no line break: {self:?}"));
        assert!(!line.contains('\n'), "{self:?}");
        (self.status, serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}")))
    }
}

/// netcat, which ends the connection's input with its own.
pub(crate) fn nc() -> Command {
    require("nc", "netcat-openbsd");
    let mut command = clean("nc");
    command.arg("-N");
    command
}

/// telnet on a terminal of its own, as a user sees it: with the echo of the input.
pub(crate) fn telnet(address: SocketAddr) -> Command {
    require("telnet", "telnet");
    require("script", "bsdutils");
    let mut command = clean("script");
    let telnet = format!("telnet {} {}", address.ip(), address.port());
    command.args(["--quiet", "--return", "--flush", "--command", &telnet, "/dev/null"]);
    command
}

/// curl without the user's settings.
pub(crate) fn curl() -> Command {
    require("curl", "curl");
    let mut command = clean("curl");
    command.args(["--disable", "--silent", "--show-error", "--max-time", "10"]);
    command
}

/// The script `name` of `tests/clients/`, in the environment that has the packages.
pub(crate) fn python(name: &str) -> Command {
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/clients", name].iter().collect();
    let mut command = python_alone();
    command.arg(script);
    command
}

/// Python in the environment that has the packages, without a script.
pub(crate) fn python_alone() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join("target/python/bin/python");
    assert!(
        root.join("target/python/made").exists() && interpreter.exists(),
        "this test needs Python with packages of PyPI: tests/prerequisites makes an environment"
    );
    let mut command = clean(interpreter);
    command.arg("-B");
    command
}

/// The answers to `requests`, each on a connection of its own to a sealed listener, from a client of this generation.
#[track_caller]
pub(crate) fn ask_sealed(address: SocketAddr, generation: u32, requests: &[&str]) -> Vec<serde_json::Value> {
    let mut client = python("sealed.py");
    client.args(["ask", &address.to_string(), &generation.to_string()]).args(requests);
    let said = succeed(&mut client);
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("an answer is JSON")).collect()
}

/// The one answer that curl shows when it is given `arguments`.
#[track_caller]
pub(crate) fn fetch<const N: usize>(arguments: [&str; N]) -> Answer {
    fetch_with_input(arguments, b"")
}

/// The same, with `input` for what reads from `-`.
#[track_caller]
pub(crate) fn fetch_with_input<const N: usize>(arguments: [&str; N], input: &[u8]) -> Answer {
    let said = run_with_input(curl().arg("--include").args(arguments), input).expect_success();
    // curl shows bodies without chunks, so only heads are decoded here.
    let mut decoder = Decoder::default();
    decoder.push(said.stdout.as_bytes());
    loop {
        let head = decoder.head().ok().flatten().unwrap_or_else(|| panic!("no head: {said:?}"));
        // `100 Continue` is not an answer.
        if head.status != 100 {
            let body = String::from_utf8(decoder.take_rest()).expect("it was text before");
            return Answer { status: head.status, head, body };
        }
    }
}

/// Runs a program that must succeed.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> Finished {
    run(command).expect_success()
}

/// A program with only `PATH` in its environment.
pub(crate) fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

//! Other programs, each with a deadline.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use super::{DEADLINE, wait_until};

/// The result of a program.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The exit code; `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Itself; panics if the program failed.
    #[track_caller]
    pub fn expect_success(self) -> Finished {
        assert!(self.status.success(), "it failed: {self:?}");
        self
    }
}

/// Fails the test with a clear message if the program `name` can't be found.
#[track_caller]
pub fn require(name: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    assert!(is_there, "this test needs the program `{name}`: install the package {package}");
}

/// Runs `command` to its end, with nothing to read.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    run_with_input(command, b"")
}

/// Runs `command` to its end, with `input` to read.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
    let (mut stdin, input) = (child.stdin.take().expect("piped"), input.to_vec());
    // A program may end without reading all of its input.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = read_all(child.stdout.take().expect("piped"));
    let stderr = read_all(child.stderr.take().expect("piped"));
    let status = wait(&mut child, &format!("{command:?} ends"));
    writer.join().expect("the writer does not panic");
    Finished { status, stdout: stdout.join().expect("read"), stderr: stderr.join().expect("read") }
}

/// Waits for the end of `child`; kills it when it takes too long.
#[track_caller]
pub fn wait(child: &mut Child, what: &str) -> ExitStatus {
    let mut status = None;
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until(what, DEADLINE, || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
    }));
    status.unwrap_or_else(|| {
        let _ = child.kill();
        let _ = child.wait();
        std::panic::resume_unwind(waited.expect_err("there is no status"))
    })
}

/// Sends the signal `name` (`TERM`, `STOP`) to the process `id`.
pub fn send_signal(name: &str, id: u32) {
    let script = format!("kill -{name} {id}");
    let status = Command::new("sh").args(["-c", &script]).status().expect("sh runs");
    assert!(status.success(), "{script} failed");
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

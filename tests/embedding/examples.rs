//! The examples, as programs.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, registration, wait_until};

/// An example that runs.
struct Example {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Example {
    /// Starts the example `name` on a free port.
    fn start(name: &str) -> Example {
        let mut command = Command::new(path(name));
        command.arg("tcp://127.0.0.1:0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect(name);
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Example { child, input, lines }
    }

    /// The next line that it prints.
    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("it prints a line")
    }

    /// The address at the end of the first word group of its next line.
    fn address(&self) -> SocketAddr {
        let line = self.line();
        let (_, address) = line.split_once("://").expect(&line);
        address.split(';').next().and_then(|address| address.parse().ok()).expect(&line)
    }

    /// Presses Enter, and waits for its success.
    fn stop(mut self) -> Vec<String> {
        self.input.write_all(b"\n").expect("it reads");
        self.end()
    }

    /// Waits for its success; returns what else it has printed.
    fn end(&mut self) -> Vec<String> {
        let mut status = None;
        wait_until("the example ends", DEADLINE, || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
        self.lines.iter().collect()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// The program of the example `name`, beside the tests, with the features of this test: `cargo test` of one test alone
/// does not build it. There is no deadline: it may have to compile the library.
fn path(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a test has a path");
    let profile = tests.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let program = profile.join("examples").join(name);
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--no-default-features", "--example", name]);
    build.args(["--features", &features()]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let status =
        build.env("CARGO_TARGET_DIR", profile.parent().expect("target")).status().expect("cargo runs");
    assert!(status.success(), "{build:?}: {status}");
    program
}

/// The features of this test: with others, cargo would compile the library once more.
fn features() -> String {
    let features = [
        ("sqlite", cfg!(feature = "sqlite")),
        ("http", cfg!(feature = "http")),
        ("websocket", cfg!(feature = "websocket")),
        ("qemu", cfg!(feature = "qemu")),
        ("page", cfg!(feature = "page")),
        ("sealed", cfg!(feature = "sealed")),
        ("cli", cfg!(feature = "cli")),
        ("internals", cfg!(feature = "internals")),
    ];
    let enabled: Vec<&str> =
        features.iter().filter(|(_, is_enabled)| *is_enabled).map(|(name, _)| *name).collect();
    enabled.join(",")
}

fn verb(name: &str, parameters: Value) -> Value {
    json!({"verb": name, "parameters": parameters})
}

#[test]
fn minimal() {
    let example = Example::start("minimal");
    Client::connect(example.address()).ping();
    assert_eq!(example.stop(), [""; 0]);
}

#[test]
fn custom_verb() {
    let example = Example::start("custom_verb");
    let mut client = Client::connect(example.address());
    let reply = client.call(verb("GREET", json!({"name": "Ada"})));
    assert_eq!(reply["data"], json!({"greeting": "Hello, Ada"}));
    assert_eq!(client.call(verb("GREET", json!({})))["message"], "Bad request (name is required)");
    assert_eq!(client.call(verb("STAT", json!({})))["data"], json!({"mood": "good"}));
    example.stop();
}

#[test]
fn custom_command() {
    let example = Example::start("custom_command");
    let mut client = Client::connect(example.address());
    let snapshot = json!({"command": "snapshot", "data": {"disk": 1}});
    let refused = client.call(snapshot.clone());
    assert_eq!(refused["message"], "You have to authenticate to run this operation");
    client.call(registration("db-1", &[1]));
    client.authenticate("db-1");
    assert_eq!(client.call(snapshot)["data"], json!({"snapshot": "db-1-1"}));
    example.stop();
}

#[test]
fn events() {
    let example = Example::start("events");
    let mut client = Client::connect(example.address());
    client.ping();
    client.fail(json!({"command": "nothing"}));
    client.expect_closed();
    let mut lines = vec![example.line()];
    while !lines.last().is_some_and(|line| line.starts_with("ClientClosed")) {
        lines.push(example.line());
    }
    let wanted = [
        "Started",
        "Connection 0.0.1",
        "Client 0.0.1",
        "0.0.1 requests ping",
        "UnknownVerb 0.0.1",
        "ClientClosed 0.0.1",
    ];
    assert_eq!(lines, wanted);
    let rest = example.stop();
    assert!(rest[0].starts_with("ran ") && rest[0].ends_with(" s, 0 runtime errors"), "{rest:?}");
    assert_eq!(rest[1..], ["Stopped"]);
}

#[test]
fn gate() {
    let example = Example::start("gate");
    let address = example.address();
    let clients: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = Client::connect(address);
            client.ping();
            client
        })
        .collect();
    Client::connect(address).expect_closed();
    drop(clients);
    example.stop();
}

#[test]
fn mio_loop() {
    let mut example = Example::start("mio_loop");
    let mut client = Client::connect(example.address());
    client.ping();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(example.address()).expect("an address");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket option");
    for line in ["hello", "stop"] {
        client.ping();
        socket.send(line.as_bytes()).expect("it is sent");
        let mut echo = [0; 16];
        let count = socket.recv(&mut echo).expect("an echo");
        assert_eq!(&echo[..count], line.as_bytes());
    }
    client.expect_closed();
    example.end();
}

#[test]
fn own_store() {
    let example = Example::start("own_store");
    let mut client = Client::connect(example.address());
    client.register("db-1", &[1]);
    assert_eq!(example.line(), "register db-1: Ok(Registered(VmId(1)))");
    client.authenticate("db-1");
    client.succeed("update", json!({"ram": 1024}));
    assert_eq!(example.line(), "update db-1: Ok(Done)");
    example.stop();
}

#[test]
fn several_servers() {
    let example = Example::start("several_servers");
    let addresses = [(); 3].map(|()| example.address());
    for (count, address) in addresses.into_iter().enumerate() {
        assert!(TcpStream::connect(address).is_ok());
        let mut client = Client::connect(address);
        (0..=count).for_each(|number| client.register(&format!("vm-{number}"), &[1]));
        client.authenticate("vm-0");
        assert_eq!(client.list("all_vms").len(), count + 1, "each has its own store");
    }
    example.stop();
}

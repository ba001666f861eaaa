//! Sockets that a service manager opens and keeps.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;

use crate::common::{Client, DEADLINE, TempDir, request, require, wait_until};
use crate::support::{Process, free_address, vmherd, vmherd_with_sockets};

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

#[test]
fn an_inherited_socket_replaces_the_default_listener() {
    let (dir, listener) = (TempDir::new(), listener());
    let address = listener.local_addr().unwrap();
    let mut process = Process::start(vmherd_with_sockets(dir.path(), listener.into(), "vmherd"));
    process.wait_for_log("listening on unix:");
    assert!(process.log().contains(&format!("listening on tcp://{address}")), "{}", process.log());
    assert!(!process.log().contains(":8888"), "{}", process.log());
    let mut client = Client::connect(address);
    client.ping();
    client.register("a", &[]);
    process.stop();
}

#[test]
fn a_configured_listener_of_the_same_address_is_not_bound_again() {
    let (dir, listener) = (TempDir::new(), listener());
    let address = listener.local_addr().unwrap();
    let mut command = vmherd_with_sockets(dir.path(), listener.into(), "");
    let other = free_address();
    command.arg(format!("--listen=tcp://{address}?open=")).arg(format!("--listen=tcp://{other}"));
    let mut process = Process::start(command);
    process.wait_for_log("listening on unix:");
    process.wait_for_log(&format!("tcp://{other} is bound in addition to the inherited sockets"));
    assert!(!process.log().contains(&format!("tcp://{address} is bound in addition")), "{}", process.log());
    for address in [address, other] {
        assert!(process.log().contains(&format!("listening on tcp://{address}")), "{}", process.log());
        Client::connect(address).ping();
    }
    process.stop();
}

#[test]
fn a_settings_file_that_adds_a_listener_to_inherited_sockets_is_a_warning() {
    let (dir, listener) = (TempDir::new(), listener());
    let (address, other) = (listener.local_addr().unwrap(), free_address());
    let file = dir.path().join("vmherd.conf");
    std::fs::write(&file, format!("VMHERD_LISTEN=tcp://{other}\n")).unwrap();
    let mut command = vmherd_with_sockets(dir.path(), listener.into(), "vmherd");
    command.arg("--config").arg(&file);
    let mut process = Process::start(command);
    process.wait_for_log("listening on unix:");
    let log = process.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("in addition to the inherited")).collect();
    assert!(lines.len() == 1 && lines[0].contains(" WARN "), "{log}");
    for part in [&*format!("tcp://{other} is bound"), "VMHERD_LISTEN", "remove it there"] {
        assert!(lines[0].contains(part), "{part}: {log}");
    }
    for address in [address, other] {
        assert!(log.contains(&format!("listening on tcp://{address}")), "{log}");
        Client::connect(address).ping();
    }
    process.stop();
}

#[test]
fn no_client_is_refused_over_restarts() {
    let (dir, listener) = (TempDir::new(), listener());
    let address = listener.local_addr().unwrap();
    let start = || {
        let socket = listener.try_clone().unwrap().into();
        let mut process = Process::start(vmherd_with_sockets(dir.path(), socket, "vmherd"));
        process.wait_for_log("listening on unix:");
        process
    };
    for _ in 0..5 {
        let mut process = start();
        Client::connect(address).ping();
        process.stop();
        // No daemon runs now.
        let mut waiting: Vec<Client> = (0..10).map(|_| Client::connect(address)).collect();
        waiting.iter_mut().for_each(|client| client.send(&request("ping", json!({})).to_string()));
        let mut process = start();
        waiting.iter_mut().for_each(|client| assert_eq!(client.reply()["message"], "PONG"));
        process.stop();
    }
}

#[test]
fn an_inherited_unix_socket_is_not_removed() {
    let dir = TempDir::new();
    let path = dir.path().join("public");
    let listener = UnixListener::bind(&path).unwrap();
    let state = dir.path().join("state");
    let mut process = Process::start(vmherd_with_sockets(&state, listener.into(), "public"));
    process.wait_for_log(&format!("listening on unix:{}", path.display()));
    Client::connect_unix(&path).ping();
    process.stop();
    assert!(path.exists(), "it is the manager's");
    assert!(!state.join("vmherd.sock").exists(), "that one is the daemon's own");
}

#[test]
fn an_unsupported_inherited_socket_is_refused() {
    let dir = TempDir::new();
    let fails = |command: Command, part: &str| {
        let mut process = Process::start(command);
        let code = if part.contains("LISTEN_FDS") { 1 } else { 78 };
        assert_eq!(process.wait().code(), Some(code), "{}", process.log());
        assert!(process.log().contains(part), "{}", process.log());
    };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    fails(
        vmherd_with_sockets(dir.path(), socket.into(), "odd"),
        "\"odd\" that was passed in is not a listening",
    );
    let file = std::fs::File::open("/dev/null").unwrap();
    fails(vmherd_with_sockets(dir.path(), file.into(), "odd"), "is not a listening");
    let public = TcpListener::bind("0.0.0.0:0").unwrap();
    let advice = "open nothing to its clients: --listen ADDRESS?open=none and --registration closed (see \
                  docs/security.md), or if no one can eavesdrop there, allow it: --allow-plaintext";
    fails(vmherd_with_sockets(dir.path(), public.into(), "wide"), advice);
    let public = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut command = vmherd_with_sockets(dir.path(), public.into(), "wide");
    command.arg("--allow-plaintext");
    let mut process = Process::start(command);
    process.wait_for_log("listening on tcp://0.0.0.0:");
    process.stop();
    // No socket was passed.
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh", env!("CARGO_BIN_EXE_vmherd")]);
    command.env_clear().env("VMHERD_STATE_DIR", dir.path()).env("LISTEN_FDS", "1");
    command.stdin(std::process::Stdio::null());
    fails(command, "the 1 sockets of LISTEN_FDS can't be taken");
}

#[test]
fn the_operator_socket_cannot_be_inherited() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&state, &link).unwrap();
    let path = state.join("vmherd.sock");
    for state_dir in [&state, &link] {
        let listener = UnixListener::bind(&path).unwrap();
        let mut process = Process::start(vmherd_with_sockets(state_dir, listener.into(), "own"));
        assert_eq!(process.wait().code(), Some(78), "{}", process.log());
        assert!(process.log().contains("\"own\" that was passed in"), "{}", process.log());
        assert!(process.log().contains("always there"), "{}", process.log());
        std::fs::remove_file(&path).expect("it is left where it was");
    }
}

#[test]
fn a_port_held_by_an_inherited_socket_is_reported() {
    let dir = TempDir::new();
    for (held, wanted) in [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"), ("[::]", "0.0.0.0")] {
        let listener = TcpListener::bind(format!("{held}:0")).unwrap();
        let (held, port) = (listener.local_addr().unwrap(), listener.local_addr().unwrap().port());
        let mut command = vmherd_with_sockets(dir.path(), listener.into(), "vmherd");
        command.arg("--allow-plaintext").arg(format!("--listen=tcp://{wanted}:{port}"));
        let mut process = Process::start(command);
        assert_eq!(process.wait().code(), Some(78), "{}", process.log());
        let expected =
            format!("the socket \"vmherd\" that was passed in holds that port, on tcp://{held}; change it");
        assert!(process.log().contains(&expected), "{}", process.log());
    }
    // A port of another process is not blamed on it.
    let (other, passed_in) = (listener(), listener());
    let mut command = vmherd_with_sockets(dir.path(), passed_in.into(), "vmherd");
    command.arg(format!("--listen=tcp://{}", other.local_addr().unwrap()));
    let mut process = Process::start(command);
    assert_eq!(process.wait().code(), Some(1), "{}", process.log());
    assert!(!process.log().contains("holds that port"), "{}", process.log());
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let dir = TempDir::new();
    let mut command = vmherd(dir.path());
    command.arg("--listen=tcp://127.0.0.1:0").env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let mut process = Process::start(command);
    process.wait_for_log("listening on unix:");
    process.stop();
}

#[test]
fn systemd_s_own_activation_works() {
    require("systemd-socket-activate", "systemd");
    let dir = TempDir::new();
    let (path, address) = (dir.path().join("public"), free_address());
    let mut command = Command::new("systemd-socket-activate");
    command.arg("-l").arg(address.to_string()).arg("-l").arg(&path).arg("--fdname=tcp:unix");
    for name in ["VMHERD_STATE_DIR", "VMHERD_ARGON2_MEMORY", "VMHERD_ARGON2_PASSES"] {
        command.arg("-E").arg(name);
    }
    let daemon = vmherd(&dir.path().join("state"));
    command.arg(env!("CARGO_BIN_EXE_vmherd")).env_clear();
    command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(std::process::Stdio::null());
    let mut process = Process::start(command);
    wait_until("systemd listens", DEADLINE, || path.exists());
    process.wait_for_log("Listening on");
    // systemd starts the daemon for the first client.
    let mut client = Client::connect_unix(&path);
    client.ping();
    Client::connect(address).ping();
    process.wait_for_log(&format!("listening on tcp://{address}"));
    process.stop();
}

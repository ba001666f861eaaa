//! Tokens, passwords and registration, and how the service manager and the environment pass settings.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, SystemTime};

use vmherd::client::{Client, NewVm};

use crate::common::{DEADLINE, Daemon, PASSWORD, run, wait_until};
use crate::support::{Agent, NAME, Site, operator, wait_for_samples};

/// Registers the agent's VM, and returns a client that has a connection of its own.
fn register(site: &Site, password: &str) -> Client {
    let mut client = Client::connect(site.server(), Some(DEADLINE)).expect("the daemon accepts");
    let password = Some(password.to_owned());
    let vm = NewVm { vm_id: NAME.into(), ram: 512, cpu: 1, password, disks: Vec::new() };
    client.register(&vm).expect("a new VM");
    client
}

#[test]
fn a_token_that_was_put_there_is_enough() {
    let site = Site::new();
    let mut daemon = site.daemon().start();
    operator(&daemon);
    let token = register(&site, PASSWORD).authenticate(NAME, PASSWORD).expect("its password");
    let file = site.path().join("seed-token");
    fs::write(&file, &token).expect("a new file");
    let mut command = site.agent();
    command.arg("--token-file").arg(&file);
    let mut agent = Agent::start(command);
    wait_for_samples(&daemon, 1);
    daemon.kill();
    daemon.restart();
    wait_for_samples(&daemon, 3);
    let log = agent.stop();
    assert_eq!(log.matches("by token").count(), 2, "{log}");
    assert!(!log.contains(&token) && !site.token().exists(), "{log}");
}

#[test]
fn the_enrollment_of_a_vm_that_the_server_runs_is_all_it_needs() {
    let site = Site::new();
    let daemon = site.daemon().start();
    operator(&daemon);
    let token = register(&site, PASSWORD).authenticate(NAME, PASSWORD).expect("its password");
    let enrollment = site.path().join("enrollment.json");
    let object = serde_json::json!({"address": site.server(), "vm_id": NAME, "token": token});
    fs::write(&enrollment, format!("{object}\n")).expect("a new file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmherdctl"));
    command.env_clear().args(["agent", "--interval", "1s", "--token-file"]).arg(&enrollment);
    let mut agent = Agent::start({
        command.arg("--state-dir").arg(site.state_dir());
        command
    });
    wait_for_samples(&daemon, 1);
    assert!(agent.stop().contains(" as web-1 by token;"));
}

#[test]
fn a_refused_token_is_replaced_by_means_of_the_password() {
    let site = Site::new();
    let _daemon = site.daemon().start();
    fs::create_dir(site.state_dir()).expect("a new directory");
    let kept = format!("0123456789abcdef\n{NAME}\n{}\n", site.server());
    fs::write(site.token(), kept).expect("a new file");
    let mut agent = Agent::start(site.registering_agent());
    agent.wait_for_log("by password");
    let log = agent.stop();
    assert!(log.contains("the server refuses the token") && !log.contains(PASSWORD), "{log}");
    let token = site.kept_token();
    assert_ne!(token, "0123456789abcdef");
    let mode = fs::metadata(site.token()).expect("a token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let files = fs::read_dir(site.state_dir()).expect("the state directory").count();
    assert_eq!(files, 2, "token and backlog");
    let mut client = Client::connect(site.server(), Some(DEADLINE)).expect("the daemon accepts");
    client.set_token(Some(token));
    client.logout().expect("the token is valid");
    let mut agent = Agent::start(site.registering_agent());
    agent.wait_for_log("by password");
    assert!(agent.stop().contains("the server refuses the token"));
}

#[test]
fn a_registered_vm_is_not_registered_again() {
    let site = Site::new();
    let daemon = site.daemon().start();
    operator(&daemon);
    register(&site, PASSWORD);
    let mut agent = Agent::start(site.registering_agent());
    agent.wait_for_log("by password");
    assert!(!agent.stop().contains("registered"));
    assert_eq!(operator(&daemon).all_vms().expect("a list")[0].ram, 512);
}

#[test]
fn a_vm_is_registered_with_what_the_host_has() {
    let site = Site::new();
    let daemon = site.daemon().start();
    let mut agent = Agent::start(site.registering_agent());
    agent.wait_for_log("registered web-1");
    wait_for_samples(&daemon, 1);
    let vms = operator(&daemon).all_vms().expect("a list");
    assert!(vms.len() == 1 && vms[0].vm_id == NAME && vms[0].ram > 64 && vms[0].cpu > 0, "{vms:?}");
    assert!(!vms[0].disks.is_empty(), "{vms:?}");
    agent.stop();
}

#[test]
fn a_wrong_password_is_tried_again_until_it_is_right() {
    for is_registering in [false, true] {
        let site = Site::new();
        let daemon = site.daemon().start();
        operator(&daemon);
        register(&site, "another password");
        let mut command = site.agent();
        command.arg("--password-file").arg(site.password());
        command.args(is_registering.then_some("--register"));
        let mut agent = Agent::start(command);
        agent.wait_for_log("the server answered with an error: Invalid credentials; trying again");
        fs::write(site.password(), "another password\n").expect("the password's file");
        agent.wait_for_log("by password");
        let log = agent.stop();
        assert!(log.matches("trying again").count() == 1 && !log.contains(PASSWORD), "{log}");
    }
}

#[test]
fn listeners_that_open_nothing_and_register_no_vm_are_enough() {
    let site = Site::new();
    let daemon =
        Daemon::builder().only_on("tcp://127.0.0.1:0?open=none").args(["--registration", "closed"]).start();
    let agent = || {
        let mut command = site.registering_agent();
        command.arg("--server").arg(format!("tcp://{}", daemon.address()));
        Agent::start(command)
    };
    let mut unknown = agent();
    unknown.wait_for_log("Invalid credentials, and registration is closed; trying again");
    unknown.stop();
    let password = Some(PASSWORD.to_owned());
    let vm = NewVm { vm_id: NAME.into(), ram: 512, cpu: 1, password, disks: Vec::new() };
    operator(&daemon).add(&vm).expect("a new VM");
    let mut known = agent();
    wait_for_samples(&daemon, 3);
    let connected = operator(&daemon).authenticated_vms().expect("a list");
    assert_eq!(connected.len(), 1, "{connected:?}");
    let log = known.stop();
    assert_eq!(log.matches("by password").count(), 1, "{log}");
}

#[test]
fn an_agent_without_credentials_says_so() {
    let site = Site::new();
    let _daemon = site.daemon().start();
    let mut agent = Agent::start(site.agent());
    agent.wait_for_log("there is no token, and there is no password; trying again");
    agent.stop();
}

#[test]
fn the_service_manager_passes_credentials_and_a_directory_and_is_notified() {
    let site = Site::new();
    let mut daemon = site.daemon().start();
    daemon.kill();
    let credentials = site.path().join("credentials");
    fs::create_dir(&credentials).expect("a new directory");
    fs::rename(site.password(), credentials.join("password")).expect("a file");
    // What a unit sets for a missing file.
    fs::write(credentials.join("token"), "").expect("a new file");
    let notified = site.path().join("notify");
    let socket = UnixDatagram::bind(&notified).expect("a new socket");
    socket.set_nonblocking(true).expect("a socket option");

    let mut command = Command::new(env!("CARGO_BIN_EXE_vmherdctl"));
    command.env_clear().arg("agent").env("CREDENTIALS_DIRECTORY", &credentials);
    command.env("STATE_DIRECTORY", site.state_dir()).env("NOTIFY_SOCKET", &notified);
    command.env("JOURNAL_STREAM", "1:2").env("VMHERD_AGENT_SERVER", site.server());
    command.env("VMHERD_AGENT_NAME", NAME).env("VMHERD_AGENT_REGISTER", "true");
    command.env("VMHERD_AGENT_INTERVAL", "1s").env("VMHERD_AGENT_BACKLOG", "");
    let mut agent = Agent::start(command);
    agent.wait_for_log("<4>vmherdctl: cannot connect to unix:");
    let mut message = [0; 100];
    socket.recv(&mut message).expect_err("it is not ready without a login");
    daemon.restart();
    wait_for_samples(&daemon, 2);
    socket.set_nonblocking(false).expect("a socket option");
    let length = socket.recv(&mut message).expect("a message");
    assert_eq!(String::from_utf8_lossy(&message[..length]), "READY=1\nSTATUS=reporting");
    assert!(agent.stop().lines().all(|line| line.starts_with('<')));
    assert!(site.token().is_file());
}

#[test]
fn wrong_arguments_are_errors() {
    let agent = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmherdctl"));
        run(command.env_clear().arg("agent").args(arguments))
    };
    let server = ["--server", "unix:/nonexistent", "--state-dir", "/nonexistent"];
    for (arguments, expected) in [
        (&["--name", "x"][..], "--server is missing"),
        (&[&server[..], &["--interval", "0.5s"]].concat(), "--interval is a whole number of seconds"),
        (&[&server[..], &["--interval", "2h"]].concat(), "--interval is a whole number of seconds"),
        (&[&server[..], &["--backlog", "2G"]].concat(), "--backlog is a size from 1M to 1G"),
        (&[&server[..], &["--only", "cpu"]].concat(), "--only"),
        (&["--server", "nonsense"], "is not the address of a server"),
    ] {
        let ran = agent(arguments);
        assert_eq!(ran.code(), Some(2), "{ran:?}");
        assert!(ran.stderr.starts_with("vmherdctl: ") && ran.stderr.contains(expected), "{ran:?}");
    }
    let help = agent(&["--help"]).expect_success();
    assert!(help.stdout.lines().all(|line| line.chars().count() <= 80), "{}", help.stdout);
}

#[test]
fn an_old_token_is_replaced_while_it_is_valid() {
    let site = Site::new();
    let daemon = site.daemon().start();
    let mut agent = Agent::start(site.registering_agent());
    wait_for_samples(&daemon, 1);
    let first = site.kept_token();
    let half_a_day_ago = SystemTime::now() - Duration::from_secs(12 * 3600);
    File::open(site.token()).and_then(|file| file.set_modified(half_a_day_ago)).expect("its time");
    wait_until("there is another token", DEADLINE, || site.kept_token() != first);
    let log = agent.stop();
    assert_eq!(log.matches("connected to").count(), 1, "on the same connection: {log}");
}

//! The recipes of docs/security.md, run verbatim except for ports, paths and names: through each tunnel and proxy a VM has
//! its rights, and an anonymous client none.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, PASSWORD, TempDir, registration, request, require, wait_until};
use crate::programs::{clean, curl, succeed};
use crate::web::{HANDSHAKE, Web, message};

/// A deadline for programs of other projects, which may be slow on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md");
const HOST: &str = "vms.example.org";

/// The block of the page that `<!-- name -->` announces.
#[track_caller]
fn recipe(name: &str) -> String {
    let page = fs::read_to_string(PAGE).expect("the page can be read");
    let (_, rest) = page.split_once(&format!("<!-- {name} -->\n```")).unwrap_or_else(|| panic!("no {name}"));
    let (_, block) = rest.split_once('\n').expect("the block begins");
    block.split_once("```").expect("the block ends").0.to_owned()
}

/// `text` with some words replaced, each of which must be there.
#[track_caller]
fn adapt(text: &str, words: &[(&str, &str)]) -> String {
    words.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the recipe:\n{text}");
        text.replace(from, to)
    })
}

/// A daemon with the settings that the page gives for all recipes, and the VM `a`.
fn closed_daemon() -> Daemon {
    let mut builder = Daemon::builder();
    for line in recipe("settings").lines() {
        let (name, value) = line.split_once('=').expect("NAME=VALUE");
        builder = match name {
            "VMHERD_LISTEN" => builder.only_on(adapt(value, &[(":8888", ":0")])),
            "VMHERD_REGISTRATION" => builder.args(["--registration", value]),
            _ => panic!("{name} is unexpected"),
        };
    }
    with_vm(builder.start())
}

/// A daemon without settings: open to all programs of this host.
fn open_daemon() -> Daemon {
    with_vm(Daemon::start())
}

fn with_vm(daemon: Daemon) -> Daemon {
    daemon.vm_command(&["add", "a", "--ram", "512", "--cpu", "1"], &format!("{PASSWORD}\n")).expect_success();
    daemon
}

/// Checks the rights of an anonymous client and a VM over the connections of `connect`.
#[track_caller]
fn check_connections(connect: impl Fn() -> Client) {
    let mut stranger = connect();
    stranger.ping();
    assert_eq!(stranger.fail(registration("b", &[])), "Registration is closed");
    for open in [json!({"action": "list_all_vms"}), json!({"request_id": 1, "data": "a&&b&&c"})] {
        assert_eq!(stranger.call(open)["error"], "authentication required");
    }
    let mut text = connect();
    text.send("get *\n");
    assert_eq!(text.raw_line(), "error");
    assert_eq!(text.raw_line(), "authentication required");
    let mut vm = connect();
    vm.authenticate("a");
    vm.succeed("update", json!({"ram": 1024}));
    assert_eq!(vm.list("all_vms").len(), 1);
}

/// A program that serves until the test ends.
struct Serving {
    child: Child,
    log: PathBuf,
}

impl Serving {
    #[track_caller]
    fn start(command: &mut Command, place: &TempDir, name: &str) -> Serving {
        let log = place.path().join(format!("{name}.log"));
        let file = fs::File::create(&log).expect("a file");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a file")).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
        Serving { child, log }
    }

    /// Waits until a server listens at `address`.
    #[track_caller]
    fn listens(mut self, address: SocketAddr) -> Serving {
        wait_until("the program listens", DEADLINE, || {
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "it has ended: {}", fs::read_to_string(&self.log).unwrap_or_default());
            TcpStream::connect(address).is_ok()
        });
        self
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("── {} ──\n{}", self.log.display(), fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// An unused port.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

/// A program of Debian's that may be off an ordinary user's PATH.
fn program(name: &str, package: &str) -> Command {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin"];
    let path = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    match path {
        Some(path) => clean(path),
        None => panic!("this test needs the program `{name}`: install the package {package}"),
    }
}

/// Where a certificate for [`HOST`], its key, and both in one file are.
struct Certificate {
    certificate: String,
    key: String,
    both: String,
}

fn make_certificate(place: &TempDir) -> Certificate {
    let path = |name: &str| place.path().join(name).to_str().expect("a path of text").to_owned();
    let (certificate, key, both) = (path("cert.pem"), path("key.pem"), path("both.pem"));
    let mut command = program("openssl", "openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"]);
    command.args([&format!("/CN={HOST}"), "-addext", &format!("subjectAltName=DNS:{HOST}")]);
    succeed(command.args(["-keyout", &key, "-out", &certificate]));
    let read = |path: &str| fs::read_to_string(path).expect("a file of text");
    fs::write(&both, read(&certificate) + &read(&key)).expect("a file");
    Certificate { certificate, key, both }
}

fn write(place: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = place.path().join(name);
    fs::write(&path, text).expect("a file can be written");
    path
}

/// stunnel with the page's settings for clients, to `target`; and its address.
fn stunnel_client(place: &TempDir, tls: &Certificate, target: SocketAddr) -> (Serving, SocketAddr) {
    let address = free_address();
    let words = [
        ("accept = 127.0.0.1:8888", format!("accept = {address}")),
        ("connect = vms.example.org:8889", format!("connect = {target}")),
        ("/etc/vmherd/tls/ca.pem", tls.certificate.clone()),
    ];
    let words = words.each_ref().map(|(from, to)| (*from, to.as_str()));
    let path = write(place, "stunnel-client.conf", &adapt(&recipe("stunnel client"), &words));
    let serving = Serving::start(program("stunnel", "stunnel4").arg(path), place, "stunnel-client");
    (serving.listens(address), address)
}

#[test]
fn ssh() {
    let (daemon, place) = (closed_daemon(), TempDir::new());
    let (server, local) = (free_address(), free_address());
    let path = |name: &str| place.path().join(name).to_str().expect("a path of text").to_owned();
    let (host_key, user_key) = (path("host"), path("user"));
    for key in [&host_key, &user_key] {
        succeed(program("ssh-keygen", "openssh-client").args(["-q", "-t", "ed25519", "-N", "", "-f", key]));
    }
    let user = succeed(clean("id").arg("-un")).stdout.trim().to_owned();
    // As root, sshd needs this folder, which its service makes.
    let _ = fs::create_dir("/run/sshd");
    let base = format!(
        "Port {}\nListenAddress {}\nHostKey {host_key}\nAuthorizedKeysFile {user_key}.pub\nStrictModes no\nPidFile none\n\
         UsePAM yes\nLogLevel VERBOSE\n",
        server.port(),
        server.ip()
    );
    let daemon_port = format!("127.0.0.1:{}", daemon.address().port());
    let settings = adapt(
        &recipe("sshd"),
        &[("Match User vmherd-tunnel", &format!("Match User {user}")), ("127.0.0.1:8888", &daemon_port)],
    );
    let config = write(&place, "sshd.conf", &(base + &settings));
    let mut sshd = program("sshd", "openssh-server");
    let _sshd = Serving::start(sshd.args(["-D", "-e", "-f"]).arg(config), &place, "sshd").listens(server);
    let ssh = |line: &str, name: &str| {
        let mut command = program("ssh", "openssh-client");
        command.args(["-F", "none", "-p", &server.port().to_string(), "-i", &user_key]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
        ] {
            command.args(["-o", option]);
        }
        command.args(line.split_whitespace().skip(1));
        Serving::start(&mut command, &place, name)
    };
    let line = adapt(
        recipe("ssh").trim(),
        &[
            ("127.0.0.1:8888:127.0.0.1:8888", &format!("{local}:{daemon_port}")),
            ("vmherd-tunnel@vms.example.org", &format!("{user}@{}", server.ip())),
        ],
    );
    let _tunnel = ssh(&line, "ssh").listens(local);
    check_connections(|| Client::connect(local));
    // Another port of the host is not reachable.
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let other = free_address();
    let forbidden = elsewhere.local_addr().expect("its address").to_string();
    let line = line.replace(&local.to_string(), &other.to_string()).replace(&daemon_port, &forbidden);
    let _other = ssh(&line, "ssh-elsewhere").listens(other);
    let mut refused = TcpStream::connect(other).expect("ssh listens");
    refused.set_read_timeout(Some(DEADLINE)).expect("a socket option");
    assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)));
    elsewhere.set_nonblocking(true).expect("a socket option");
    assert!(elsewhere.accept().is_err(), "it was reached");
}

#[test]
fn stunnel() {
    let (daemon, place) = (closed_daemon(), TempDir::new());
    let tls = make_certificate(&place);
    let server = free_address();
    let words = [
        ("accept = 0.0.0.0:8889", format!("accept = {server}")),
        ("connect = 127.0.0.1:8888", format!("connect = {}", daemon.address())),
        ("/etc/vmherd/tls/cert.pem", tls.certificate.clone()),
        ("/etc/vmherd/tls/key.pem", tls.key.clone()),
    ];
    let words = words.each_ref().map(|(from, to)| (*from, to.as_str()));
    let path = write(&place, "stunnel.conf", &adapt(&recipe("stunnel server"), &words));
    let stunnel = Serving::start(program("stunnel", "stunnel4").arg(path), &place, "stunnel");
    let _stunnel = stunnel.listens(server);
    let (_client, local) = stunnel_client(&place, &tls, server);
    check_connections(|| Client::connect(local));
}

/// A reply over HTTP and TLS at `address`.
#[track_caller]
fn ask(address: SocketAddr, tls: &Certificate, arguments: &[&str]) -> Value {
    let mut command = curl();
    let resolve = format!("{HOST}:{}:127.0.0.1", address.port());
    let url = format!("https://{HOST}:{}/", address.port());
    command.args(["--max-time", "60", "--cacert", &tls.certificate, "--resolve", &resolve]);
    let said = succeed(command.args(arguments).arg(url)).stdout;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Checks the rights of an anonymous client and a VM through an HTTP proxy at `address`, whatever the daemon opens.
#[track_caller]
fn check_proxy(address: SocketAddr, tls: &Certificate, place: &TempDir) {
    let post = |body: &Value| ask(address, tls, &["-d", &body.to_string()]);
    assert_eq!(post(&request("ping", json!({})))["message"], "PONG");
    assert_eq!(post(&registration("b", &[]))["message"], "Registration is closed");
    let list = json!({"action": "list_all_vms"});
    assert_eq!(post(&list)["error"], "authentication required");
    let login = post(&request("authenticate", json!({"vm_id": "a", "password": PASSWORD})));
    let token = login["data"]["token"].as_str().unwrap_or_else(|| panic!("no token: {login}"));
    let bearer = format!("Authorization: Bearer {token}");
    let listed = ask(address, tls, &["-H", &bearer, "-d", &list.to_string()]);
    assert_eq!(listed["all_vms"].as_array().map(Vec::len), Some(1), "{listed}");
    // A WebSocket, inside TLS by stunnel.
    let (_client, local) = stunnel_client(place, tls, address);
    let mut web = Web::connect(local);
    web.send(HANDSHAKE.replace("localhost", HOST));
    assert_eq!(web.reply_to_head().status, 101);
    web.send(message(&list.to_string()));
    assert_eq!(web.message(), r#"{"error":"authentication required"}"#);
    web.send(message(&request("authenticate", json!({"vm_id": "a", "password": PASSWORD})).to_string()));
    assert!(web.message().contains("Authentication successful"));
    web.send(message(&list.to_string()));
    assert!(web.message().starts_with(r#"{"all_vms":[{"#));
}

#[test]
fn nginx() {
    for daemon in [closed_daemon(), open_daemon()] {
        let place = TempDir::new();
        let (tls, address) = (make_certificate(&place), free_address());
        let words = [
            ("listen 443 ssl", format!("listen {address} ssl")),
            ("/etc/vmherd/tls/cert.pem", tls.certificate.clone()),
            ("/etc/vmherd/tls/key.pem", tls.key.clone()),
            ("http://127.0.0.1:8888", format!("http://{}", daemon.address())),
        ];
        let words = words.each_ref().map(|(from, to)| (*from, to.as_str()));
        let folder = place.path().display();
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders = folders.map(|name| format!("{name}_temp_path {folder}/{name};\n")).concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{folders}{}}}\n",
            adapt(&recipe("nginx"), &words)
        );
        let path = write(&place, "nginx.conf", &config);
        let nginx = Serving::start(
            program("nginx", "nginx-light").args(["-e", "stderr", "-c"]).arg(path),
            &place,
            "nginx",
        );
        let _nginx = nginx.listens(address);
        check_proxy(address, &tls, &place);
    }
}

#[test]
fn haproxy() {
    let check = "option httpchk GET /healthz";
    for (daemon, check_of_page, code) in
        [(closed_daemon(), check, "200"), (open_daemon(), "option httpchk", "204")]
    {
        let place = TempDir::new();
        let (tls, address) = (make_certificate(&place), free_address());
        let socket = place.path().join("haproxy.sock");
        let words = [
            ("0.0.0.0:443", address.to_string()),
            ("/etc/vmherd/tls/both.pem", tls.both.clone()),
            ("127.0.0.1:8888", daemon.address().to_string()),
            // The default check suffices.
            (check, check_of_page.to_owned()),
        ];
        let words = words.each_ref().map(|(from, to)| (*from, to.as_str()));
        let global = format!("global\n    stats socket {}\n\n", socket.display());
        let path = write(&place, "haproxy.cfg", &(global + &adapt(&recipe("haproxy"), &words)));
        let mut haproxy = program("haproxy", "haproxy");
        let _haproxy =
            Serving::start(haproxy.args(["-db", "-f"]).arg(path), &place, "haproxy").listens(address);
        check_proxy(address, &tls, &place);
        wait_until("HAProxy's check", DEADLINE, || {
            let mut stream = UnixStream::connect(&socket).expect("HAProxy's socket");
            stream.write_all(b"show stat\n").expect("it reads");
            let mut said = String::new();
            stream.read_to_string(&mut said).expect("it answers");
            let line = said.lines().find(|line| line.starts_with("vmherd,vmherd,")).expect("the server");
            let fields: Vec<&str> = line.split(',').collect();
            assert_ne!(fields[17], "DOWN", "{line}");
            fields[17] == "UP" && fields[36] == "L7OK" && fields[37] == code
        });
    }
}

/// Every recipe of the page is run here.
#[test]
fn every_recipe_has_a_test() {
    let page = fs::read_to_string(PAGE).expect("the page can be read");
    let names: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("<!-- ")?.strip_suffix(" -->")).collect();
    let known = ["settings", "sshd", "ssh", "stunnel server", "stunnel client", "nginx", "haproxy"];
    assert_eq!(names, known);
    // Sessions of a console show what tools do.
    let shown = page.matches("\n```console").count();
    assert_eq!(page.matches("\n```").count(), 2 * (known.len() + shown), "a block without a name");
    require("curl", "curl");
}

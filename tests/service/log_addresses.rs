//! `--log-addresses`: what the log shows of the addresses of clients, whatever they do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::common::{Client, Connection, DEADLINE, Daemon, PASSWORD, registration, request};
use crate::reload::Reloadable;
#[cfg(feature = "http")]
use crate::web::{HANDSHAKE, Web, post};

/// The addresses of the clients: no other address in the log begins like them.
const CLIENT: &str = "127.11.22.33";
const OTHER: &str = "127.11.22.44";
/// An address that the daemon refuses.
const REFUSED: &str = "127.11.22.55";

/// Clients that do everything that is logged, and their ports.
struct Clients<'a> {
    daemon: &'a Daemon,
    ports: BTreeSet<u16>,
}

impl Clients<'_> {
    fn socket(&mut self, from: &str) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let own = SocketAddr::new(from.parse().expect("an address"), 0);
        socket.bind(&own.into()).expect("all of 127.0.0.0/8 is this host's");
        socket.connect_timeout(&self.daemon.address().into(), DEADLINE).expect("the daemon accepts");
        let port = socket.local_addr().expect("it is bound").as_socket().expect("it has a port").port();
        self.ports.insert(port);
        socket
    }

    fn client(&mut self, from: &str) -> Client {
        Client::over(self.socket(from))
    }

    fn connection(&mut self, from: &str) -> Connection {
        Connection::new(self.socket(from))
    }

    fn act(&mut self) {
        let login = |password: &str| request("authenticate", json!({"vm_id": "a", "password": password}));
        let mut client = self.client(CLIENT);
        client.call(registration("a", &[1]));
        let token =
            client.succeed("authenticate", json!({"vm_id": "a", "password": PASSWORD}))["token"].take();
        client.succeed("update", json!({"ram": 7}));
        client.succeed("logout", json!({}));
        client.succeed("authenticate", json!({"vm_id": "a", "password": PASSWORD}));
        client.fail(request("update", json!({"ram": 1, "token": token})));
        // Guesses, of which the later ones are delayed.
        let mut guesses: Vec<Client> = (0..4).map(|_| self.client(OTHER)).collect();
        guesses.iter_mut().for_each(|guess| guess.send(&login("wrong password").to_string()));
        guesses.iter_mut().for_each(|guess| drop(guess.error()));
        // More refusals than the audit log has room for.
        let mut other = self.client(OTHER);
        (0..12).for_each(|_| drop(other.fail(request("stats", json!({})))));
        // Denials, malformed requests, and other protocols.
        client.fail(request("stats", json!({})));
        client.call(json!({"action": "authenticate", "vm_id": 4711}));
        self.client(CLIENT).fail(json!([]));
        for bytes in [
            &b"\x16\x03\x01"[..],
            b"nonsense\n",
            b"{}\nGET / HTTP/1.1\r\n",
            b"put a\x01 1 1\n",
            b"{\"command\"",
        ] {
            let mut connection = self.connection(CLIENT);
            connection.send(bytes).expect("it is open");
            // The last one takes too long.
            if bytes != b"{\"command\"" {
                connection.socket().shutdown(std::net::Shutdown::Write).expect("it is open");
            }
            connection.rest_before_any_end("an error, the end, or the timeout of a request");
        }
        #[cfg(feature = "http")]
        self.act_over_http();
        // Disconnected in the middle of a request, and of a login.
        for text in ["{\"command\":", &login("wrong password").to_string()] {
            let mut client = self.client(OTHER);
            client.send(text);
            client.socket().set_linger(Some(Duration::ZERO)).expect("a socket option");
        }
        // Refused by address.
        let mut refused = self.connection(REFUSED);
        let _ = refused.send(b"{}");
        refused.rest_before_any_end("a refused client");
        // More connections than may be open: they evict each other.
        let idle: Vec<Client> = (0..40).map(|_| self.client(CLIENT)).collect();
        self.daemon.wait_for_counter("connections_evicted", |count| count > 0);
        drop(idle);
    }

    #[cfg(feature = "http")]
    fn act_over_http(&mut self) {
        for head in ["Host: foreign.example", "Host: localhost\r\nOrigin: https://foreign.example"] {
            let mut web = Web::over(self.socket(CLIENT));
            web.send(format!("GET / HTTP/1.1\r\n{head}\r\nX-Forwarded-For: {OTHER}\r\n\r\n"));
            assert_eq!(web.reply().status, 403);
        }
        let mut web = Web::over(self.socket(CLIENT));
        let body = post(r#"{"command": "update", "data": {"ram": 1}}"#);
        web.send(body.replacen("\r\n\r\n", "\r\nAuthorization: Bearer none\r\n\r\n", 1));
        assert_eq!(web.reply().status, 401);
        let mut web = Web::over(self.socket(CLIENT));
        web.send(HANDSHAKE);
        web.expect_upgrade();
        web.send(b"no frame");
        web.until_closed("a violation of the protocol");
    }
}

/// The log of a daemon with these arguments, to its end, without its directory's name; and the ports of its clients.
fn log_of(arguments: &[&str]) -> (String, BTreeSet<u16>) {
    let mut daemon = Daemon::builder()
        .args(["--log=trace", "--deny", REFUSED, "--connections-max=24", "--request-timeout=1s"])
        .args(["--login-failures=2", "--login-delay-max=200ms"])
        .args(arguments.iter().copied())
        .start();
    let mut clients = Clients { daemon: &daemon, ports: BTreeSet::new() };
    clients.act();
    let mut ports = clients.ports;
    // A client may have the number of the daemon's own port, which the log shows.
    ports.remove(&daemon.address().port());
    daemon.signal("USR1");
    daemon.wait_for_log("statistics: ");
    daemon.stop();
    let directory = daemon.state_dir().to_str().expect("a text").to_owned();
    (daemon.log().replace(&directory, "DIR"), ports)
}

/// The values of `key` in the lines of the audit log.
fn values<'a>(log: &'a str, key: &str) -> BTreeSet<&'a str> {
    let lines = log.lines().filter(|line| line.contains(" vmherd::audit: "));
    lines.filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix(key))).collect()
}

#[track_caller]
fn expect_everything_is_logged(log: &str) {
    for text in [
        "event=register ",
        "event=login ",
        "event=change ",
        "event=logout ",
        "event=held-back ",
        "reason=bad-credentials",
        "reason=bad-token",
        "reason=operators-only",
        "because of --allow or --deny",
    ] {
        assert!(log.contains(text), "{text} is not in {log}");
    }
    #[cfg(feature = "http")]
    for text in ["reason=foreign-host", "reason=foreign-origin", "closed 1 raw JSON connections"] {
        assert!(log.contains(text), "{text} is not in {log}");
    }
}

/// The log has no trace of an address or a port.
#[track_caller]
fn expect_no_address(log: &str, ports: &BTreeSet<u16>) {
    for line in log.lines() {
        let mut words = line.split(|character: char| !character.is_alphanumeric());
        let has_port = words.any(|word| word.parse().is_ok_and(|number| ports.contains(&number)));
        // A counter may have the number of a port.
        let is_of_counters = line.contains("statistics: ");
        assert!(is_of_counters || !has_port && !line.contains("port="), "{line}");
        assert!(!line.contains("127.11.") && !line.contains("11.22"), "{line}");
    }
}

#[test]
fn the_log_shows_addresses_and_ports_by_default() {
    let (log, ports) = log_of(&[]);
    expect_everything_is_logged(&log);
    assert_eq!(values(&log, "peer="), BTreeSet::from([CLIENT, OTHER]));
    assert_eq!(values(&log, "source="), BTreeSet::from([OTHER]));
    assert!(log.contains(&format!("the last one from {REFUSED}")), "{log}");
    let logged: BTreeSet<u16> =
        values(&log, "port=").into_iter().map(|port| port.parse().expect("a port")).collect();
    assert!(!logged.is_empty() && logged.is_subset(&ports), "{logged:?}");
}

#[test]
fn hashed_addresses_can_be_told_apart_and_not_be_read() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (log, ports) = log_of(&["--log-addresses", "hashed"]);
        expect_everything_is_logged(&log);
        // The setting is shown as it is.
        expect_no_address(&log, &ports);
        let (peers, sources) = (values(&log, "peer="), values(&log, "source="));
        assert_eq!(peers.len(), 2, "{peers:?}");
        assert!(sources.len() == 1 && sources.is_subset(&peers), "{sources:?} {peers:?}");
        let is_digest = |text: &&str| text.len() == 7 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(peers.iter().all(is_digest), "{peers:?}");
        let (_, refused) = log.split_once("the last one from ").expect("the line about the refused address");
        assert!(is_digest(&refused.lines().next().expect("its end")), "{refused}");
        runs.push(peers.into_iter().map(str::to_owned).collect::<BTreeSet<_>>());
    }
    assert!(runs[0].is_disjoint(&runs[1]), "each run has its own key: {runs:?}");
}

#[test]
fn hidden_addresses_leave_no_trace() {
    for format in ["text", "json"] {
        let (log, ports) = log_of(&["--log-addresses=none", "--log-format", format]);
        expect_no_address(&log, &ports);
        if format == "text" {
            expect_everything_is_logged(&log);
            assert_eq!(
                (values(&log, "peer="), values(&log, "source=")),
                (BTreeSet::from(["-"]), BTreeSet::from(["-"]))
            );
        }
    }
}

#[test]
fn a_reload_changes_what_later_lines_show_and_replies_show_addresses() {
    let service = Reloadable::start("VMHERD_LOG_ADDRESSES=hashed\n");
    let daemon = &service.daemon;
    let mut client = daemon.client();
    client.register("a", &[]);
    client.authenticate("a");
    let login = |number: usize| {
        let mut other = daemon.client();
        other.authenticate("a");
        let own = other.local_address();
        let reply: Value = other.call(request("ping", json!({})));
        assert_eq!(reply["data"]["addr"], json!([own.ip().to_string(), own.port()]));
        crate::common::wait_until("it is logged", DEADLINE, || {
            daemon.log().matches("event=login ").count() == number
        });
        let log = daemon.log();
        let line = log.lines().rfind(|line| line.contains("event=login ")).expect("a line");
        line.split(' ').find_map(|word| word.strip_prefix("peer=")).expect("a peer").to_owned()
    };
    let first = login(2);
    service.reload("VMHERD_LOG_ADDRESSES=none\n");
    assert_eq!(login(3), "-");
    service.reload("");
    assert_eq!(login(4), "127.0.0.1");
    service.reload("VMHERD_LOG_ADDRESSES=hashed\n");
    assert_eq!(login(5), first, "the key is that of this run");
    let listed = client.list("active_vms");
    assert!(listed.iter().any(|entry| entry["addr"][0] == "127.0.0.1"), "{listed:?}");
}

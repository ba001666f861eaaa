//! Memory that all clients together make the daemon hold: requests that never end, answers that are never read.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, request, wait_until};
use crate::overload::{Baseline, alone, statistic};
use crate::swarm::{Swarm, connections_that_fit};

/// The limit for all clients, by default.
const BUFFERS_KIB_MAX: u64 = 64 << 10;
/// Further memory of the daemon during an attack: its tables, buffers that are copied into larger ones, and memory that
/// the allocator has not freed yet.
const BESIDE_KIB_MAX: u64 = 48 << 10;
/// Memory that the daemon may keep.
const KEPT_KIB_MAX: u64 = 8 << 10;
/// The time within which it returns the rest to the system, once the clients are gone.
const RETURN_MAX: Duration = Duration::from_secs(10);
/// Answers that a healthy client gets during an attack, at least.
const ANSWERS_MIN: usize = 30;

#[test]
fn incomplete_anonymous_requests_are_refused_before_memory_fills() {
    const PART: usize = 65_000;
    let _alone = alone();
    let count = connections_that_fit(8000);
    // On a listener for other hosts, so nothing is open to anonymous clients.
    let daemon = Daemon::builder().listen("tcp://0.0.0.0:0").arg("--allow-plaintext").start();
    let open_to_none = SocketAddr::from(([127, 0, 0, 1], daemon.addresses()[1].port()));
    expect_bounded(&daemon, |healthy| send_parts(healthy, open_to_none, count, PART));
}

#[test]
fn incomplete_local_requests_are_refused_before_memory_fills() {
    const PART: usize = 1_000_000;
    let _alone = alone();
    let daemon = Daemon::start();
    expect_bounded(&daemon, |healthy| send_parts(healthy, daemon.address(), 1500, PART));
}

#[test]
fn clients_that_get_all_points_and_never_read_do_not_fill_memory() {
    const COUNT: usize = 600;
    let _alone = alone();
    let daemon = Daemon::start();
    put_long_keys(&daemon);
    expect_bounded(&daemon, |healthy| {
        let deaf: Vec<TcpStream> = (0..COUNT)
            .map(|_| {
                let mut stream = TcpStream::connect(daemon.address()).expect("the daemon accepts");
                stream.write_all(b"get *\n").expect("it is taken");
                stream
            })
            .collect();
        let mut operator = daemon.operator();
        wait_until("all have asked", DEADLINE, || statistic(&mut operator, "requests_get") > 10);
        wait_until("much is held", DEADLINE, || statistic(&mut operator, "buffers_bytes") > 16 << 20);
        healthy.expect_answers();
        drop(deaf);
        // A half-closed client may still read, so its answers are still made.
        wait_until("all of them are closed", 6 * DEADLINE, || {
            statistic(&mut operator, "connections_open") == 2
        });
    });
}

#[test]
fn authenticated_clients_wait_for_memory_and_are_all_served() {
    const CLIENTS: usize = 40;
    let _alone = alone();
    // They wait for each other, on a slow machine for longer than the request timeout.
    let daemon = Daemon::builder().args(["--buffers-max", "2MiB", "--request-timeout", "5m"]).start();
    daemon.client().register("vm", &[1]);
    let login = login();
    // Together they send far more than the limit, and each has sent the greater part before any sends the rest.
    let update = padded_update(700_000);
    let (first, rest) = update.split_at(600_000);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.client()).collect();
    let threads: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            let (login, first, rest) = (login.clone(), first.to_owned(), rest.to_owned());
            thread::spawn(move || {
                assert_eq!(client.call(login)["status"], "success");
                client.send(&first);
                client.send(&rest);
                client.reply()
            })
        })
        .collect();
    for thread in threads {
        let reply = thread.join().expect("an answer");
        assert_eq!(reply["status"], "success", "{reply}");
    }
    assert_eq!(statistic(&mut daemon.operator(), "connections_refused"), 0);
}

/// Authenticated clients may keep the memory for as long as they like.
#[test]
fn an_anonymous_request_that_waits_long_for_memory_is_busy() {
    let _alone = alone();
    let daemon = Daemon::builder().args(["--buffers-max", "2MiB", "--request-timeout", "5m"]).start();
    daemon.client().register("vm", &[1]);
    let mut holder = daemon.client();
    assert_eq!(holder.call(login())["status"], "success");
    let update = padded_update(900_000);
    let (first, rest) = update.split_at(800_000);
    holder.send(first);
    let mut operator = daemon.operator();
    wait_until("it holds memory", DEADLINE, || statistic(&mut operator, "buffers_bytes") > 700_000);
    let mut anonymous = daemon.client();
    anonymous.ping();
    assert_eq!(anonymous.call(request("get", json!({"key": "*"})))["message"], "busy");
    anonymous.ping();
    holder.send(rest);
    assert_eq!(holder.reply()["status"], "success");
    assert_eq!(anonymous.call(request("get", json!({"key": "*"})))["status"], "success");
}

#[test]
fn a_refused_client_gets_the_reason_in_its_own_framing() {
    let _alone = alone();
    let daemon = Daemon::builder().args(["--buffers-max", "2MiB"]).start();
    let part = "x".repeat(900_000);
    let post = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{part}");
    let json = format!("{{\"command\": \"ping\", \"data\": {{\"{part}");
    let mut swarm = Swarm::new();
    for _ in 0..4 {
        swarm.connect(daemon.address(), post.as_bytes());
        swarm.connect(daemon.address(), json.as_bytes());
    }
    wait_until("some of both are refused", DEADLINE, || {
        swarm.turn(Duration::from_millis(10), |_| {});
        let ended = |at: usize| swarm.members[at..].iter().step_by(2).any(|member| !member.is_open());
        ended(0) && ended(1)
    });
    let reason = "busy: clients have filled the memory that there is for requests";
    for (at, member) in swarm.members.iter().enumerate().filter(|(_, member)| !member.is_open()) {
        let said = String::from_utf8_lossy(&member.received);
        assert!(said.contains(reason), "{at}: {said}");
        let is_http = said.starts_with("HTTP/1.1 503 ") && said.contains("Retry-After: 1\r\n");
        assert_eq!(is_http, at % 2 == 0, "{said}");
        assert!(matches!(member.ended, Some((_, Ok(())))), "{at} was cut");
    }
    daemon.wait_for_log("--buffers-max");
}

/// Runs `attack` beside a healthy client; memory is bounded during it, and freed afterwards.
#[track_caller]
fn expect_bounded(daemon: &Daemon, attack: impl FnOnce(&Healthy)) {
    daemon.client().register("vm", &[1]);
    let login = login();
    let baseline = Baseline::of_idle(daemon);
    let healthy = Healthy::start(daemon, login);
    attack(&healthy);
    healthy.finish();
    let mut operator = daemon.operator();
    wait_until("all of them are closed", 6 * DEADLINE, || statistic(&mut operator, "connections_open") == 1);
    drop(operator);
    let peak_kib = baseline.peak_growth_kib(daemon);
    let time = baseline.expect_back(daemon, KEPT_KIB_MAX);
    assert!(time <= RETURN_MAX, "memory was returned after {time:.1?}");
    assert!(peak_kib <= BUFFERS_KIB_MAX + BESIDE_KIB_MAX, "{peak_kib} KiB were held");
}

/// Connects `count` clients that each send `bytes` bytes of a request and then no more.
fn send_parts(healthy: &Healthy, address: SocketAddr, count: usize, bytes: usize) {
    let part = format!("{{\"command\": \"ping\", \"data\": {{\"x\": \"{}", "x".repeat(bytes));
    let mut swarm = Swarm::new();
    let mut sending: Vec<usize> = Vec::new();
    for _ in 0..count {
        sending.push(swarm.connect(address, &part.as_bytes()[..bytes]));
        // As many at a time as the system's buffers hold.
        wait_until("others have sent all", DEADLINE, || {
            swarm.turn(Duration::ZERO, |_| {});
            sending.retain(|index| !swarm.members[*index].is_done_sending());
            sending.len() < 64
        });
    }
    wait_until("most of them are refused", 6 * DEADLINE, || {
        swarm.turn(Duration::from_millis(10), |_| {});
        swarm.open * bytes <= (BUFFERS_KIB_MAX << 10) as usize
    });
    healthy.expect_answers();
    // On a slow machine some time out before they are refused.
    let has_reason = |text: &[u8]| {
        let said = String::from_utf8_lossy(text);
        said.contains("busy: clients have filled") || said.contains("Request timeout")
    };
    let ended = swarm.members.iter().filter(|member| matches!(member.ended, Some((_, Ok(())))));
    let unexplained = ended.clone().filter(|member| !has_reason(&member.received)).count();
    assert!(ended.count() > count / 2 && unexplained == 0, "{unexplained} without a reason");
}

/// An authenticated client that sends one request after the other.
struct Healthy {
    answers: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Healthy {
    fn start(daemon: &Daemon, login: Value) -> Healthy {
        let mut client = daemon.client();
        let (answers, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ends) = (Arc::clone(&answers), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            assert_eq!(client.call(login)["status"], "success");
            while !ends.load(Ordering::Relaxed) {
                client.ping();
                let updated = client.call(request("update", json!({"ram": 7})));
                assert_eq!(updated["status"], "success", "{updated}");
                assert_eq!(client.list("all_vms").len(), 1);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Healthy { answers, is_over, thread }
    }

    /// It gets some more answers from now on.
    #[track_caller]
    fn expect_answers(&self) {
        let before = self.answers.load(Ordering::Relaxed);
        wait_until("a healthy client is answered", DEADLINE, || {
            self.answers.load(Ordering::Relaxed) >= before + ANSWERS_MIN || self.thread.is_finished()
        });
    }

    #[track_caller]
    fn finish(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("all is answered");
    }
}

/// The request to authenticate as the VM that is registered.
fn login() -> Value {
    request("authenticate", json!({"vm_id": "vm", "password": crate::common::PASSWORD}))
}

/// An update with so many bytes of white space in it.
fn padded_update(bytes: usize) -> String {
    format!("{{\"command\": \"update\", {} \"data\": {{\"ram\": 5}}}}", " ".repeat(bytes))
}

/// Puts points with the longest pages.
fn put_long_keys(daemon: &Daemon) {
    let mut client = daemon.client();
    for block in 0..10 {
        let points: Vec<Value> = (0..1000)
            .map(|at| {
                let key = format!("{:0>190}", block * 1000 + at);
                json!({"key": format!("k{key}"), "value": 1.5, "timestamp": 1_700_000_000})
            })
            .collect();
        let put = client.call(request("put", json!({"points": points})));
        assert_eq!(put["message"], "ok", "{put}");
    }
}

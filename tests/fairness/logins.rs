//! Guesses of passwords: a client with many connections delays itself and no other client.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request, wait_until};
use crate::false_clock::FalseClock;
use crate::overload::statistic;
use crate::web::{self, Web};

/// Guesses at once, more than may wait.
const GUESSES: usize = 12;
/// Attempts of one source that may wait.
const WAITING_MAX: u64 = 8;

#[test]
fn guesses_are_delayed_and_the_owner_is_not() {
    let limits = ["--login-failures", "1", "--login-delay-max", "20s"];
    let mut daemon = Daemon::builder().args(limits).start();
    let mut first = daemon.client();
    first.register("vm", &[1]);
    let token = first.authenticate("vm");
    let guess = request("authenticate", json!({"vm_id": "vm", "password": "notThePassword"}));
    // The same for an unknown name: the delay must not reveal that.
    let ghost = request("authenticate", json!({"vm_id": "ghost", "password": "notThePassword"}));
    for guess in [&guess, &ghost, &guess, &ghost] {
        assert_eq!(daemon.client().fail(guess.clone()), "Invalid credentials");
    }
    daemon.wait_for_counter("logins_delayed", |delayed| delayed >= 3);

    let mut strangers: Vec<Client> = (0..GUESSES).map(|_| daemon.client()).collect();
    strangers.iter_mut().for_each(|stranger| stranger.send(&guess.to_string()));
    daemon.wait_for_counter("logins_waiting", |waiting| waiting == WAITING_MAX);
    daemon.wait_for_counter("logins_refused", |refused| refused >= 1);

    // Other sources are not affected: here, a user of this host.
    for _ in 0..10 {
        daemon.operator().authenticate("vm");
    }
    // Nor is a token, from any source.
    daemon.client().succeed("list", json!({"list_type": "all_vms", "token": token}));

    // Closed connections wait no longer, and refused ones have an answer.
    let mut refused = 0;
    for mut stranger in strangers {
        if stranger.has_input(Duration::from_millis(1)) {
            refused += usize::from(stranger.error() == "busy");
        }
        stranger.socket().set_linger(Some(Duration::ZERO)).expect("a socket option");
    }
    assert!(refused >= 1, "no client was refused");
    daemon.wait_for_counter("logins_waiting", |waiting| waiting == 0);
    let mut operator = daemon.operator();
    let counted =
        ["logins_failed", "logins_delayed", "logins_refused"].map(|name| statistic(&mut operator, name));
    daemon.stop();
    assert_eq!(sums(&reports(&daemon.log())), counted, "{}", daemon.log());
}

#[test]
fn guesses_are_not_delayed_when_the_delay_is_disabled() {
    for disabled in ["--login-failures", "--login-delay-max"] {
        let daemon = Daemon::builder().args([disabled, "none"]).start();
        daemon.client().register("vm", &[1]);
        let guess = request("authenticate", json!({"vm_id": "vm", "password": "notThePassword"}));
        let mut client = daemon.client();
        for _ in 0..30 {
            assert_eq!(client.fail(guess.clone()), "Invalid credentials");
        }
        let mut operator = daemon.operator();
        let count = |name| statistic(&mut operator, name);
        let counts = ["logins_failed", "logins_delayed", "logins_refused"].map(count);
        assert_eq!(counts, [30, 0, 0], "{disabled} none");
    }
}

#[test]
fn failed_logins_are_reported_once_a_minute() {
    /// A little more than a minute.
    const INTERVAL_S: i64 = 61;
    let clock = FalseClock::new();
    let mut daemon = clock.daemon().args(["--login-failures", "none"]).start();
    let mut client = daemon.client();
    client.register("vm", &[1]);
    let guess = request("authenticate", json!({"vm_id": "vm", "password": "notThePassword"}));
    let mut expected = Vec::new();
    for (minute, failures) in [3, 0, 2].into_iter().enumerate() {
        for _ in 0..failures {
            assert_eq!(client.fail(guess.clone()), "Invalid credentials");
        }
        assert_eq!(reports(&daemon.log()), expected, "minute {minute} is not over");
        clock.set_monotonic_ahead((minute as i64 + 1) * INTERVAL_S);
        expected.extend((failures > 0).then_some([failures, 0, 0]));
        wait_until("the minute is reported", DEADLINE, || {
            // It wakes the daemon.
            client.ping();
            reports(&daemon.log()).len() >= expected.len()
        });
        assert_eq!(reports(&daemon.log()), expected);
    }
    daemon.stop();
    assert_eq!(reports(&daemon.log()), expected, "nothing is left to report");
}

/// The log's reports of failed logins: how many failed, were delayed, and were refused.
fn reports(log: &str) -> Vec<[u64; 3]> {
    let reports = log.lines().filter_map(|line| line.split_once("failed logins by password: "));
    let numbers = |(_, report): (&str, &str)| {
        let numbers = report.split(|character: char| !character.is_ascii_digit());
        let mut numbers = numbers.filter_map(|number| number.parse().ok());
        [(); 3].map(|()| numbers.next().expect("three counts"))
    };
    reports.map(numbers).collect()
}

/// The sums of the reports.
fn sums(reports: &[[u64; 3]]) -> [u64; 3] {
    reports.iter().fold([0; 3], |sums, report| std::array::from_fn(|index| sums[index] + report[index]))
}

/// Logins at once, fewer than may wait for a worker.
const BURST: usize = 100;

fn login(name: &str, password: &str) -> String {
    request("authenticate", json!({"vm_id": name, "password": password})).to_string()
}

/// Sends so many logins, each on a connection of its own.
fn burst(daemon: &Daemon, login: &str) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..BURST).map(|_| daemon.client()).collect();
    clients.iter_mut().for_each(|client| client.send(login));
    clients
}

#[test]
fn queued_guesses_are_withdrawn_at_the_limit() {
    const FAILURES: usize = 5;
    let limits = ["--login-failures", "5", "--login-delay-max", "20s"];
    let lane = ["--auth-workers", "1", "--auth-queue", "200"];
    let daemon = Daemon::builder().with_costly_hashes().args(limits).args(lane).start();
    daemon.client().register("vm", &[1]);
    let mut strangers = burst(&daemon, &login("vm", "notThePassword"));
    // The thread may have begun one or two more when the last failure is counted.
    let checked_max = FAILURES + 1 + 2;
    let refused_min = (BURST - WAITING_MAX as usize - checked_max) as u64;
    daemon.wait_for_counter("logins_refused", |refused| refused >= refused_min);
    daemon.wait_for_counter("logins_delayed", |delayed| delayed >= WAITING_MAX);
    // They have an answer; the others wait.
    let is_answered = |stranger: &mut Client| stranger.has_input(Duration::from_millis(1));
    let answered: Vec<&mut Client> =
        strangers.iter_mut().filter_map(|stranger| is_answered(stranger).then_some(stranger)).collect();
    let busy = answered.into_iter().filter_map(|stranger| (stranger.error() == "busy").then_some(())).count();
    assert!(busy as u64 >= refused_min, "{busy}");
    // A withdrawn check delays no other login.
    daemon.operator().authenticate("vm");
}

#[test]
fn queued_guesses_are_withdrawn_at_the_limit_of_their_vm() {
    let limits = ["--login-failures", "5", "--login-delay-max", "20s"];
    let lane = ["--auth-workers", "1", "--auth-queue", "200"];
    let daemon = Daemon::builder().with_costly_hashes().args(limits).args(lane).start();
    let mut client = daemon.client();
    client.register("vm", &[1]);
    let guess = login("vm", "notThePassword");
    for _ in 0..5 {
        client.send(&guess);
        assert_eq!(client.error(), "Invalid credentials");
    }
    // Another source has no failures yet: its first guess is not delayed.
    let mut strangers: Vec<Web> = (0..BURST).map(|_| from_elsewhere(&daemon)).collect();
    strangers.iter_mut().for_each(|stranger| stranger.send(web::post(&guess)));
    let refused_min = BURST as u64 - WAITING_MAX - 1 - 1 - 2;
    daemon.wait_for_counter("logins_refused", |refused| refused >= refused_min);
}

#[test]
fn a_source_with_failed_logins_is_queued_after_others() {
    const SUSPECTS: usize = 30;
    const OTHERS: usize = 12;
    let lane = ["--auth-workers", "1", "--auth-queue", "200", "--login-failures", "100"];
    let cost = ["--argon2-memory", "16384", "--argon2-passes", "3"];
    let daemon = Daemon::builder().with_costly_hashes().args(lane).args(cost).start();
    let mut client = daemon.client();
    client.register("vm", &[1]);
    client.register("other", &[1]);
    client.send(&login("vm", "notThePassword"));
    assert_eq!(client.error(), "Invalid credentials");
    // The password is right, but that is known only after the check.
    let mut suspects: Vec<Client> = (0..SUSPECTS).map(|_| daemon.client()).collect();
    suspects.iter_mut().for_each(|suspect| suspect.send(&login("vm", PASSWORD)));
    daemon.wait_for_counter("auth_queued", |queued| queued > SUSPECTS as u64 / 2);
    let mut others: Vec<Web> = (0..OTHERS).map(|_| from_elsewhere(&daemon)).collect();
    others.iter_mut().for_each(|other| other.send(web::post(&login("other", PASSWORD))));
    let is_answered = |suspect: &mut Client| suspect.has_input(Duration::from_millis(1));
    let before = suspects.iter_mut().filter_map(|suspect| is_answered(suspect).then_some(())).count();
    others.iter_mut().for_each(|other| assert_eq!(other.reply().status, 200));
    let after = suspects.iter_mut().filter_map(|suspect| is_answered(suspect).then_some(())).count();
    // One check in four is theirs, and those at the start and at the end; without the rule it would be one in two.
    let between = after - before;
    assert!(between <= OTHERS / 2 + 1, "{between} of {SUSPECTS} went before {OTHERS} that had not failed");
}

/// A connection from another address of this host.
fn from_elsewhere(daemon: &Daemon) -> Web {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("an address of loopback");
    socket.connect(&daemon.address().into()).expect("the daemon accepts");
    Web::over(socket)
}

#[test]
fn many_right_passwords_at_once_from_one_address_are_not_delayed() {
    let daemon = Daemon::builder().args(["--auth-queue", "200"]).start();
    daemon.client().register("vm", &[1]);
    for mut client in burst(&daemon, &login("vm", PASSWORD)) {
        assert_eq!(client.reply()["status"], "success");
    }
    daemon.wait_for_counter("logins_delayed", |delayed| delayed == 0);
}

#[test]
fn guesses_over_http_and_websocket_are_delayed_and_dropped_on_reset() {
    let daemon = Daemon::builder().args(["--login-failures", "1", "--login-delay-max", "20s"]).start();
    daemon.client().register("vm", &[1]);
    let (guess, right) = (login("vm", "notThePassword"), login("vm", PASSWORD));
    let (mut http, mut socket) = (Web::connect(daemon.address()), Web::websocket(daemon.address()));
    for _ in 0..2 {
        http.send(web::post(&guess));
        assert_eq!(http.reply().error(), "Invalid credentials");
        socket.send(web::message(&guess));
        assert!(socket.message().contains("Invalid credentials"));
    }
    // Whatever the password is.
    http.send(web::post(&right));
    assert_eq!(http.reply().status, 200);
    daemon.wait_for_counter("logins_delayed", |delayed| delayed >= 2);

    let failed = Cell::new(0);
    daemon.wait_for_counter("logins_failed", |count| {
        failed.set(count);
        true
    });
    let clients: Vec<Web> = (0..WAITING_MAX)
        .map(|number| match number % 2 {
            0 => (Web::connect(daemon.address()), web::post(&guess).into_bytes()),
            _ => (Web::websocket(daemon.address()), web::message(&guess)),
        })
        .map(|(mut client, guess)| {
            client.send(guess);
            client
        })
        .collect();
    daemon.wait_for_counter("logins_waiting", |waiting| waiting == WAITING_MAX);
    // A client that closes alone might still read; one that resets does not.
    for client in clients {
        client.socket().set_linger(Some(Duration::ZERO)).expect("a socket option");
    }
    daemon.wait_for_counter("logins_waiting", |waiting| waiting == 0);
    daemon.wait_for_counter("logins_failed", |count| count < failed.get() + WAITING_MAX / 2);
}

//! Metrics with netcat, telnet, and the Python clients of the protocol's description, on each store.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::cluster::Cluster;
use crate::common::{Builder, DEADLINE, Daemon, run_with_input, wait_until};
use crate::programs::{Dialogue, nc, python, succeed, telnet};

/// The conversation in the description, on a new store.
const CONVERSATION: [(&str, &str); 7] = [
    ("get test_key", "ok\n\n"),
    ("got test_key", "error\nwrong command\n\n"),
    ("put test_key 12.0 1503319740", "ok\n\n"),
    ("put test_key 13.0 1503319739", "ok\n\n"),
    ("get test_key ", "ok\ntest_key 13.0 1503319739\ntest_key 12.0 1503319740\n\n"),
    ("put another_key 10 1503319739", "ok\n\n"),
    ("get *", "ok\ntest_key 13.0 1503319739\ntest_key 12.0 1503319740\nanother_key 10.0 1503319739\n\n"),
];

#[test]
fn the_netcat_conversation_works_in_one_packet() {
    on_each_store(|daemon| {
        let (said, replies): (Vec<_>, Vec<_>) = CONVERSATION.into_iter().unzip();
        let said: String = said.iter().map(|line| format!("{line}\n")).collect();
        let [ip, port] = place(daemon);
        let heard = run_with_input(nc().args([ip, port]), said.as_bytes()).expect_success();
        assert_eq!(heard.stdout, replies.concat());
    });
}

#[test]
fn the_netcat_conversation_works_line_by_line() {
    on_each_store(|daemon| {
        let mut dialogue = Dialogue::start(nc().args(place(daemon)));
        for (line, reply) in CONVERSATION {
            dialogue.feed(&format!("{line}\n"));
            expect_lines(&mut dialogue, reply);
        }
        dialogue.end();
    });
}

/// On a terminal, which echoes the input.
#[test]
fn the_telnet_conversation_works() {
    on_each_store(|daemon| {
        let mut screen = Dialogue::start(&mut telnet(daemon.address()));
        expect_lines(
            &mut screen,
            "Trying 127.0.0.1...\nConnected to 127.0.0.1.\nEscape character is '^]'.\n",
        );
        for (line, reply) in CONVERSATION {
            screen.feed(&format!("{line}\n"));
            expect_lines(&mut screen, &format!("{line}\n{reply}"));
        }
        screen.feed("\u{1d}quit\n");
        expect_lines(&mut screen, "^]quit\n\ntelnet> Connection closed.\n");
        screen.end();
    });
}

/// The three commands of its first page.
#[test]
fn the_first_metrics_examples_work() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    assert_eq!(client.call_text("put palm.cpu 10.5 1501864247"), "ok\n\n");
    assert_eq!(client.call_text("put eardrum.cpu 15.3 1501864259"), "ok\n\n");
    assert_eq!(client.call_text("get *"), "ok\npalm.cpu 10.5 1501864247\neardrum.cpu 15.3 1501864259\n\n");
    assert_eq!(client.call_text("put palm.cpu 10.6 1501864247"), "ok\n\n");
    assert_eq!(client.call_text("get palm.cpu"), "ok\npalm.cpu 10.6 1501864247\n\n");
}

#[test]
fn the_documented_client() {
    on_each_store(|daemon| drop(succeed(python("metrics.py").arg("client").arg(port(daemon)))));
}

#[test]
fn the_documented_server_checks_pass() {
    on_each_store(|daemon| drop(succeed(python("metrics.py").arg("server").arg(port(daemon)))));
}

#[test]
fn asyncio_clients_put_and_get_points() {
    on_each_store(|daemon| drop(succeed(python("metrics.py").arg("asyncio").arg(port(daemon)))));
}

/// A client that ends its input gets all replies.
#[test]
fn each_line_of_a_netcat_batch_gets_a_reply() {
    let daemon = Daemon::start();
    let puts: String = (0..1000).map(|second| format!("put batch {second}.5 {second}\n")).collect();
    let heard = run_with_input(nc().args(place(&daemon)), puts.as_bytes()).expect_success();
    assert_eq!(heard.stdout, "ok\n\n".repeat(1000));
    let lines: String = (0..1000).map(|second| format!("batch {second}.5 {second}\n")).collect();
    assert_eq!(daemon.client().call_text("get batch"), format!("ok\n{lines}\n"));
}

#[test]
fn points_and_their_order_survive_a_restart() {
    let database = Cluster::shared().database();
    let stores = [Daemon::builder(), Daemon::builder().args(["--store", &database.url()])];
    for builder in stores {
        let mut daemon = builder.start();
        let mut client = daemon.client();
        // Sorted neither by key nor by time.
        let keys = ["m", "z", "a", "ключ", "Z", "*", "a.b", "0"];
        let mut expected = String::new();
        for (index, key) in keys.into_iter().enumerate() {
            assert_eq!(client.call_text(&format!("put {key} {index}.25 {index}")), "ok\n\n");
            expected.push_str(&format!("{key} {index}.75 -5\n{key} {index}.25 {index}\n"));
        }
        for (index, key) in keys.into_iter().enumerate().rev() {
            assert_eq!(client.call_text(&format!("put {key} {index}.75 -5")), "ok\n\n");
        }
        let expected = format!("ok\n{expected}\n");
        assert_eq!(client.call_text("get *"), expected);
        daemon.restart();
        let mut client = daemon.client();
        assert_eq!(client.call_text("get *"), expected);
        // Writing goes on.
        assert_eq!(client.call_text("put !last 1 1"), "ok\n\n");
        daemon.kill();
        daemon.restart();
        let after = format!("{}!last 1.0 1\n\n", expected.strip_suffix('\n').expect("a blank line"));
        assert_eq!(daemon.client().call_text("get *"), after);
    }
}

#[test]
fn old_points_are_removed_and_newer_ones_kept() {
    on_each_store_with(&["--metrics-retention", "10s"], |daemon| {
        let mut client = daemon.client();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
        let later = [now + 1000, now + 2000, 253_402_300_799];
        for key in ["a", "b"] {
            for second in [0, 1, now - 7200].into_iter().chain(later) {
                assert_eq!(client.call_text(&format!("put {key} 1 {second}")), "ok\n\n");
            }
        }
        assert_eq!(client.call_text("put old 1 1"), "ok\n\n");
        let lines = |key: &str| later.map(|second| format!("{key} 1.0 {second}\n")).concat();
        let expected = format!("ok\n{}{}\n", lines("a"), lines("b"));
        wait_until("what is old is gone", DEADLINE, || client.call_text("get *") == expected);
    });
}

/// Runs the checks of the script on a new store of each kind.
#[track_caller]
fn on_each_store(check: impl Fn(&Daemon)) {
    on_each_store_with(&[], check);
}

/// The same with these settings.
#[track_caller]
fn on_each_store_with(settings: &[&str], check: impl Fn(&Daemon)) {
    let database = Cluster::shared().database();
    let on = |store: &str| -> Builder { Daemon::builder().args(["--store", store]) };
    for builder in [on("memory:"), Daemon::builder(), on(&database.url())] {
        let mut daemon = builder.args(settings).start();
        check(&daemon);
        daemon.stop();
    }
}

#[track_caller]
fn expect_lines(dialogue: &mut Dialogue, lines: &str) {
    lines.lines().for_each(|line| assert_eq!(dialogue.line(), line, "of {lines:?}"));
}

fn place(daemon: &Daemon) -> [String; 2] {
    [daemon.address().ip().to_string(), port(daemon)]
}

fn port(daemon: &Daemon) -> String {
    daemon.address().port().to_string()
}

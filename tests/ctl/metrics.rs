//! Metrics: points by arguments and on standard input, and drawings.

use serde_json::json;

use crate::common::Daemon;
use crate::support::User;

#[test]
fn points_are_stored_and_fetched() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    assert_eq!(user.output(&["metrics", "put", "palm.cpu", "10.5", "1501864247"]), "stored 1 of 1 points\n");
    user.output(&["metrics", "put", "palm.cpu", "-2", "1501864259"]);
    let table = "KEY       TIME                  VALUE\n\
                 palm.cpu  2017-08-04 16:30:47Z   10.5\n\
                 palm.cpu  2017-08-04 16:30:59Z   -2.0\n";
    let found = user.output(&["metrics", "get", "palm.cpu"]);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&found), words(table), "{found}");
    assert_eq!(
        user.json(&["metrics", "get", "--from", "1501864250"]),
        json!({"points": [{"key": "palm.cpu", "timestamp": 1_501_864_259, "value": -2.0}]})
    );
    assert_eq!(user.json(&["metrics", "get", "none"]), json!({"points": []}));
    user.output(&["metrics", "put", "now", "1"]);
    assert_eq!(user.json(&["metrics", "get", "now", "--from", "-1m"])["points"][0]["value"], 1.0);
    user.output(&["metrics", "put", "old", "1", "-2h"]);
    assert_eq!(user.json(&["metrics", "get", "old", "--from", "-1h"]), json!({"points": []}));
}

#[test]
fn many_points_come_on_standard_input() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    let lines: String = (0..5000).map(|second| format!("put load {second}.5 {second}\n")).collect();
    let ran = user.run_with_input(&["metrics", "put"], &lines).expect_success();
    assert_eq!(ran.stdout, "stored 5000 of 5000 points\n");
    assert_eq!(user.json(&["metrics", "get", "load"])["points"].as_array().expect("a list").len(), 5000);
    let ran = user.run_with_input(&["metrics", "put"], "a 1 1\na one 2\n");
    assert_eq!((ran.code(), &*ran.stderr), (Some(2), "vmherdctl: line 2: a value is a number\n"));
    assert_eq!(user.json(&["metrics", "get", "a"]), json!({"points": []}), "nothing was sent");
}

/// The server takes the points of a request together; here the key limit is reached in the second one.
#[test]
fn a_part_of_the_points_is_a_failure_of_its_own() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    let mut lines: String = (0..100_001).map(|number| format!("key-{number} 1 1\n")).collect();
    lines.push_str("last 1 1\n");
    let ran = user.run_with_input(&["metrics", "put", "--timeout", "60s"], &lines);
    assert_eq!(ran.code(), Some(7), "{} {}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.starts_with("stored ") && ran.stdout.ends_with(" of 100002 points\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("key limit reached"), "{}", ran.stderr);
}

#[test]
fn points_are_drawn_in_the_width_of_the_terminal() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).env("COLUMNS", "40");
    let lines: String = (0..100).map(|second| format!("load {} {second}\n", second % 10)).collect();
    user.run_with_input(&["metrics", "put"], &lines).expect_success();
    let drawing = user.output(&["metrics", "plot", "load", "--height", "5"]);
    assert!(drawing.lines().all(|line| line.chars().count() <= 40), "{drawing}");
    assert_eq!(drawing.lines().count(), 1 + 5 + 2, "{drawing}");
    assert!(drawing.starts_with("load\n9 | "), "{drawing}");
    assert!(drawing.chars().any(|character| ('\u{2801}'..='\u{28ff}').contains(&character)), "{drawing}");
    let points = user.json(&["metrics", "plot", "load"]);
    assert_eq!(points, user.json(&["metrics", "get", "load"]), "the points themselves");
    let (code, text) = user.failure(&["metrics", "plot", "none"]);
    assert_eq!((code, &*text), (3, "vmherdctl: there are no points to draw\n"));
}

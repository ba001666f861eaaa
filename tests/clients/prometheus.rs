//! What Prometheus reads, and a real Prometheus that reads it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::common::{
    DEADLINE, Daemon, PASSWORD, TempDir, registration, request, require, run_with_input, wait_until,
};
use crate::http::{assert_error, url};
use crate::programs::{Answer, clean, fetch};

fn metrics(daemon: &Daemon) -> Answer {
    let answer = fetch([&format!("{}metrics", url(daemon))]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// The value of a sample, which is there once.
#[track_caller]
fn sample(text: &str, name: &str) -> f64 {
    let values: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect();
    let [value] = values[..] else { panic!("{name} is there {} times in {text}", values.len()) };
    value.parse().expect("a number")
}

/// The VMs as targets, by name.
fn targets(daemon: &Daemon, port: &str) -> Value {
    let (status, targets) = fetch([&format!("{}sd/prometheus?port={port}", url(daemon))]).json();
    assert_eq!(status, 200);
    targets
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    require("promtool", "prometheus");
    let daemon = Daemon::builder().arg("--metrics-points").start();
    let mut client = daemon.client();
    client.register("a", &[]);
    client.succeed("put", json!({"key": "a.cpu", "value": 0.5}));
    client.succeed("put", json!({"key": "strange\"\\key{}", "value": -1e300}));
    client.call(request("nothing", json!({})));
    let text = metrics(&daemon).body;
    let said = run_with_input(clean("promtool").args(["check", "metrics"]), text.as_bytes()).expect_success();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{text}");
}

#[test]
fn metrics_are_the_counters_of_the_server() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for name in ["a", "b", "c"] {
        client.call(registration(name, &[]));
    }
    client.authenticate("b");
    (0..5).for_each(|_| client.ping());
    let answer = metrics(&daemon);
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.body;
    for (name, wanted) in [
        ("vmherd_vms{state=\"online\"}", 1.0),
        ("vmherd_vms{state=\"offline\"}", 2.0),
        ("vmherd_connections", 2.0),
        ("vmherd_connections_authenticated", 1.0),
        ("vmherd_requests_total{command=\"ping\"}", 5.0),
        ("vmherd_requests_done_total{command=\"register\"}", 3.0),
        ("vmherd_requests_failed_total{command=\"register\"}", 0.0),
        ("vmherd_requests_total{command=\"web\"}", 1.0),
        ("vmherd_lane_threads_stuck{lane=\"read\"}", 0.0),
    ] {
        assert_eq!(sample(&text, name), wanted, "{name}");
    }
    let memory = sample(&text, "process_resident_memory_bytes") as u64;
    assert!((1 << 20..1 << 30).contains(&memory), "{memory}");
    assert!(sample(&text, "process_cpu_seconds_total") > 0.0);
    let descriptors = sample(&text, "process_open_fds");
    assert!((5.0..100.0).contains(&descriptors), "{descriptors}");
    assert!(sample(&text, "process_max_fds") >= descriptors);
    // Every counter has a row in the table of metrics.
    let stats = daemon.operator().succeed("stats", json!({}));
    assert!(stats.as_object().is_some_and(|stats| stats.len() > 80), "{stats}");
    assert!(!text.contains("vmherd_other"), "{text}");
    assert!(!text.contains("vmherd_point{"), "points are shown only on request: {text}");
    let head = fetch(["--head", &format!("{}metrics", url(&daemon))]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn metrics_have_the_latest_points_where_the_daemon_is_set_so() {
    for store in [&["--store", "memory:"][..], &["--metrics-durability", "memory"]] {
        let daemon = Daemon::builder().arg("--metrics-points").args(store.iter().copied()).start();
        let mut client = daemon.client();
        let points =
            (0..5000).map(|number| json!({"key": format!("key-{number}"), "value": number, "timestamp": 7}));
        for some in points.collect::<Vec<_>>().chunks(2500) {
            client.succeed("put", json!({"points": some}));
        }
        client.succeed("put", json!({"key": "key-3", "value": 0.25, "timestamp": 9}));
        client.succeed("put", json!({"key": "key-4", "value": 0.25, "timestamp": 5}));
        let text = metrics(&daemon).body;
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("vmherd_point{")).collect();
        assert_eq!(lines.len(), 5000, "each key once");
        for line in [
            "vmherd_point{key=\"key-0\"} 0.0 7000",
            "vmherd_point{key=\"key-3\"} 0.25 9000",
            "vmherd_point{key=\"key-4\"} 4.0 7000",
            "vmherd_point{key=\"key-4999\"} 4999.0 7000",
        ] {
            assert!(lines.contains(&line), "{line}");
        }
        assert_eq!(text.matches("# TYPE vmherd_point gauge").count(), 1);
        assert!(text.ends_with('\n'));
    }
}

#[test]
fn each_vm_that_was_connected_is_a_target() {
    let mut daemon = Daemon::start();
    assert_eq!(targets(&daemon, "9100"), json!([]));
    let mut client = daemon.client();
    for name in ["web<1>", "db", "never"] {
        client.call(registration(name, &[]));
    }
    client.authenticate("web<1>");
    let credentials = json!({"vm_id": "db", "password": PASSWORD});
    let mut other = daemon.client();
    other.succeed("authenticate", credentials);
    drop(other);
    let group = |name: &str, state: &str, port: u16| json!({"targets": [format!("127.0.0.1:{port}")], "labels": {"vm_id": name, "state": state}});
    let wanted = json!([group("web<1>", "online", 9100), group("db", "offline", 9100)]);
    wait_until("the other is offline", DEADLINE, || targets(&daemon, "9100") == wanted);
    assert_eq!(targets(&daemon, "65535")[0], group("web<1>", "online", 65535));
    for bad in ["", "0", "65536", "-1", "x", "91.5"] {
        assert_error(&fetch([&format!("{}sd/prometheus?port={bad}", url(&daemon))]), 400);
    }
    assert_error(&fetch([&format!("{}sd/prometheus", url(&daemon))]), 400);
    daemon.restart();
    let wanted = json!([group("web<1>", "offline", 1), group("db", "offline", 1)]);
    assert_eq!(targets(&daemon, "1"), wanted, "the addresses outlast the daemon");
}

#[test]
fn what_prometheus_reads_is_closed_with_the_page() {
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=").start();
    for path in ["metrics", "sd/prometheus?port=1", "sd/prometheus"] {
        assert_error(&fetch([&format!("{}{path}", url(&daemon))]), 401);
        assert_error(&fetch(["-d", "{}", &format!("{}{path}", url(&daemon))]), 405);
    }
}

/// A Prometheus with a folder of its own.
struct Prometheus {
    child: Child,
    address: String,
    _directory: TempDir,
}

impl Prometheus {
    #[track_caller]
    fn start(scrape_configs: &Value) -> Prometheus {
        require("prometheus", "prometheus");
        let directory = TempDir::new();
        let config = json!({"global": {"scrape_interval": "1s"}, "scrape_configs": scrape_configs});
        // JSON is YAML.
        fs::write(directory.path().join("prometheus.yml"), config.to_string()).expect("the folder is there");
        let mut command = clean("prometheus");
        command.current_dir(directory.path()).stderr(Stdio::piped());
        command.args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
        ]);
        let mut child = command.spawn().expect("it can be run");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let listening = log
            .find_map(|line| line.split_once("msg=\"Listening on\" address=").map(|(_, at)| at.to_owned()));
        std::thread::spawn(move || log.for_each(drop));
        Prometheus { child, address: listening.expect("it listens"), _directory: directory }
    }

    /// The labels and the value of each sample that `expression` finds.
    fn query(&self, expression: &str) -> Vec<(Value, String)> {
        let url = format!("http://{}/api/v1/query", self.address);
        let answer = fetch(["--get", "--data-urlencode", &format!("query={expression}"), &url]);
        let reply: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let found = reply["data"]["result"].as_array().cloned().unwrap_or_default();
        found
            .into_iter()
            .map(|found| (found["metric"].clone(), found["value"][1].as_str().unwrap_or_default().to_owned()))
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_prometheus_scrapes_the_daemon_and_discovers_its_vms() {
    let daemon = Daemon::builder().arg("--metrics-points").listen("tcp://127.0.0.1:0?open=").start();
    let mut client = daemon.client();
    client.register("web-1", &[]);
    client.authenticate("web-1");
    let token = daemon.reader_token("prometheus");
    client.succeed("put", json!({"key": "web-1.cpu", "value": 0.25}));
    let [open, closed] = [0, 1].map(|index| daemon.addresses()[index]);
    let credentials = json!({"type": "Bearer", "credentials": token});
    // The daemon is also what answers at the VM's address.
    let discovery = format!("http://{closed}/sd/prometheus?port={}", open.port());
    let prometheus = Prometheus::start(&json!([
        {"job_name": "vmherd", "authorization": credentials, "static_configs": [{"targets": [closed.to_string()]}]},
        {"job_name": "vms", "http_sd_configs": [
            {"url": discovery, "authorization": credentials, "refresh_interval": "1s"},
        ]},
    ]));
    let value = |expression: &str| {
        let found = prometheus.query(expression);
        found.first().map(|(_, value)| value.clone()).unwrap_or_default()
    };
    wait_until("the daemon is scraped", DEADLINE, || value("up{job=\"vmherd\"}") == "1");
    assert_eq!(value("vmherd_vms{job=\"vmherd\",state=\"online\"}"), "1");
    assert_eq!(value("vmherd_point{job=\"vmherd\",key=\"web-1.cpu\"}"), "0.25");
    wait_until("the VM is discovered and scraped", DEADLINE, || {
        value("up{job=\"vms\",vm_id=\"web-1\",state=\"online\"}") == "1"
    });
    client.succeed("logout", json!({}));
    wait_until("its state follows", DEADLINE, || {
        !prometheus.query("up{job=\"vms\",vm_id=\"web-1\",state=\"offline\"}").is_empty()
    });
}

//! How the page looks: accessibility in each view, its size, and the pictures in `docs/screenshots/`.
//!
//! With `VMHERD_WRITE_SCREENSHOTS=1` the pictures are taken anew.

use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::common::{Client, Daemon, PASSWORD};
use crate::false_clock::FalseClock;
use crate::{expect_no_problems, open, put, url};

/// The sum of all files that the page loads at first, compressed.
const FIRST_LOAD_BYTES_MAX: u64 = 80 << 10;
/// The sum of the pictures.
const SCREENSHOTS_BYTES_MAX: usize = 1_500_000;

/// A fleet as a small company has it, which came up over two weeks; the connections keep VMs online.
fn fleet(daemon: &Daemon, clock: &FalseClock) -> Vec<Client> {
    let roles: [(&str, u64, u64, u64, &[u64]); 9] = [
        ("web", 6, 4096, 4, &[40]),
        ("db", 3, 32768, 8, &[40, 500]),
        ("cache", 2, 8192, 2, &[20]),
        ("queue", 2, 4096, 2, &[20, 100]),
        ("build", 4, 16384, 8, &[80, 200]),
        ("mail", 1, 2048, 2, &[20, 200]),
        ("git", 1, 8192, 4, &[40, 1000]),
        ("monitor", 1, 4096, 2, &[20, 300]),
        ("staging", 4, 2048, 2, &[20]),
    ];
    let mut operator = daemon.operator();
    let mut vms = Vec::new();
    for (role, count, ram, cpu, disks) in roles {
        for index in 1..=count {
            let name = format!("{role}-{index}");
            let disks: Vec<Value> = disks.iter().map(|size| json!({"disk_size": size})).collect();
            let data = json!({"vm_id": name, "ram": ram, "cpu": cpu, "password": PASSWORD, "disks": disks});
            operator.succeed("add", data);
            vms.push((name, cpu as f64));
        }
    }
    let (count, mut clients) = (vms.len(), Vec::new());
    for step in 0..count {
        let seed = step * 7 % count;
        let (name, cpus) = &vms[seed];
        let age = 14.0 * 86_400.0 * (1.0 - step as f64 / count as f64).powi(3);
        clock.set_wall_ahead(-(age as i64));
        if name == "staging-4" {
            continue;
        }
        let mut client = daemon.client();
        client.authenticate(name);
        points(&mut client, name, seed as u64, *cpus);
        if !["build-3", "staging-2"].contains(&&**name) {
            clients.push(client);
        }
    }
    clock.set_wall_ahead(0);
    clients
}

/// An hour of points as the agent puts them: waves with noise, from a seed.
fn points(client: &mut Client, name: &str, seed: u64, cpus: f64) {
    let mut state = seed * 2_654_435_761 + 12_345;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1 << 31) - 0.5
    };
    let phase = seed as f64 * 2.4;
    let busy = 0.12 + 0.6 * (seed as f64 * 0.37).fract();
    let slow = 90.0 + (seed * 53 % 200) as f64;
    let mut series = |base: f64, swing: f64, jitter: f64, period: f64| -> Vec<f64> {
        let value = |at: u32| {
            let wave = (TAU * f64::from(at) / period + phase).sin()
                + 0.4 * (TAU * f64::from(at) / 37.0 + phase).sin();
            ((base + swing * wave + jitter * noise()) * 100.0).round().max(0.0) / 100.0
        };
        (0..360).map(value).collect()
    };
    let cpu = series(100.0 * busy, 32.0 * busy, 24.0 * busy, slow);
    let load = cpu.iter().map(|cpu| (cpu / 100.0 * cpus * 100.0).round() / 100.0).collect::<Vec<_>>();
    put(client, &format!("{name}.cpu"), 10, &cpu);
    put(client, &format!("{name}.load"), 10, &load);
    put(client, &format!("{name}.memory"), 10, &series(35.0 + 40.0 * busy, 2.0, 0.6, 320.0));
    put(client, &format!("{name}.disk./.used"), 10, &series(30.0 + 40.0 * busy, 0.0, 0.05, 100.0));
    put(client, &format!("{name}.disk./var.used"), 10, &series(61.0, 0.6, 0.05, 700.0));
    put(client, &format!("{name}.net.eth0.rx"), 10, &series(2.4e6 * busy, 9e5 * busy, 5e5 * busy, slow));
    put(client, &format!("{name}.net.eth0.tx"), 10, &series(9e5 * busy, 3e5 * busy, 2e5 * busy, slow));
}

fn axe() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/axe/axe.min.js");
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run tests/prerequisites", path.display()))
}

/// Nothing is wrong with the accessibility of what is shown.
#[track_caller]
fn expect_accessible(browser: &mut Chromium, axe: &str, view: &str) {
    if browser.eval("typeof axe == 'undefined'") == true {
        browser.eval(&format!("{axe};0"));
    }
    let found = browser.eval(
        "axe.run(document).then(({ violations }) => violations.map(({ id, impact, nodes }) => \
         [id, impact, nodes.slice(0, 3).map(({ html, failureSummary }) => [html, failureSummary])]))",
    );
    assert_eq!(found, json!([]), "{view}");
    let overflow = browser.eval("document.documentElement.scrollWidth - innerWidth");
    assert!(overflow.as_i64().is_some_and(|pixels| pixels <= 0), "{view} is {overflow} pixels too wide");
}

fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/screenshots")
}

/// Each view, and JavaScript that is true when it is complete.
const VIEWS: [(&str, &str, &str); 4] = [
    (
        "vms",
        "#/",
        "document.querySelectorAll('.row:not([hidden]) polyline[points]:not([points=\"\"])').length >= 9",
    ),
    ("vm", "#/vm/web-1", "document.querySelectorAll('figure canvas').length == 5"),
    ("disks", "#/disks", "document.querySelectorAll('.body .row:not([hidden])').length >= 9"),
    (
        "server",
        "#/server",
        "document.querySelectorAll('.counters .number + .number:not(:empty)').length > 20",
    ),
];

#[test]
fn each_view_is_accessible_in_light_and_dark_wide_and_narrow() {
    let clock = FalseClock::new();
    let daemon = clock.daemon().start();
    let closed = Daemon::builder().only_on("tcp://127.0.0.1:0?open=none").start();
    let _online = fleet(&daemon, &clock);
    let is_writing = std::env::var_os("VMHERD_WRITE_SCREENSHOTS").is_some();
    let (axe, mut browser) = (axe(), open(&daemon));
    let check = |browser: &mut Chromium, view: &str| {
        let height = if ["vms", "vm"].contains(&view) { 720 } else { 480 };
        for (width, height) in [(1440, height), (320, 640)] {
            for (colours, is_dark) in [("light", false), ("dark", true)] {
                browser.look(width, height, is_dark);
                // Drawn with the new size and colours, and no change is still fading.
                browser
                    .eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
                let cut = "[...document.querySelectorAll('.row:not([hidden]) .cell.state')]\
                    .filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)";
                assert_eq!(browser.eval(cut), json!([]), "states in {view}, {width} pixels");
                expect_accessible(browser, &axe, &format!("{view}, {width} pixels, {colours}"));
                if is_writing {
                    let name = format!("{view}-{width}-{colours}.png");
                    fs::create_dir_all(screenshots()).expect("a folder");
                    fs::write(screenshots().join(name), browser.picture()).expect("a file");
                }
            }
        }
        browser.look(1440, 900, false);
        expect_no_problems(browser);
    };
    for (view, hash, is_complete) in VIEWS {
        browser.eval(&format!("location.hash = '{hash}'"));
        browser.wait_for(is_complete);
        check(&mut browser, view);
    }
    browser.open(&url(&closed));
    browser.wait_for("document.querySelector('.login')");
    check(&mut browser, "login");
    browser.open(&format!("{}ui/vms", url(&daemon)));
    browser.wait_for("document.querySelectorAll('tbody tr').length == 24");
    check(&mut browser, "plain");
}

#[test]
fn the_pictures_are_small_and_complete() {
    let mut sum = 0;
    for view in VIEWS.map(|(view, ..)| view).iter().chain(&["login", "plain"]) {
        for (size, colours) in [(1440, "light"), (1440, "dark"), (320, "light"), (320, "dark")] {
            let path = screenshots().join(format!("{view}-{size}-{colours}.png"));
            let bytes = fs::read(&path).unwrap_or_else(|error| {
                panic!("{}: {error}: VMHERD_WRITE_SCREENSHOTS=1 cargo test --test page looks", path.display())
            });
            sum += bytes.len();
        }
    }
    assert!(sum <= SCREENSHOTS_BYTES_MAX, "{sum} bytes");
}

#[test]
fn the_first_load_is_small_and_from_the_daemon_alone() {
    let daemon = Daemon::start();
    let mut browser = open(&daemon);
    let found = browser.eval(
        "['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type))\
         .map(({ name, encodedBodySize }) => [name, encodedBodySize])",
    );
    let loaded = found.as_array().expect("a list");
    assert!(loaded.len() >= 10, "the shell, two styles, uPlot and the modules: {found}");
    let (origin, mut sum) = (url(&daemon), 0);
    for entry in loaded {
        let name = entry[0].as_str().expect("a text");
        assert!(name.starts_with(&origin), "{name}");
        sum += entry[1].as_u64().expect("a number");
    }
    assert!(sum > 20_000 && sum <= FIRST_LOAD_BYTES_MAX, "{sum} bytes: {found}");
    expect_no_problems(&mut browser);
}

//! Plots and sparklines: what they draw is what was put.

use serde_json::json;

use crate::chromium::Chromium;
use crate::common::{Client, Daemon};
use crate::false_clock::FalseClock;
use crate::{cell, expect_no_problems, now, open, put};

/// The height of the line of a plot at its last point, as a share of the scale: 0 at the bottom, 1 on top.
fn drawn_height(browser: &mut Chromium, title: &str) -> f64 {
    let script = format!(
        "(() => {{
            const figure = [...document.querySelectorAll('figure')].find((figure) =>
                figure.querySelector('h2').textContent === {});
            const canvas = figure.querySelector('canvas');
            const [frame, area] = [canvas, figure.querySelector('.u-over')].map((e) => e.getBoundingClientRect());
            const accent = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim();
            const wanted = [1, 3, 5].map((at) => parseInt(accent.slice(at, at + 2), 16));
            const scale = canvas.width / frame.width;
            const [left, top] = [(area.left - frame.left) * scale, (area.top - frame.top) * scale];
            const [width, height] = [area.width * scale, area.height * scale].map(Math.round);
            const {{ data }} = canvas.getContext('2d').getImageData(left, top, width, height);
            const is = (x, y) => wanted.every((value, at) => Math.abs(data[4 * (y * width + x) + at] - value) < 40)
                && data[4 * (y * width + x) + 3] > 200;
            for (let x = width - 1; x >= 0; x -= 1) {{
                const ys = [...Array(height).keys()].filter((y) => is(x, y));
                if (ys.length > 0) return 1 - (ys[0] + ys.at(-1) + 1) / 2 / height;
            }}
            return -1;
        }})()",
        json!(title)
    );
    browser.eval(&script).as_f64().expect("a number")
}

fn shows(browser: &mut Chromium, title: &str, value: &str) {
    browser.wait_for(&format!(
        "[...document.querySelectorAll('figure')].some((figure) => \
         figure.querySelector('h2').textContent === {} && figure.querySelector('.legend').textContent.endsWith({}))",
        json!(title),
        json!(value)
    ));
}

fn vm_with_points(client: &mut Client) {
    client.register("web-1", &[20]);
    put(client, "web-1.cpu", 10, &[vec![40.0; 120], vec![75.0; 30]].concat());
    put(client, "web-1.load", 10, &[0.1, 0.2, 1.5]);
    put(client, "web-1.net.eth0.rx", 10, &[1000.0, 2_500_000.0]);
    put(client, "web-1.net.eth0.tx", 10, &[1000.0, 1500.0]);
    put(client, "web-1.queue", 10, &[7.0]);
    // Of a VM whose name begins with the other's.
    client.register("web-1.b", &[20]);
    put(client, "web-1.b.temperature", 10, &[50.0]);
}

#[test]
fn plots_draw_the_points_of_a_vm_and_follow_new_ones() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    vm_with_points(&mut client);
    let mut browser = open(&daemon);
    browser.wait_for(&format!("{}?.textContent == '1.50'", cell("web-1", "load")));
    let line =
        browser.eval(&format!("{}.querySelector('polyline').getAttribute('points')", cell("web-1", "load")));
    assert_eq!(line.as_str().expect("a text").split(' ').count(), 3, "{line}");

    browser.eval("location.hash = '#/vm/web-1'");
    shows(&mut browser, "CPU", "75 %");
    shows(&mut browser, "Network eth0", "sent 1.5 kB/s");
    shows(&mut browser, "queue", "7");
    let titles =
        browser.eval("[...document.querySelectorAll('figure h2')].map((title) => title.textContent)");
    assert_eq!(titles, json!(["CPU", "Load", "Network eth0", "queue"]));
    let height = drawn_height(&mut browser, "CPU");
    assert!((height - 0.75).abs() < 0.02, "75 % is drawn at {height}");

    // A new point comes by itself.
    client.succeed("put", json!({"key": "web-1.cpu", "value": 25, "timestamp": now() + 1}));
    shows(&mut browser, "CPU", "25 %");
    browser.eval("location.hash = '#/'");
    put(&mut client, "web-1.load", 10, &[0.75]);
    browser.wait_for(&format!("{}?.textContent == '0.75'", cell("web-1", "load")));
    expect_no_problems(&mut browser);
}

#[test]
fn points_that_come_while_the_list_is_left_show_when_it_returns() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for name in ["a", "b"] {
        client.register(name, &[1]);
    }
    put(&mut client, "a.load", 10, &[0.5]);
    put(&mut client, "b.load", 10, &[0.25]);
    let mut browser = open(&daemon);
    browser.wait_for(&format!("{}?.textContent == '0.50'", cell("a", "load")));
    // Twice: the view of a VM is whole each time.
    for (load, at) in [(1.5, now() + 1), (2.5, now() + 2)] {
        browser.eval("location.hash = '#/vm/b'");
        shows(&mut browser, "Load", "0.25");
        client.succeed("put", json!({"key": "a.load", "value": load, "timestamp": at}));
        browser.eval("location.hash = '#/'");
        browser.wait_for(&format!("{}?.textContent == '{load:.2}'", cell("a", "load")));
    }
    // So soon that the watch is the same one.
    browser.eval("location.hash = '#/vm/b'");
    shows(&mut browser, "Load", "0.25");
    browser.eval(
        "(async () => {
            for (const hash of ['#/', '#/vm/b']) {
                const changed = new Promise((done) => addEventListener('hashchange', done, { once: true }));
                location.hash = hash;
                await changed;
            }
        })()",
    );
    shows(&mut browser, "Load", "0.25");
    expect_no_problems(&mut browser);
}

#[test]
fn times_are_those_of_the_server() {
    // Two hours behind the browser.
    const BEHIND_S: i64 = 7200;
    let clock = FalseClock::new();
    clock.set_wall_ahead(-BEHIND_S);
    let daemon = clock.daemon().start();
    let mut client = daemon.client();
    client.register("web-1", &[1]);
    client.authenticate("web-1");
    let at = now() - BEHIND_S;
    client.succeed("put", json!({"key": "web-1.load", "value": 0.5, "timestamp": at}));
    let mut browser = open(&daemon);
    browser.wait_for(&format!("{}?.textContent == '0.50'", cell("web-1", "load")));
    browser.wait_for(&format!("/^[0-9]+ s$/.test({}.textContent)", cell("web-1", "since")));
    browser.eval("location.hash = '#/vm/web-1'");
    shows(&mut browser, "Load", "0.5");
    expect_no_problems(&mut browser);
}

#[test]
fn a_range_is_chosen_with_the_mouse_and_left_with_the_back_button() {
    let daemon = Daemon::start();
    vm_with_points(&mut daemon.client());
    let mut browser = open(&daemon);
    browser.eval("location.hash = '#/vm/web-1?range=15m'");
    shows(&mut browser, "CPU", "75 %");
    let area = browser.eval(
        "(() => { const { x, y, width, height } = document.querySelector('.u-over').getBoundingClientRect(); \
         return [x, y, width, height]; })()",
    );
    let [x, y, width, height] = [0, 1, 2, 3].map(|index| area[index].as_f64().expect("a number"));
    let at = |share: f64| (x + share * width, y + height / 2.0);
    browser.drag(&[at(0.2), at(0.3), at(0.4), at(0.5)]);
    browser.wait_for("/from=\\d+&to=\\d+/.test(location.hash)");
    let found = browser.eval("location.hash.match(/\\d{6,}/g).map(Number)");
    let [from, to] = [0, 1].map(|index| found[index].as_i64().expect("a number"));
    // 30 % of a quarter of an hour, that begins 20 % after its start.
    assert!((to - from - 270).abs() < 10, "{found}");
    assert!((now() - 720 - from).abs() < 30, "{found}");
    browser.wait_for("document.querySelector('.zoomed').textContent != 'live'");
    browser.eval("history.back()");
    browser.wait_for("document.querySelector('.zoomed').textContent == 'live'");
    // Below the mouse it shows the value there.
    shows(&mut browser, "CPU", "40 %");
    browser.drag(&[(5.0, 5.0)]);
    shows(&mut browser, "CPU", "75 %");
    browser.eval("document.querySelector('[data-range=\"1d\"]').click()");
    assert_eq!(browser.eval("location.hash"), "#/vm/web-1?range=1d");
    expect_no_problems(&mut browser);
}

//! The table: many VMs, filter, sort and keys; the changes that it follows; names of any kind; without JavaScript.

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::common::{Client, Daemon, PASSWORD, request};
use crate::{cell, expect_no_problems, open, url};

/// Adds VMs without passwords, which costs no hashes.
fn add_many(operator: &mut Client, count: usize) {
    let names: Vec<usize> = (0..count).collect();
    for chunk in names.chunks(500) {
        let add = |index: &usize| {
            let name = format!("vm-{index}");
            let disks = json!([{"disk_size": 10}, {"disk_size": 20}]);
            request("add", json!({"vm_id": name, "ram": 512 + index, "cpu": 2, "disks": disks})).to_string()
        };
        operator.send(&chunk.iter().map(add).collect::<String>());
        for _ in chunk {
            let reply = operator.reply();
            assert_eq!(reply["status"], "success", "{reply}");
        }
    }
}

/// The names of the rows in sight, in order.
fn names(browser: &mut Chromium) -> Vec<String> {
    let found = browser.eval(
        "[...document.querySelectorAll('.body .row:not([hidden])')]\
         .sort((a, b) => a.getAttribute('aria-rowindex') - b.getAttribute('aria-rowindex'))\
         .map((row) => row.querySelector('bdi').textContent)",
    );
    let names = found.as_array().expect("a list").iter();
    names.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

#[test]
fn ten_thousand_vms_can_be_filtered_sorted_and_reached_by_keys() {
    let daemon = Daemon::start();
    add_many(&mut daemon.operator(), 10_000);
    let mut browser = open(&daemon);
    browser.wait_for("document.querySelector('[data-count=all] b').textContent == '10,000'");
    assert_eq!(browser.eval("document.querySelector('[role=table]').getAttribute('aria-rowcount')"), "10001");
    let elements = browser.eval("document.querySelectorAll('.body .row').length").as_u64().expect("a number");
    assert!((20..100).contains(&elements), "rows out of sight have no elements: {elements}");
    assert_eq!(names(&mut browser)[..3], ["vm-0", "vm-1", "vm-2"], "in the order in which people count");

    // The filter, in the URL.
    browser.press("/");
    browser.type_text("VM-12");
    browser.wait_for("document.querySelector('.found').textContent == '111 of 10,000'");
    assert_eq!(names(&mut browser)[..2], ["vm-12", "vm-120"]);
    assert_eq!(browser.eval("location.hash"), "#/?filter=VM-12");
    let url = browser.eval("location.href");
    browser.press("Escape");
    browser.wait_for("location.hash == '#/' && document.querySelector('.found').textContent == ''");

    // An order, and back.
    browser.eval("document.querySelector('.head .ram button').click()");
    browser.eval("document.querySelector('.head .ram button').click()");
    assert_eq!(browser.eval("location.hash"), "#/?sort=-ram");
    assert_eq!(names(&mut browser)[0], "vm-9999");
    assert_eq!(browser.eval("document.querySelector('[aria-sort]').getAttribute('aria-sort')"), "descending");
    browser.eval("history.go(-2)");
    browser
        .wait_for("location.hash == '#/' && document.querySelector('.body .row bdi').textContent == 'vm-0'");

    // Arrow keys from the filter to a row, and to the last; Enter opens it, Escape returns to it.
    assert_eq!(browser.eval("document.activeElement.id"), "filter");
    browser.press("ArrowDown");
    browser.press("ArrowDown");
    assert_eq!(browser.eval("document.activeElement.textContent"), "vm-1");
    browser.press("End");
    assert_eq!(browser.eval("document.activeElement.textContent"), "vm-9999");
    let index = "document.activeElement.closest('[role=row]').getAttribute('aria-rowindex')";
    assert_eq!(browser.eval(index), "10001");
    // The elements come to stand in the order of the rows, which the Tab key and screen readers follow.
    browser.wait_for(
        "[...document.querySelectorAll('.body .row:not([hidden])')].map((row) => Number(row.ariaRowIndex))\
         .every((index, at, all) => at === 0 || index === all[at - 1] + 1)",
    );
    assert_eq!(browser.eval("document.activeElement.textContent"), "vm-9999");
    browser.press("ArrowUp");
    browser.press("Enter");
    browser.wait_for(
        "document.querySelector('h1').textContent == 'vm-9998' && document.title.startsWith('vm-9998')",
    );
    assert_eq!(browser.eval("location.hash"), "#/vm/vm-9998");
    browser.press("Escape");
    browser.wait_for("document.activeElement.textContent == 'vm-9998'");
    browser.eval("history.back()");
    browser.wait_for("location.hash == '#/vm/vm-9998'");

    // All disks.
    browser.eval("document.querySelector('[data-view=disks]').click()");
    browser.wait_for("document.querySelector('.bar b').textContent == '20,000 disks · 293 TiB'");

    // A new page with the URL of a filter.
    browser.open("about:blank");
    browser.open(url.as_str().expect("a text"));
    browser.wait_for("document.querySelector('.found')?.textContent == '111 of 10,000'");
    expect_no_problems(&mut browser);
}

#[test]
fn a_vm_that_comes_goes_changes_and_vanishes_is_followed() {
    let daemon = Daemon::start();
    let mut browser = open(&daemon);
    browser.wait_for("document.querySelector('.empty').textContent.startsWith('No VM is registered yet')");
    let shows = |browser: &mut Chromium, column: &str, text: &str| {
        browser.wait_for(&format!("{}?.textContent === {}", cell("web-1", column), json!(text)));
    };
    daemon.client().register("web-1", &[20]);
    shows(&mut browser, "state", "never seen");
    shows(&mut browser, "disks", "1 · 20 GiB");
    let mut vm = daemon.client();
    vm.authenticate("web-1");
    shows(&mut browser, "state", "online");
    browser.wait_for("document.querySelector('[data-count=online]').textContent == '1 online'");
    vm.succeed("update", json!({"ram": 3072}));
    shows(&mut browser, "ram", "3 GiB");
    // A tool of the host, beside the daemon.
    daemon
        .vm_command(&["add", "web-2", "--ram", "1G", "--cpu", "1", "--disk", "1G"], PASSWORD)
        .expect_success();
    browser.wait_for(&format!("{} != null", cell("web-2", "state")));

    // One VM has its connections, and why it went.
    browser.eval("location.hash = '#/vm/web-1'");
    let address = vm.local_address();
    browser.wait_for(&format!("document.querySelector('.panel td')?.textContent == '{address}'"));
    // A change that leaves its facts as they are leaves their elements.
    browser.eval("window.fact = document.querySelector('.facts dd'), 0");
    let mut second = daemon.client();
    second.authenticate("web-1");
    browser.wait_for("document.querySelectorAll('.panel:first-child tbody tr').length === 2");
    assert_eq!(browser.eval("window.fact.isConnected"), true);
    drop((vm, second));
    browser.wait_for("document.querySelector('.state').textContent.startsWith('offline for ')");
    browser.wait_for("document.querySelector('.panel:last-child').textContent.includes('offline: closed')");
    daemon.operator().succeed("remove", json!({"vm_id": "web-1"}));
    browser.wait_for("document.querySelector('.note').textContent == 'This VM has been removed.'");
    browser.press("Escape");
    browser.wait_for(&format!("{} == null && {} != null", cell("web-1", "state"), cell("web-2", "state")));
    browser.wait_for("document.querySelector('[data-count=all]').textContent == '1 VMs'");
    expect_no_problems(&mut browser);
}

#[test]
fn the_focus_stays_on_its_vm_when_the_order_changes() {
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    for (name, ram) in [("a", 300), ("b", 200), ("c", 100)] {
        operator.succeed("add", json!({"vm_id": name, "ram": ram, "cpu": 1, "disks": []}));
    }
    let mut browser = open(&daemon);
    browser.eval("location.hash = '#/?sort=-ram'");
    browser.wait_for(&format!("{} != null", cell("c", "state")));
    browser.eval(&format!("{}.querySelector('a').focus()", cell("a", "name")));
    operator.succeed("add", json!({"vm_id": "d", "ram": 400, "cpu": 1, "disks": []}));
    browser.wait_for("document.querySelector('.body .row:not([hidden]) bdi').textContent === 'd'");
    assert_eq!(names(&mut browser), ["d", "a", "b", "c"]);
    assert_eq!(browser.eval("document.activeElement.textContent"), "a");
    browser.press("ArrowDown");
    assert_eq!(browser.eval("document.activeElement.textContent"), "b");
    operator.succeed("remove", json!({"vm_id": "b"}));
    browser.wait_for(&format!("{} == null", cell("b", "state")));
    assert_eq!(browser.eval("document.activeElement.getAttribute('role')"), "region");
    expect_no_problems(&mut browser);
}

#[test]
fn a_vm_that_talks_by_http_is_seen_when_its_points_come() {
    let daemon = Daemon::start();
    daemon.client().register("web-1", &[1]);
    let mut browser = open(&daemon);
    browser.wait_for(&format!("{}?.textContent === 'never seen'", cell("web-1", "state")));
    let puts = format!(
        "(async () => {{
            const post = async (command, data) =>
                (await fetch('/', {{ method: 'POST', body: JSON.stringify({{ command, data }}) }})).json();
            const {{ data }} = await post('authenticate', {{ vm_id: 'web-1', password: {} }});
            const point = {{ token: data.token, key: 'web-1.load', value: 0.5, timestamp: Math.floor(Date.now() / 1000) }};
            return (await post('put', point)).status;
        }})()",
        json!(PASSWORD)
    );
    // Once the watch for points has begun, they come; until then the history has them.
    browser.wait_for(&format!("{puts}.then((status) => status === 'success')"));
    browser.wait_for(&format!("{}.textContent === '0.50'", cell("web-1", "load")));
    browser.wait_for(&format!("{puts}.then(() => {}.textContent === 'offline')", cell("web-1", "state")));
    expect_no_problems(&mut browser);
}

#[test]
fn urls_with_names_that_every_object_has_are_unknown_ones() {
    let daemon = Daemon::start();
    daemon.client().register("web-1", &[1]);
    let mut browser = open(&daemon);
    browser.eval("location.hash = '#/vm/web-1?range=constructor'");
    browser.wait_for("document.querySelector('[data-range=\"1h\"]')?.ariaPressed === 'true'");
    browser.eval("location.hash = '#/toString'");
    browser.wait_for(&format!("{} != null", cell("web-1", "state")));
    expect_no_problems(&mut browser);
}

/// Names that would be markup, end an attribute, or turn the text around them.
const NAMES: [&str; 6] = [
    "<img/src=x/onerror=document.title='hit'>",
    "\"><script>document.title='hit'</script>",
    "'quoted'&amp;&lt;",
    "שרת-מרחוק",
    "خادم-١-(web)",
    "..%2F#?&=+",
];

#[test]
fn names_with_markup_quotes_and_right_to_left_letters_are_text() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for name in NAMES {
        client.register(name, &[1]);
    }
    let mut browser = open(&daemon);
    for name in NAMES {
        browser.wait_for(&format!("{} != null", cell(name, "state")));
        browser.eval(&format!("{}.querySelector('a').click()", cell(name, "name")));
        browser.wait_for(&format!("document.querySelector('h1 bdi')?.textContent === {}", json!(name)));
        browser.wait_for("document.querySelector('.facts dd')");
        browser.press("Escape");
        browser.wait_for("document.querySelector('.list')");
    }
    assert_eq!(browser.eval("document.querySelectorAll('main img, main script').length"), 0);
    assert_eq!(browser.eval("document.title"), "VMs · vmherd");
    expect_no_problems(&mut browser);
}

#[test]
fn without_javascript_the_table_is_plain_html() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    NAMES.iter().chain(&["web-1"]).for_each(|name| client.register(name, &[1]));
    let mut browser = Chromium::start();
    browser.call("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    browser.open(&url(&daemon));
    browser.wait_for("location.pathname == '/ui/vms' && document.querySelectorAll('tbody tr').length == 7");
    let found = browser.eval("[...document.querySelectorAll('tbody bdi')].map((name) => name.textContent)");
    let expected: Vec<Value> = NAMES.iter().chain(&["web-1"]).map(|name| json!(name)).collect();
    assert_eq!(found, Value::Array(expected));
    // The form works by itself.
    browser.eval("document.querySelector('[name=filter]').focus()");
    browser.type_text("WEB-");
    browser.press("Enter");
    browser.wait_for("location.search.includes('WEB-') && document.querySelectorAll('tbody tr').length == 1");
    expect_no_problems(&mut browser);
}

#[test]
fn where_only_the_page_is_open_it_needs_nothing_else() {
    // What an anonymous client may not run on a listener with the group `page` only.
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=page").start();
    daemon
        .operator()
        .succeed("add", json!({"vm_id": "a", "ram": 1, "cpu": 1, "password": PASSWORD, "disks": []}));
    let mut browser = open(&daemon);
    browser.wait_for(&format!("{} != null", cell("a", "state")));
    browser.eval("location.hash = '#/vm/a'");
    browser.wait_for("document.querySelector('.plots') && document.querySelector('.facts dd')");
    browser.eval("location.hash = '#/server'");
    browser.wait_for("document.querySelectorAll('.counters tbody tr').length > 50");
    expect_no_problems(&mut browser);
}

/// JavaScript that imports a module of the page, of which the page has loaded the same instance.
fn module(name: &str) -> String {
    format!(
        "import(performance.getEntriesByType('resource').map(({{ name }}) => name)\
         .find((name) => new URL(name).pathname.startsWith('/ui/{name}.')))"
    )
}

#[test]
fn a_removal_is_of_one_id_and_listeners_rest_as_they_take() {
    let daemon = Daemon::start();
    let mut browser = open(&daemon);
    let script = format!(
        "(async () => {{
            const {{ Fleet }} = await {};
            const fleet = new Fleet();
            const vm = (id) => ({{ id, vm_id: 'a', connected_since: null, offline_since: null, last_seen: null,
                addrs: [], disks: [], ram: 1, cpu: 1 }});
            const pages = fleet.begin();
            pages.add([vm(2)]);
            pages.end();
            const found = [];
            const change = (data) => {{
                fleet.change({{ vm_id: 'a', ...data }});
                found.push(fleet.vms.get('a')?.state ?? null);
            }};
            // The snapshot already has the VM that took the name.
            change({{ kind: 'removed', vm: {{ id: 1, vm_id: 'a' }} }});
            change({{ kind: 'online', vm: {{ ...vm(1), connected_since: 5 }} }});
            change({{ kind: 'online', vm: {{ id: 2, vm_id: 'a', connected_since: 5 }} }});
            change({{ kind: 'removed', vm: {{ id: 2, vm_id: 'a' }} }});
            change({{ kind: 'registered', vm: vm(3) }});
            change({{ kind: 'removed' }});
            // Each call takes 30 ms: then 120 ms are for other work.
            const times = [];
            await new Promise((done) => fleet.listeners.add(() => {{
                const begin = performance.now();
                while (performance.now() < begin + 30);
                times.push([begin, performance.now()]);
                if (times.length === 3) done();
                else setTimeout(() => fleet.tell());
            }}));
            return [found, times.slice(1).every(([begin], at) => begin - times[at][1] >= 110)];
        }})()",
        module("fleet")
    );
    let states = json!(["never", "never", "online", null, "never", null]);
    assert_eq!(browser.eval(&script), json!([states, true]));
    expect_no_problems(&mut browser);
}

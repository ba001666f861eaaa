//! A real browser: pages of an allowed origin reach the daemon, other pages do not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Daemon, TempDir, require};
use crate::programs::clean;

/// A browser is slow to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server of one page, with the page's report.
struct PageServer {
    port: u16,
    results: Receiver<Value>,
}

impl PageServer {
    fn start(listener: TcpListener, page: String) -> PageServer {
        let port = listener.local_addr().expect("an address").port();
        let (reports, results) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (page, reports) = (page.clone(), reports.clone());
                thread::spawn(move || serve(stream, &page, &reports));
            }
        });
        PageServer { port, results }
    }
}

/// Answers one request.
fn serve(stream: TcpStream, page: &str, reports: &Sender<Value>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = if first.starts_with("GET / ") { page } else { "" };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: ";
    write!(reader.get_mut(), "{head}{}\r\n\r\n{answer}", answer.len()).ok()?;
    if first.starts_with("POST /result ") {
        reports.send(serde_json::from_slice(&body).ok()?).ok()?;
    }
    Some(())
}

/// A page that sends the daemon all kinds of requests and reports the results.
fn page(daemon: &Daemon, token: &str) -> String {
    let address = daemon.address();
    let script = r#"
        const url = "http://ADDRESS/";
        const say = (body, headers) => ({ method: "POST", body: JSON.stringify(body), headers });
        const typed = { "Content-Type": "application/json" };
        async function ask(url, options) {
            try {
                const reply = await fetch(url, options);
                return [reply.status, (await reply.text()).trim()];
            } catch (error) {
                return error.name;
            }
        }
        function talk() {
            return new Promise((resolve) => {
                const socket = new WebSocket("ws://ADDRESS/");
                socket.onopen = () => socket.send(JSON.stringify({ command: "ping" }));
                socket.onmessage = (event) => resolve(JSON.parse(event.data).message);
                socket.onerror = () => resolve("error");
            });
        }
        (async () => {
            const add = { action: "add_vm", ram: 1, disks: [1] };
            const list = { command: "list", data: { list_type: "all_vms" } };
            const bearer = (token) => ({ ...typed, Authorization: "Bearer " + token });
            const results = {
                plain: await ask(url, say({ command: "ping" })),
                typed: await ask(url, say({ command: "ping" }, typed)),
                add: await ask(url, say(add, typed)),
                blind: await ask(url, { ...say(add), mode: "no-cors" }),
                list: await ask(url, say(list, bearer("TOKEN"))),
                stale: await ask(url, say(list, bearer("unknown"))),
                health: await ask(url + "healthz"),
                missing: await ask(url + "nothing"),
                custom: await ask(url, say({ command: "ping" }, { "X-Custom": "x" })),
                put: await ask(url, { method: "PUT", body: "{}" }),
                socket: await talk(),
            };
            await fetch("/result", { method: "POST", body: JSON.stringify(results) });
        })();
    "#;
    let script = script.replace("ADDRESS", &address.to_string()).replace("TOKEN", token);
    format!("<!DOCTYPE html><title>VMs</title><script>{script}</script>")
}

/// Headless Chromium, with its child processes.
struct Browser {
    child: Child,
    _profile: TempDir,
}

impl Browser {
    fn open(url: &str) -> Browser {
        require("chromium", "chromium");
        let profile = TempDir::new();
        let mut command = clean("chromium");
        command.env("HOME", profile.path());
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--disable-dev-shm-usage", "--remote-debugging-port=0"]);
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display())).arg(url);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().expect("chromium can be run");
        Browser { child, _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // With its child processes, which are a group of their own.
        let _ = clean("bash").args(["-c", &format!("kill -KILL -- -{}", self.child.id())]).status();
        let _ = self.child.wait();
    }
}

/// The report of the page at `origin`; a page of `localhost` is of another site than the daemon at 127.0.0.1.
#[track_caller]
fn report(server: &PageServer) -> Value {
    let _browser = Browser::open(&format!("http://localhost:{}/", server.port));
    server.results.recv_timeout(PATIENCE).expect("the page reports")
}

#[test]
fn only_pages_of_an_allowed_origin_reach_the_daemon() {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (allowed, foreign) = (bind(), bind());
    let origin = format!("http://localhost:{}", allowed.local_addr().expect("an address").port());
    let daemon = Daemon::builder().args(["--http-origin", &origin]).start();
    let mut client = daemon.client();
    client.register("a", &[]);
    let page = page(&daemon, &client.authenticate("a"));

    let foreign = report(&PageServer::start(foreign, page.clone()));
    for (name, found) in foreign.as_object().expect("an object") {
        let expected = match name.as_str() {
            "socket" => json!("error"),
            // The page may not see the answer, but the browser sends the request: the daemon has to refuse it.
            "blind" => json!([0, ""]),
            _ => json!("TypeError"),
        };
        assert_eq!(*found, expected, "{name}: {foreign}");
    }
    assert_eq!(client.list("all_vms").len(), 1, "nothing came of it");

    let allowed = report(&PageServer::start(allowed, page));
    let status = |name: &str| allowed[name][0].as_u64();
    let text = |name: &str| allowed[name][1].as_str().unwrap_or_default().to_owned();
    for name in ["plain", "typed"] {
        assert!(status(name) == Some(200) && text(name).contains("PONG"), "{name}: {allowed}");
    }
    assert_eq!((status("add"), text("add").contains("vm added")), (Some(200), true), "{allowed}");
    assert_eq!((status("list"), text("list").contains("\"vm_id\":\"a\"")), (Some(200), true), "{allowed}");
    assert_eq!(
        (status("stale"), text("stale").contains("Invalid access token")),
        (Some(401), true),
        "{allowed}"
    );
    assert_eq!((status("health"), text("health").as_str()), (Some(200), "ok"), "{allowed}");
    assert_eq!((status("missing"), status("put").is_some()), (Some(404), false), "{allowed}");
    assert_eq!(allowed["socket"], "PONG", "{allowed}");
    // Headers that the preflight does not allow are not sent.
    assert_eq!(allowed["custom"], "TypeError", "{allowed}");
    assert_eq!(client.list("all_vms").len(), 3, "one added to be seen, one blindly");
}

//! The web page over HTTP, with curl: its shell and files, and the table of VMs without JavaScript.

use serde_json::json;

use crate::common::{Daemon, PASSWORD, registration, request};
use crate::http::{assert_error, url};
use crate::programs::{Answer, curl, fetch, succeed};

/// The page's shell, as a browser gets it.
fn shell(daemon: &Daemon) -> Answer {
    fetch(["-H", "Accept: text/html", &url(daemon)])
}

fn register(daemon: &Daemon, names: &[&str]) {
    let mut client = daemon.client();
    names.iter().for_each(|name| drop(client.call(registration(name, &[5, 6]))));
}

/// The names in the table, in order, as they are in the HTML.
fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let rows = answer.body.split("<bdi>").skip(1);
    rows.map(|row| row.split("</bdi>").next().expect("a name ends").to_owned()).collect()
}

#[test]
fn a_browser_gets_the_page_and_curl_gets_text() {
    let daemon = Daemon::start();
    let page = shell(&daemon);
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.starts_with("<!doctype html>"), "{page:?}");
    assert_eq!(page.header("Cache-Control"), Some("no-store"));
    assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(page.header("Referrer-Policy"), Some("no-referrer"));
    let policy = page.header("Content-Security-Policy").expect("a policy");
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.split("; ").any(|part| part == rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = fetch([&url(&daemon)]);
    assert_eq!(text.header("Content-Type"), Some("text/plain; charset=utf-8"));
    let head = fetch(["--head", "-H", "Accept: text/html", &url(&daemon)]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("Content-Length"), Some(page.body.len().to_string().as_str()));
    assert_eq!(fetch(["-X", "PUT", "-H", "Accept: text/html", &url(&daemon)]).status, 405);
}

#[test]
fn files_of_the_page_never_change() {
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=").start();
    let page = shell(&daemon);
    let paths: Vec<&str> = page
        .body
        .split('"')
        .filter(|text| text.starts_with("/ui/") && text.matches('.').count() == 2)
        .collect();
    assert!(paths.len() > 1, "{page:?}");
    for path in paths {
        let url = format!("{}{}", url(&daemon), &path[1..]);
        let file = fetch(["--compressed", &url]);
        assert_eq!((file.status, file.header("Content-Encoding")), (200, Some("gzip")), "{path}");
        assert_eq!(file.header("Cache-Control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(file.header("Vary"), Some("Accept-Encoding"));
        assert_eq!(file.header("X-Content-Type-Options"), Some("nosniff"));
        let expected = if path.ends_with(".svg") { "image/svg+xml" } else { "text/" };
        assert!(file.header("Content-Type").expect("a type").starts_with(expected), "{file:?}");
        assert!(!file.body.is_empty() && !file.body.contains("{{"), "{path}");
        assert_error(&fetch([&url]), 406);
        let posted = fetch(["-d", "{}", &url]);
        assert_error(&posted, 405);
        assert_eq!(posted.header("Allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_error(&fetch(["--compressed", &format!("{}ui/page.0123456789abcdef.js", url(&daemon))]), 404);
}

#[test]
fn the_table_has_the_vms_without_javascript() {
    let daemon = Daemon::start();
    let hostile = ["<script>alert(1)</script>", "\"'&amp;", "שלום"];
    register(&daemon, &["web-1", "db-1"]);
    register(&daemon, &hostile);
    let mut online = daemon.client();
    online.authenticate("web-1");
    let table = format!("{}ui/vms", url(&daemon));
    let all = fetch([&table]);
    assert_eq!(all.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(all.header("Content-Security-Policy").is_some());
    let escaped = ["web-1", "db-1", "&lt;script&gt;alert(1)&lt;/script&gt;", "&quot;&#39;&amp;amp;", "שלום"];
    assert_eq!(names(&all), escaped);
    assert!(all.body.contains("<td>512 MiB</td><td>4</td><td>2: 11 GiB</td>"), "{all:?}");
    assert!(all.body.ends_with("</html>\n") && !all.body.contains("<script"), "{all:?}");
    for (query, wanted) in [
        ("?state=online", &escaped[..1]),
        ("?state=offline", &escaped[1..]),
        ("?filter=-1", &escaped[..2]),
        ("?filter=WEB&state=", &escaped[..1]),
        ("?filter=%3CSCRIPT&after=0", &escaped[2..3]),
        ("?filter=%D7%9C%D7%95", &escaped[4..]),
        ("?filter=none", &[]),
        ("?after=2&unknown=1", &escaped[2..]),
        ("?after=9", &[]),
    ] {
        assert_eq!(names(&fetch([&format!("{table}{query}")])), wanted, "{query}");
    }
    let filtered = fetch([&format!("{table}?filter=%22%3E%3Cb%3E")]);
    assert!(filtered.body.contains("value=\"&quot;&gt;&lt;b&gt;\""), "{filtered:?}");
    for bad in
        ["?after=x", "?after=-1", "?state=gone", "?filter=%", "?filter=%ff", "?after=99999999999999999999"]
    {
        assert_error(&fetch([&format!("{table}{bad}")]), 400);
    }
    let head = fetch(["--head", &table]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("Content-Type"), Some("text/html; charset=utf-8"));
}

#[test]
fn a_long_table_goes_on_at_a_link() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for number in 0..450 {
        let name = if number % 2 == 0 { format!("even-{number}&") } else { format!("odd-{number}") };
        client.call(registration(&name, &[]));
    }
    let follow = |query: &str| {
        let (mut found, mut pages, mut path) = (Vec::new(), 0, format!("ui/vms{query}"));
        loop {
            let answer = fetch([&format!("{}{path}", url(&daemon))]);
            found.extend(names(&answer));
            pages += 1;
            let Some((_, rest)) = answer.body.split_once("<a rel=\"next\" href=\"/") else {
                return (found, pages);
            };
            path = rest.split_once('"').expect("the link ends").0.replace("&amp;", "&");
        }
    };
    let (all, pages) = follow("");
    assert_eq!((all.len(), pages), (450, 3));
    assert!(all.is_sorted_by_key(|name| name.split(['-', '&']).nth(1).and_then(|id| id.parse::<u32>().ok())));
    let (even, pages) = follow("?filter=%26&state=offline");
    assert_eq!((even.len(), pages), (225, 2));
    assert!(even.iter().all(|name| name.starts_with("even-")), "{even:?}");
}

#[test]
fn where_the_page_is_closed_it_needs_a_token() {
    let daemon =
        Daemon::builder().listen("tcp://127.0.0.1:0?open=").listen("tcp://127.0.0.1:0?open=page").start();
    register(&daemon, &["a"]);
    let [open, closed, page] = [0, 1, 2].map(|index| format!("http://{}/ui/", daemon.addresses()[index]));
    for path in ["vms", "points?key=k", "points"] {
        let refused = fetch([&format!("{closed}{path}")]);
        assert_error(&refused, 401);
        assert_eq!(refused.header("WWW-Authenticate"), Some("Bearer"));
        assert_eq!(fetch(["--head", &format!("{closed}{path}")]).status, 401);
        let forwarded = fetch(["-H", "X-Forwarded-For: 192.0.2.1", &format!("{open}{path}")]);
        assert_error(&forwarded, 401);
    }
    assert_eq!(fetch([&format!("{open}vms")]).status, 200);
    assert_eq!(fetch([&format!("{page}vms")]).status, 200);
    let login = request("authenticate", json!({"vm_id": "a", "password": PASSWORD}));
    let (_, reply) = fetch(["-d", &login.to_string(), &closed]).json();
    let bearer = format!("Authorization: Bearer {}", reply["data"]["token"].as_str().expect("a token"));
    assert_eq!(names(&fetch(["-H", &bearer, &format!("{closed}vms")])), ["a"]);
    let reader = format!("Authorization: Bearer {}", daemon.reader_token("grafana"));
    assert_eq!(names(&fetch(["-H", &reader, &format!("{closed}vms")])), ["a"]);
    assert_eq!(fetch(["-H", &reader, &format!("{closed}points?key=k")]).status, 200);
    let wrong = "Authorization: Bearer 0123456789abcdef";
    for refused in [wrong, "Authorization: Basic eA=="] {
        assert_error(&fetch(["-H", refused, &format!("{closed}vms")]), 401);
        assert_error(&fetch(["-H", refused, &format!("{open}vms")]), 401);
    }
    let socket = daemon.own_socket();
    let socket = socket.to_str().expect("a plain path");
    assert_eq!(names(&fetch(["--unix-socket", socket, "http://localhost/ui/vms"])), ["a"]);
}

#[test]
fn points_are_json() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for (key, timestamp) in [("a b", 1), ("k", 1), ("k", 2), ("k", 3), ("l", 2)] {
        let data = json!({"key": key.replace(' ', "%"), "value": timestamp, "timestamp": timestamp});
        client.succeed("put", data);
    }
    let points = format!("{}ui/points", url(&daemon));
    for (query, wanted) in [
        ("key=k", json!({"k": [[1, 1.0], [2, 2.0], [3, 3.0]]})),
        ("key=k&from=2&to=2", json!({"k": [[2, 2.0]]})),
        ("key=a%25b&from=", json!({"a%b": [[1, 1.0]]})),
        ("key=none", json!({})),
        ("prefix=k", json!({"k": [[1, 1.0], [2, 2.0], [3, 3.0]]})),
        ("prefix=a%25&to=5", json!({"a%b": [[1, 1.0]]})),
        ("prefix=none", json!({})),
    ] {
        let (status, reply) = fetch([&format!("{points}?{query}")]).json();
        assert_eq!((status, &reply["status"], &reply["data"]), (200, &json!("success"), &wanted), "{query}");
    }
    for bad in ["", "key=", "key=k&prefix=k", "prefix=a+b", "key=a+b", "key=k&from=x", "key=k&to=1.5"] {
        assert_error(&fetch([&format!("{points}?{bad}")]), 400);
    }
}

/// Each answer on a connection counts for itself.
#[test]
fn pages_share_a_connection() {
    let daemon = Daemon::start();
    register(&daemon, &["a"]);
    let url = url(&daemon);
    let shown = "\n%{http_code} %{num_connects}\n";
    let mut command = curl();
    command.args(["-o", "/dev/null", "-w", shown, "-H", "Accept: text/html", &url]);
    for path in ["ui/vms", "ui/points", "healthz", "ui/vms?state=online", "ui/none"] {
        command.arg("--next").args(["--silent", "--show-error", "-o", "/dev/null", "-w", shown]);
        command.arg(format!("{url}{path}"));
    }
    let said = succeed(&mut command).stdout;
    let codes: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(codes, ["200 1", "200 0", "400 0", "200 0", "200 0", "404 0"], "{said}");
}

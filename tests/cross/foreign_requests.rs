//! The requests of browsers on behalf of pages, byte for byte: the headers of each kind of request, in their order.

/// A request, and the expected status.
pub struct Foreign {
    pub what: String,
    pub bytes: Vec<u8>,
    pub status: u16,
}

/// A request as a browser makes it.
#[derive(Clone)]
struct Made {
    line: String,
    host: Option<String>,
    /// All that follows `Host`, in the browser's order.
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// The request of a malicious page.
const ADD_VM: &str = r#"{"action":"add_vm","ram":1,"disks":[1]}"#;
/// The same as a form of `text/plain` with one field: its name, an equals sign, its value.
const ADD_VM_FIELD: &str = "{\"action\":\"add_vm\",\"ram\":1,\"disks\":[1],\"x\":\"=\"}\r\n";
const REGISTER: &str = "{\"command\":\"register\",\"data\":{\"vm_id\":\"evil\",\"ram\":1,\"cpu\":1,\
    \"password\":\"evil-password\",\"disks\":[]}}";
const EVIL: &str = "http://evil.example";

const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";
/// From before browsers sent an origin.
const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like \
    Gecko) Version/15.6.1 Safari/605.1.15";
const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW";
const PLAIN: &str = "text/plain";
const PLAIN_UTF8: &str = "text/plain;charset=UTF-8";
const JSON: &str = "application/json";

/// A form that a user or a script submits.
fn form(port: u16, content_type: &str, body: &str) -> Made {
    Made {
        line: "POST / HTTP/1.1".into(),
        host: Some(format!("127.0.0.1:{port}")),
        headers: vec![
            ("Connection", "keep-alive".into()),
            ("Content-Length", body.len().to_string()),
            ("Cache-Control", "max-age=0".into()),
            ("sec-ch-ua", r#""Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140""#.into()),
            ("sec-ch-ua-mobile", "?0".into()),
            ("sec-ch-ua-platform", "\"Linux\"".into()),
            ("Origin", EVIL.into()),
            ("Content-Type", content_type.into()),
            ("Upgrade-Insecure-Requests", "1".into()),
            ("User-Agent", CHROME.into()),
            ("Accept", HTML.into()),
            ("Sec-Fetch-Site", "cross-site".into()),
            ("Sec-Fetch-Mode", "navigate".into()),
            ("Sec-Fetch-User", "?1".into()),
            ("Sec-Fetch-Dest", "document".into()),
            ("Referer", format!("{EVIL}/")),
            ("Accept-Encoding", "gzip, deflate, br, zstd".into()),
            ("Accept-Language", "en-US,en;q=0.9".into()),
        ],
        body: body.into(),
    }
}

/// A request by `fetch`.
fn fetch(port: u16, mode: &str, content_type: &str, body: &str) -> Made {
    Made {
        line: "POST / HTTP/1.1".into(),
        host: Some(format!("127.0.0.1:{port}")),
        headers: vec![
            ("User-Agent", FIREFOX.into()),
            ("Accept", "*/*".into()),
            ("Accept-Language", "en-US,en;q=0.5".into()),
            ("Accept-Encoding", "gzip, deflate, br, zstd".into()),
            ("Referer", format!("{EVIL}/")),
            ("Content-Type", content_type.into()),
            ("Content-Length", body.len().to_string()),
            ("Origin", EVIL.into()),
            ("Connection", "keep-alive".into()),
            ("Sec-Fetch-Dest", "empty".into()),
            ("Sec-Fetch-Mode", mode.into()),
            ("Sec-Fetch-Site", "cross-site".into()),
            ("Priority", "u=4".into()),
        ],
        body: body.into(),
    }
}

/// Its preflight request.
fn preflight(port: u16, method: &str, headers: &str) -> Made {
    let mut made = fetch(port, "cors", "", "");
    made.line = "OPTIONS / HTTP/1.1".into();
    made.headers.retain(|(name, _)| !matches!(*name, "Content-Type" | "Content-Length"));
    let asked = [
        ("Access-Control-Request-Method", method.into()),
        ("Access-Control-Request-Headers", headers.into()),
    ];
    made.headers.splice(3..3, asked);
    made
}

/// A resource that a page shows or runs: without an origin.
fn load(port: u16, target: &str, dest: &str, accept: &str) -> Made {
    Made {
        line: format!("GET {target} HTTP/1.1"),
        host: Some(format!("127.0.0.1:{port}")),
        headers: vec![
            ("Connection", "keep-alive".into()),
            ("sec-ch-ua-platform", "\"Linux\"".into()),
            ("User-Agent", CHROME.into()),
            ("sec-ch-ua-mobile", "?0".into()),
            ("Accept", accept.into()),
            ("Sec-Fetch-Site", "cross-site".into()),
            (
                "Sec-Fetch-Mode",
                if matches!(dest, "document" | "iframe") { "navigate" } else { "no-cors" }.into(),
            ),
            ("Sec-Fetch-Dest", dest.into()),
            ("Referer", format!("{EVIL}/")),
            ("Accept-Encoding", "gzip, deflate, br, zstd".into()),
            ("Accept-Language", "en-US,en;q=0.9".into()),
        ],
        body: String::new(),
    }
}

/// A WebSocket that a script opens.
fn socket(port: u16) -> Made {
    Made {
        line: "GET /chat HTTP/1.1".into(),
        host: Some(format!("127.0.0.1:{port}")),
        headers: vec![
            ("Connection", "Upgrade".into()),
            ("Pragma", "no-cache".into()),
            ("Cache-Control", "no-cache".into()),
            ("User-Agent", CHROME.into()),
            ("Upgrade", "websocket".into()),
            ("Origin", EVIL.into()),
            ("Sec-WebSocket-Version", "13".into()),
            ("Accept-Encoding", "gzip, deflate, br, zstd".into()),
            ("Accept-Language", "en-US,en;q=0.9".into()),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==".into()),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits".into()),
        ],
        body: String::new(),
    }
}

impl Made {
    fn line(mut self, line: impl Into<String>) -> Made {
        self.line = line.into();
        self
    }

    fn host(mut self, host: impl Into<String>) -> Made {
        self.host = Some(host.into());
        self
    }

    /// With another value, where the header is sent already, else at the end.
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Made {
        let value = value.into();
        match self.headers.iter_mut().find(|(found, _)| *found == name) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name, value)),
        }
        self
    }

    fn without(mut self, names: &[&str]) -> Made {
        self.headers.retain(|(name, _)| !names.contains(name));
        self
    }

    /// By a browser, or over a network, that sends the origin only.
    fn untold(self) -> Made {
        self.without(&["Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-User", "Sec-Fetch-Dest"])
            .without(&["sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "Priority"])
            .with("User-Agent", SAFARI)
    }

    /// By a page that hides its origin.
    fn hidden(self) -> Made {
        self.without(&["Referer"]).with("Origin", "null")
    }

    /// By a page of `origin`, with the browser's `site` relation to the daemon.
    fn from(self, origin: &str, site: &str) -> Made {
        let made = if site.is_empty() { self.untold() } else { self.with("Sec-Fetch-Site", site) };
        made.with("Referer", format!("{origin}/")).with("Origin", origin)
    }

    /// By a page whose name was rebound to the daemon's address after it was loaded.
    fn rebound(self, host: &str) -> Made {
        self.from(&format!("http://{host}"), "same-origin").host(host)
    }

    fn is(self, what: impl Into<String>, status: u16) -> Foreign {
        let mut head = self.line + "\r\n";
        if let Some(host) = self.host {
            head += &format!("Host: {host}\r\n");
        }
        for (name, value) in self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        Foreign { what: what.into(), bytes: (head + "\r\n" + &self.body).into_bytes(), status }
    }
}

/// All requests that foreign pages make browsers send to a server on `port` of this machine.
pub fn requests(port: u16) -> Vec<Foreign> {
    let all = [forms(port), fetches(port), told(port), loads(port), sockets(port), rebound(port), odd(port)];
    all.into_iter().flatten().collect()
}

/// The same by the daemon's own pages: each adds a VM.
pub fn own_requests(port: u16) -> Vec<Foreign> {
    let own = format!("http://127.0.0.1:{port}");
    let own = |made: Made| made.from(&own, "same-origin");
    vec![
        own(form(port, PLAIN, ADD_VM_FIELD)).is("a form", 200),
        own(form(port, FORM, ADD_VM)).is("a form that is JSON", 200),
        own(fetch(port, "no-cors", PLAIN_UTF8, ADD_VM)).is("fetch", 200),
        own(fetch(port, "cors", JSON, ADD_VM)).is("fetch of JSON", 200),
        own(fetch(port, "cors", JSON, REGISTER)).is("a registration", 200),
        own(fetch(port, "cors", JSON, ADD_VM)).untold().is("fetch without what browsers tell", 200),
        fetch(port, "cors", JSON, ADD_VM).rebound(&format!("localhost:{port}")).is("by name", 200),
        fetch(port, "cors", JSON, ADD_VM).rebound(&format!("[::1]:{port}")).is("by the other address", 200),
        own(fetch(port, "cors", JSON, ADD_VM))
            .line(format!("POST http://127.0.0.1:{port}/ HTTP/1.1"))
            .is("an absolute target", 200),
        // Other programs send none of these headers.
        fetch(port, "cors", JSON, ADD_VM).untold().without(&["Origin", "Referer"]).is("a program", 200),
    ]
}

fn forms(port: u16) -> Vec<Foreign> {
    let plain = || form(port, PLAIN, ADD_VM_FIELD);
    let encoded = "%7B%22action%22%3A%22add_vm%22%2C%22ram%22%3A1%2C%22disks%22%3A%5B1%5D%7D=";
    let parts = format!(
        "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{ADD_VM}\r\n\
         ------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n"
    );
    let hidden_request = format!(
        "x=\r\n\r\nPOST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n\r\n{ADD_VM}\r\n",
        ADD_VM.len()
    );
    vec![
        form(port, FORM, encoded).is("a form", 403),
        form(port, MULTIPART, &parts).is("a form with parts", 403),
        plain().is("a form whose text is a request", 403),
        form(port, PLAIN, &hidden_request).is("a form whose text is a whole request of HTTP", 403),
        form(port, PLAIN, &format!("{REGISTER}=\r\n")).is("a form that registers", 403),
        plain().untold().is("a form of a browser that tells the origin only", 403),
        plain().hidden().is("a form in a sandbox", 403),
        plain().hidden().untold().is("the same of a browser that tells the origin only", 403),
        plain().from("http://127.0.0.1:3000", "same-site").is("a form of another port", 403),
        plain().from("http://127.0.0.1", "same-site").is("a form of the usual port", 403),
        plain().from(&format!("https://127.0.0.1:{port}"), "cross-site").is("a form of another scheme", 403),
        plain().from(&format!("https://127.0.0.1:{port}"), "").is("the same, told by the origin only", 403),
        plain().from(&format!("http://localhost:{port}"), "cross-site").is("a form of another name", 403),
        plain().from(&format!("http://localhost:{port}"), "").is("the same, told by the origin only", 403),
        plain().without(&["Origin"]).is("a form without an origin, told to be foreign", 403),
    ]
}

fn fetches(port: u16) -> Vec<Foreign> {
    let simple = |mode: &str| fetch(port, mode, PLAIN_UTF8, ADD_VM);
    let custom = || fetch(port, "cors", JSON, ADD_VM);
    let token = "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    vec![
        simple("no-cors").is("fetch that may not see the answer", 403),
        simple("no-cors").untold().is("the same, told by the origin only", 403),
        simple("cors").is("fetch that wants to see the answer", 403),
        simple("cors").hidden().is("fetch of a sandbox", 403),
        simple("cors").with("Origin", "null").untold().is("XMLHttpRequest of a file", 403),
        preflight(port, "POST", "content-type").is("a preflight", 403),
        preflight(port, "POST", "authorization,content-type").untold().is("an old preflight", 403),
        preflight(port, "PUT", "x-custom")
            .with("Access-Control-Request-Private-Network", "true")
            .is("a preflight into a private network", 403),
        preflight(port, "POST", "content-type")
            .from("http://127.0.0.1:3000", "same-site")
            .is("a preflight of another port", 403),
        custom().is("what was preflighted, all the same", 403),
        custom().untold().is("the same, told by the origin only", 403),
        custom().with("Authorization", token).is("with a token", 403),
        custom().line("PUT / HTTP/1.1").is("fetch with another method", 403),
        custom().from("chrome-extension://abcdefghijklmnopabcdefghijklmnop", "none").is("an extension", 403),
        custom().from("moz-extension://8c1b4c2e-7a51-4f0e-9d43-2f8b5a6c7d8e", "").is("another one", 403),
    ]
}

fn told(port: u16) -> Vec<Foreign> {
    let ping = fetch(port, "no-cors", "text/ping", "PING")
        .with("Ping-From", format!("{EVIL}/"))
        .with("Ping-To", format!("http://127.0.0.1:{port}/"));
    vec![
        fetch(port, "no-cors", PLAIN_UTF8, ADD_VM).with("Priority", "u=6").is("a beacon", 403),
        fetch(port, "no-cors", FORM, ADD_VM).untold().is("a beacon of form data", 403),
        ping.clone().is("the attribute ping", 403),
        ping.without(&["Origin"]).is("the attribute ping without an origin", 403),
        fetch(port, "no-cors", "application/csp-report", ADD_VM)
            .with("Sec-Fetch-Dest", "report")
            .is("a report of a page's policy", 403),
        fetch(port, "no-cors", "application/reports+json", ADD_VM)
            .with("Sec-Fetch-Dest", "report")
            .untold()
            .is("another report", 403),
    ]
}

fn loads(port: u16) -> Vec<Foreign> {
    let query = "/?action=add_vm&ram=1&disks=1";
    let path = "/%7B%22action%22:%22add_vm%22,%22ram%22:1,%22disks%22:[1]%7D";
    let image = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
    vec![
        // Links can be followed from any page: reading has no effect, and the page does not see the answer.
        load(port, query, "document", HTML).is("a link", 200),
        load(port, query, "document", HTML).without(&["Referer"]).is("a link that hides where it is", 200),
        load(port, query, "document", HTML).untold().is("a link of a browser that tells nothing", 200),
        load(port, path, "document", HTML).untold().is("the same with a request for a path", 404),
        load(port, path, "iframe", HTML).is("a frame", 403),
        load(port, "/add_vm?ram=1&disks=1", "image", image).is("an image", 403),
        load(port, "/add_vm?ram=1&disks=1", "image", image).untold().is("an old image", 404),
        load(port, "/healthz", "image", image).is("an image that asks how the server is", 403),
        load(port, "/?callback=steal", "script", "*/*").is("a script", 403),
        load(port, "/?callback=steal", "script", "*/*")
            .with("Sec-Fetch-Site", "same-site")
            .is("a script for another port of this host", 200),
        load(port, query, "font", "*/*").with("Origin", EVIL).untold().is("a font", 403),
        load(port, query, "style", "text/css,*/*;q=0.1").is("a style sheet", 403),
        load(port, query, "document", HTML)
            .with("Sec-Purpose", "prefetch")
            .is("a link before it is followed", 200),
        load(port, "/events", "empty", "text/event-stream")
            .with("Sec-Fetch-Mode", "cors")
            .with("Origin", EVIL)
            .is("an EventSource", 403),
        load(port, "/events", "empty", "text/event-stream")
            .with("Origin", EVIL)
            .untold()
            .is("an old one", 403),
        load(port, query, "document", HTML).line(format!("HEAD {query} HTTP/1.1")).is("only the head", 200),
    ]
}

fn sockets(port: u16) -> Vec<Foreign> {
    let told = socket(port)
        .with("User-Agent", FIREFOX)
        .with("Sec-Fetch-Dest", "websocket")
        .with("Sec-Fetch-Mode", "websocket")
        .with("Sec-Fetch-Site", "cross-site");
    let mut eager = socket(port).is("a WebSocket with a request behind the handshake", 403);
    eager.bytes.extend(crate::web::message(ADD_VM));
    vec![
        socket(port).is("a WebSocket", 403),
        told.clone().is("a WebSocket, told to be foreign", 403),
        told.without(&["Origin"]).is("a WebSocket without an origin, told to be foreign", 403),
        socket(port).with("Origin", "null").is("a WebSocket of a sandbox", 403),
        socket(port).with("Origin", "http://127.0.0.1:3000").is("a WebSocket of another port", 403),
        socket(port)
            .with("Origin", format!("https://127.0.0.1:{port}"))
            .is("a WebSocket of another scheme", 403),
        socket(port)
            .with("Origin", format!("http://localhost:{port}"))
            .is("a WebSocket of another name", 403),
        socket(port)
            .host(format!("evil.example:{port}"))
            .with("Origin", format!("http://evil.example:{port}"))
            .is("a WebSocket to a rebound name", 403),
        eager,
    ]
}

fn rebound(port: u16) -> Vec<Foreign> {
    let names = [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "evil.localhost",
        "2130706433.evil.example",
    ];
    let mut all: Vec<Foreign> = names
        .iter()
        .map(|name| fetch(port, "cors", JSON, ADD_VM).rebound(&format!("{name}:{port}")).is(*name, 403))
        .collect();
    let evil = format!("evil.example:{port}");
    all.extend([
        fetch(port, "cors", JSON, ADD_VM).rebound(&format!("[::1].evil.example:{port}")).is("no host", 400),
        fetch(port, "cors", JSON, ADD_VM)
            .rebound(&evil)
            .untold()
            .without(&["Origin"])
            .is("by Host alone", 403),
        form(port, PLAIN, ADD_VM_FIELD).rebound(&evil).is("a form", 403),
        load(port, "/healthz", "empty", "*/*").rebound(&evil).without(&["Origin"]).is("a look", 403),
        load(port, "/", "document", HTML).with("Sec-Fetch-Site", "none").host(&evil).is("a page", 403),
        // Every address is one of this machine's, the unspecified one included.
        fetch(port, "no-cors", PLAIN_UTF8, ADD_VM).host(format!("0.0.0.0:{port}")).is("the address 0", 403),
        fetch(port, "no-cors", PLAIN_UTF8, ADD_VM).host(format!("[::1]:{port}")).is("the other address", 403),
    ]);
    all
}

/// Requests that no browser sends today, but a broken one or a proxy might.
fn odd(port: u16) -> Vec<Foreign> {
    let host = format!("127.0.0.1:{port}");
    let own = format!("http://{host}");
    let plain = || fetch(port, "no-cors", PLAIN_UTF8, ADD_VM).from(&own, "same-origin");
    let second = |name: &'static str, value: &str| {
        let mut made = plain();
        made.headers.push((name, value.into()));
        made
    };
    vec![
        Made { host: None, ..plain() }.is("no Host", 400),
        second("Host", "evil.example").is("a second Host", 400),
        second("Host", &host).is("the same Host twice", 400),
        second("Origin", EVIL).is("a second Origin", 403),
        second("Origin", &own).is("the same Origin twice", 403),
        second("Sec-Fetch-Site", "cross-site").is("a second Sec-Fetch-Site", 403),
        plain().with("Origin", format!("{own}@evil.example")).is("our origin as a user", 403),
        plain().with("Origin", format!("{own}.evil.example")).is("our origin as a beginning", 403),
        plain().with("Origin", format!("{own} {EVIL}")).is("a list of origins", 403),
        plain().with("Origin", "").is("an empty origin", 403),
        plain().line(format!("POST http://evil.example:{port}/ HTTP/1.1")).is("a target elsewhere", 403),
        plain()
            .line(format!("POST {own}/ HTTP/1.1"))
            .with("Origin", EVIL)
            .host("evil.example")
            .is("a target here, of a page elsewhere", 403),
        plain().line("POST https://evil.example/ HTTP/1.1").is("a target of another scheme", 400),
        Made { host: None, ..plain() }.line("POST / HTTP/1.0").is("an origin and no host to compare", 403),
    ]
}

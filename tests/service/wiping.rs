//! Passwords and tokens of clients: none stays in the daemon's memory.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use serde_json::{Value, json};

use crate::common::{DEADLINE, Daemon, request, wait_until};
#[cfg(feature = "http")]
use crate::web::{TEXT, Web, frame};

/// A way to send a request, and its name.
type Way = (&'static str, fn(&Daemon, &str) -> Value);

const WAYS: &[Way] = &[
    ("whole", |daemon, text| {
        let mut client = daemon.client();
        client.send(text);
        client.reply()
    }),
    ("in pieces", |daemon, text| {
        let mut client = daemon.client();
        let (start, end) = text.split_at(text.len() - 40);
        client.send(start);
        // It has been read when the answer to another request comes.
        daemon.client().ping();
        client.send(end);
        client.reply()
    }),
    ("after many others", |daemon, text| {
        let mut client = daemon.client();
        client.send(&format!("{}{text}", "{\"command\":\"ping\"}".repeat(5_000)));
        (0..5_000).for_each(|_| _ = client.reply());
        client.reply()
    }),
    ("with an escape", |daemon, text| {
        let mut client = daemon.client();
        client.send(&text.replace("command", "comm\\u0061nd"));
        client.reply()
    }),
    #[cfg(feature = "http")]
    ("over HTTP", |daemon, text| {
        let mut web = Web::connect(daemon.address());
        web.send(format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        ));
        serde_json::from_str(&web.reply().body).expect("JSON")
    }),
    #[cfg(feature = "http")]
    ("over WebSocket", |daemon, text| {
        let mut web = Web::websocket(daemon.address());
        web.send(frame(TEXT, true, text.as_bytes()));
        serde_json::from_str(&web.message()).expect("JSON")
    }),
];

#[test]
fn no_password_and_no_token_stays_in_memory() {
    let daemon = Daemon::builder().start();
    let (mut names, mut secrets) = (Vec::new(), Vec::new());
    for (number, (way, send)) in WAYS.iter().enumerate() {
        let call = |command: &str, data: Value| {
            let reply = send(&daemon, &request(command, data).to_string());
            assert_eq!(reply["status"], "success", "{way}: {reply}");
            reply
        };
        let (name, password) = (format!("the-name-{number}"), format!("{number}-{}", "Secret9".repeat(8)));
        call("register", json!({"vm_id": name, "ram": 1, "cpu": 1, "password": password, "disks": []}));
        let reply = call("authenticate", json!({"vm_id": name, "password": password}));
        let token = reply["data"]["token"].as_str().expect("a token").to_owned();
        call("update", json!({"ram": 2, "token": token}));
        names.push(name);
        secrets.extend([(way, password), (way, token)]);
    }
    names.iter().for_each(|name| assert!(has(&daemon, name), "the search finds what is there"));
    for (way, secret) in secrets {
        // A reply can be read before the daemon has overwritten it.
        wait_until(&format!("its memory has no secret sent {way}"), DEADLINE, || {
            !has(&daemon, &secret[secret.len() / 2..])
        });
    }
}

/// Whether `text` is anywhere in the memory that the daemon can write to.
fn has(daemon: &Daemon, text: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.id())).expect("its memory is listed");
    let mut memory = File::open(format!("/proc/{}/mem", daemon.id())).expect("its parent may read it");
    let mut regions = maps.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (range, access) = (fields.next()?, fields.next()?);
        let (start, end) = range.split_once('-')?;
        let address = |digits| u64::from_str_radix(digits, 16).ok();
        access.starts_with("rw").then_some((address(start)?, address(end)?))
    });
    regions.any(|(start, end)| {
        memory.seek(SeekFrom::Start(start)).expect("it has this address");
        let mut bytes = vec![0; (end - start) as usize];
        // A region may be gone since.
        memory.read_exact(&mut bytes).is_ok() && String::from_utf8_lossy(&bytes).contains(text)
    })
}

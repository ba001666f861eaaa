//! Clients whose addresses the server's lists refuse: the program is not asked about them, and hears nothing of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use vmherd::{Event, EventKind};

use crate::client;
use crate::common::{DEADLINE, TempDir, wait_until};
use crate::running::Bed;

#[test]
fn neither_gate_nor_callbacks_are_called_for_a_refused_address() {
    let (asked, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (asking, telling) = (Arc::clone(&asked), Arc::clone(&told));
    let bed = Bed::with_config(
        |config| config.deny = vec!["127.0.0.0/8".parse().expect("an entry")],
        |builder| {
            let builder = builder.gate(move |_| {
                asking.fetch_add(1, Ordering::Relaxed);
                true
            });
            builder.on_event(move |event: &Event| {
                if !matches!(event.kind(), EventKind::Started | EventKind::Stopped) {
                    telling.fetch_add(1, Ordering::Relaxed);
                }
            })
        },
    );
    for request in ["{\"verb\": \"NOTHING\"}\n", "GET / HTTP/1.1\r\n\r\n", "nonsense\n"] {
        let mut client = bed.client();
        let _ = client.try_send(request.as_bytes());
        while client.try_line().is_some() {}
    }
    wait_until("they are refused", DEADLINE, || bed.counter("addresses_refused") == 3);
    assert_eq!((bed.counter("connections_accepted"), bed.counter("connections_open")), (0, 0));
    assert_eq!((asked.load(Ordering::Relaxed), told.load(Ordering::Relaxed)), (0, 0));
    // A client in the process and one of a unix socket have no address.
    assert_eq!(
        bed.local_client().call(json!({"command": "ping"}).to_string()).expect("a reply")["message"],
        "PONG"
    );
    bed.operator().ping();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    bed.stop();
}

#[test]
fn a_reload_replaces_the_lists_which_a_restart_keeps() {
    let directory = TempDir::new();
    let config = crate::config(&directory);
    let server = vmherd::Server::builder(config.clone()).bind().expect("a server");
    let addresses = server.addresses().to_vec();
    let running = server.start().expect("a running server");
    let mut first = client(&addresses);
    first.ping();
    let is_admitted = || client(&addresses).try_call(&json!({"command": "ping"})).is_some();
    let any = || "any".parse().expect("an entry");
    assert!(running.reload(config.clone().deny(any())));
    assert!(!is_admitted());
    first.ping();
    running.restart(crate::GRACE).expect("no error");
    assert!(!is_admitted());
    assert!(running.reload(config.clone().deny(any()).allow("127.0.0.1".parse().expect("an entry"))));
    assert!(is_admitted());
    let too_many = (0..=1024).fold(config, |config, _| config.deny(any()));
    assert!(
        vmherd::Server::bind(too_many)
            .is_err_and(|error| error.to_string().contains("--deny has 1025 entries"))
    );
    running.stop(crate::GRACE).expect("no error");
}

//! Clients that are gone at any moment of a conversation.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;

use crate::common::{DEADLINE, Daemon, PASSWORD, Random, request, wait_until};
use crate::overload::{Baseline, LatencyProbe, alone, best_of_three, statistic};

/// Conversations that are cut.
const ROUNDS: usize = 1200;
/// Clients at the same time.
const CLIENTS: usize = 6;

#[test]
fn resets_at_any_moment_leak_nothing() {
    let _alone = alone();
    let seed = std::env::var("VMHERD_SEED").map_or(1, |seed| seed.parse().expect("VMHERD_SEED is a number"));
    eprintln!("VMHERD_SEED={seed}");
    best_of_three("resets at any moment", || {
        let daemon = Daemon::start();
        daemon.client().register("listed", &[1; 1024]);
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let threads: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let address = daemon.address();
                thread::spawn(move || {
                    let mut random = Random::with_seed(seed * CLIENTS as u64 + client as u64);
                    (0..ROUNDS / CLIENTS).for_each(|round| {
                        cut_conversation(address, &mut random, &format!("vm-{client}-{round}"));
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("it converses"));

        let mut operator = daemon.operator();
        wait_until("nothing is in flight any more", DEADLINE, || {
            let in_flight = ["requests_in_flight", "auth_queued", "read_queued", "write_queued"];
            in_flight.iter().all(|name| statistic(&mut operator, name) == 0)
        });
        let accepted = statistic(&mut operator, "connections_accepted");
        assert!(accepted > ROUNDS as u64 / 2, "only {accepted} connections were accepted");
        assert_eq!(statistic(&mut operator, "connections_authenticated"), 0);
        drop(operator);
        let mut client = daemon.client();
        client.authenticate("listed");
        assert_eq!(client.list("active_vms").len(), 2, "the healthy one and this");
        drop(client);
        baseline.expect_back(&daemon, 4 << 10);
        assert!(!daemon.log().contains("panic"), "{}", daemon.log());
        probe.finish()
    });
}

/// Sends a part of a conversation, takes a part of what comes, and is gone, most often by a reset.
fn cut_conversation(address: SocketAddr, random: &mut Random, name: &str) {
    let credentials = json!({"vm_id": name, "password": PASSWORD});
    let registration =
        json!({"vm_id": name, "ram": 1, "cpu": 1, "password": PASSWORD, "disks": [{"disk_size": 1}]});
    let text = [
        request("ping", json!({})),
        request("register", registration),
        request("authenticate", credentials),
        json!({"command": "list", "data": {"list_type": "all_disks"}, "request_id": 1}),
        request("list", json!({"list_type": "active_vms"})),
        request("update", json!({"ram": 2})),
        request("list", json!({"list_type": "all_vms"})),
        request("logout", json!({})),
    ]
    .map(|request| request.to_string())
    .concat();
    let sent = random.below(text.len() as u64 + 1) as usize;
    let mut stream = TcpStream::connect(address).expect("the daemon accepts");
    stream.set_read_timeout(Some(Duration::from_millis(1 + random.below(8)))).expect("a socket option");
    stream.write_all(&text.as_bytes()[..sent]).expect("it is taken");
    // What is read of a reply, and how long for, says how far the daemon is at the reset.
    let mut part = vec![0; 1 + random.below(60_000) as usize];
    if random.below(3) > 0 {
        let _ = stream.read(&mut part);
    }
    if random.below(8) > 0 {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    }
}

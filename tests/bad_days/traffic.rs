//! Clients that register VMs, log in, update, list and log out all the time, and remember what they were
//! told.

#![allow(unreachable_pub)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request, wait_until};
use crate::ledger::{Ledger, disks, name};

/// Clients at work.
pub struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Ledger>>,
}

/// What a daemon may do while clients are at work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Daemons {
    /// It goes on.
    Live,
    /// It ends in good order: connections end between replies.
    Stop,
    /// It is killed.
    Die,
}

struct Shared {
    daemon: Daemons,
    is_over: AtomicBool,
    done: AtomicUsize,
    failed: AtomicUsize,
}

/// One client at work.
struct Worker {
    address: SocketAddr,
    shared: Arc<Shared>,
    ledger: Ledger,
    /// Its connection has ended.
    is_cut: bool,
}

/// What a client was told.
enum Said {
    Done(Value),
    /// Nothing was done.
    Refused,
    /// Nobody knows what was done, or nobody said.
    Unknown,
}

impl Traffic {
    /// Begins.
    pub fn start(daemon: &Daemon, clients: usize, may: Daemons) -> Traffic {
        let (is_over, done, failed) = Default::default();
        let shared = Arc::new(Shared { daemon: may, is_over, done, failed });
        let start = |_| {
            let (address, shared) = (daemon.address(), Arc::clone(&shared));
            let worker = Worker { address, shared, ledger: Ledger::default(), is_cut: false };
            thread::spawn(|| worker.work())
        };
        let threads = (0..clients).map(start).collect();
        Traffic { shared, threads }
    }

    /// Waits until `count` more requests have been done.
    #[track_caller]
    pub fn wait_done(&self, count: usize) {
        wait_for_more("requests are done", &self.shared.done, count);
    }

    /// Waits until `count` more requests have failed.
    #[track_caller]
    pub fn wait_failed(&self, count: usize) {
        wait_for_more("requests fail", &self.shared.failed, count);
    }

    /// Ends it; what the clients were told.
    #[track_caller]
    pub fn finish(mut self) -> Ledger {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut ledger = Ledger::default();
        for thread in std::mem::take(&mut self.threads) {
            ledger.merge(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        ledger
    }
}

impl Drop for Traffic {
    /// A row has failed: its daemon is not to go before the clients do.
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Worker {
    fn work(mut self) -> Ledger {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let Some(mut client) = Client::try_connect(self.address) else {
                assert!(self.shared.daemon != Daemons::Live, "the daemon does not accept");
                break;
            };
            self.live(&mut client);
            if self.is_cut && self.shared.daemon != Daemons::Live {
                break;
            }
            // Who is refused at once asks again, but does nothing else with the processor.
            thread::park_timeout(Duration::from_millis(1));
        }
        self.ledger
    }

    /// The life of one VM, as far as it gets.
    fn live(&mut self, client: &mut Client) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if !self.register(client, number) {
            return;
        }
        let credentials = json!({"vm_id": name(number), "password": PASSWORD});
        let Said::Done(data) = self.ask(client, "authenticate", credentials) else { return };
        let token = data["token"].as_str().expect("a token").to_owned();
        if number.is_multiple_of(4) {
            match self.ask(client, "logout", json!({})) {
                Said::Done(_) => self.ledger.ended.push(token),
                Said::Refused => self.ledger.tokens.push(token),
                Said::Unknown => {}
            }
            return;
        }
        self.ledger.tokens.push(token.clone());
        if !self.update(client, number, 10 * number + 1) {
            return;
        }
        let Said::Done(_) = self.ask(client, "list", json!({"list_type": "authenticated_vms"})) else {
            return;
        };
        // Again by the token, on a connection that is not logged in.
        let Some(mut other) = Client::try_connect(self.address) else { return };
        let list = json!({"list_type": "all_disks", "token": token});
        if let Said::Done(_) = self.ask(&mut other, "list", list) {
            self.update(&mut other, number, 10 * number + 2);
        }
    }

    fn register(&mut self, client: &mut Client, number: u64) -> bool {
        let ram = 10 * number;
        let sizes = disks(ram).map(|size| json!({"disk_size": size}));
        let data = json!({"vm_id": name(number), "ram": ram, "cpu": 1, "password": PASSWORD, "disks": sizes});
        match self.ask(client, "register", data) {
            Said::Done(_) => drop(self.ledger.vms.insert(number, ram)),
            Said::Refused => drop(self.ledger.refused.insert(number)),
            Said::Unknown => self.ledger.unknown.entry(number).or_default().push(ram),
        }
        self.ledger.vms.contains_key(&number)
    }

    fn update(&mut self, client: &mut Client, number: u64, ram: u64) -> bool {
        let sizes = disks(ram).map(|size| json!({"disk_size": size}));
        match self.ask(client, "update", json!({"ram": ram, "disks": sizes})) {
            Said::Done(_) => drop(self.ledger.vms.insert(number, ram)),
            Said::Refused => return false,
            Said::Unknown => {
                self.ledger.unknown.entry(number).or_default().push(ram);
                return false;
            }
        }
        true
    }

    fn ask(&mut self, client: &mut Client, command: &str, data: Value) -> Said {
        let begin = Instant::now();
        let reply = client.try_call(&request(command, data));
        let time = begin.elapsed();
        let Some(mut reply) = reply else {
            self.check_cut(client, command, time);
            return Said::Unknown;
        };
        let text = match reply["status"] == "success" {
            true => "",
            false => reply["message"].as_str().expect("a message"),
        };
        if (time, text) > (self.ledger.worst.0, &self.ledger.worst.1) {
            self.ledger.worst = (time, format!("{command}: {text}"));
        }
        *self.ledger.said.entry(text.to_owned()).or_default() += 1;
        let counter = if text.is_empty() { &self.shared.done } else { &self.shared.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        match text {
            "" => Said::Done(reply["data"].take()),
            "outcome unknown" => Said::Unknown,
            _ => Said::Refused,
        }
    }

    /// A connection ended instead of a reply: may it?
    fn check_cut(&mut self, client: &Client, command: &str, time: Duration) {
        self.is_cut = true;
        assert!(time < DEADLINE, "{command}: no answer");
        let has_part = client.has_part_of_reply();
        match self.shared.daemon {
            // A list of several pages that can't go on; it must not look whole.
            Daemons::Live => {
                assert!(command == "list" && has_part, "{command}: the connection ended");
                *self.ledger.said.entry(CUT.to_owned()).or_default() += 1;
            }
            Daemons::Stop => assert!(!has_part, "{command}: a part of a reply"),
            Daemons::Die => {}
        }
    }
}

#[track_caller]
fn wait_for_more(what: &str, counter: &AtomicUsize, count: usize) {
    let wanted = counter.load(Ordering::Relaxed) + count;
    wait_until(what, DEADLINE, || counter.load(Ordering::Relaxed) >= wanted);
}

/// What stands for a list that was cut where it could not go on.
pub const CUT: &str = "(a list was cut)";

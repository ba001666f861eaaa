//! Clients that register VMs, log in, update, list and log out all the time, and record the answers.

#![allow(unreachable_pub)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{BackgroundClients, Client, DEADLINE, Daemon, DaemonFate, PASSWORD, Progress, request};
use crate::history::{VmHistory, disks, name};

/// The clients.
pub struct Traffic(BackgroundClients<VmHistory>);

/// One client.
struct TrafficClient {
    address: SocketAddr,
    fate: DaemonFate,
    progress: Arc<Progress>,
    history: VmHistory,
    /// Its connection has ended.
    is_cut: bool,
}

/// The answer to a request.
enum Outcome {
    /// It was done; the answer's data.
    Done(Value),
    /// Nothing was done.
    Refused,
    /// It may have been done: the answer says so, or there was none.
    Unknown,
}

impl Traffic {
    /// Starts so many `clients`.
    pub fn start(daemon: &Daemon, clients: usize, fate: DaemonFate) -> Traffic {
        let address = daemon.address();
        Traffic(BackgroundClients::start(clients, |progress| {
            let history = VmHistory::default();
            let client = TrafficClient { address, fate, progress, history, is_cut: false };
            || client.work()
        }))
    }

    /// Waits until `count` more requests have been done.
    #[track_caller]
    pub fn wait_done(&self, count: usize) {
        self.0.wait_done(count);
    }

    /// Waits until `count` more requests have failed.
    #[track_caller]
    pub fn wait_failed(&self, count: usize) {
        self.0.wait_failed(count);
    }

    /// Ends the clients; what they have recorded.
    #[track_caller]
    pub fn finish(self) -> VmHistory {
        let mut history = VmHistory::default();
        self.0.finish().into_iter().for_each(|other| history.merge(other));
        history
    }
}

impl TrafficClient {
    fn work(mut self) -> VmHistory {
        while !self.progress.is_over() {
            let Some(mut client) = Client::try_connect(self.address) else {
                assert!(self.fate != DaemonFate::Lives, "the daemon does not accept");
                break;
            };
            self.live(&mut client);
            if self.is_cut && self.fate != DaemonFate::Lives {
                break;
            }
            // A client that is refused at once must not keep the processor busy.
            thread::park_timeout(Duration::from_millis(1));
        }
        self.history
    }

    /// The requests of one VM, until one fails.
    fn live(&mut self, client: &mut Client) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if !self.register(client, number) {
            return;
        }
        let credentials = json!({"vm_id": name(number), "password": PASSWORD});
        let Outcome::Done(data) = self.ask(client, "authenticate", credentials) else { return };
        let token = data["token"].as_str().expect("a token").to_owned();
        if number.is_multiple_of(4) {
            match self.ask(client, "logout", json!({})) {
                Outcome::Done(_) => self.history.ended.push(token),
                Outcome::Refused => self.history.tokens.push(token),
                Outcome::Unknown => {}
            }
            return;
        }
        self.history.tokens.push(token.clone());
        if !self.update(client, number, 10 * number + 1) {
            return;
        }
        let Outcome::Done(_) = self.ask(client, "list", json!({"list_type": "authenticated_vms"})) else {
            return;
        };
        // Again by the token, on a connection that is not logged in.
        let Some(mut other) = Client::try_connect(self.address) else { return };
        let list = json!({"list_type": "all_disks", "token": token});
        if let Outcome::Done(_) = self.ask(&mut other, "list", list) {
            self.update(&mut other, number, 10 * number + 2);
        }
    }

    fn register(&mut self, client: &mut Client, number: u64) -> bool {
        let ram = 10 * number;
        let sizes = disks(ram).map(|size| json!({"disk_size": size}));
        let data = json!({"vm_id": name(number), "ram": ram, "cpu": 1, "password": PASSWORD, "disks": sizes});
        match self.ask(client, "register", data) {
            Outcome::Done(_) => drop(self.history.vms.insert(number, ram)),
            Outcome::Refused => drop(self.history.refused.insert(number)),
            Outcome::Unknown => self.history.unknown.entry(number).or_default().push(ram),
        }
        self.history.vms.contains_key(&number)
    }

    fn update(&mut self, client: &mut Client, number: u64, ram: u64) -> bool {
        let sizes = disks(ram).map(|size| json!({"disk_size": size}));
        match self.ask(client, "update", json!({"ram": ram, "disks": sizes})) {
            Outcome::Done(_) => drop(self.history.vms.insert(number, ram)),
            Outcome::Refused => return false,
            Outcome::Unknown => {
                self.history.unknown.entry(number).or_default().push(ram);
                return false;
            }
        }
        true
    }

    fn ask(&mut self, client: &mut Client, command: &str, data: Value) -> Outcome {
        let begin = Instant::now();
        let reply = client.try_call(&request(command, data));
        let time = begin.elapsed();
        let Some(mut reply) = reply else {
            self.check_cut(client, command, time);
            return Outcome::Unknown;
        };
        let text = match reply["status"] == "success" {
            true => "",
            false => reply["message"].as_str().expect("a message"),
        };
        if (time, text) > (self.history.worst.0, &self.history.worst.1) {
            self.history.worst = (time, format!("{command}: {text}"));
        }
        *self.history.answers.entry(text.to_owned()).or_default() += 1;
        if text.is_empty() {
            self.progress.add_done();
            return Outcome::Done(reply["data"].take());
        }
        self.progress.add_failed();
        if text == "outcome unknown" { Outcome::Unknown } else { Outcome::Refused }
    }

    /// Checks that a connection may end instead of a reply.
    fn check_cut(&mut self, client: &Client, command: &str, time: Duration) {
        self.is_cut = true;
        assert!(time < DEADLINE, "{command}: no answer");
        let has_part = client.has_part_of_reply();
        match self.fate {
            // A list of several pages that cannot go on; it must not look whole.
            DaemonFate::Lives => {
                assert!(command == "list" && has_part, "{command}: the connection ended");
                *self.history.answers.entry(CUT.to_owned()).or_default() += 1;
            }
            DaemonFate::Stops => assert!(!has_part, "{command}: a part of a reply"),
            DaemonFate::Dies => {}
        }
    }
}

/// The entry in [`VmHistory::answers`] for a list that was cut.
pub const CUT: &str = "(a list was cut)";

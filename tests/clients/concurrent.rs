//! All three documented conversations at once in one daemon and one registry; they do not disturb each other.
//!
//! The VM manager and the VM make their requests in turn, so that the expected lists are known; the converting client
//! works all the time. VMs and disks have the numbers of the replies, not those of the documents.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::common::Daemon;
use crate::conversions;
use crate::program_client::{Framing, ProgramClient};
use crate::{actions, commands};

/// The state that the daemon must have now.
#[derive(Default)]
struct ExpectedRegistry {
    vms: Vec<Vm>,
    authorized: Vec<i64>,
    connected: Vec<i64>,
    disk_count: i64,
}

#[derive(Clone)]
struct Vm {
    id: i64,
    name: String,
    ram: Value,
    cpu: Value,
    /// Their numbers and sizes.
    disks: Vec<(i64, Value)>,
    has_connected: bool,
}

/// The VM whose conversation is under way.
struct VmClient {
    program: ProgramClient,
    name: String,
    id: i64,
    /// Its disks' numbers, from a reply.
    disk_ids: Vec<Value>,
    /// The client's address; over HTTP each request has another one.
    address: Value,
    token: Option<String>,
}

/// The manager's step after which the VM begins.
const FIRST_STEP: usize = 4;

/// Each document over each framing, the others by the two other programs.
#[test]
fn the_three_conversations_run_concurrently() {
    let daemon = Daemon::builder().args(["--conversion-delay", "20ms..80ms"]).start();
    let mut expected = ExpectedRegistry::default();
    for round in 0..3 {
        let framing = |document: usize| Framing::ALL[(round + document) % 3];
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let conversions = scope.spawn(|| convert(&daemon, framing(2), &is_over));
            let vm = VmClient::new(ProgramClient::of(&daemon, framing(1)), format!("stalin-{round}"));
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                converse(&mut expected, ProgramClient::of(&daemon, framing(0)), vm);
            }));
            is_over.store(true, Ordering::Relaxed);
            ended.unwrap_or_else(|why| std::panic::resume_unwind(why));
            assert!(conversions.join().expect("the conversions") > 0);
        });
    }
}

/// The VM manager's and the VM's requests in turn.
fn converse(expected: &mut ExpectedRegistry, mut manager: ProgramClient, mut vm: VmClient) {
    // The document's numbers are those of its three VMs, in the order in which it adds them.
    let mut added: Vec<i64> = Vec::new();
    let mut says_next = commands::REQUESTS.iter().peekable();
    for (step, (text, _)) in actions::CONVERSATION.iter().enumerate() {
        let mut request: Value = serde_json::from_str(text).expect("a request");
        if let Some(documented) = request["vm_id"].as_u64() {
            let number = added.get(documented as usize - 1).copied();
            request["vm_id"] = json!(number.unwrap_or(1_000_000_000 + documented as i64));
        }
        let reply = manager.call(&request);
        added.extend(reply["vm_id"].as_i64());
        assert_eq!(reply, expected.after_action(&request, &reply), "{request}");
        // So late that it is connected while the manager lists connections.
        if let Some(text) = says_next.next_if(|_| step >= FIRST_STEP) {
            vm.call_text(text, expected);
        }
    }
    assert_eq!((added.len(), says_next.next()), (3, None), "both have said all");
    manager.close();
    vm.program.close();
}

/// Converts one text after the other; the number of texts.
fn convert(daemon: &Daemon, framing: Framing, is_over: &AtomicBool) -> usize {
    let mut program = ProgramClient::of(daemon, framing);
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        assert_eq!(program.call_text(conversions::REQUEST), conversions::REPLY);
        count += 1;
    }
    program.close();
    count
}

impl VmClient {
    fn new(program: ProgramClient, name: String) -> VmClient {
        VmClient { program, name, id: 0, disk_ids: Vec::new(), address: Value::Null, token: None }
    }

    /// Makes the documented request `text` in the VM's own name and compares the reply with the expected state.
    fn call_text(&mut self, text: &str, expected: &mut ExpectedRegistry) {
        let mut request: Value = serde_json::from_str(text).expect("a request");
        let data = request.get_mut("data").expect("data");
        if data["vm_id"].is_string() {
            data["vm_id"] = json!(self.name);
        }
        for (index, disk) in
            data.get_mut("disks").and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            if disk["id"].is_u64() {
                disk["id"] = self.disk_ids[index].clone();
            }
        }
        let reply = self.program.call(&request);
        let (message, data) = self.expectation(&request, &reply, expected);
        assert_eq!(reply, json!({"status": "success", "message": message, "data": data}), "{request}");
        if let Some(token) =
            reply["data"]["token"].as_str().filter(|_| !self.program.framing().is_persistent())
        {
            self.program.use_token(token);
        }
    }

    /// The expected message and data; updates `expected` as the request does.
    fn expectation(
        &mut self,
        request: &Value,
        reply: &Value,
        expected: &mut ExpectedRegistry,
    ) -> (Value, Value) {
        let (data, name) = (&request["data"], self.name.clone());
        let list = data["list_type"].as_str().unwrap_or_default();
        match (request["command"].as_str().expect("a command"), list) {
            ("ping", _) => {
                self.address = reply["data"]["addr"].clone();
                assert_eq!(self.address[0], "127.0.0.1");
                (json!("PONG"), json!({"addr": self.address}))
            }
            ("register", _) => {
                let disks = data["disks"].as_array().expect("disks").iter();
                let sizes: Vec<Value> = disks.map(|disk| disk["disk_size"].clone()).collect();
                self.id = expected.next_id();
                expected.add(self.id, name.clone(), &data["ram"], &data["cpu"], &sizes);
                (json!("Save the vm_id for authentication"), json!({"auth_id": name}))
            }
            ("authenticate", _) => {
                self.token = reply["data"]["token"].as_str().map(str::to_owned);
                expected.vm(self.id).has_connected = true;
                if self.program.framing().is_persistent() {
                    expected.authorized.push(self.id);
                    expected.connected.push(self.id);
                }
                (json!("Authentication successful"), json!({"token": self.token.as_ref().expect("a token")}))
            }
            ("list", "all_vms") => {
                let vms: Vec<Value> = expected.vms.iter().map(Vm::in_commands).collect();
                (Value::Null, json!({"all_vms": vms}))
            }
            ("list", "all_disks") => {
                let disks: Vec<Value> = expected.vms.iter().flat_map(Vm::disks_in_commands).collect();
                let shown = reply["data"]["all_disks"].as_array().expect("a list").iter();
                let own = shown.filter(|disk| disk["vm_id"] == json!(name));
                self.disk_ids = own.map(|disk| disk["id"].clone()).collect();
                (Value::Null, json!({"all_disks": disks}))
            }
            ("list", "authenticated_vms") => (Value::Null, json!({list: self.own_entries(expected)})),
            ("list", "active_vms") => {
                // The others come and go, and none of them has authenticated.
                let shown = reply["data"]["active_vms"].as_array().expect("a list");
                let (own, others): (Vec<&Value>, Vec<&Value>) =
                    shown.iter().partition(|entry| entry.get("vm_info").is_some());
                assert_eq!(own, self.own_entries(expected).iter().collect::<Vec<_>>());
                assert!(
                    !others.is_empty() && others.iter().all(|entry| entry["addr"][1].is_u64()),
                    "{reply}"
                );
                (Value::Null, json!({"active_vms": shown}))
            }
            ("update", _) => {
                let vm = expected.vm(self.id);
                for (field, place) in [("ram", &mut vm.ram), ("cpu", &mut vm.cpu)] {
                    *place = data.get(field).unwrap_or(place).clone();
                }
                for disk in data["disks"].as_array().into_iter().flatten() {
                    let own = vm.disks.iter_mut().find(|(id, _)| disk["id"] == json!(id));
                    own.expect("one of its disks").1 = disk["disk_size"].clone();
                }
                (json!("VM info updated successfully"), json!({}))
            }
            ("logout", _) => {
                expected.release(self.id);
                (json!(format!("VM ({name}) logged out successfully")), json!({}))
            }
            other => panic!("{other:?} is not in the document"),
        }
    }

    /// The entries of this VM in lists of connections: none over HTTP, where connections have no VM.
    fn own_entries(&self, expected: &mut ExpectedRegistry) -> Vec<Value> {
        let vm_info = expected.vm(self.id).in_commands();
        let lasts = self.program.framing().is_persistent();
        lasts.then(|| json!({"addr": self.address, "vm_info": vm_info})).into_iter().collect()
    }
}

impl ExpectedRegistry {
    /// The expected reply to `request` of the VM manager, which also changes this state. Only the number of a new VM is
    /// taken from `reply`.
    fn after_action(&mut self, request: &Value, reply: &Value) -> Value {
        let vm = request["vm_id"].as_i64().unwrap_or_default();
        let is_known = self.vms.iter().any(|known| known.id == vm);
        let show = |ids: &[i64]| -> Vec<Value> {
            ids.iter()
                .map(|id| self.vms.iter().find(|vm| vm.id == *id).expect("known").in_actions())
                .collect()
        };
        match request["action"].as_str().expect("an action") {
            "add_vm" => match request["disks"].as_array() {
                Some(disks) => {
                    let id = reply["vm_id"].as_i64().expect("a number");
                    assert_eq!(id, self.next_id());
                    self.add(id, id.to_string(), &request["ram"], &json!(disks.len()), disks);
                    json!({"status": "vm added", "vm_id": id})
                }
                None => json!({"error": "required data: ram, disks"}),
            },
            "list_all_vms" => json!({"all_vms": self.vms.iter().map(Vm::in_actions).collect::<Vec<_>>()}),
            "list_all_disks" => {
                json!({"all_disks": self.vms.iter().flat_map(Vm::disks_in_actions).collect::<Vec<_>>()})
            }
            "list_authorized_vms" => json!({"authorized_vms": show(&self.authorized)}),
            "list_connected_vms" => json!({"connected_vms": show(&self.connected)}),
            "list_ever_connected" => {
                let vms = self.vms.iter().filter(|vm| vm.has_connected);
                json!({"all_connected_vms": vms.map(Vm::in_actions).collect::<Vec<_>>()})
            }
            "authenticate" | "connect" if !is_known => json!({"error": "VM ID does not exist"}),
            "authenticate" => {
                self.authorized.push(vm);
                json!({"status": "authenticated"})
            }
            "connect" => {
                self.authorized.push(vm);
                self.connected.push(vm);
                self.vm(vm).has_connected = true;
                json!({"status": "connected and authenticated"})
            }
            "logout_vm" | "update_vm" if !self.authorized.contains(&vm) => {
                json!({"error": "vm not authenticated"})
            }
            "logout_vm" => {
                self.release(vm);
                json!({"status": "logged out"})
            }
            "update_vm" => match request.get("ram") {
                Some(ram) => {
                    self.vm(vm).ram = ram.clone();
                    json!({"status": "vm updated"})
                }
                None => json!({"error": "required data: ram, disks"}),
            },
            other => panic!("{other} is not in the document"),
        }
    }

    fn next_id(&self) -> i64 {
        self.vms.last().map_or(1, |vm| vm.id + 1)
    }

    fn add(&mut self, id: i64, name: String, ram: &Value, cpu: &Value, sizes: &[Value]) {
        let first = self.disk_count + 1;
        self.disk_count += sizes.len() as i64;
        let disks = (first..).zip(sizes.iter().cloned()).collect();
        self.vms.push(Vm { id, name, ram: ram.clone(), cpu: cpu.clone(), disks, has_connected: false });
    }

    fn vm(&mut self, id: i64) -> &mut Vm {
        self.vms.iter_mut().find(|vm| vm.id == id).expect("a known VM")
    }

    fn release(&mut self, id: i64) {
        self.authorized.retain(|other| *other != id);
        self.connected.retain(|other| *other != id);
    }
}

impl Vm {
    fn in_actions(&self) -> Value {
        let disks: Vec<Value> = self.disks.iter().map(|(id, size)| json!({"id": id, "size": size})).collect();
        json!({"id": self.id, "ram": self.ram, "cpu": self.cpu, "disks": disks})
    }

    fn in_commands(&self) -> Value {
        let disks: Vec<Value> = self.disks_in_commands().collect();
        json!({"vm_id": self.name, "ram": self.ram, "cpu": self.cpu, "disks": disks})
    }

    fn disks_in_actions(&self) -> impl Iterator<Item = Value> + '_ {
        self.disks.iter().map(|(id, size)| json!({"id": id, "vm_id": self.id, "size": size}))
    }

    fn disks_in_commands(&self) -> impl Iterator<Item = Value> + '_ {
        self.disks.iter().map(|(id, size)| json!({"id": id, "vm_id": self.name, "disk_size": size}))
    }
}

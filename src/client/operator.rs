//! What only an operator may do: root and the server's own user, on the socket in its state directory. For other
//! clients these commands are unknown.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};

use super::Client;
use super::error::ClientError;
use super::vms::{NewVm, VmUpdate};

/// Numbers by name, in the server's order.
struct Counters(Vec<(String, u64)>);

impl Client {
    /// The server's counters, in its order.
    pub fn stats(&mut self) -> Result<Vec<(String, u64)>, ClientError> {
        self.call_command("stats", Value::Null, |reply| Ok(reply.data()?.parse_as::<Counters>()?.0))
    }

    /// Adds a VM, also where registration is closed, with a password or without. Returns its number.
    pub fn add(&mut self, vm: &NewVm) -> Result<u64, ClientError> {
        self.call_command("add", vm.data(), |reply| reply.data()?.read("id"))
    }

    /// Removes the VM `vm_id` with its disks and tokens, and closes its connections. Its points stay.
    pub fn remove(&mut self, vm_id: &str) -> Result<(), ClientError> {
        self.call_command("remove", json!({"vm_id": vm_id}), |_| Ok(()))
    }

    /// Sets the password of the VM `vm_id`. Its connections become anonymous, and its tokens are revoked.
    pub fn set_password(&mut self, vm_id: &str, password: &str) -> Result<(), ClientError> {
        self.call_command("passwd", json!({"vm_id": vm_id, "password": password}), |_| Ok(()))
    }

    /// Closes the connections of the VM `vm_id` and revokes its tokens. Returns how many connections that were.
    pub fn end_sessions(&mut self, vm_id: &str) -> Result<u64, ClientError> {
        self.call_command("end_sessions", json!({"vm_id": vm_id}), |reply| reply.data()?.read("ended"))
    }

    /// Changes the VM `vm_id`.
    pub fn update_vm(&mut self, vm_id: &str, change: &VmUpdate) -> Result<(), ClientError> {
        let mut data = change.data();
        data.insert("vm_id".into(), Value::from(vm_id));
        self.call_command("update", Value::Object(data), |_| Ok(()))
    }

    /// Logs the VM `vm_id` out: its connections become anonymous, and its tokens are revoked.
    pub fn logout_vm(&mut self, vm_id: &str) -> Result<(), ClientError> {
        self.call_command("logout", json!({"vm_id": vm_id}), |_| Ok(()))
    }

    /// Ends the container `vm_id`, without its token.
    pub fn stop(&mut self, vm_id: &str) -> Result<(), ClientError> {
        self.call_command("stop", json!({"vm_id": vm_id}), |_| Ok(()))
    }
}

impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counters, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Counters;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counters, A::Error> {
                let mut counters = Vec::new();
                while let Some(counter) = map.next_entry()? {
                    counters.push(counter);
                }
                Ok(Counters(counters))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

//! What the server says about its VMs and itself.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::commands::lists::{fetch, sizes_of_disks};
use crate::failure::{Class, Failure};
use crate::session::Session;
use crate::time::now;

/// All that one look has found.
pub struct Herd {
    pub vms: Vec<Vm>,
    pub connections: Option<u64>,
    pub version: Option<String>,
    /// Seconds.
    pub uptime: Option<u64>,
    /// Requests a second since the look before.
    pub rate: Option<f64>,
}

pub struct Vm {
    pub is_online: bool,
    /// Since when it is in its state, in seconds since 1970.
    pub since: Option<i64>,
    /// A row of [`super::TOP`].
    pub row: Vec<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sort {
    /// Online first.
    #[default]
    State,
    Name,
    /// The largest first.
    Ram,
    /// The latest change first.
    Since,
}

impl Sort {
    pub fn next(self) -> Sort {
        match self {
            Sort::State => Sort::Name,
            Sort::Name => Sort::Ram,
            Sort::Ram => Sort::Since,
            Sort::Since => Sort::State,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Sort::State => "state",
            Sort::Name => "name",
            Sort::Ram => "ram",
            Sort::Since => "since",
        }
    }
}

/// The server as it is asked again and again. What it has denied once it is not asked again.
#[derive(Default)]
pub struct Source {
    is_stat_denied: bool,
    is_stats_denied: bool,
    /// The requests that were done, and when.
    done: Option<(u64, Instant)>,
}

impl Source {
    pub fn fetch(&mut self, session: &mut Session) -> Result<Herd, Failure> {
        let entries = fetch(session, "all_vms")?;
        let stat =
            optional(&mut self.is_stat_denied, || session.call(|client| client.verb("STAT", json!({}))))?;
        // The entries have times for the operator only. Others find those that are online among the connections.
        let is_operator = entries.iter().all(|entry| entry.get("connected_since").is_some());
        let is_denied = &mut self.is_stats_denied;
        let counters = match is_operator {
            true => optional(is_denied, || session.call(|client| client.stats()))?,
            false => None,
        };
        let (online, connections) = match &counters {
            Some(counters) => {
                let open = counters.iter().find(|(name, _)| name == "connections_open");
                (HashMap::new(), open.map(|(_, count)| *count))
            }
            None => {
                let connections = fetch(session, "active_vms")?;
                let name = |entry: &Value| entry["vm_info"]["vm_id"].as_str().map(str::to_owned);
                let count = connections.len() as u64;
                let since = |entry: &Value| entry["connected_since"].clone();
                (
                    connections.iter().filter_map(|entry| Some((name(entry)?, since(entry)))).collect(),
                    Some(count),
                )
            }
        };
        let stat = stat.unwrap_or_default();
        Ok(Herd {
            vms: entries.iter().map(|entry| vm(entry, &online)).collect(),
            connections,
            version: stat["version"].as_str().map(str::to_owned),
            uptime: stat["uptime"].as_u64(),
            rate: counters.and_then(|counters| self.rate(&counters)),
        })
    }

    fn rate(&mut self, counters: &[(String, u64)]) -> Option<f64> {
        let is_done =
            |name: &str| name.starts_with("requests_") && name.ends_with("_ok") || name == "requests_failed";
        let done = counters.iter().filter(|(name, _)| is_done(name)).map(|(_, count)| count).sum::<u64>();
        let now = now();
        let (done_before, before) = self.done.replace((done, now))?;
        // A server that has started again counts from zero.
        let count = done.checked_sub(done_before)?;
        Some(count as f64 / now.duration_since(before).as_secs_f64())
    }
}

impl Herd {
    pub fn sort(&mut self, sort: Sort) {
        // Names differ, so the order of the rest does not change from look to look.
        self.vms.sort_by(|one, other| one.row[0].as_str().cmp(&other.row[0].as_str()));
        match sort {
            Sort::State => self.vms.sort_by_key(|vm| !vm.is_online),
            Sort::Name => {}
            Sort::Ram => self.vms.sort_by_key(|vm| Reverse(vm.row[3].as_u64())),
            Sort::Since => self.vms.sort_by_key(|vm| Reverse(vm.since)),
        }
    }
}

fn vm(entry: &Value, online: &HashMap<String, Value>) -> Vm {
    let connection = entry["vm_id"].as_str().and_then(|name| online.get(name));
    let is_online = connection.is_some() || !entry["connected_since"].is_null();
    let known = if is_online { &entry["connected_since"] } else { &entry["offline_since"] };
    let since = if known.is_null() { connection.unwrap_or(known) } else { known };
    let state = if is_online { "online" } else { "offline" };
    Vm {
        is_online,
        since: since.as_i64(),
        row: vec![
            entry["vm_id"].clone(),
            state.into(),
            since.clone(),
            entry["ram"].clone(),
            entry["cpu"].clone(),
            sizes_of_disks(entry),
        ],
    }
}

/// What the server may deny. Only a lost server is a failure.
fn optional<T>(
    is_denied: &mut bool,
    call: impl FnOnce() -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    if *is_denied {
        return Ok(None);
    }
    match call() {
        Ok(result) => Ok(Some(result)),
        Err(failure) if [Class::NoConnection, Class::Timeout].contains(&failure.class) => Err(failure),
        Err(failure) => {
            *is_denied = !failure.is_transient;
            Ok(None)
        }
    }
}

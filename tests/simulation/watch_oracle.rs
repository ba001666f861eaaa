//! What clients that watch must get: each change once and in order, and together what is there in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::random::Random;
use super::verification::{Verification, ensure};
use vmherd::internals::ids::VmId;
use vmherd::internals::store::StoreFactory;

/// Which changes a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    pub(super) vms: bool,
    pub(super) presence: bool,
    prefix: Option<&'static str>,
}

/// Everything that any client has got.
#[derive(Default)]
pub(super) struct WatchLog {
    epoch: Option<String>,
    changes: BTreeMap<u64, Known>,
    parts: Vec<Part>,
}

/// A change as some client has got it.
struct Known {
    kind: String,
    /// Its data, unless it is of points: of these, each client gets those that it wants.
    text: Option<String>,
    keys: BTreeSet<String>,
}

/// The changes of one watch, from its snapshot or the revision with which it resumed.
#[derive(Clone)]
pub(super) struct Part {
    filter: Filter,
    after: u64,
    last: u64,
    got: BTreeSet<u64>,
}

/// What a client knows from its snapshot and its changes.
#[derive(Clone, Default)]
pub(super) struct View {
    pub(super) vms: BTreeMap<String, Value>,
    pub(super) online: BTreeSet<String>,
    /// The VMs of which it knows by a change whether they are online. A snapshot may be later than changes after it.
    was_online: HashMap<String, bool>,
    /// The VMs that went online or offline and are not known: they were removed before the snapshot was read, and their
    /// removal follows, or their registration is told late.
    unknown: BTreeSet<String>,
}

impl Filter {
    /// Half of all clients want everything.
    pub(super) fn draw(random: &mut Random) -> Filter {
        if random.chance(50) {
            return Filter { vms: true, presence: true, prefix: Some("") };
        }
        let prefix = random.pick(&[None, None, Some(""), Some("k"), Some("key-1")]);
        Filter { vms: random.chance(60), presence: random.chance(60), prefix }
    }

    /// The value of `what`.
    pub(super) fn what(&self) -> Value {
        let groups = [("vms", self.vms), ("presence", self.presence)];
        let groups = groups.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(name, _)| name.to_owned());
        groups.chain(self.prefix.map(|prefix| format!("points:{prefix}"))).collect()
    }

    fn is_full(&self) -> bool {
        self.vms && self.presence && self.prefix == Some("")
    }

    fn wants(&self, kind: &str, keys: &BTreeSet<String>) -> bool {
        match kind {
            "points" => self.prefix.is_some_and(|prefix| keys.iter().any(|key| key.starts_with(prefix))),
            "online" | "offline" => self.presence,
            _ => self.vms,
        }
    }
}

impl Part {
    pub(super) fn new(filter: Filter, after: u64) -> Part {
        Part { filter, after, last: after, got: BTreeSet::new() }
    }

    /// The number of the last change.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

impl WatchLog {
    /// Reads a revision, whose epoch is that of all.
    pub(super) fn revision(&mut self, data: &Value) -> Result<u64, String> {
        let text = data["revision"].as_str().ok_or("no revision")?;
        let (epoch, number) = text.split_once('-').ok_or("no epoch")?;
        ensure(epoch.len() == 16, "a short epoch")?;
        let known = self.epoch.get_or_insert_with(|| epoch.to_owned());
        ensure(known == epoch, "another epoch")?;
        number.parse().map_err(|_| format!("the revision {text}"))
    }

    /// The text of the revision `number`.
    pub(super) fn text_of(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch.as_deref().unwrap_or_default())
    }

    /// A client gets a change: it follows the one before, and is the same for all.
    pub(super) fn note(&mut self, part: &mut Part, data: &Value) -> Verification {
        let number = self.revision(data)?;
        let kind = data["kind"].as_str().ok_or("no kind")?.to_owned();
        let points = data["points"].as_array().map(Vec::as_slice).unwrap_or_default();
        let keys: BTreeSet<String> =
            points.iter().filter_map(|point| point["key"].as_str()).map(str::to_owned).collect();
        if number <= part.last || part.filter.is_full() && number != part.last + 1 {
            return Err(format!("the change {number} follows {}", part.last));
        }
        ensure(part.filter.wants(&kind, &keys), "a change that it does not want")?;
        (part.last, _) = (number, part.got.insert(number));
        let text = (kind != "points").then(|| data.to_string());
        let known = self.changes.entry(number).or_insert_with(|| Known {
            kind: kind.clone(),
            text: text.clone(),
            keys: BTreeSet::new(),
        });
        known.keys.extend(keys);
        ensure(known.kind == kind && known.text == text, "another client got another change of this number")
    }

    /// A watch has ended.
    pub(super) fn end(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Whether each client has got all changes of others that it wants, up to its last.
    pub(super) fn check(&self) -> Verification {
        for part in self.parts.iter().filter(|part| part.after < part.last) {
            let wanted = self.changes.range(part.after + 1..=part.last);
            let mut wanted = wanted.filter(|(_, known)| part.filter.wants(&known.kind, &known.keys));
            if let Some((number, known)) = wanted.find(|(number, _)| !part.got.contains(number)) {
                let (kind, Part { filter, after, last, .. }) = (&known.kind, part);
                return Err(format!(
                    "the change {number}, {kind}, is lost for {filter:?} from {after} to {last}"
                ));
            }
        }
        Ok(())
    }
}

impl View {
    /// Adds a page of a snapshot.
    pub(super) fn add(&mut self, page: &Value) -> Verification {
        for vm in page["vms"].as_array().ok_or("no VMs")? {
            let name = vm["vm_id"].as_str().ok_or("no name")?.to_owned();
            if !vm["connected_since"].is_null() {
                self.online.insert(name.clone());
            }
            ensure(self.vms.insert(name, vm.clone()).is_none(), "a VM is twice in the snapshot")?;
        }
        Ok(())
    }

    /// Forgets what it knows by changes: the next may be earlier ones.
    pub(super) fn go_back(&mut self) {
        self.was_online.clear();
        self.unknown.clear();
    }

    /// Applies a change. `knows_vms`: the client gets the changes of all VMs.
    pub(super) fn apply(&mut self, data: &Value, knows_vms: bool) -> Verification {
        let (kind, name) = (data["kind"].as_str().unwrap_or_default(), data["vm_id"].as_str());
        let (name, reason) = (name.unwrap_or_default().to_owned(), data["reason"].as_str());
        let is_presence = matches!(kind, "online" | "offline");
        if is_presence && knows_vms && !self.vms.contains_key(&name) {
            self.unknown.insert(name.clone());
        }
        match kind {
            "registered" | "updated" => {
                // A registration that was given up while it ran may be told after the login of its VM, which it shows.
                let is_late = !data["vm"]["last_seen"].is_null() && self.unknown.remove(&name);
                ensure(is_late || !self.unknown.contains(&name), "it was online before it was there")?;
                ensure(data["vm"]["vm_id"] == json!(name), "it shows another VM")?;
                self.vms.insert(name, data["vm"].clone());
            }
            "removed" => {
                self.vms.remove(&name);
                self.unknown.remove(&name);
            }
            "online" => {
                let was_online = reason.is_some();
                ensure(matches!(reason, None | Some("taken over")), "an unknown reason")?;
                ensure(data["vm"]["connected_since"].is_number(), "it is not online")?;
                let known = self.was_online.insert(name.clone(), true);
                ensure(known.is_none_or(|known| known == was_online), "it was online, or was not")?;
                self.online.insert(name);
            }
            "offline" => {
                ensure(reason.is_some_and(|reason| REASONS.contains(&reason)), "an unknown reason")?;
                ensure(data["vm"]["connected_since"].is_null(), "it is online")?;
                ensure(self.was_online.insert(name.clone(), false) != Some(false), "it was offline")?;
                self.online.remove(&name);
            }
            "points" => {}
            other => return Err(format!("the kind {other}")),
        }
        Ok(())
    }

    /// What differs from the store, in which nothing changes any more, and from the connections, of which there are none.
    pub(super) fn difference(
        &self,
        knows_vms: bool,
        knows_presence: bool,
        store: &dyn StoreFactory,
    ) -> Option<String> {
        if knows_presence && !self.online.is_empty() {
            return Some(format!("it takes {:?} to be online", self.online));
        }
        if !knows_vms {
            return None;
        }
        let mut store = store.connect().expect("memory is always there");
        let there = store.registry().vms_after(VmId(0), usize::MAX).expect("memory can be read").vms;
        let there: BTreeMap<String, [u64; 4]> = there
            .iter()
            .map(|vm| {
                let (ram, cpus) = (u64::from(vm.shape.ram_mib), u64::from(vm.shape.cpus));
                (vm.name.to_string(), [vm.id.0.unsigned_abs(), ram, cpus, vm.disks.len() as u64])
            })
            .collect();
        let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
        let known: BTreeMap<String, [u64; 4]> = self
            .vms
            .iter()
            .map(|(name, vm)| {
                let disks = vm["disks"].as_array().map_or(u64::MAX, |disks| disks.len() as u64);
                (name.clone(), [number(&vm["id"]), number(&vm["ram"]), number(&vm["cpu"]), disks])
            })
            .collect();
        let differs = |name: &&String| there.get(*name) != known.get(*name);
        let name = there.keys().chain(known.keys()).find(differs)?;
        Some(format!("{name} is {:?}, and it takes it to be {:?}", there.get(name), known.get(name)))
    }
}

const REASONS: [&str; 6] = ["closed", "reset", "timeout", "logout", "taken over", "daemon stopped"];

//! Live changes: `watch` and `unwatch`, and the messages to clients that watch.

use std::fmt;

use super::family::{CommandSpec, SUCCESS, write_done, write_head};
use super::lists::{write_observed_vm, write_presence};
use crate::dialect::fields::{Excerpt, FieldNames, JsonFields, JsonPath, read_string};
use crate::dialect::json::for_each_element;
use crate::dialect::json_writer::{begin_reply, write_items, write_json, write_member, write_raw};
use crate::dialect::number::write_value;
use crate::ids::VmId;
use crate::limits;
use crate::model::{
    Answer, BadField, Change, ChangeGroup, Command, CommandName, Failure, Items, NewPoint, OfflineReason,
    Page, RequestId, Revision, TAKEN_OVER, Vm, VmChangeKind, VmName, VmPresence, Watch, WatchFilter,
};

pub(super) static COMMANDS: [CommandSpec; 2] = [
    CommandSpec::new(CommandName::Watch, &["from", "what", "token"], WATCH_FIELDS, read_watch),
    CommandSpec::new(CommandName::Unwatch, &["token"], WATCH_FIELDS, |_| Ok(Command::Unwatch)),
];

const WATCH_FIELDS: FieldNames = FieldNames::new(&["from", "what", "token"]);

fn read_watch(data: &JsonFields<'_>) -> Result<Command, Failure> {
    let from = data.value("from").map(read_from).transpose()?;
    let filter = match data.value("what") {
        Some(value) => read_what(value)?,
        None => WatchFilter::new(true, true, Vec::new()),
    };
    Ok(Command::Watch(Watch { from, filter }))
}

fn read_from(value: &str) -> Result<Revision, BadField> {
    let bad = |was: &dyn fmt::Display| JsonPath::Root.invalid("from", was, Revision::ALLOWED);
    let text = read_string(value, bad)?;
    Revision::parse(&text).ok_or_else(|| bad(&Excerpt(value)))
}

fn read_what(value: &str) -> Result<WatchFilter, BadField> {
    let max = limits::WATCH_WHAT_MAX;
    let bad = |was: &dyn fmt::Display| {
        let allowed = format_args!("a list of at most {max} entries {ENTRIES}");
        JsonPath::Root.invalid("what", was, allowed)
    };
    let (mut what, mut first_bad, mut count) = (What::default(), None, 0);
    let walk = for_each_element(value, |index, entry| {
        count = index + 1;
        // After an error or the limit, the rest is only counted.
        if first_bad.is_none() && count <= max {
            first_bad = what.add_json(index, entry.text()).err();
        }
    });
    walk.ok_or_else(|| bad(&Excerpt(value)))?;
    if count > max {
        return Err(bad(&format_args!("a list of {count}")));
    }
    first_bad.map_or(Ok(what.filter()), Err)
}

/// The filter of these entries of `what`; `None` if one is not allowed, or there are too many.
#[cfg(feature = "page")]
pub(in crate::dialect) fn parse_what<'a>(entries: impl Iterator<Item = &'a str>) -> Option<WatchFilter> {
    let mut what = What::default();
    for (index, entry) in entries.enumerate() {
        what.add(entry).filter(|()| index < limits::WATCH_WHAT_MAX)?;
    }
    Some(what.filter())
}

/// What [`parse_what`] accepts, for error messages.
#[cfg(feature = "page")]
pub(in crate::dialect) const ALLOWED_LIST: &str =
    "at most 256 of vms, presence and points:PREFIX, with commas between them";

/// The entries of `what`.
#[derive(Default)]
struct What {
    vms: bool,
    presence: bool,
    prefixes: Vec<Box<str>>,
}

impl What {
    fn add_json(&mut self, index: usize, entry: &str) -> Result<(), BadField> {
        let bad = |was: &dyn fmt::Display| {
            BadField(format!("what[{index}]: {was} is not allowed; it must be {ENTRIES}"))
        };
        let text = read_string(entry, bad)?;
        self.add(&text).ok_or_else(|| bad(&Excerpt(entry)))
    }

    fn add(&mut self, entry: &str) -> Option<()> {
        match (entry, entry.strip_prefix("points:")) {
            ("vms", _) => self.vms = true,
            ("presence", _) => self.presence = true,
            (_, Some(prefix)) => {
                let is_foreign = |c: char| c.is_whitespace() || c.is_control();
                if prefix.len() > limits::METRIC_KEY_BYTES_MAX || prefix.contains(is_foreign) {
                    return None;
                }
                self.prefixes.push(prefix.into());
            }
            _ => return None,
        }
        Some(())
    }

    fn filter(self) -> WatchFilter {
        WatchFilter::new(self.vms, self.presence, self.prefixes)
    }
}

/// Writes the status, the message and the data of an answer; returns false if no command here has it.
pub(super) fn write_answer(answer: &Answer, output: &mut Vec<u8>) -> bool {
    match answer {
        Answer::Resumed(revision) => {
            write_head(SUCCESS, Some("resumed"), output);
            write_revision(*revision, output);
            write_raw(output, "}");
        }
        Answer::Unwatched => write_done("unwatched", output),
        _ => return false,
    }
    true
}

/// Writes one page of a snapshot, which is a message.
pub(super) fn write_page(id: Option<&RequestId>, revision: Revision, page: &Page, output: &mut Vec<u8>) {
    begin_reply(id, output);
    write_head(SUCCESS, Some("snapshot"), output);
    write_revision(revision, output);
    write_raw(output, ",\"vms\":[");
    match &page.items {
        Items::ObservedVms(vms) => write_items(vms, &mut false, output, |(vm, presence), output| {
            write_observed_vm(vm, presence, true, output);
        }),
        other => debug_assert!(false, "{other:?} are no VMs with their connections"),
    }
    write_member(output, "],\"more\":", &page.next.is_some());
    write_raw(output, "}}");
}

/// Writes the message of a change to a client that wants it.
pub(in crate::dialect) fn write_change(
    id: Option<&RequestId>,
    revision: Revision,
    change: &Change,
    filter: &WatchFilter,
    output: &mut Vec<u8>,
) {
    begin_reply(id, output);
    write_head(SUCCESS, Some("change"), output);
    write_revision(revision, output);
    write_raw(output, ",");
    write_raw(output, &change.text);
    if change.group == ChangeGroup::Points {
        write_raw(output, ",\"points\":[");
        let mut has_items = false;
        for new in change.points.iter().filter(|new| filter.wants_key(new.key.as_str())) {
            write_items(std::slice::from_ref(new), &mut has_items, output, write_point);
        }
        write_raw(output, "]");
    }
    write_raw(output, "}}");
}

/// The opening brace of the data, and the revision.
fn write_revision(revision: Revision, output: &mut Vec<u8>) {
    use std::io::Write;
    write!(output, "{{\"revision\":\"{revision}\"").expect("a Vec takes whatever is written");
}

fn write_point(new: &NewPoint, output: &mut Vec<u8>) {
    write_member(output, "{\"key\":", new.key.as_str());
    write_raw(output, ",\"value\":");
    write_value(new.point.value, output);
    write_member(output, ",\"timestamp\":", &new.point.timestamp);
    write_raw(output, "}");
}

/// The change of a VM in the store, as an operator sees the VM.
pub fn vm_changed(kind: VmChangeKind, vm: &Vm, presence: &VmPresence) -> Change {
    change(ChangeGroup::Vms, kind.as_str(), Some(&vm.name), |output| {
        write_raw(output, ",\"vm\":");
        write_observed_vm(vm, presence, true, output);
    })
}

/// The end of a VM in the store. `vm`: its id, if another process has removed it: a new VM may have its name meanwhile.
pub fn vm_removed(name: &VmName, vm: Option<VmId>) -> Change {
    change(ChangeGroup::Vms, "removed", Some(name), |text| {
        if let Some(vm) = vm {
            write_member(text, ",\"vm\":{\"id\":", &vm.0);
            write_member(text, ",\"vm_id\":", name.as_str());
            write_raw(text, "}");
        }
    })
}

/// A VM is online, as these connections; `was_online`: it was before.
pub fn vm_online(vm: VmId, name: &VmName, presence: &VmPresence, was_online: bool) -> Change {
    presence_changed("online", was_online.then_some(TAKEN_OVER), vm, name, presence)
}

/// A VM is offline; `presence` says since when.
pub fn vm_offline(vm: VmId, name: &VmName, presence: &VmPresence, reason: OfflineReason) -> Change {
    presence_changed("offline", Some(reason.as_str()), vm, name, presence)
}

fn presence_changed(
    kind: &str,
    reason: Option<&str>,
    vm: VmId,
    name: &VmName,
    presence: &VmPresence,
) -> Change {
    change(ChangeGroup::Presence, kind, Some(name), |output| {
        if let Some(reason) = reason {
            write_member(output, ",\"reason\":", reason);
        }
        write_raw(output, ",\"vm\":");
        write_presence(vm, name, presence, true, output);
        write_raw(output, "}");
    })
}

/// New points, which this VM has put, if one has.
pub fn points_put(vm: Option<&VmName>, points: Box<[NewPoint]>) -> Change {
    Change { points, ..change(ChangeGroup::Points, "points", vm, |_| {}) }
}

fn change(
    group: ChangeGroup,
    kind: &str,
    vm: Option<&VmName>,
    write_rest: impl FnOnce(&mut Vec<u8>),
) -> Change {
    let mut text = Vec::new();
    write_member(&mut text, "\"kind\":", kind);
    write_raw(&mut text, ",\"vm_id\":");
    write_json(&mut text, &vm.map(VmName::as_str));
    write_rest(&mut text);
    let text = String::from_utf8(text).expect("JSON is UTF-8").into();
    Change { group, text, points: Box::default() }
}

const ENTRIES: &str = "\"vms\", \"presence\" or \"points:PREFIX\", where PREFIX begins keys of points";

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;

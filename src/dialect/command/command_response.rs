//! From an [`Answer`] or a [`Page`] to the text of a reply.
//!
//! Replies are written directly into the output; only the messages of rare errors are allocated.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;

use super::{LISTS, points};
use crate::dialect::PageProgress;
use crate::dialect::json_writer::{begin_reply, write_items, write_json, write_raw, write_vm_shape};
use crate::model::{
    Answer, Disk, DiskOfVm, Failure, Items, List, Page, Peer, PeerEntry, Query, RequestId, Statistics, Vm,
    VmName,
};

/// Writes a complete reply.
pub(in crate::dialect) fn encode_answer(id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    match answer {
        Answer::Pong(peer) => {
            begin_reply(id, output);
            // The output of `head` in one write: `ping` is the most frequent command.
            write_raw(output, "\"status\":\"success\",\"message\":\"PONG\",\"data\":{\"addr\":");
            address(peer, output);
            write_raw(output, "}");
        }
        Answer::Registered(name) => {
            head(id, "success", Some("Save the vm_id for authentication"), output);
            write_raw(output, "{\"auth_id\":");
            write_json(output, name.as_str());
            write_raw(output, "}");
        }
        Answer::Authenticated(token) => {
            head(id, "success", Some("Authentication successful"), output);
            write_raw(output, "{\"token\":");
            write_json(output, token.expose());
            write_raw(output, "}");
        }
        Answer::Updated => {
            head(id, "success", Some("VM info updated successfully"), output);
            write_raw(output, "{}");
        }
        Answer::LoggedOut(name) => {
            head(id, "success", Some(&format!("VM ({name}) logged out successfully")), output);
            write_raw(output, "{}");
        }
        Answer::Statistics(statistics) => {
            head(id, "success", None, output);
            counters(statistics, output);
        }
        Answer::Put { refused } => {
            debug_assert!(refused.is_empty(), "points of this dialect are kept all or none");
            head(id, "success", Some("ok"), output);
            write_raw(output, "{}");
        }
        Answer::Failed(failure) => {
            head(id, "error", Some(&message(failure)), output);
            write_raw(output, "{}");
        }
        _ => {
            debug_assert!(false, "no command has this answer");
            head(id, "error", Some("internal error"), output);
            write_raw(output, "{}");
        }
    }
    write_raw(output, "}");
}

/// Writes one page of a list or of points.
pub(in crate::dialect) fn encode_page(
    id: Option<&RequestId>,
    page: &Page,
    progress: &mut PageProgress,
    output: &mut Vec<u8>,
) {
    if !progress.has_begun {
        progress.has_begun = true;
        head(id, "success", None, output);
        write_raw(output, "{");
        if let Query::List(list) = page.listing.query {
            write_raw(output, "\"");
            write_raw(output, list_name(list));
            write_raw(output, "\":[");
        }
    }
    match &page.items {
        Items::Vms(vms) => write_items(vms, &mut progress.has_items, output, vm),
        Items::Points(series) => points::encode(series, progress, output),
        Items::Disks(disks) => write_items(disks, &mut progress.has_items, output, disk_of_vm),
        Items::Peers(peers) => write_items(peers, &mut progress.has_items, output, peer),
    }
    if page.next.is_none() {
        match page.listing.query {
            Query::List(_) => write_raw(output, "]"),
            Query::Points(_) => points::end_series(progress, output),
        }
        write_raw(output, "}}");
    }
}

/// Writes a reply up to its data.
fn head(id: Option<&RequestId>, status: &str, message: Option<&str>, output: &mut Vec<u8>) {
    begin_reply(id, output);
    write_raw(output, "\"status\":\"");
    write_raw(output, status);
    write_raw(output, "\",\"message\":");
    write_json(output, &message);
    write_raw(output, ",\"data\":");
}

/// The message of a failure, where this dialect has its own.
fn message(failure: &Failure) -> Cow<'static, str> {
    match failure {
        Failure::AuthenticationRequired => "You have to authenticate to run this operation".into(),
        other => other.message(),
    }
}

fn list_name(list: List) -> &'static str {
    LISTS.iter().find(|(_, known)| *known == list).map_or("", |&(name, _)| name)
}

fn peer(entry: &PeerEntry, output: &mut Vec<u8>) {
    write_raw(output, "{\"addr\":");
    address(&entry.peer, output);
    if let Some(of_peer) = &entry.vm {
        write_raw(output, ",\"vm_info\":");
        vm(of_peer, output);
    }
    write_raw(output, "}");
}

fn vm(vm: &Vm, output: &mut Vec<u8>) {
    write_raw(output, "{\"vm_id\":");
    write_json(output, vm.name.as_str());
    write_vm_shape(vm, output, |of_vm, output| disk(of_vm, &vm.name, output));
}

fn disk_of_vm(of_vm: &DiskOfVm, output: &mut Vec<u8>) {
    disk(&of_vm.disk, &of_vm.vm_name, output);
}

fn disk(disk: &Disk, vm_name: &VmName, output: &mut Vec<u8>) {
    write_raw(output, "{\"id\":");
    write_json(output, &disk.id.0);
    write_raw(output, ",\"vm_id\":");
    write_json(output, vm_name.as_str());
    write_raw(output, ",\"disk_size\":");
    write_json(output, &disk.size_gib);
    write_raw(output, "}");
}

fn address(peer: &Peer, output: &mut Vec<u8>) {
    match peer {
        // Digit by digit: `format!` would take longer than the rest of the reply to a ping.
        Peer::Tcp(IpAddr::V4(ip), port) => {
            let [first, second, third, fourth] = ip.octets();
            let (mut bytes, mut length) = ([0; 32], 0);
            let mut push = |byte| {
                bytes[length] = byte;
                length += 1;
            };
            [b'[', b'"'].into_iter().for_each(&mut push);
            decimal(first.into(), &mut push);
            for octet in [second, third, fourth] {
                push(b'.');
                decimal(octet.into(), &mut push);
            }
            [b'"', b','].into_iter().for_each(&mut push);
            decimal(*port, &mut push);
            push(b']');
            output.extend_from_slice(&bytes[..length]);
        }
        Peer::Tcp(IpAddr::V6(ip), port) => {
            write!(output, "[\"{ip}\",{port}]").expect("a Vec takes whatever is written");
        }
        Peer::Unix { .. } => write_raw(output, "[\"unix\",0]"),
    }
}

#[inline(always)]
fn decimal(number: u16, push: &mut impl FnMut(u8)) {
    if number >= 10_000 {
        push(b'0' + (number / 10_000) as u8);
    }
    if number >= 1_000 {
        push(b'0' + (number / 1_000 % 10) as u8);
    }
    if number >= 100 {
        push(b'0' + (number / 100 % 10) as u8);
    }
    if number >= 10 {
        push(b'0' + (number / 10 % 10) as u8);
    }
    push(b'0' + (number % 10) as u8);
}

fn counters(statistics: &Statistics, output: &mut Vec<u8>) {
    write_raw(output, "{");
    for (index, (name, value)) in statistics.values.iter().enumerate() {
        if index > 0 {
            write_raw(output, ",");
        }
        write_json(output, name);
        write_raw(output, ":");
        write_json(output, value);
    }
    write_raw(output, "}");
}

#[cfg(test)]
#[path = "command_response_tests.rs"]
mod tests;

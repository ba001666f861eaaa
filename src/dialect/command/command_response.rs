//! From an [`Answer`] or a [`Page`] to the text of a reply.
//!
//! A reply is written straight into the output; nothing is allocated but the texts of rare errors.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;

use super::{LISTS, points};
use crate::dialect::PageProgress;
use crate::dialect::json_writer::{write_json, write_raw};
use crate::model::{
    Answer, Disk, DiskOfVm, Failure, Items, List, Listing, Page, Peer, PeerEntry, RequestId, Statistics, Vm,
    VmName,
};

/// Writes a whole reply.
pub(in crate::dialect) fn encode_answer(id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    match answer {
        Answer::Pong(peer) => {
            begin(id, output);
            // What `head` would write, at once: nothing else is asked as often.
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
        Answer::Action(_) | Answer::Converted(_) | Answer::Healthy => {
            debug_assert!(false, "no command has this answer");
            head(id, "error", Some("internal error"), output);
            write_raw(output, "{}");
        }
        Answer::Failed(failure) => {
            head(id, "error", Some(&message(failure)), output);
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
        if let Listing::List(list) = page.listing {
            write_raw(output, "\"");
            write_raw(output, list_name(list));
            write_raw(output, "\":[");
        }
    }
    match &page.items {
        Items::Vms(vms) => items(vms, progress, output, vm),
        Items::Points(series) => points::encode(series, progress, output),
        Items::Disks(disks) => items(disks, progress, output, disk_of_vm),
        Items::Peers(peers) => items(peers, progress, output, peer),
    }
    if page.next.is_none() {
        match page.listing {
            Listing::List(_) => write_raw(output, "]"),
            Listing::Points(_) => points::end_series(progress, output),
        }
        write_raw(output, "}}");
    }
}

/// Everything of a reply before its data.
fn head(id: Option<&RequestId>, status: &str, message: Option<&str>, output: &mut Vec<u8>) {
    begin(id, output);
    write_raw(output, "\"status\":\"");
    write_raw(output, status);
    write_raw(output, "\",\"message\":");
    write_json(output, &message);
    write_raw(output, ",\"data\":");
}

/// The opening brace and the request's id, if it has one.
fn begin(id: Option<&RequestId>, output: &mut Vec<u8>) {
    write_raw(output, "{");
    if let Some(RequestId(id)) = id {
        write_raw(output, "\"request_id\":");
        write_raw(output, id);
        write_raw(output, ",");
    }
}

/// What a failure is called.
fn message(failure: &Failure) -> Cow<'static, str> {
    Cow::Borrowed(match failure {
        Failure::InvalidJson(why) => return format!("Invalid JSON: {why}").into(),
        Failure::NotARequest(why) => return why.clone().into(),
        Failure::BadField(bad_field) => return bad_field.to_string().into(),
        Failure::UnknownCommand => "Unknown command",
        Failure::UnknownList => "Unknown list command type",
        Failure::EmptyUpdate => "No fields for update",
        Failure::AuthenticationRequired => "You have to authenticate to run this operation",
        Failure::InvalidCredentials => "Invalid credentials",
        Failure::InvalidToken => "Invalid access token. Try refreshing with the 'authenticate' command",
        Failure::TokenOfAnotherVm => "Token belongs to another VM",
        Failure::AlreadyRegistered => "VM is already registered",
        Failure::RegistrationClosed => "Registration is closed",
        Failure::VmLimitReached => "VM limit reached",
        Failure::UnknownDisk(id) => return format!("disks: the VM has no disk with id {}", id.0).into(),
        Failure::MissingVmId => "required data: vm_id",
        Failure::UnknownVm => "VM ID does not exist",
        Failure::NotAuthorized => "vm not authenticated",
        Failure::InvalidVmShape => "required data: ram, disks",
        Failure::Busy => "busy",
        Failure::RequestMemoryFull => Failure::REQUEST_MEMORY_FULL,
        Failure::StoreUnavailable => "store unavailable",
        Failure::OutcomeUnknown => "outcome unknown",
        Failure::Internal => "internal error",
        Failure::TooLarge(bytes_max) => {
            return format!("Request too large: it may have at most {bytes_max} bytes").into();
        }
        Failure::TimedOut => "Request timeout: the request did not end in time",
        Failure::UnexpectedEnd => "Invalid JSON: the input ended inside a request",
        Failure::KeyLimitReached(None) => "key limit reached",
        Failure::KeyLimitReached(Some(index)) => {
            return format!("key limit reached (points[{index}])").into();
        }
        Failure::UnknownTextCommand | Failure::JsonLine => "wrong command",
        Failure::TimeOutOfRange => "timestamp out of range",
        Failure::LineTooLong => "line too long",
        Failure::BadText => "bad text",
    })
}

fn list_name(list: List) -> &'static str {
    LISTS.iter().find(|(_, known)| *known == list).map_or("", |&(name, _)| name)
}

fn items<T>(items: &[T], progress: &mut PageProgress, output: &mut Vec<u8>, write: fn(&T, &mut Vec<u8>)) {
    for item in items {
        if progress.has_items {
            write_raw(output, ",");
        }
        progress.has_items = true;
        write(item, output);
    }
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
    write_raw(output, ",\"ram\":");
    write_json(output, &vm.shape.ram_mib);
    write_raw(output, ",\"cpu\":");
    write_json(output, &vm.shape.cpus);
    write_raw(output, ",\"disks\":[");
    for (index, of_vm) in vm.disks.iter().enumerate() {
        if index > 0 {
            write_raw(output, ",");
        }
        disk(of_vm, &vm.name, output);
    }
    write_raw(output, "]}");
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
        // Digit by digit: every reply to a ping has one, and formatting would take longer than all the rest.
        Peer::Tcp(IpAddr::V4(ip), port) => {
            let mut short = AddressText::default();
            short.push(b'[');
            short.push(b'"');
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    short.push(b'.');
                }
                short.push_decimal(octet.into());
            }
            short.push(b'"');
            short.push(b',');
            short.push_decimal(*port);
            short.push(b']');
            output.extend_from_slice(&short.bytes[..short.length]);
        }
        Peer::Tcp(IpAddr::V6(ip), port) => {
            write!(output, "[\"{ip}\",{port}]").expect("a Vec takes whatever is written");
        }
        Peer::Unix { .. } => write_raw(output, "[\"unix\",0]"),
    }
}

/// An address in the making: a text too short to bother a `Vec` with every byte.
#[derive(Default)]
struct AddressText {
    bytes: [u8; 32],
    length: usize,
}

impl AddressText {
    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn push_decimal(&mut self, number: u16) {
        for power in [10_000, 1_000, 100, 10] {
            if number >= power {
                self.push(b'0' + (number / power % 10) as u8);
            }
        }
        self.push(b'0' + (number % 10) as u8);
    }
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

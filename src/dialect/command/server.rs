//! The server itself: `ping` and `stats`; and the answers to commands of the embedding program.

use std::io::Write;
use std::net::IpAddr;

use super::family::{CommandSpec, SUCCESS, VM_FIELDS, write_head};
use crate::dialect::json_writer::{write_items, write_json, write_member, write_raw};
use crate::model::{Answer, Command, CommandName, Peer};

pub(super) static COMMANDS: [CommandSpec; 2] = [
    CommandSpec::new(CommandName::Ping, &["token"], VM_FIELDS, |_| Ok(Command::Ping)),
    CommandSpec::new(CommandName::Stats, &["token"], VM_FIELDS, |_| Ok(Command::Stats)),
];

/// Writes the status, the message and the data of an answer; returns false if no command here has it.
pub(super) fn write_answer(answer: &Answer, output: &mut Vec<u8>) -> bool {
    match answer {
        Answer::Pong(peer) => {
            // The output of `write_head` in one write: `ping` is the most frequent command.
            write_raw(output, "\"status\":\"success\",\"message\":\"PONG\",\"data\":{\"addr\":");
            write_address(peer, output);
        }
        Answer::Statistics(statistics) => {
            write_head(SUCCESS, None, output);
            write_raw(output, "{");
            write_items(&statistics.counters, &mut false, output, |(name, value), output| {
                write_json(output, name);
                write_member(output, ":", value);
            });
        }
        Answer::Custom(response) => {
            let status = if response.is_success() { SUCCESS } else { "error" };
            write_head(status, response.message(), output);
            output.extend_from_slice(response.data());
            return true;
        }
        _ => return false,
    }
    write_raw(output, "}");
    true
}

/// Writes a client's address: `[IP, PORT]`.
pub(super) fn write_address(peer: &Peer, output: &mut Vec<u8>) {
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
            push_decimal(first.into(), &mut push);
            for octet in [second, third, fourth] {
                push(b'.');
                push_decimal(octet.into(), &mut push);
            }
            [b'"', b','].into_iter().for_each(&mut push);
            push_decimal(*port, &mut push);
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
fn push_decimal(number: u16, push: &mut impl FnMut(u8)) {
    for power in [10_000, 1_000, 100, 10] {
        if number >= power {
            push(b'0' + (number / power % 10) as u8);
        }
    }
    push(b'0' + (number % 10) as u8);
}

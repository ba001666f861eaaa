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
        // From tables: `format!` would take longer than the rest of the reply to a ping.
        Peer::Tcp(IpAddr::V4(ip), port) => {
            let mut bytes = [0; ADDRESS_BYTES_MAX];
            let mut length = 2;
            bytes[..2].copy_from_slice(b"[\"");
            for octet in ip.octets() {
                let [first, second, third, digits] = OCTETS[usize::from(octet)];
                bytes[length..length + 4].copy_from_slice(&[first, second, third, b'.']);
                length += usize::from(digits);
                bytes[length] = b'.';
                length += 1;
            }
            bytes[length - 1..length + 1].copy_from_slice(b"\",");
            length += 1;
            for power in [10_000, 1_000, 100, 10, 1] {
                bytes[length] = b'0' + (port / power % 10) as u8;
                length += usize::from(*port >= power || power == 1);
            }
            bytes[length] = b']';
            output.extend_from_slice(&bytes[..=length]);
        }
        Peer::Tcp(IpAddr::V6(ip), port) => {
            write!(output, "[\"{ip}\",{port}]").expect("a Vec takes whatever is written");
        }
        Peer::Unix { .. } => write_raw(output, "[\"unix\",0]"),
    }
}

/// The bytes that `["255.255.255.255",65535]` takes, and as many as are written after them meanwhile.
const ADDRESS_BYTES_MAX: usize = 32;

/// The digits of each octet, and their number.
static OCTETS: [[u8; 4]; 256] = {
    let mut all = [[0; 4]; 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) =
            (b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8);
        all[octet] = match octet {
            0..10 => [ones, 0, 0, 1],
            10..100 => [tens, ones, 0, 2],
            _ => [hundreds, tens, ones, 3],
        };
        octet += 1;
    }
    all
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_display() {
        let ports = (0..=u16::MAX).step_by(7).chain([9, 10, 99, 100, 999, 1000, 9999, 10_000, 65_535]);
        let ips =
            (0..=255u8).flat_map(|octet| [[octet, 0, 10, 255], [1, octet, 99, 100], [127, 0, 0, octet]]);
        let all = ports.map(|port| ([192, 168, 0, 1], port)).chain(ips.map(|ip| (ip, 80)));
        for (ip, port) in all {
            let (ip, mut output) = (IpAddr::from(ip), Vec::new());
            write_address(&Peer::Tcp(ip, port), &mut output);
            assert_eq!(String::from_utf8(output), Ok(format!("[\"{ip}\",{port}]")));
        }
    }
}

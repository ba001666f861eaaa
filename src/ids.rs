//! Identifiers that outlive a borrow. Each has a generation or is never reused, so a stale one matches nothing.

use std::fmt;

/// A client connection: its index in the reactor's table and the generation of that entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId {
    /// Index in the table.
    pub index: u32,
    /// Number of earlier connections with this index.
    pub generation: u32,
}

impl ConnId {
    /// The key of jobs that belong to no connection; no connection has it.
    pub const INTERNAL: ConnId = ConnId { index: u32::MAX, generation: 0 };
}

/// Sequence number of a request: ascending on its connection, and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestSeq(pub u64);

/// A request: its connection and its sequence number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestKey {
    /// The connection.
    pub conn: ConnId,
    /// The sequence number of the request on that connection.
    pub seq: RequestSeq,
}

/// The store's id of a VM; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VmId(pub i64);

/// The store's id of a disk; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DiskId(pub i64);

/// The store's id of a metric series; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeriesId(pub i64);

/// The store's id of an access token; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccessTokenId(pub i64);

/// An added command or verb: its index in the table of the server that has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CustomId(pub u16);

/// A container: a random UUID (RFC 9562, version 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub(crate) [u8; 16]);

impl ContainerId {
    /// The first in order.
    pub(crate) const MIN: ContainerId = ContainerId([0; 16]);

    /// Parses a UUID of any version in lower case.
    pub fn parse(text: &str) -> Option<ContainerId> {
        let mut digits = text.bytes();
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            if HYPHENS_BEFORE.contains(&index) && digits.next() != Some(b'-') {
                return None;
            }
            *byte = hexadecimal(digits.next()?)? << 4 | hexadecimal(digits.next()?)?;
        }
        digits.next().is_none().then_some(ContainerId(bytes))
    }
}

/// The value of a lower-case hexadecimal digit.
fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The bytes of a UUID that a hyphen precedes.
const HYPHENS_BEFORE: [usize; 4] = [4, 6, 8, 10];

impl fmt::Display for ContainerId {
    /// The UUID in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let hyphen = if HYPHENS_BEFORE.contains(&index) { "-" } else { "" };
            write!(f, "{hyphen}{byte:02x}")?;
        }
        Ok(())
    }
}

/// A server that manages VMs: the random id in its state directory. Servers may share a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub(crate) [u8; 16]);

impl ServerId {
    /// Parses 32 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<ServerId> {
        let mut digits = text.bytes();
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            *byte = hexadecimal(digits.next()?)? << 4 | hexadecimal(digits.next()?)?;
        }
        digits.next().is_none().then_some(ServerId(bytes))
    }
}

impl fmt::Display for ServerId {
    /// 32 hexadecimal digits in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({self})")
    }
}

impl CustomId {
    /// The index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_id_is_a_uuid_in_lower_case() {
        let text = "01234567-89ab-4cde-bfed-0123456789ab";
        let id = ContainerId::parse(text).expect("a UUID");
        assert_eq!(id.0[..5], [0x01, 0x23, 0x45, 0x67, 0x89]);
        assert_eq!(id.to_string(), text);
        for bad in [
            "",
            "01234567-89ab-4cde-bfed-0123456789a",
            "01234567-89ab-4cde-bfed-0123456789abc",
            "01234567-89AB-4CDE-BFED-0123456789AB",
            "0123456789ab4cdebfed0123456789ab",
            "012345678-9ab-4cde-bfed-0123456789ab",
            "g1234567-89ab-4cde-bfed-0123456789ab",
            "{1234567-89ab-4cde-bfed-0123456789ab",
            "é1234567-89ab-4cde-bfed-0123456789a",
        ] {
            assert_eq!(ContainerId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_server_id_is_32_digits_in_lower_case() {
        let text = "0123456789abcdef0123456789abcdef";
        assert_eq!(ServerId::parse(text).expect("an id").to_string(), text);
        for bad in ["", &text[1..], &format!("{text}0"), &text.to_uppercase(), &format!("{}\n", &text[1..])] {
            assert_eq!(ServerId::parse(bad), None, "{bad}");
        }
    }
}

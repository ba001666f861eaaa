//! Live changes: what a client watches, and what it is told.

use std::fmt;

use super::series::NewPoint;

/// The position of a change: the run of the server, and the number of the change in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revision {
    /// Random, and new at each start of the server.
    pub epoch: u64,
    /// Ascending from 0, with gaps.
    pub number: u64,
}

impl Revision {
    /// What [`Revision::parse`] accepts, for error messages.
    pub const ALLOWED: &str = "a revision that the server has sent: 16 hexadecimal digits, '-' and a number";

    /// Parses what the server writes, and nothing else.
    pub fn parse(text: &str) -> Option<Revision> {
        let (epoch, number) = text.split_once('-')?;
        let is_hexadecimal = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        let is_plain = number == "0" || !number.starts_with(['0', '+']);
        let is_valid = epoch.len() == 16 && epoch.bytes().all(is_hexadecimal) && is_plain;
        let epoch = u64::from_str_radix(epoch, 16).ok().filter(|_| is_valid)?;
        Some(Revision { epoch, number: number.parse().ok()? })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.number)
    }
}

/// A request to watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watch {
    /// The last revision that the client has; `None`: it wants a snapshot first.
    pub from: Option<Revision>,
    /// Which changes it wants.
    pub filter: WatchFilter,
}

/// The changes that a client wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WatchFilter {
    vms: bool,
    presence: bool,
    /// In order, none of which begins with another.
    prefixes: Box<[Box<str>]>,
}

impl WatchFilter {
    /// Changes of VMs, of their presence, and of points whose keys begin with one of `prefixes`.
    pub fn new(vms: bool, presence: bool, mut prefixes: Vec<Box<str>>) -> WatchFilter {
        prefixes.sort_unstable();
        let mut reduced: Vec<Box<str>> = Vec::with_capacity(prefixes.len());
        for prefix in prefixes {
            if reduced.last().is_none_or(|last| !prefix.starts_with(&**last)) {
                reduced.push(prefix);
            }
        }
        WatchFilter { vms, presence, prefixes: reduced.into() }
    }

    /// The prefixes of the keys of points.
    pub fn prefixes(&self) -> &[Box<str>] {
        &self.prefixes
    }

    /// Whether the client wants a list of the VMs.
    pub fn wants_snapshot(&self) -> bool {
        self.vms || self.presence
    }

    /// Whether the client wants this change.
    pub fn wants(&self, change: &Change) -> bool {
        match change.group {
            ChangeGroup::Vms => self.vms,
            ChangeGroup::Presence => self.presence,
            ChangeGroup::Points => change.points.iter().any(|new| self.wants_key(new.key.as_str())),
        }
    }

    /// Whether the client wants points of this key.
    pub fn wants_key(&self, key: &str) -> bool {
        // A prefix of the key is not after it, and between the two are only texts that begin with that prefix.
        let after = self.prefixes.partition_point(|prefix| **prefix <= *key);
        after > 0 && key.starts_with(&*self.prefixes[after - 1])
    }

    /// Approximate heap size in bytes.
    pub fn held_bytes(&self) -> usize {
        self.prefixes.iter().map(|prefix| size_of::<Box<str>>() + prefix.len()).sum()
    }
}

/// A change, as it is kept for all clients that watch.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// Which clients want it.
    pub group: ChangeGroup,
    /// The fields of its message after the revision, except the points, as JSON.
    pub text: Box<str>,
    /// New points, of which a client gets those that it wants.
    pub points: Box<[NewPoint]>,
}

impl Change {
    /// Approximate heap size in bytes, with the entry itself.
    pub fn held_bytes(&self) -> usize {
        let points: usize = self.points.iter().map(NewPoint::held_bytes).sum();
        size_of::<Change>() + self.text.len() + points
    }
}

/// A group of changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeGroup {
    /// VMs are registered, updated and removed.
    Vms,
    /// VMs go online and offline.
    Presence,
    /// Points are stored.
    Points,
}

/// How a VM changes in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmChangeKind {
    /// It is new.
    Registered,
    /// Its memory, processors or disks have changed.
    Updated,
}

/// Why a VM is offline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OfflineReason {
    /// Its client, or the server, has closed the connection in good order.
    Closed,
    /// The connection broke.
    Reset,
    /// Its client sent or read nothing in time.
    Timeout,
    /// Its login has ended, and the connection has not.
    Logout,
    /// Its connection authenticated as another VM.
    TakenOver,
    /// The server stops.
    Stopped,
}

impl VmChangeKind {
    /// The name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            VmChangeKind::Registered => "registered",
            VmChangeKind::Updated => "updated",
        }
    }
}

impl OfflineReason {
    /// The name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            OfflineReason::Closed => "closed",
            OfflineReason::Reset => "reset",
            OfflineReason::Timeout => "timeout",
            OfflineReason::Logout => "logout",
            OfflineReason::TakenOver => TAKEN_OVER,
            OfflineReason::Stopped => "daemon stopped",
        }
    }
}

/// The reason for a change `online` of a VM that was online.
pub const TAKEN_OVER: &str = "taken over";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_parsed_as_it_is_written() {
        for (epoch, number) in [(0, 0), (1, 10), (u64::MAX, u64::MAX)] {
            let revision = Revision { epoch, number };
            assert_eq!(Revision::parse(&revision.to_string()), Some(revision));
        }
        let epoch = "0123456789abcdef";
        for bad in [
            "",
            "-",
            epoch,
            &format!("{epoch}-"),
            &format!("{epoch}-+1"),
            &format!("{epoch}-01"),
            &format!("{epoch}--1"),
            &format!("{epoch}-1 "),
            &format!("{epoch}-18446744073709551616"),
            "0123456789abcde-1",
            "0123456789ABCDEF-1",
            "+123456789abcdef-1",
            "é0123456789abcde-1",
        ] {
            assert_eq!(Revision::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_filter_wants_the_keys_that_begin_with_a_prefix() {
        let filter = |prefixes: &[&str]| {
            WatchFilter::new(false, false, prefixes.iter().map(|prefix| (*prefix).into()).collect())
        };
        let some = filter(&["b", "a.c", "b.longer", "a.c", "ключ."]);
        assert_eq!(some.prefixes().len(), 3, "{some:?}");
        for (key, is_wanted) in [
            ("a", false),
            ("a.b", false),
            ("a.c", true),
            ("a.cpu", true),
            ("a.d", false),
            ("b", true),
            ("b.zzz", true),
            ("c", false),
            ("ключ.cpu", true),
            ("ключи", false),
        ] {
            assert_eq!(some.wants_key(key), is_wanted, "{key}");
        }
        assert!(filter(&["", "a"]).wants_key("z") && !filter(&[]).wants_key("z"));
    }

    #[test]
    fn a_client_gets_the_groups_that_it_wants() {
        let change = |group| Change { group, text: "".into(), points: Box::default() };
        let groups = [ChangeGroup::Vms, ChangeGroup::Presence, ChangeGroup::Points];
        for (vms, presence) in [(false, false), (true, false), (false, true), (true, true)] {
            let filter = WatchFilter::new(vms, presence, vec!["".into()]);
            let wanted = groups.map(|group| filter.wants(&change(group)));
            assert_eq!(wanted, [vms, presence, false], "a change without points concerns no prefix");
        }
    }
}

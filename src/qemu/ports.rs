//! The ports of this host at which VMs are reached.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// A range of ports, and those of it that VMs have.
pub(super) struct Ports {
    range: RangeInclusive<u16>,
    taken: BTreeSet<u16>,
    /// Where the search begins: a port that was just released comes last, since clients may still use it.
    next: u16,
}

impl Ports {
    pub(super) fn new(range: RangeInclusive<u16>) -> Ports {
        Ports { next: *range.start(), range, taken: BTreeSet::new() }
    }

    /// The number of ports.
    pub(super) fn count(&self) -> usize {
        self.range.len()
    }

    /// A port that no VM has, in turn; `None`: VMs have all.
    pub(super) fn take(&mut self) -> Option<u16> {
        let from_next = (self.next..=*self.range.end()).chain(self.range.clone());
        let port = from_next.into_iter().find(|port| !self.taken.contains(port))?;
        self.taken.insert(port);
        self.next = if port == *self.range.end() { *self.range.start() } else { port + 1 };
        Some(port)
    }

    /// Notes that a VM has this port, which need not be in the range.
    pub(super) fn occupy(&mut self, port: u16) {
        self.taken.insert(port);
    }

    /// Notes that no VM has this port any more.
    pub(super) fn release(&mut self, port: u16) {
        self.taken.remove(&port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_in_turn() {
        let mut ports = Ports::new(65_533..=u16::MAX);
        let taken: Vec<_> = (0..4).map(|_| ports.take()).collect();
        assert_eq!(taken, [Some(65_533), Some(65_534), Some(65_535), None]);
        ports.release(65_534);
        ports.release(65_533);
        assert_eq!(ports.take(), Some(65_533));
        ports.release(65_533);
        assert_eq!(
            (ports.take(), ports.take()),
            (Some(65_534), Some(65_533)),
            "the last released comes last"
        );
        ports.release(65_535);
        ports.occupy(65_535);
        ports.occupy(7);
        assert_eq!((ports.take(), ports.count()), (None, 3));
    }
}

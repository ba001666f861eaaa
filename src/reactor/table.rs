//! The table of connections: slots are reused, and ids carry a generation that tells the uses apart.

use crate::ids::ConnId;

/// Values by [`ConnId`]. The id of a removed value matches nothing, even if its slot is reused.
pub(super) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table { slots: Vec::new(), free: Vec::new() }
    }

    /// Inserts the value that `make` creates from its id.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(ConnId) -> T) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            u32::try_from(self.slots.len() - 1).expect("the connection limit is below u32::MAX")
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let id = ConnId { index, generation: slot.generation };
        slot.value = Some(make(id));
        id
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        let value = self.slot_mut(id)?.value.take()?;
        self.free.push(id.index);
        Some(value)
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        self.slot_mut(id)?.value.as_mut()
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation { slot.value.as_ref() } else { None }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn ids(&self) -> Vec<ConnId> {
        let slots = self.slots.iter().enumerate();
        let taken = slots.filter(|(_, slot)| slot.value.is_some());
        taken.map(|(index, slot)| ConnId { index: index as u32, generation: slot.generation }).collect()
    }

    fn slot_mut(&mut self, id: ConnId) -> Option<&mut Slot<T>> {
        self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_matches_nothing() {
        let mut table = Table::new();
        let first = table.insert_with(|_| "first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert_with(|_| "second");
        assert_eq!(second.index, first.index);
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!((table.get(second), table.len()), (Some(&"second"), 1));
    }
}

//! The table of connections: places that are used again, and ids that tell the uses apart.

use crate::ids::ConnId;

/// Values by [`ConnId`]. The id of a value that was removed finds nothing, whoever has its place.
pub(super) struct Table<T> {
    places: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table { places: Vec::new(), free: Vec::new() }
    }

    /// Puts in what `make` makes of its id.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(ConnId) -> T) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Slot { generation: 0, value: None });
            u32::try_from(self.places.len() - 1).expect("connections are bounded far below")
        });
        let place = &mut self.places[index as usize];
        place.generation = place.generation.wrapping_add(1);
        let id = ConnId { index, generation: place.generation };
        place.value = Some(make(id));
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
        let place = self.places.get(id.index as usize)?;
        if place.generation == id.generation { place.value.as_ref() } else { None }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn ids(&self) -> Vec<ConnId> {
        let places = self.places.iter().enumerate();
        let taken = places.filter(|(_, place)| place.value.is_some());
        taken.map(|(index, place)| ConnId { index: index as u32, generation: place.generation }).collect()
    }

    fn slot_mut(&mut self, id: ConnId) -> Option<&mut Slot<T>> {
        self.places.get_mut(id.index as usize).filter(|place| place.generation == id.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing() {
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

//! The table of connections: indices are reused, and ids carry a generation that tells the uses apart.

use crate::ids::ConnId;

/// Values by [`ConnId`]. The id of a removed value matches nothing, even if its index is reused.
pub(super) struct Table<T> {
    values: Vec<Option<T>>,
    /// By index: how many values it has had. Stored apart, since each would take twice its size beside a value.
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl<T> Table<T> {
    /// An empty table with room for `count` values: the system provides the memory when it is used, and none is left over
    /// from smaller tables.
    pub(super) fn with_capacity(count: usize) -> Table<T> {
        let (values, generations) = (Vec::with_capacity(count), Vec::with_capacity(count));
        Table { values, generations, free: Vec::new() }
    }

    /// Inserts `value`.
    pub(super) fn insert(&mut self, value: T) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            self.generations.push(0);
            u32::try_from(self.values.len() - 1).expect("the connection limit is below u32::MAX")
        });
        let generation = &mut self.generations[index as usize];
        *generation = generation.wrapping_add(1);
        self.values[index as usize] = Some(value);
        ConnId { index, generation: *generation }
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        self.get(id)?;
        self.free.push(id.index);
        self.values[id.index as usize].take()
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        match self.is_current(id) {
            true => self.values[id.index as usize].as_mut(),
            false => None,
        }
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&T> {
        match self.is_current(id) {
            true => self.values[id.index as usize].as_ref(),
            false => None,
        }
    }

    /// The id of the value at `index`.
    pub(super) fn id_at(&self, index: u32) -> Option<ConnId> {
        self.values.get(index as usize)?.as_ref()?;
        Some(ConnId { index, generation: self.generations[index as usize] })
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    pub(super) fn ids(&self) -> Vec<ConnId> {
        (0..self.values.len() as u32).filter_map(|index| self.id_at(index)).collect()
    }

    fn is_current(&self, id: ConnId) -> bool {
        self.generations.get(id.index as usize) == Some(&id.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_matches_nothing() {
        let mut table = Table::with_capacity(0);
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!((table.get(second), table.len()), (Some(&"second"), 1));
        assert_eq!((table.id_at(second.index), table.id_at(second.index + 1)), (Some(second), None));
    }
}

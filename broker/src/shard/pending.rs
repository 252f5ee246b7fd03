//! The requests of a shard that wait for something: a commit, another shard, the disk, a deadline.
//!
//! A waiting request is an entry of a table; whatever it waits for carries the entry's [`Key`]. A key outlives its
//! entry harmlessly: the generation tells a reused place from the request that was meant.

/// Names one waiting request of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key as one number, for state machines that carry an opaque token.
    #[must_use]
    pub fn to_token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key of [`Key::to_token`].
    #[must_use]
    pub fn from_token(token: u64) -> Self {
        Self { index: token as u32, generation: (token >> 32) as u32 }
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    entry: Option<T>,
}

/// Entries by key; places are reused, so that a busy table allocates nothing.
#[derive(Debug)]
pub struct Table<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    /// Adds an entry.
    pub fn insert(&mut self, entry: T) -> Key {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            assert!(place.entry.is_none(), "a free place is empty");
            place.entry = Some(entry);
            return Key { index, generation: place.generation };
        }
        let index = u32::try_from(self.places.len()).expect("bounded by the connections' budgets");
        self.places.push(Place { generation: 0, entry: Some(entry) });
        Key { index, generation: 0 }
    }

    /// The entry, unless it was removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation { place.entry.as_mut() } else { None }
    }

    /// Removes the entry, unless it was removed before.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(entry)
    }

    /// Takes the entry out to work on it together with its table's owner; [`Table::put_back`] must follow.
    pub fn take(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation { place.entry.take() } else { None }
    }

    /// Puts back what [`Table::take`] took.
    ///
    /// # Panics
    /// If the place has another entry.
    pub fn put_back(&mut self, key: Key, entry: T) {
        let place = &mut self.places[key.index as usize];
        assert!(place.generation == key.generation && place.entry.is_none(), "an entry goes back to its own place");
        place.entry = Some(entry);
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of the entries for which `wanted` holds, in table order.
    pub fn keys_where<'a>(&'a self, wanted: impl Fn(&T) -> bool + 'a) -> impl Iterator<Item = Key> + 'a {
        self.places.iter().enumerate().filter_map(move |(index, place)| {
            let entry = place.entry.as_ref()?;
            wanted(entry).then_some(Key { index: index as u32, generation: place.generation })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_does_not_reach_the_entry_that_took_its_place() {
        let mut table = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_ne!(first, second);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get_mut(second), Some(&mut "second"));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_token_is_the_key_again() {
        let mut table = Table::default();
        table.insert(0);
        let key = table.insert(1);
        assert_eq!(Key::from_token(key.to_token()), key);
    }
}

//! The parts of a request, gathered by the shard that owns them. Allocates nothing while all of them are local.

/// Items for other shards, in the order in which the shards were first named.
#[derive(Debug)]
pub(super) struct ByShard<T> {
    items: Vec<(usize, Vec<T>)>,
}

impl<T> Default for ByShard<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<T> ByShard<T> {
    /// Adds an item for `shard`.
    pub(super) fn push(&mut self, shard: usize, item: T) {
        match self.items.iter_mut().find(|(owner, _)| *owner == shard) {
            Some((_, items)) => items.push(item),
            None => self.items.push((shard, vec![item])),
        }
    }
}

impl<T> IntoIterator for ByShard<T> {
    type Item = (usize, Vec<T>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

//! Values that are compared often and differ seldom, each under a number.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use super::hash::Fast;

/// Keeps each value once.
#[derive(Debug)]
pub struct Kept<T> {
    items: Vec<Arc<T>>,
    numbers: HashMap<Arc<T>, usize, Fast>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            numbers: HashMap::default(),
        }
    }
}

impl<T: Hash + Eq> Kept<T> {
    /// The number of `item`, which is kept if it is new.
    pub fn keep(&mut self, item: T) -> usize {
        if let Some(number) = self.numbers.get(&item) {
            return *number;
        }
        let item = Arc::new(item);
        self.items.push(Arc::clone(&item));
        self.numbers.insert(item, self.items.len() - 1);
        self.items.len() - 1
    }

    pub fn get(&self, number: usize) -> &Arc<T> {
        &self.items[number]
    }
}

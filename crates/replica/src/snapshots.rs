//! What waits to be sent of snapshots, in the order in which it must come.

use std::collections::VecDeque;

use crate::frame::Item;

/// Records of snapshots, and what stands before and behind them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots {
    items: VecDeque<Item>,
    records: usize,
    bytes: usize,
}

impl Snapshots {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn records(&self) -> usize {
        self.records
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, item: Item) {
        self.records += usize::from(is_record(&item));
        self.bytes += item.length();
        self.items.push_back(item);
    }

    /// The next, if it is not longer than this.
    pub fn take(&mut self, most: usize) -> Option<Item> {
        let item = self.items.pop_front_if(|item| item.length() <= most)?;
        self.records -= usize::from(is_record(&item));
        self.bytes -= item.length();
        Some(item)
    }

    /// Whether something of a bucket waits.
    pub fn has(&self, bucket: u8) -> bool {
        self.items.iter().any(|item| item.bucket() == Some(bucket))
    }

    /// Takes out whatever is of a bucket.
    pub fn purge(&mut self, bucket: u8) {
        self.items.retain(|item| item.bucket() != Some(bucket));
        self.records = self.items.iter().filter(|item| is_record(item)).count();
        self.bytes = self.items.iter().map(Item::length).sum();
    }
}

fn is_record(item: &Item) -> bool {
    matches!(item, Item::Put { .. })
}

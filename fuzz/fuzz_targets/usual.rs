//! The site that targets send to: made once, and emptied before every input.

use std::cell::RefCell;

use abi::{
    Protocol,
    ports::{bitmap, place},
};
use datapath::native::Memory;

use crate::rig::{Site, site};

thread_local! {
    static SITE: RefCell<Option<Site>> = const { RefCell::new(None) };
}

/// Lends the site, with room for `flows` flows and none in it.
pub fn with(flows: usize, play: impl FnOnce(&mut Site)) {
    SITE.with_borrow_mut(|made| {
        let site = made.get_or_insert_with(|| Site::new(site::usual(), flows));
        empty(&site.memory);
        play(site);
    });
}

/// Removes all flows and mappings, and gives their ports back.
fn empty(memory: &Memory) {
    for (key, _) in memory.v4.flows.all() {
        memory.v4.flows.remove(&key);
    }
    for (key, mapping) in memory.v4.mappings.all() {
        memory.v4.mappings.remove(&key);
        let protocol = Protocol::from_number(key.protocol);
        if let (Some(protocol), Some(external)) = (protocol, memory.v4.externals.get(&key.external))
        {
            let (word, bit) = place(mapping.port);
            memory.bitmap(bitmap(external.index, protocol))[word]
                .taken
                .fetch_and(!(1 << bit));
        }
    }
}

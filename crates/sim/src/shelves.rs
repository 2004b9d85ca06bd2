//! Tables in plain memory, as flows of other members come to stand in them.

use std::{convert::Infallible, hash::Hash};

use abi::{Address, Flow, FlowKey, Ip4, Ip6, Mapping, MappingKey, Picture, Port, Protocol, Side};
use datapath::{
    native::{Kind, Memory, Table},
    world::InsertError,
};
use gateway::{
    bitmaps,
    copies::{self, Put, Shelf, Store, Which, exchange::Listed},
};
use replica::Buckets;

/// The flows of these buckets, by the keys of their ways out.
pub fn list(memory: &Memory, buckets: &Buckets) -> Listed {
    let mut flows = memory.v4.flows.all();
    flows.sort_unstable_by_key(|(key, _)| *key);
    let mut found = Listed::new();
    for (key, flow) in flows {
        let Some(protocol) = Protocol::from_number(key.protocol) else {
            continue;
        };
        let bucket = copies::bucket(protocol, &flow.to);
        if flow.side() == Side::Outbound && buckets.contains(bucket) {
            found.entry(bucket).or_default().push(Which::V4(key));
        }
    }
    found
}

/// The tables.
pub struct Shelves<'a>(pub &'a Memory);

/// A kind of address, and its tables.
trait In: Address {
    fn tables(memory: &Memory) -> &Kind<Self>;
}

impl In for Ip4 {
    fn tables(memory: &Memory) -> &Kind<Self> {
        &memory.v4
    }
}

impl In for Ip6 {
    fn tables(memory: &Memory) -> &Kind<Self> {
        &memory.v6
    }
}

fn put_new<K: Eq + Hash + Copy, V>(table: &Table<K, V>, key: K, value: V) -> Put {
    match table.insert_new(key, value) {
        Ok(()) => Put::Done,
        Err(InsertError::Exists) => Put::Exists,
        Err(InsertError::Full) => Put::Full,
    }
}

impl<A: In> Shelf<FlowKey<A>, Flow<Picture, A>> for Shelves<'_> {
    type Error = Infallible;

    fn get(&mut self, key: &FlowKey<A>) -> Result<Option<Flow<Picture, A>>, Infallible> {
        Ok(A::tables(self.0).flows.get(key).map(|it| it.picture()))
    }

    fn put_new(&mut self, key: &FlowKey<A>, flow: &Flow<Picture, A>) -> Result<Put, Infallible> {
        Ok(put_new(&A::tables(self.0).flows, *key, flow.live()))
    }

    fn replace(&mut self, key: &FlowKey<A>, flow: &Flow<Picture, A>) -> Result<(), Infallible> {
        A::tables(self.0).flows.put(*key, flow.live());
        Ok(())
    }

    fn remove(&mut self, key: &FlowKey<A>) -> Result<(), Infallible> {
        A::tables(self.0).flows.remove(key);
        Ok(())
    }
}

impl<A: In> Shelf<MappingKey<A>, Mapping<A>> for Shelves<'_> {
    type Error = Infallible;

    fn get(&mut self, key: &MappingKey<A>) -> Result<Option<Mapping<A>>, Infallible> {
        Ok(A::tables(self.0).mappings.get(key).map(|it| *it))
    }

    fn put_new(&mut self, key: &MappingKey<A>, value: &Mapping<A>) -> Result<Put, Infallible> {
        Ok(put_new(&A::tables(self.0).mappings, *key, *value))
    }

    fn replace(&mut self, key: &MappingKey<A>, value: &Mapping<A>) -> Result<(), Infallible> {
        A::tables(self.0).mappings.put(*key, *value);
        Ok(())
    }

    fn remove(&mut self, key: &MappingKey<A>) -> Result<(), Infallible> {
        A::tables(self.0).mappings.remove(key);
        Ok(())
    }
}

impl Store<Infallible> for Shelves<'_> {
    fn take(&mut self, bitmap: u32, port: Port) {
        bitmaps::take(port, &self.0.bitmap(bitmap));
    }
}

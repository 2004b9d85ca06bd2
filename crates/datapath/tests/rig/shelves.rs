//! Flows of another gateway come to stand in plain memory, and are told from it.

use std::{convert::Infallible, hash::Hash, rc::Rc};

use abi::{Flow, FlowKey, Ip4, Ip6, Mapping, MappingKey, Picture, Port, Protocol, Side};
use datapath::{
    native::{Memory, Table},
    world::InsertError,
};
use gateway::{
    bitmaps,
    copies::{Any, FlowCopy, Outcome, Put, Shelf, Store, Terms, adopt},
    sweep::Joined,
};

use super::{Site, site::In};

/// The tables of a gateway.
pub struct Shelves<'a>(pub &'a Memory);

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
        let found = A::tables(self.0).flows.get(key);
        Ok(found.map(|it| it.picture()))
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

/// What numbers mean on a gateway.
pub fn terms(site: &Site) -> Terms {
    let intent = site.gateway.intent().expect("it was configured");
    Terms::new(intent, site.gateway.numbers(), site.gateway.seed())
}

/// All that a gateway tells of its flows, as bytes.
pub fn told(site: &Site) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = told_of::<Ip4>(site);
    all.extend(told_of::<Ip6>(site));
    all
}

fn told_of<A: In>(site: &Site) -> Vec<(Vec<u8>, Vec<u8>)> {
    let table = &A::tables(&site.memory).flows;
    let outbound = table.all().into_iter();
    let outbound = outbound.filter(|(_, flow)| flow.side() == Side::Outbound);
    let terms = terms(site);
    let tell = |(key, flow): (FlowKey<A>, Rc<Flow<abi::Live, A>>)| {
        let protocol = Protocol::from_number(key.protocol)?;
        let back = flow.twin(protocol);
        let inbound = table.get(&back)?.picture();
        let flow = Joined::new(protocol, (key, flow.picture()), (back, inbound));
        let copy = FlowCopy::of(&flow, &terms, site.memory.now.get());
        Some((copy.key(), copy.value()))
    };
    outbound.filter_map(tell).collect()
}

/// Has a gateway take in what it is told of a flow.
pub fn take_in(site: &Site, (key, value): &(Vec<u8>, Vec<u8>), serves: bool) -> Outcome {
    let told = Any::read(key, value).expect("another gateway told it");
    let terms = terms(site);
    let now = site.memory.now.get();
    let Ok(outcome) = adopt(&mut Shelves(&site.memory), &told, (&terms, now), &|_| {
        serves
    });
    outcome
}

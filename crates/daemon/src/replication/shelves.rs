//! The kernel's tables, as flows of other members come to stand in them.

use std::{collections::BTreeMap, io};

use abi::{Address, Flow, FlowKey, Ip4, Ip6, Layout, Picture, Port, Protocol, Side, Tick};
use gateway::{
    bitmaps,
    copies::{self, FlowCopy, Put, Shelf, Store, Terms, Which},
    sweep::Joined,
};
use kernel::{
    Tables,
    tables::{In, Table},
};
use replica::{Buckets, Record};

/// The tables.
pub struct Shelves<'a>(pub &'a Tables);

/// The table of these keys and values.
trait Holds<K, V> {
    fn table(&self) -> &Table<K, V>;
}

macro_rules! holds {
    ($field:ident: $key:ty, $value:ty) => {
        impl Holds<$key, $value> for Shelves<'_> {
            fn table(&self) -> &Table<$key, $value> {
                &self.0.$field
            }
        }
    };
}

holds!(flows: FlowKey, Flow<Picture>);
holds!(flows6: FlowKey<Ip6>, Flow<Picture, Ip6>);
holds!(mappings: abi::MappingKey, abi::Mapping);
holds!(mappings6: abi::MappingKey<Ip6>, abi::Mapping<Ip6>);

impl<K: Layout, V: Layout> Shelf<K, V> for Shelves<'_>
where
    Self: Holds<K, V>,
{
    type Error = io::Error;

    fn get(&mut self, key: &K) -> io::Result<Option<V>> {
        self.table().get(key)
    }

    fn put_new(&mut self, key: &K, value: &V) -> io::Result<Put> {
        match self.table().put_new(key, value) {
            Ok(true) => Ok(Put::Done),
            Ok(false) => Ok(Put::Exists),
            Err(error) if error.raw_os_error() == Some(libc::E2BIG) => Ok(Put::Full),
            Err(error) => Err(error),
        }
    }

    fn replace(&mut self, key: &K, value: &V) -> io::Result<()> {
        self.table().put(key, value)
    }

    fn remove(&mut self, key: &K) -> io::Result<()> {
        self.table().remove(key).map(drop)
    }
}

impl Store<io::Error> for Shelves<'_> {
    fn take(&mut self, bitmap: u32, port: Port) {
        bitmaps::take(port, self.0.ports.words(bitmap));
    }
}

/// The flows of these buckets, by the keys of their ways out.
///
/// # Errors
///
/// If a table cannot be read.
pub fn list(tables: &Tables, buckets: &Buckets) -> io::Result<BTreeMap<u8, Vec<Which>>> {
    let mut found = BTreeMap::<u8, Vec<Which>>::new();
    walk::<Ip6>(tables, |bucket, key| {
        if buckets.contains(bucket) {
            found.entry(bucket).or_default().push(Which::V6(key));
        }
    })?;
    walk::<Ip4>(tables, |bucket, key| {
        if buckets.contains(bucket) {
            found.entry(bucket).or_default().push(Which::V4(key));
        }
    })?;
    Ok(found)
}

fn walk<A: In>(tables: &Tables, mut show: impl FnMut(u8, FlowKey<A>)) -> io::Result<()> {
    A::flows(tables).walk(|keys, flows| {
        for (key, flow) in keys.iter().zip(flows) {
            if let (Side::Outbound, Some(protocol)) =
                (flow.side(), Protocol::from_number(key.protocol))
            {
                show(copies::bucket(protocol, &flow.to), *key);
            }
        }
    })
}

/// What others are told of a flow; nothing if there is none any more.
///
/// # Errors
///
/// If a table cannot be read.
pub fn record(tables: &Tables, which: &Which, terms: &Terms) -> io::Result<Option<(u8, Record)>> {
    match which {
        Which::V4(key) => read(tables, key, terms),
        Which::V6(key) => read(tables, key, terms),
    }
}

fn read<A: In>(
    tables: &Tables,
    outbound: &FlowKey<A>,
    terms: &Terms,
) -> io::Result<Option<(u8, Record)>> {
    let Some(protocol) = Protocol::from_number(outbound.protocol) else {
        return Ok(None);
    };
    let Some(there) = A::flows(tables).get(outbound)? else {
        return Ok(None);
    };
    let inbound = there.twin(protocol);
    let Some(back) = A::flows(tables).get(&inbound)? else {
        return Ok(None);
    };
    let flow = Joined::new(protocol, (*outbound, there), (inbound, back));
    let copy = FlowCopy::of(&flow, terms, now());
    Ok(Some((copy.bucket(), told(&copy))))
}

/// A copy as a record.
pub fn told<A: Address>(copy: &FlowCopy<A>) -> Record {
    Record {
        key: copy.key(),
        value: copy.value(),
    }
}

/// The tick of this moment.
pub fn now() -> Tick {
    Tick::from_nanos(kernel::now())
}

//! The kernel's tables, as flows of other members come to stand in them.

use std::io;

use abi::{Flow, FlowKey, Ip4, Ip6, Layout, Picture, Port, Protocol, Side};
use gateway::{
    bitmaps,
    copies::{self, Put, Shelf, Store, Which, exchange::Listed},
};
use kernel::{
    Tables,
    tables::{In, Table},
};
use replica::Buckets;

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
pub fn list(tables: &Tables, buckets: &Buckets) -> io::Result<Listed> {
    let mut found = Listed::new();
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

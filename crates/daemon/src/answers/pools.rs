//! What the pools have given and have left.

use std::{collections::BTreeMap, net::Ipv4Addr};

use abi::{External, ExternalState, Ip4, PoolCounters, Port, Protocol, map, ports::WORDS};
use api::http::{AddressState, Pool, PoolAddress, Pools, Ports};
use gateway::{
    bitmaps,
    intent::{self, PortRange},
};
use kernel::Tables;

use crate::view::View;

use super::{ReadError, of, words};

/// All pools: first those of the configuration, in its order, then those that drain.
///
/// # Errors
///
/// If the pools' counters cannot be read.
pub fn pools(tables: &Tables, view: &View) -> Result<Pools, ReadError> {
    let mut taken = Taken::new(tables);
    let pools = numbered(view)
        .map(|(name, number, wanted)| {
            let externals = view.numbers.externals.iter();
            let own: Vec<_> = externals.filter(|(_, it)| it.pool == number).collect();
            let counters = counters(tables, number)?;
            let ports = wanted.map_or_else(|| widest(&own), |pool| pool.ports);
            Ok(Pool {
                name: name.to_owned(),
                draining: wanted.is_none(),
                first_port: ports.first,
                last_port: ports.last,
                addresses: own
                    .into_iter()
                    .map(|(address, external)| pool_address(&mut taken, view, *address, external))
                    .collect(),
                out: words::traffic(counters.outbound),
                inward: words::traffic(counters.inbound),
                new_flows_total: words::by_protocol(counters.opened),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Pools { pools })
}

/// Pools with their numbers and with what is wanted of them: nothing of one that drains.
pub fn numbered(view: &View) -> impl Iterator<Item = (&str, u8, Option<&intent::Pool>)> {
    let wanted = &view.intent.pools;
    let serving = wanted.iter().filter_map(|pool| {
        let number = view.numbers.pools.get(&pool.name)?;
        Some((pool.name.as_str(), *number, Some(pool)))
    });
    let draining = view.numbers.pools.iter().filter_map(|(name, number)| {
        let is_wanted = wanted.iter().any(|pool| pool.name == *name);
        (!is_wanted).then_some((name.as_str(), *number, None))
    });
    serving.chain(draining)
}

fn counters(tables: &Tables, number: u8) -> Result<PoolCounters, ReadError> {
    let values = of(map::POOL_COUNTERS, tables.pool_counters.get(number.into()))?;
    Ok(values
        .into_iter()
        .fold(PoolCounters::default(), PoolCounters::plus))
}

/// The ports that a pool's addresses last had.
fn widest(externals: &[(&Ip4, &External)]) -> PortRange {
    let first = externals.iter().map(|(_, external)| external.first.get());
    let last = externals.iter().map(|(_, external)| external.last.get());
    PortRange {
        first: first.min().unwrap_or_default(),
        last: last.max().unwrap_or_default(),
    }
}

fn pool_address(
    taken: &mut Taken<'_>,
    view: &View,
    address: Ip4,
    external: &External,
) -> PoolAddress {
    let state = match external.state() {
        Some(ExternalState::Serving) => AddressState::Serving,
        // A value that this version does not know serves nobody that this version lets in.
        Some(ExternalState::Draining) | None => AddressState::Draining,
    };
    let flows = view.sweep.last.by_external.get(&address);
    PoolAddress {
        address: Ipv4Addr::from(address.0),
        state,
        tcp: taken.ports(external, Protocol::Tcp, state),
        udp: taken.ports(external, Protocol::Udp, state),
        icmp: taken.ports(external, Protocol::Icmp, state),
        flows: flows.copied().unwrap_or_default(),
    }
}

/// The bitmaps of ports, beside those ports that nobody may be given.
struct Taken<'a> {
    tables: &'a Tables,
    /// Most addresses have the same range of ports, and it takes a look at every port to find out.
    reserved: BTreeMap<(Port, Port, bool), Box<[u64; WORDS]>>,
}

impl<'a> Taken<'a> {
    fn new(tables: &'a Tables) -> Self {
        Self {
            tables,
            reserved: BTreeMap::new(),
        }
    }

    fn ports(&mut self, external: &External, protocol: Protocol, state: AddressState) -> Ports {
        let range = (external.first, external.last, protocol == Protocol::Icmp);
        let reserved = self.reserved.entry(range);
        let reserved = reserved.or_insert_with(|| bitmaps::reserved(external, protocol));
        let bitmaps = external.bitmaps_of(protocol);
        let words = bitmaps.flat_map(|it| self.tables.ports.words(it).iter().zip(reserved.iter()));
        let mut ports = Ports::default();
        for (word, reserved) in words {
            let (taken, held) = (word.taken.get(), word.held.get());
            let free = !taken & !reserved;
            ports.used += (taken & !reserved).count_ones();
            ports.free += free.count_ones();
            ports.held += (free & held).count_ones();
        }
        match state {
            AddressState::Serving => ports,
            AddressState::Draining => Ports {
                free: 0,
                held: 0,
                ..ports
            },
        }
    }
}

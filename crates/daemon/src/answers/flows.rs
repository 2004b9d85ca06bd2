//! The flow table, flow by flow.
//!
//! A walk looks at outbound entries, which know client, external and remote endpoint, and asks the
//! table for the other half of those that are wanted. So it needs no memory for halves that wait
//! for each other, however large the table is, and a narrow question costs little more than the
//! reading of the table.

use std::{collections::HashMap, ops::ControlFlow};

use abi::{
    Address, Flow as Entry, FlowKey, Ip4, Ip6, Picture, Protocol, Side, Tuple, limits::POOLS_MAX,
    map,
};
use api::http::Flow;
use gateway::{Patience, sweep::Joined};
use kernel::{Tables, tables::In};

use crate::{driver::interface_name, view::View};

use super::{ReadError, of, selection::Selection, words};

/// What a walk counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flows that were shown.
    pub listed: u64,
    /// Flows that matched.
    pub matched: u64,
    /// Flows in the table.
    pub total: u64,
}

/// Shows every flow that is asked for, until `show` has enough.
///
/// # Errors
///
/// If the table cannot be read; what was shown until then was true.
pub fn walk(
    tables: &Tables,
    view: &View,
    selection: &Selection,
    show: impl FnMut(&Flow) -> ControlFlow<()>,
) -> Result<Counts, ReadError> {
    let mut walk = Walk {
        tables,
        lens: Lens::new(view),
        selection,
        counts: Counts::default(),
        is_over: false,
        show,
    };
    walk.table::<Ip4>()?;
    walk.table::<Ip6>()?;
    Ok(walk.counts)
}

/// The flow that a packet with this tuple belongs to, whichever way it goes and on whichever side
/// of the gateway it is.
///
/// # Errors
///
/// If the table cannot be read.
pub fn find(tables: &Tables, view: &View, key: FlowKey<Ip6>) -> Result<Option<Flow>, ReadError> {
    let Some(protocol) = Protocol::from_number(key.protocol) else {
        return Ok(None);
    };
    if let Some(tuple) = key.tuple.narrow()
        && let Some(flow) = find_in::<Ip4>(tables, view, protocol, tuple)?
    {
        return Ok(Some(flow));
    }
    // The far side of a flow between the versions has IPv4 addresses too.
    find_in::<Ip6>(tables, view, protocol, key.tuple)
}

fn find_in<A: In>(
    tables: &Tables,
    view: &View,
    protocol: Protocol,
    tuple: Tuple<A>,
) -> Result<Option<Flow>, ReadError> {
    for tuple in [tuple, tuple.reversed()] {
        let key = FlowKey::new(protocol, tuple);
        let Some(entry) = of(map::FLOWS, A::flows(tables).get(&key))? else {
            continue;
        };
        if let Some(flow) = join(tables, protocol, (key, entry))? {
            return Ok(Some(Lens::new(view).flow(&flow)));
        }
    }
    Ok(None)
}

/// A walk that is under way.
struct Walk<'a, S> {
    tables: &'a Tables,
    lens: Lens<'a>,
    selection: &'a Selection,
    counts: Counts,
    /// Whether enough was shown.
    is_over: bool,
    show: S,
}

impl<S: FnMut(&Flow) -> ControlFlow<()>> Walk<'_, S> {
    /// Looks at the flows of one kind of address.
    fn table<A: In>(&mut self) -> Result<(), ReadError> {
        let mut looked = Ok(());
        let walked = A::flows(self.tables).walk(|keys, entries| {
            let entries = keys.iter().zip(entries);
            for (key, entry) in entries.filter(|(_, entry)| entry.side() == Side::Outbound) {
                // A walk cannot be left, but what is left of it need not be looked at.
                if self.is_over || looked.is_err() {
                    return;
                }
                looked = self
                    .look((*key, *entry))
                    .map(|step| self.is_over = step.is_break());
            }
        });
        of(map::FLOWS, walked)?;
        looked
    }

    fn look<A: In>(&mut self, outbound: Half<A>) -> Result<ControlFlow<()>, ReadError> {
        const GO_ON: Result<ControlFlow<()>, ReadError> = Ok(ControlFlow::Continue(()));
        self.counts.total += 1;
        let (key, entry) = &outbound;
        let Some(protocol) = Protocol::from_number(key.protocol) else {
            return GO_ON;
        };
        let pool = self.lens.pool(entry.pool());
        if !self
            .selection
            .wants(words::protocol(protocol), key, entry, pool)
        {
            return GO_ON;
        }
        let Some(flow) = join(self.tables, protocol, outbound)? else {
            return GO_ON;
        };
        if !self.selection.wants_state(words::state(flow.state())) {
            return GO_ON;
        }
        self.counts.matched += 1;
        let limit = self.selection.limit;
        if limit.is_some_and(|limit| self.counts.listed >= limit) {
            return GO_ON;
        }
        self.counts.listed += 1;
        Ok((self.show)(&self.lens.flow(&flow)))
    }
}

/// One direction of a flow.
type Half<A> = (FlowKey<A>, Entry<Picture, A>);

/// Asks for the other half. There is none while the flow is being made, or being removed.
pub(super) fn join<A: In>(
    tables: &Tables,
    protocol: Protocol,
    half: Half<A>,
) -> Result<Option<Joined<A>>, ReadError> {
    let twin = half.1.twin(protocol);
    let other = of(map::FLOWS, A::flows(tables).get(&twin))?;
    Ok(other.map(|other| Joined::new(protocol, half, (twin, other))))
}

/// What flows are seen through: the time, and the names of their numbers.
struct Lens<'a> {
    view: &'a View,
    patience: Patience,
    now: u64,
    pools: Vec<Option<&'a str>>,
    rules: HashMap<u16, &'a str>,
}

impl<'a> Lens<'a> {
    fn new(view: &'a View) -> Self {
        let pools = (0..POOLS_MAX as u8).map(|number| view.numbers.pool_name(number));
        let rules = view.numbers.rules.iter();
        Self {
            view,
            patience: Patience::new(&view.intent, &view.numbers),
            now: kernel::now(),
            pools: pools.collect(),
            rules: rules
                .map(|(name, number)| (*number, name.as_str()))
                .collect(),
        }
    }

    fn flow<A: Address>(&self, flow: &Joined<A>) -> Flow {
        let ((key, outbound), (_, inbound)) = (&flow.outbound, &flow.inbound);
        let state = flow.state();
        let silent = flow.silent(self.now);
        let left = self.patience.timeout(flow).saturating_sub(silent);
        let interface = |entry: &Entry<Picture, A>| {
            interface_name(&self.view.links, entry.ifindex()).map(str::to_owned)
        };
        let remote = words::endpoint(key.tuple.target, key.tuple.target_port);
        let target = words::endpoint(outbound.to.target, outbound.to.target_port);
        Flow {
            protocol: words::protocol(flow.protocol),
            state: words::state(state),
            client: words::endpoint(key.tuple.source, key.tuple.source_port),
            external: words::endpoint(outbound.to.source, outbound.to.source_port),
            remote,
            target: (target != remote).then_some(target),
            pool: self.pool(outbound.pool()).map(str::to_owned),
            rule: self
                .rules
                .get(&outbound.rule())
                .map(|name| (*name).to_owned()),
            age_seconds: self.now.saturating_sub(outbound.created.nanos()) / SECOND,
            idle_seconds: silent / SECOND,
            expires_in_seconds: left.div_ceil(SECOND),
            packets_out: outbound.packets(),
            bytes_out: outbound.bytes,
            packets_in: inbound.packets(),
            bytes_in: inbound.bytes,
            interface_out: interface(outbound),
            interface_in: interface(inbound),
        }
    }

    fn pool(&self, number: u8) -> Option<&'a str> {
        self.pools.get(usize::from(number)).copied().flatten()
    }
}

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

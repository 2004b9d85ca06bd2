//! From the words of the tables to records: wall-clock time for ticks, names for numbers.

use std::{net::IpAddr, sync::Arc};

use abi::{Address, Ip6, Opened, Port, Tick, limits::POOLS_MAX};
use gateway::{
    intent::{Intent, Pool},
    numbers::Numbers,
    sweep::{FlowState, Joined},
};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use sessions::{
    Assignment, Blocks, Closed, Endpoint, Event, Flow, Protocol, Reason, Record, Time, Traffic,
};

/// What the clock of the tables says, and what that is in wall-clock time.
///
/// Taken anew for each batch: a wall clock that was set has set the difference.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Time,
    nanos: u64,
}

impl Clock {
    /// Both at this moment.
    pub fn now() -> Self {
        let micros = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0);
        Self {
            wall: Time::from_micros(micros),
            nanos: kernel::now(),
        }
    }

    /// The wall-clock time of this moment.
    pub const fn wall(&self) -> Time {
        self.wall
    }

    /// The wall-clock time of an earlier moment of the tables' clock.
    pub fn at(&self, nanos: u64) -> Time {
        let ago = self.nanos.saturating_sub(nanos) / 1000;
        Time::from_micros(self.wall.micros().saturating_sub(ago))
    }

    /// The wall-clock time at which a tick began.
    pub fn tick(&self, tick: Tick) -> Time {
        self.at(tick.nanos())
    }
}

/// The names of pools, by number.
#[derive(Clone, Debug, Default)]
pub struct Pools(Arc<[Option<Arc<str>>]>);

impl Pools {
    /// Those that are in the tables.
    pub fn of(numbers: &Numbers) -> Self {
        let name = |number| numbers.pool_name(number).map(Arc::from);
        Self((0..POOLS_MAX as u8).map(name).collect())
    }

    fn name(&self, number: u8) -> Option<Arc<str>> {
        self.0.get(usize::from(number)).cloned().flatten()
    }

    /// What the packet path told.
    pub fn opened(&self, events: &[Opened<Ip6>], clock: &Clock) -> Vec<Record> {
        let record = |event: &Opened<Ip6>| {
            let (asked, sent) = (&event.asked.tuple, &event.sent);
            Record {
                time: clock.at(event.at),
                flow: Flow {
                    protocol: Protocol(event.asked.protocol),
                    client: endpoint(asked.source, asked.source_port),
                    external: endpoint(sent.source, sent.source_port),
                    remote: endpoint(sent.target, sent.target_port),
                    pool: self.name(event.pool),
                },
                event: Event::Opened,
            }
        };
        events.iter().map(record).collect()
    }

    /// Flows that are ended now.
    pub fn closed<A: Address>(&self, flows: &[Joined<A>], clock: &Clock) -> Vec<Record> {
        let record = |flow: &Joined<A>| Record {
            time: clock.wall(),
            flow: self.flow(flow),
            event: Event::Closed(closed(flow, clock)),
        };
        flows.iter().map(record).collect()
    }

    /// A flow's endpoints.
    pub fn flow<A: Address>(&self, flow: &Joined<A>) -> Flow {
        let (key, outbound) = &flow.outbound;
        Flow {
            protocol: Protocol(flow.protocol as u8),
            client: endpoint(key.tuple.source, key.tuple.source_port),
            external: endpoint(outbound.to.source, outbound.to.source_port),
            remote: endpoint(outbound.to.target, outbound.to.target_port),
            pool: self.name(outbound.pool()),
        }
    }
}

/// The blocks that an intent gives clients.
pub fn assignment(intent: &Intent, time: Time) -> Assignment {
    let blocks = |pool: &Pool| {
        let blocks = pool.blocks.as_ref()?;
        let own = pool.addresses.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(Ipv4Net::from(*address)),
            IpAddr::V6(_) => None,
        });
        Some(Blocks {
            pool: pool.name.as_str().into(),
            clients: blocks.clients.clone(),
            addresses: Ipv4Net::aggregate(&own.collect()),
            sharing: blocks.sharing(),
            first: blocks.all().first,
            size: blocks.size,
        })
    };
    Assignment {
        time,
        pools: intent.pools.iter().filter_map(blocks).collect(),
    }
}

fn closed<A: Address>(flow: &Joined<A>, clock: &Clock) -> Closed {
    let ((_, outbound), (_, inbound)) = (&flow.outbound, &flow.inbound);
    let last = outbound.last_seen.max(inbound.last_seen);
    let traffic = |entry: &abi::Flow<abi::Picture, A>| Traffic {
        packets: entry.packets(),
        bytes: entry.bytes,
    };
    let was_reset = [outbound.seen, inbound.seen]
        .into_iter()
        .any(|seen| abi::Seen(seen).has(abi::Seen::RST));
    Closed {
        opened: clock.tick(outbound.created),
        last_packet: clock.tick(Tick(last)),
        out: traffic(outbound),
        inward: traffic(inbound),
        reason: match flow.state() {
            FlowState::Closing if was_reset => Reason::Reset,
            FlowState::Closing => Reason::Finished,
            FlowState::Opening | FlowState::Established | FlowState::Active => Reason::Idle,
        },
    }
}

fn endpoint(address: impl Address, port: Port) -> Endpoint {
    Endpoint::new(IpAddr::from(address.wide()), port.get())
}

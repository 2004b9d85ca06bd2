//! How long silent flows are kept: for all pools, for one pool, for one service.

use std::{collections::BTreeMap, time::Duration};

use abi::{Address, Protocol};

use crate::{
    intent::{Intent, ServiceTimeout, Timeouts},
    numbers::Numbers,
    sweep::{FlowState, Joined},
};

/// The timeouts in force, by the numbers that flows have for their pools.
#[derive(Clone, Debug, PartialEq)]
pub struct Patience {
    usual: Timeouts,
    pools: BTreeMap<u8, Timeouts>,
    /// Of one pool, or of all.
    services: Vec<(Option<u8>, ServiceTimeout)>,
}

impl From<Timeouts> for Patience {
    /// The same for all.
    fn from(usual: Timeouts) -> Self {
        Self {
            usual,
            pools: BTreeMap::new(),
            services: Vec::new(),
        }
    }
}

impl Patience {
    /// The timeouts of an intent whose pools have these numbers.
    pub fn new(intent: &Intent, numbers: &Numbers) -> Self {
        let numbered = intent
            .pools
            .iter()
            .filter_map(|pool| Some((*numbers.pools.get(&pool.name)?, pool)));
        let (mut pools, mut services) = (BTreeMap::new(), Vec::new());
        for (number, pool) in numbered {
            pools.extend(pool.timeouts.map(|timeouts| (number, timeouts)));
            services.extend(pool.services.iter().map(|it| (Some(number), *it)));
        }
        services.extend(intent.services.iter().map(|it| (None, *it)));
        Self {
            usual: intent.timeouts,
            pools,
            services,
        }
    }

    /// How long this flow may be silent, in nanoseconds.
    pub fn timeout<A: Address>(&self, flow: &Joined<A>) -> u64 {
        let (state, pool) = (flow.state(), flow.outbound.1.pool());
        let service = match (state, flow.protocol) {
            (FlowState::Established, _) | (FlowState::Active, Protocol::Udp | Protocol::Sctp) => {
                self.service(flow, pool)
            }
            (FlowState::Opening | FlowState::Closing | FlowState::Active, _) => None,
        };
        let timeouts = self.pools.get(&pool).unwrap_or(&self.usual);
        service.map_or_else(
            || state.timeout(flow.protocol, timeouts),
            |timeout| timeout.as_secs() * 1_000_000_000,
        )
    }

    /// What is said of the service at the flow's remote end.
    fn service<A: Address>(&self, flow: &Joined<A>, pool: u8) -> Option<Duration> {
        let port = flow.outbound.0.tuple.target_port.get();
        let is_meant = |of: Option<u8>, it: &ServiceTimeout| {
            of.is_none_or(|of| of == pool)
                && it.protocol == flow.protocol
                && (it.ports.first..=it.ports.last).contains(&port)
        };
        let mut found = self.services.iter().filter(|(of, it)| is_meant(*of, it));
        found.next().map(|(_, it)| it.timeout)
    }
}

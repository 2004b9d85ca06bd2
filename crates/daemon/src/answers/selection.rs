//! Which flows are asked for.

use std::net::{IpAddr, Ipv6Addr};

use abi::{Address, Flow, FlowKey, Picture, Port};
use api::http::{ApiError, FlowState, FlowsQuery, Protocol};
use ipnet::IpNet;

/// A query that was understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    client: Wanted,
    external: Wanted,
    remote: Wanted,
    protocol: Option<Protocol>,
    state: Option<FlowState>,
    pool: Option<String>,
    /// How many flows are listed; absent, all that match.
    pub limit: Option<u64>,
}

impl Selection {
    /// Understands a query.
    ///
    /// # Errors
    ///
    /// Says which filter is not an endpoint, and what an endpoint is.
    pub fn parse(query: &FlowsQuery) -> Result<Self, ApiError> {
        Ok(Self {
            client: Wanted::parse("client", query.client.as_deref())?,
            external: Wanted::parse("external", query.external.as_deref())?,
            remote: Wanted::parse("remote", query.remote.as_deref())?,
            protocol: query.protocol,
            state: query.state,
            pool: query.pool.clone(),
            limit: query.limit.map(u64::from),
        })
    }

    /// Whether an outbound entry may be of a flow that is asked for, by all that it says itself.
    pub fn wants<A: Address>(
        &self,
        protocol: Protocol,
        key: &FlowKey<A>,
        flow: &Flow<Picture, A>,
        pool: Option<&str>,
    ) -> bool {
        self.protocol.is_none_or(|wanted| wanted == protocol)
            && self
                .pool
                .as_deref()
                .is_none_or(|wanted| Some(wanted) == pool)
            && self.client.holds(key.tuple.source, key.tuple.source_port)
            && self.external.holds(flow.to.source, flow.to.source_port)
            && (self.remote.holds(key.tuple.target, key.tuple.target_port)
                || self.remote.holds(flow.to.target, flow.to.target_port))
    }

    /// Whether flows in this state are asked for; only both directions together know it.
    pub fn wants_state(&self, state: FlowState) -> bool {
        self.state.is_none_or(|wanted| wanted == state)
    }
}

/// An endpoint, as far as it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Wanted {
    addresses: Option<IpNet>,
    port: Option<u16>,
}

impl Wanted {
    fn parse(name: &str, text: Option<&str>) -> Result<Self, ApiError> {
        let Some(text) = text else {
            return Ok(Self::default());
        };
        Self::of(text.trim()).ok_or_else(|| ApiError {
            error: format!("{name}={text} is not an endpoint"),
            help: "write an address (10.1.2.3), a prefix (10.1.0.0/16), an address and a port \
                   (10.1.2.3:443, [2001:db8::1]:443), or a port alone (:443)"
                .to_owned(),
        })
    }

    fn of(text: &str) -> Option<Self> {
        let single = |text: &str| text.parse::<IpAddr>().ok().map(IpNet::from);
        // An IPv6 address has colons of its own, and stands in brackets where a port follows.
        if let Some(addresses) = text.parse().ok().or_else(|| single(text)) {
            return Some(Self {
                addresses: Some(addresses),
                port: None,
            });
        }
        let (address, port) = text.rsplit_once(':')?;
        let bracketed = |text: &str| -> Option<Ipv6Addr> {
            text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
        };
        let addresses = match address {
            "" => None,
            address if address.contains(':') => Some(IpNet::from(IpAddr::V6(bracketed(address)?))),
            address => Some(single(address)?),
        };
        Some(Self {
            addresses,
            port: Some(port.parse().ok()?),
        })
    }

    fn holds(&self, address: impl Address, port: Port) -> bool {
        self.addresses
            .is_none_or(|net| net.contains(&IpAddr::from(address.wide())))
            && self.port.is_none_or(|wanted| wanted == port.get())
    }
}

#[cfg(test)]
mod tests;

//! Mappings that were asked for: what there is, what a question means, and why one is denied.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use abi::Ip6;
use api::http::{ApiError, Endpoint, Mapping, MappingRequest, Mappings, WithdrawQuery};
use gateway::{
    intent::Forward,
    mappings::{
        Ask, Denied, Granted, Owner, Withdraw,
        leases::{LIFETIME_DEFAULT, LIFETIME_MAX},
    },
};

use crate::view::View;

use super::words;

/// Everything that was asked for, as it is at `now`, in nanoseconds of `CLOCK_MONOTONIC`.
pub fn mappings(view: &View, now: u64) -> Mappings {
    let pools = view.intent.pools.iter();
    let forwards = pools.flat_map(|pool| {
        let named = move |forward| forwarded(view, &pool.name, forward);
        pool.forwards.iter().map(named)
    });
    let granted = view.leases.iter().map(|it| granted(view, it, now));
    Mappings {
        mappings: forwards.chain(granted).collect(),
    }
}

fn forwarded(view: &View, pool: &str, forward: &Forward) -> Mapping {
    let (first, last) = (forward.ports.first, forward.ports.last);
    let external = |port| SocketAddr::new(forward.address, port);
    let (target, port) = forward.target;
    let stands = |port| !view.unmapped.has_external(forward.protocol, external(port));
    Mapping {
        protocol: words::protocol(forward.protocol),
        external: endpoint(external(first)),
        internal: endpoint(SocketAddr::new(target, port)),
        ports: u32::from(last - first) + 1,
        pool: Some(pool.to_owned()),
        forward: Some(forward.name.clone()),
        from: forward.callers.iter().map(ToString::to_string).collect(),
        owner: None,
        expires_in_seconds: None,
        standing: (first..=last).all(stands),
    }
}

/// What was granted, as it is at `now`.
pub fn granted(view: &View, granted: &Granted, now: u64) -> Mapping {
    let numbers = &view.numbers;
    let external = numbers.externals.get(&Ip6::from(granted.external.ip()));
    let owner = granted.owner.name();
    Mapping {
        protocol: words::protocol(granted.protocol),
        external: endpoint(granted.external),
        internal: endpoint(granted.internal),
        ports: 1,
        pool: external
            .and_then(|it| numbers.pool_name(it.pool))
            .map(str::to_owned),
        forward: None,
        from: Vec::new(),
        owner: (!owner.is_empty()).then(|| owner.to_owned()),
        expires_in_seconds: Some(granted.until.saturating_sub(now).div_ceil(1_000_000_000)),
        standing: !(view.unmapped).has_external(granted.protocol, granted.external),
    }
}

fn endpoint(endpoint: SocketAddr) -> Endpoint {
    let (address, port) = words::wire(endpoint);
    words::endpoint(address, port)
}

/// What somebody asks for.
///
/// # Errors
///
/// If it cannot be understood.
pub fn asked(request: &MappingRequest) -> Result<Ask, ApiError> {
    let external = request.external.as_deref();
    let (address, port) = external.map_or(Ok((None, None)), suggested)?;
    let lifetime = request.lifetime_seconds.map(Duration::from_secs);
    if lifetime.is_some_and(|it| it.is_zero()) {
        return Err(misasked(
            "a lifetime of 0 s ends before it begins",
            "leave it out for two hours; to withdraw a mapping, use DELETE",
        ));
    }
    Ok(Ask {
        protocol: words::known_protocol(request.protocol),
        internal: internal(&request.internal)?,
        address,
        port,
        prefer_failure: request.prefer_failure,
        lifetime: lifetime.unwrap_or(LIFETIME_DEFAULT).min(LIFETIME_MAX),
        owner: owner(request.owner.as_deref())?,
    })
}

/// What somebody does not need any more.
///
/// # Errors
///
/// If it cannot be understood.
pub fn withdrawn(query: &WithdrawQuery) -> Result<Withdraw, ApiError> {
    Ok(Withdraw {
        protocol: words::known_protocol(query.protocol),
        internal: internal(&query.internal)?,
        owner: owner(query.owner.as_deref())?,
    })
}

/// Why it was denied, and what to do.
pub fn denied(denied: &Denied) -> ApiError {
    let help = match denied {
        Denied::Unconfigured => "apply a configuration first",
        Denied::NoPorts => "ask for `tcp` or `udp`",
        Denied::NoPool { .. } => "add a rule with a pool whose `sources` hold the client",
        Denied::NotItsAddress { .. } => {
            "`egret pools` lists addresses; leave it out for the usual one"
        }
        Denied::Forwarded { .. } => "use that one, or remove the forward from the configuration",
        Denied::NotYours { .. } => "give the owner's name, or wait until it ends",
        Denied::Elsewhere { .. } => "use that one, or withdraw it first",
        Denied::NotFree { .. } => {
            "take another one; a port that was freed is held back for as long as its pool says"
        }
        Denied::Exhausted { .. } => "give the pool more addresses, or wait until flows have ended",
        Denied::TooMany | Denied::TooManyOfClient { .. } => {
            "withdraw some; for servers, use `forwards` in the configuration"
        }
        Denied::TableFull => "raise limits.flows, or wait until flows have ended",
        Denied::NoMapping { .. } => "`egret mappings` lists those there are",
    };
    misasked(&denied.to_string(), help)
}

fn misasked(error: &str, help: &str) -> ApiError {
    ApiError {
        error: error.to_owned(),
        help: help.to_owned(),
    }
}

fn internal(text: &str) -> Result<SocketAddr, ApiError> {
    let endpoint: Option<SocketAddr> = text.parse().ok();
    endpoint.and_then(one_of_a_host).ok_or_else(|| {
        misasked(
            &format!("`{text}` is not an internal endpoint"),
            "write an address and a port: `10.0.0.5:8443`, `[2001:db8::5]:8443`",
        )
    })
}

/// An endpoint that has a port, and an address as it is on the wire.
fn one_of_a_host(endpoint: SocketAddr) -> Option<SocketAddr> {
    let address = endpoint.ip().to_canonical();
    (endpoint.port() != 0).then(|| SocketAddr::new(address, endpoint.port()))
}

/// An external address, a port, or both.
fn suggested(text: &str) -> Result<(Option<IpAddr>, Option<u16>), ApiError> {
    if let Ok(endpoint) = text.parse()
        && let Some(endpoint) = one_of_a_host(endpoint)
    {
        return Ok((Some(endpoint.ip()), Some(endpoint.port())));
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok((Some(address.to_canonical()), None));
    }
    let port = text.strip_prefix(':').and_then(|port| port.parse().ok());
    match port.filter(|port| *port != 0) {
        Some(port) => Ok((None, Some(port))),
        None => Err(misasked(
            &format!("`{text}` is not an external endpoint"),
            "write an address and a port, `192.0.2.1:8443`, `[2001:db8::1]:8443`, or one of both: \
             `:8443`",
        )),
    }
}

fn owner(name: Option<&str>) -> Result<Owner, ApiError> {
    Owner::named(name.unwrap_or_default()).ok_or_else(|| {
        misasked(
            "the owner's name is longer than 32 bytes, or has a zero in it",
            "use a shorter one",
        )
    })
}

#[cfg(test)]
mod tests;

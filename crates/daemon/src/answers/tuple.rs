//! A flow's name in a question: a protocol and the two endpoints that a packet of it shows.

use std::net::{IpAddr, SocketAddr};

use abi::{FlowKey, Ip6, Protocol, Tuple};
use api::http::ApiError;

use super::words;

/// Understands `tcp 10.0.0.1:4242 198.51.100.9:5432`.
///
/// An ICMP query, of either version, has its identifier as the port of one side; the other side has
/// none, and neither side of GRE or ESP has one. Addresses of IPv4 stand as mapped ones.
///
/// # Errors
///
/// Says what is wrong and how a tuple is written.
pub fn parse(text: &str) -> Result<FlowKey<Ip6>, ApiError> {
    let refused = |why: String| ApiError {
        error: format!("the tuple `{text}` cannot be understood: {why}"),
        help: "write the protocol and two endpoints, apart by blanks: \
               `tcp 10.0.0.1:4242 198.51.100.9:5432`, or `icmp 10.0.0.1:77 198.51.100.9`, \
               where 77 is the identifier"
            .to_owned(),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [protocol, source, target] = words.as_slice() else {
        return Err(refused(format!("it has {} words, not 3", words.len())));
    };
    let known = |it: &Protocol| words::protocol(*it).label().eq_ignore_ascii_case(protocol);
    let protocol = Protocol::ALL.into_iter().find(known).ok_or_else(|| {
        refused(format!(
            "{protocol} is not tcp, udp, icmp, sctp, gre or esp"
        ))
    })?;
    let endpoint = |text: &str| {
        endpoint(protocol, text).ok_or_else(|| refused(format!("{text} is not an endpoint")))
    };
    let (source, source_port) = words::wire(endpoint(source)?);
    let (target, target_port) = words::wire(endpoint(target)?);
    let tuple = Tuple {
        source,
        target,
        source_port,
        target_port,
    };
    Ok(FlowKey::new(protocol, tuple))
}

fn endpoint(protocol: Protocol, text: &str) -> Option<SocketAddr> {
    let without_port = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 0));
    match protocol {
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp => text.parse().ok(),
        Protocol::Icmp => text.parse().ok().or_else(without_port),
        Protocol::Gre | Protocol::Esp => without_port(),
    }
}

#[cfg(test)]
mod tests;

//! The API's words for what the tables hold.

use std::net::{IpAddr, SocketAddr};

use abi::{Address, Counter, Ip6, Port};
use api::http::{ByProtocol, Endpoint, FlowState, Protocol, Traffic, Verdict};
use gateway::sweep;

/// A protocol.
pub const fn protocol(protocol: abi::Protocol) -> Protocol {
    match protocol {
        abi::Protocol::Tcp => Protocol::Tcp,
        abi::Protocol::Udp => Protocol::Udp,
        abi::Protocol::Icmp => Protocol::Icmp,
        abi::Protocol::Sctp => Protocol::Sctp,
        abi::Protocol::Gre => Protocol::Gre,
        abi::Protocol::Esp => Protocol::Esp,
    }
}

/// A protocol, as the tables have it.
pub const fn known_protocol(protocol: Protocol) -> abi::Protocol {
    match protocol {
        Protocol::Tcp => abi::Protocol::Tcp,
        Protocol::Udp => abi::Protocol::Udp,
        Protocol::Icmp => abi::Protocol::Icmp,
        Protocol::Sctp => abi::Protocol::Sctp,
        Protocol::Gre => abi::Protocol::Gre,
        Protocol::Esp => abi::Protocol::Esp,
    }
}

/// How far a flow is.
pub const fn state(state: sweep::FlowState) -> FlowState {
    match state {
        sweep::FlowState::Opening => FlowState::Opening,
        sweep::FlowState::Established => FlowState::Established,
        sweep::FlowState::Closing => FlowState::Closing,
        sweep::FlowState::Active => FlowState::Active,
    }
}

/// What becomes of a packet.
pub const fn verdict(verdict: abi::Verdict) -> Verdict {
    match verdict {
        abi::Verdict::Send => Verdict::Send,
        abi::Verdict::Pass => Verdict::Pass,
        abi::Verdict::Drop => Verdict::Drop,
    }
}

/// Packets and bytes.
pub const fn traffic(counter: Counter) -> Traffic {
    Traffic {
        packets: counter.packets,
        bytes: counter.bytes,
    }
}

/// An address and a port.
pub fn endpoint(address: impl Address, port: Port) -> Endpoint {
    Endpoint {
        address: IpAddr::from(address.wide()),
        port: port.get(),
    }
}

/// An address and a port, as tables for both versions have them.
pub fn wire(endpoint: SocketAddr) -> (Ip6, Port) {
    (Ip6::from(endpoint.ip()), Port::new(endpoint.port()))
}

/// Counts as the tables have them ([`abi::Protocol::space`]), by protocol.
pub fn by_protocol(spaces: [u64; abi::PROTOCOLS]) -> ByProtocol<u64> {
    let of = |protocol: abi::Protocol| spaces.get(protocol.space()).copied().unwrap_or_default();
    ByProtocol {
        tcp: of(abi::Protocol::Tcp),
        udp: of(abi::Protocol::Udp),
        icmp: of(abi::Protocol::Icmp),
        sctp: of(abi::Protocol::Sctp),
        gre: of(abi::Protocol::Gre),
        esp: of(abi::Protocol::Esp),
    }
}
